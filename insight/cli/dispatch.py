"""From the words of a command line to the command they mean, and the help that leads there.

A command is a function whose parameters are its flags (tyro reads them); a `Group` is a command that has commands of
its own. What is misspelt gets a line with the nearest spelling.
"""

from __future__ import annotations

import difflib
import io
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

import tyro

from sae.errors import InsightError

from .numbers import NUMBERS

Command = Callable[..., Any]
HELP = ("-h", "--help")
_FLAGS = (tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff)


@dataclass(frozen=True)
class Group:
    """A command that has commands of its own: what they are for, and them by name."""

    about: str
    commands: Mapping[str, Command]


def run(commands: Mapping[str, Command | Group], words: Sequence[str], prog: str) -> None:
    """Run the command that the first of `words` names, on those behind it. `InsightError` where there is none."""
    if not words:
        raise InsightError(f"{prog}: expected one of {', '.join(commands)} behind it, found nothing; {prog} --help")
    name, *rest = words
    if name not in commands:
        near = difflib.get_close_matches(name, commands, n=1)
        guess = f"did you mean `{prog} {near[0]}`?" if near else f"expected one of {', '.join(commands)};"
        raise InsightError(f"{prog} has no command {name!r}; {guess} `{prog} --help` says what each does")
    command, prog = commands[name], f"{prog} {name}"
    if not isinstance(command, Group):
        _call(command, rest, prog)
    elif rest and rest[0] in HELP:
        print(f"usage: {prog} COMMAND ...\n\n{filled(command.about)}\n\n{listed(command.commands)}\n")
        print(filled(f"{prog} COMMAND --help says how each is used."))
        sys.exit(0)
    else:
        run(command.commands, rest, prog)


def listed(commands: Mapping[str, Command | Group]) -> str:
    """A line or a few for each command: its name and the first sentence of its help."""
    width = max(11, *map(len, commands)) + 2
    return "\n".join(
        filled(_first_sentence(command), f"  {name:<{width}}", " " * (width + 2)) for name, command in commands.items()
    )


def filled(text: str, first: str = "", other: str = "") -> str:
    """Text in lines as wide as the screen, the first indented by `first`, the others by `other`."""
    return textwrap.fill(text, shutil.get_terminal_size().columns, initial_indent=first, subsequent_indent=other)


def _first_sentence(command: Command | Group) -> str:
    about = command.about if isinstance(command, Group) else getdoc(command) or ""
    return " ".join(about.split("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."


def _call(command: Command, words: Sequence[str], prog: str) -> None:
    if not any(word in HELP for word in words):
        tyro.cli(command, prog=prog, args=words, config=_FLAGS, registry=NUMBERS)
        return
    code: str | int | None = 0
    with redirect_stdout(io.StringIO()) as said:
        try:
            tyro.cli(command, prog=prog, args=words, config=_FLAGS, registry=NUMBERS)
        except SystemExit as stop:
            code = stop.code
    # tyro leaves the paragraphs above its boxes to the terminal, which would break them within words.
    print("\n".join(line.rstrip() if line.startswith(" ") else filled(line) for line in said.getvalue().splitlines()))
    sys.exit(code)
