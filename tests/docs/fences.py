"""What stands in the fences of a Markdown file: snippets of Python, and commands of `insight`."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "insight" / "models").glob("*/README.md")],
)
SHELL = {"sh", "bash", "console", ""}
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)


def fences(page: Path, languages: set[str]) -> Iterator[str]:
    """The text of each fence of one of the languages."""
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        if found["language"] in languages:
            yield found["text"]


def insight_commands(page: Path) -> Iterator[list[str]]:
    """The words behind `insight` of each command, also where torchrun or Python starts it; comments left out.

    In a console only lines behind a prompt are commands. `a|b` in the place of a command stands for several.
    """
    for text in fences(page, SHELL):
        lines = text.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        for line in lines:
            if "insight" in line:
                yield from _of_line(line)


def _of_line(line: str) -> Iterator[list[str]]:
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word != "&&":
            words.append(word)
            continue
        if words[:1] == ["insight"]:
            yield words[1:]
        elif "-m" in words and words[words.index("-m") + 1 :][:1] == ["insight"]:
            yield words[words.index("-m") + 2 :]
        words = []
