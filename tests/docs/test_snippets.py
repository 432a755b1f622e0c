"""What the documents tell a reader to type can be typed: commands and flags exist, snippets of Python compile."""

import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from insight.cli import COMMANDS
from insight.cli.dispatch import Command, Group, run
from sae.errors import InsightError
from sae.files import read_json
from tests.docs.fences import PAGES, ROOT, fences, insight_commands

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MANY = "|"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def unrun(command: Command) -> Callable[..., Any]:
    """A command with the same flags that does nothing."""

    @functools.wraps(command)
    def nothing(*words: Any, **flags: Any) -> None:
        inspect.signature(command).bind(*words, **flags)

    return nothing


def unrun_all(commands: dict[str, Any]) -> dict[str, Any]:
    return {
        name: Group(command.about, unrun_all(dict(command.commands))) if isinstance(command, Group) else unrun(command)
        for name, command in commands.items()
    }


def variants(words: list[str]) -> list[list[str]]:
    """`cache verify|info --help` means each; `...` stands for words left out."""
    if len(words) > 1 and MANY in words[1] and isinstance(COMMANDS.get(words[0]), Group):
        return [[words[0], name, *words[2:]] for name in words[1].split(MANY)]
    return [words]


def parse(words: list[str]) -> None:
    """`InsightError` or an exit with a code other than 0 where there is no such command or flag."""
    shortened = "..." in words
    try:
        run(unrun_all(COMMANDS), [*words[: words.index("...")], "--help"] if shortened else words, "insight")
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_their_flags_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in insight_commands(page):
        for variant in variants(words):
            try:
                parse(variant)
            except (InsightError, SystemExit) as error:
                said = capsys.readouterr()
                pytest.fail(f"{name_of(page)}: insight {' '.join(variant)}: {error} {said.out} {said.err}")


def test_a_wrong_flag_would_be_found() -> None:
    for words in (["explain", "a.jpg", "--hmtl", "x"], ["cache", "wirte", "photos"], ["train", "cache"], ["nothing"]):
        with pytest.raises((InsightError, SystemExit)):
            parse(words)


def test_there_are_commands_to_check() -> None:
    assert sum(len(list(insight_commands(page))) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_snippets_compile(page: Path) -> None:
    for text in fences(page, {"python"}):
        compile(text, name_of(page), "exec")


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=name_of)
def test_links_of_the_front_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebooks_are_small_and_compile(notebook: Path) -> None:
    assert notebook.stat().st_size < 500_000
    for cell in read_json(notebook)["cells"]:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), name_of(notebook), "exec")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebooks_are_shown_as_they_ran(notebook: Path) -> None:
    cells = [cell for cell in read_json(notebook)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])


def test_every_command_has_a_line_in_the_table() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"| `insight {name}` |" not in text] == []
