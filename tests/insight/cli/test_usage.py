"""Misspelt commands and flags, what `--help` teaches, and that neither waits for torch."""

import subprocess
import sys

import pytest

from insight.cli import COMMANDS, main
from insight.cli.dispatch import Group

from .conftest import Complaint
from .world import table

LEAVES = [
    words
    for name, command in COMMANDS.items()
    for words in ([[name, one] for one in command.commands] if isinstance(command, Group) else [[name]])
]
LIGHT = table("""
explian → did you mean `insight explain`?
cache wirte photos → did you mean `insight cache write`?
nonsense → insight has no command 'nonsense'; expected one of explain
--nonsense → insight has no command '--nonsense'
cache → insight cache: expected one of write, verify, info, merge, convert, sample
finetune → insight finetune: expected one of probe
finetune nonsense → insight finetune has no command 'nonsense'
attribute nonsense → expected one of concepts, similarity
classify fti → did you mean `insight classify fit`?
explain absent.jpg → absent.jpg: expected a photo, found nothing
explain nonsense absent.jpg → absent.jpg: expected a photo
concepts nonsense → nonsense: no model here
train cache --out m --k 0 → --k: expected at least 1
build absent --out absent/m --k 0 → --k: expected at least 1
find model cache red --top 0 → --top: expected at least 1
segment model absent.jpg --classes a,b → absent.jpg: expected a photo
classify predict head absent.jpg → absent.jpg: expected a photo
relate nonsense cache → nonsense: no model here
edit nonsense list → nonsense: no model here
finetune xcoop photos --out t → expected --bank or --bank-from
cache write absent --out c → absent: expected a folder of images
""")
MISUSED = table("""
demo --ot x → Perhaps you meant
demo extra → Unrecognized options: extra
demo --out → Missing value for argument '--out'
build → FOLDER
build photos → --out FOLDER
build photos --out m --concepts many → expected a whole number, found 'many'
explain model whole.png --top three → expected a whole number, found 'three'
explain model whole.png --top nan → expected a whole number, found 'nan'
explain model whole.png --jsn x → --json FILE
concepts model extra → Unrecognized options: extra
cache write photos → --out FOLDER...
cache write photos --out c --dtype int4 → invalid choice 'int4'
cache convert cache --out c → --dtype
cache sample cache --out c --images x → expected a whole number, found 'x'
train cache → --out FOLDER
train cache --out m --lr x → expected a number, found 'x'
train cache --out m --k None → expected a whole number, found 'None'
train cache --out m --selection nonsense → invalid choice 'nonsense'
relate model → CACHE
relate model cache --treshold 0.5 → --threshold FLOAT
name model --mode nonsense → invalid choice 'nonsense'
edit model → Expected one of
edit model rename x y → expected a whole number, found 'x'
edit model relate 1 2 → --kind
segment model → IMAGE
classify fit model photos --out h --pooling nonsense → invalid choice 'nonsense'
find model → CACHE
attribute captum timm:known whole.png red --method nonsense → invalid choice 'nonsense'
finetune ecor photos --out t --order nonsense → invalid choice 'nonsense'
""")


@pytest.mark.parametrize(("line", "said"), LIGHT, ids=[line for line, _ in LIGHT])
def test_a_line_says_what_was_meant(line: str, said: str, complaint: Complaint) -> None:
    assert said in complaint(line)


def test_none_of_these_answers_waits_for_torch() -> None:
    lines = [line.split() for line, _ in LIGHT]
    run = (
        "import contextlib, sys\nfrom insight.cli import main\n"
        f"for words in {[*lines, [], ['--help'], ['cache', '--help'], ['train', '--help']]!r}:\n"
        "    with contextlib.suppress(SystemExit):\n        main(words)\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    subprocess.run([sys.executable, "-c", run], check=True, capture_output=True)


@pytest.mark.parametrize(("line", "said"), MISUSED, ids=[line for line, _ in MISUSED])
def test_wrong_usage_gets_a_short_block(line: str, said: str, answer: Complaint) -> None:
    block = answer(line)
    assert said in block
    assert "Traceback" not in block
    assert len(block.splitlines()) <= 30


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_begins_with_what_a_command_does_and_fits_the_screen(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    usage, about = shown.split("\n\n", 1)
    assert usage.startswith(f"usage: insight {' '.join(words)} ")
    assert about[0].isupper()
    assert max(map(len, shown.splitlines())) <= 80
    assert f"Example: insight {' '.join(words)} " in about
    assert "None" not in about


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_a_newcomer_sees_how_to_begin_and_every_command(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main(words)
    shown = capsys.readouterr().out
    assert "insight explain photo.jpg --html photo.html" in shown
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert max(map(len, shown.splitlines())) <= 80


def test_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out.startswith("insight 0.")
