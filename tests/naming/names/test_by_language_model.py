"""Names by a language model: a prompt tells what is known, an answer gives a name or none, a program gives answers."""

import json
import sys
import time

import pytest

from naming import Clues, ask_names, command_namer, names_from, prompt_of
from sae import InsightError

WHEEL = Clues(
    ("wheel", "tire"), (0.61, 0.582), ("car",), ("hubcap",), ("road", "kerb"), ('a "red"\ncar on a road', "x" * 10_000)
)


def test_a_prompt_holds_all_evidence_each_kind_on_a_line():
    lines = prompt_of(WHEEL).splitlines()
    assert 'Nearest phrases, with cosine similarity: "wheel" (0.61), "tire" (0.58)' in lines
    assert 'It is a kind of, or a part of: "car"' in lines
    assert 'Kinds or parts of it: "hubcap"' in lines
    assert 'Often beside it: "road", "kerb"' in lines
    (captions,) = [line for line in lines if line.startswith("Captions")]
    assert '"a \\"red\\" car on a road"' in captions
    assert len(captions) < 300


def test_a_prompt_says_nothing_of_evidence_that_there_is_not():
    assert "aptions" not in prompt_of(Clues(("dog",), (0.3,)))
    assert "Nearest" not in prompt_of(Clues((), ()))


def test_a_prompt_stays_short():
    many = tuple(f"phrase {i}" for i in range(1000))
    assert len(prompt_of(Clues(many, (0.1,) * 1000, many, many, many, many))) < 4000


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("wheel", "wheel"),
        ('  "Wheel of a car."\n\nBecause the patches ...', "Wheel of a car"),
        ("**Name:** a striped shirt", "striped shirt"),
        ("The concept is: the sky", "sky"),
        ("1. palm tree\n2. tree", "palm tree"),
        ("- dog", "dog"),
        ("<think>cats?\nno</think>\ndog", "dog"),
        ("3D printer", "3D printer"),
        ("concept car", "concept car"),
        ("שלום", "שלום"),
        ("🦜", "🦜"),
        ("dog\u202e", "dog"),
    ],
)
def test_an_answer_is_cleaned_to_a_name(answer, name):
    assert names_from([answer]) == [name]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n\t",
        "Unknown.",
        "name: unknown",
        "N/A",
        "I'm sorry, I can't tell.",
        "As an AI language model I see nothing",
        "the patches show the front left wheel of a parked car",
        "x" * 61,
        "...",
        "42",
        "<think>it goes on",
        "dog\x00",
        "\ud800",
    ],
)
def test_what_is_no_name_is_an_abstention(answer):
    assert names_from([answer]) == [None]


def test_any_callable_can_name():
    asked = []

    def namer(prompts):
        asked.extend(prompts)
        return ["a wheel", "unknown"]

    assert ask_names(namer, [WHEEL, Clues((), ())]) == ["wheel", None]
    assert asked == [prompt_of(WHEEL), prompt_of(Clues((), ()))]


def test_a_callable_that_loses_an_answer_is_refused():
    with pytest.raises(InsightError, match=r"expected 2 answers.*found 1"):
        ask_names(lambda prompts: ["wheel"], [WHEEL, WHEEL])


@pytest.fixture
def program(tmp_path):
    """A program from its Python text; `tasks` is what it is asked."""

    def make(text: str, **options):
        path = tmp_path / "model.py"
        head = "import json, sys, time\ndef say(id, name): print(json.dumps(dict(id=id, name=name)), flush=True)\n"
        path.write_text(head + text, encoding="utf-8")
        return command_namer([sys.executable, str(path)], **options)

    return make


ECHO = "for line in sys.stdin:\n    task = json.loads(line)\n    say(task['id'], task['prompt'].upper())\n"
BACKWARDS = "for task in [json.loads(line) for line in sys.stdin][::-1]: say(task['id'], task['prompt'].upper())\n"


@pytest.mark.parametrize("text", [ECHO, BACKWARDS])
def test_a_program_answers_in_any_order(program, text):
    prompts = [f"prompt {i}\nשלום \u2028" for i in range(300)]
    assert program(text)(prompts) == [prompt.upper() for prompt in prompts]


def test_a_program_may_be_asked_more_than_a_pipe_holds(program):
    prompts = [f"{i} " + "x" * 20_000 for i in range(60)]
    assert program(BACKWARDS)(prompts) == [prompt.upper() for prompt in prompts]


def test_no_name_is_null_and_no_prompt_starts_no_program(program):
    assert program("say(0, None)")(["dog"]) == [""]
    assert command_namer(["no such program"])([]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("say(0, 'dog')", "found none for 2 .the first has id 1"),
        ("say(0, 'dog'); say(0, 'cat')", "expected one answer for id 0"),
        ("say(3, 'dog')", "an id below 3"),
        ("say(True, 'dog')", "an id below 3"),
        ("say(0, 7)", "found b'"),
        ("print('Loading model ...')", "Loading model"),
        ("print('[1]')", r"expected a line \{"),
        ("sys.stdout.buffer.write(bytes([255, 10]))", r"expected a line \{"),
        ("print('x' * 200_000)", r"expected a line \{"),
        ("say(0, 'dog'); sys.exit('out of memory')", "exit code 0, found 1 .out of memory.; 2 prompts unanswered"),
        ("sys.stdin.close()", "found none for 3"),
    ],
)
def test_a_program_that_does_something_else_is_refused_in_one_line(program, text, message):
    with pytest.raises(InsightError, match=message) as error:
        program(text)(["a", "b", "c"])
    assert "\n" not in str(error.value)


def test_a_silent_program_is_ended(program):
    start = time.monotonic()
    with pytest.raises(InsightError, match=r"was silent for 1\.5 s with 2 of 2"):
        program("time.sleep(60)", timeout=1.5)(["a", "b"])
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("command", [["no such program"], [__file__]])
def test_a_program_that_cannot_be_started_is_named(command):
    with pytest.raises(InsightError, match="cannot be started"):
        command_namer(command)(["a"])


@pytest.mark.parametrize(("command", "timeout"), [([], 1.0), (["cat"], 0.0)])
def test_a_namer_needs_a_command_and_time(command, timeout):
    with pytest.raises(InsightError, match="expected a command"):
        command_namer(command, timeout=timeout)


def test_answers_before_a_failure_are_kept_and_not_asked_again(program, tmp_path):
    kept = tmp_path / "answers.jsonl"
    with pytest.raises(InsightError, match="1 prompts unanswered"):
        program("say(0, 'dog'); say(1, 'שלום'); sys.exit(3)", answers=kept)(["a", "b", "c"])
    with kept.open("a") as file:
        file.write('{"prompt": "c", "na')  # killed while it wrote
    assert program(ECHO, answers=kept)(["c", "b", "a", "d"]) == ["C", "שלום", "dog", "D"]
    assert [json.loads(line)["prompt"] for line in kept.read_text().splitlines()] == ["a", "b", "c", "d"]
    assert program("sys.exit(1)", answers=kept)(["d", "a"]) == ["D", "dog"]


def test_a_file_of_something_else_is_not_taken_for_answers(program, tmp_path):
    kept = tmp_path / "answers.jsonl"
    kept.write_text("dog\n")
    with pytest.raises(InsightError, match=r"answers\.jsonl, line 1: expected an answer that was kept"):
        program(ECHO, answers=kept)(["a"])
    assert kept.read_text() == "dog\n"
