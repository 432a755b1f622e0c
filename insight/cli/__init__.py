"""The command line: `insight COMMAND --help` teaches each. One file a command; heavy imports wait until it runs."""

import errno
import os
import signal
import sys
from collections.abc import Sequence

# Threads that wait asleep: on a machine shared with other work, threads that wait busily make a training step ten times
# slower. The OpenMP library reads this once, when torch loads it, so it stands before every import that may do so.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sae.errors import InsightError

from . import (
    attribute,
    backbones,
    build,
    cache,
    classify,
    concepts,
    demo,
    edit,
    explain,
    explore,
    find,
    finetune,
    info,
    name,
    relate,
    report,
    segment,
    train,
)
from .dispatch import HELP, Command, Group, filled, listed, run

SECTIONS: dict[str, dict[str, Command | Group]] = {
    "Look": {
        "explain": explain.explain,
        "concepts": concepts.concepts,
        "explore": explore.explore,
        "report": report.report,
        "find": find.find,
        "info": info.info,
    },
    "Make a model": {
        "demo": demo.demo,
        "build": build.build,
        "edit": edit.edit,
    },
    "Use its concepts": {
        "segment": segment.segment,
        "classify": classify.GROUP,
    },
    "The steps of build, one by one": {
        "cache": cache.GROUP,
        "train": train.train,
        "relate": relate.relate,
        "name": name.name,
        "backbones": backbones.backbones,
    },
    "Published methods": {
        "attribute": attribute.GROUP,
        "finetune": finetune.GROUP,
    },
}
COMMANDS = {name: command for section in SECTIONS.values() for name, command in section.items()}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What a disk refuses for no fault of ours."""
ABOUT = (
    "Open up a vision model: which concepts it holds, what they are called, how they relate, and where they stand in a"
    " picture."
)
FIRST_STEPS = {
    "insight explain photo.jpg --html photo.html": "the concepts of a photo, by a model that comes with the package",
    "insight demo --out demo": "photographs, a model of them and a report to look at, in a few minutes",
    "insight explore demo/model": "its concepts, their graph and your photos in the browser",
    "insight build photos --out model": "a model of photographs of your own",
    "insight explain model photo.jpg --html photo.html": "a photo, explained by it",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Exit codes: 0 done, 2 bad input (one line on standard error), 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if not words or words[0] in HELP:
            print(_overview())
        elif words[0] == "--version":
            from importlib.metadata import version

            print(f"insight {version('insight-concepts')}")
        else:
            run(COMMANDS, words, "insight")
    except InsightError as error:
        print(f"insight: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("insight: interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"insight: {place}{error.strerror}; make room or allow it, then run the command again", file=sys.stderr)
        sys.exit(2)


def _overview() -> str:
    """What a person reads who knows nothing yet: what this is, how to begin, and every command in a line."""
    begin = [f"  {command}\n{filled(what, ' ' * 6, ' ' * 6)}" for command, what in FIRST_STEPS.items()]
    parts = ["usage: insight COMMAND ...", filled(ABOUT), "Begin with\n" + "\n".join(begin)]
    parts += [f"{title}\n{listed(commands)}" for title, commands in SECTIONS.items()]
    parts.append(filled("insight COMMAND --help says how each is used, insight --version which version this is."))
    return "\n\n".join(parts)
