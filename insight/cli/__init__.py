"""The command line: `insight COMMAND --help` teaches each. One file a command; heavy imports wait until it runs."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

# Threads that wait asleep: on a machine shared with other work, threads that wait busily make a training step ten times
# slower. The OpenMP library reads this once, when torch loads it, so it stands before every import that may do so.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tyro

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
    find,
    finetune,
    info,
    name,
    relate,
    segment,
    train,
)

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo.demo,
    "build": build.build,
    "explain": explain.explain,
    "concepts": concepts.concepts,
    "info": info.info,
    "backbones": backbones.backbones,
    "cache": cache.cache,
    "train": train.train,
    "relate": relate.relate,
    "name": name.name,
    "edit": edit.edit,
    "segment": segment.segment,
    "classify": classify.classify,
    "find": find.find,
    "attribute": attribute.attribute,
    "finetune": finetune.finetune,
}

DESCRIPTION = """Open up a vision foundation model: learn which concepts it holds, what they are called, how they relate
and where they stand in a picture. Begin with `insight explain PHOTO`, which asks a model that comes with the package,
or `insight demo --out demo`; then `insight build FOLDER --out MODEL` on photographs of your own and `insight explain
MODEL PHOTO --html out.html`. The steps of `build` are commands too: cache, train, relate, name."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Exit codes: 0 done, 2 bad input (one line on standard error), 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="insight", description=DESCRIPTION, args=arguments)
    except InsightError as error:
        print(f"insight: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("insight: interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
