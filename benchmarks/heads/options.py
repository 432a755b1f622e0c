"""The command line that the three benchmarks share, and what follows from it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.concepts.texts import TextSpace
from benchmarks.heads import settings
from benchmarks.heads.caches import Workplace
from benchmarks.heads.dictionaries import Maker
from insight.cache import FeatureCache

FEW = 20
"""Photographs of a set, or of a class of it, in a smoke test."""
FEW_WORDS = 100


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The options that all three have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets of photographs")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made once")
    parser.add_argument("--birds", type=Path, help="the photographs of the demo, to train dictionaries on as well")
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--concepts", type=int, help=f"of a dictionary (default: {settings.CONCEPTS})")
    parser.add_argument("--steps", type=int, help=f"of training (default: {settings.STEPS})")
    parser.add_argument("--seeds", type=int, help=f"dictionaries of a kind (default: {settings.SEEDS}, 1 with --quick)")
    parser.add_argument("--only", help="kinds of dictionaries, by commas (default: all)")
    parser.add_argument(
        "--extra", action="append", default=[], type=_named_spec, metavar="NAME=SPEC", help="another set of photographs"
    )
    parser.add_argument("--quick", action="store_true", help=f"{FEW} photographs of each set, small dictionaries")
    return parser


def read_options(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """The options, with those that --quick sets."""
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else settings.SEEDS)
    options.concepts = options.concepts or (256 if options.quick else settings.CONCEPTS)
    options.steps = options.steps or (100 if options.quick else settings.STEPS)
    return options


class Setting:
    """What every benchmark begins with."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.place = Workplace(options.work, options.backbone, FEW if options.quick else None)
        self.general = self.place.general(options.data, "train", options.birds)
        self.texts = TextSpace(self.place.backbone, options.work / "vocabularies")
        folder = options.work / "dictionaries"
        words = FEW_WORDS if options.quick else settings.WORDS
        self.maker = Maker(folder, self.general, self.texts, options.concepts, options.steps, options.seeds, words)

    def kinds(self, names: Sequence[str]) -> list[str]:
        """Those asked for, of these."""
        only = self.options.only
        return [name for name in names if only is None or name in only.split(",")]

    def held_out(self) -> FeatureCache:
        """The cache of photographs that no dictionary was trained on."""
        return self.place.general(self.options.data, "test")

    def described(self, names: Sequence[str]) -> dict[str, Any]:
        """What was run, for the record."""
        constants = {
            name.lower(): value for name, value in vars(settings).items() if name.isupper() and name != "SPECS"
        }
        own = {name: getattr(self.options, name) for name in ("backbone", "concepts", "steps", "seeds", "quick")}
        general = {"training_photos": self.general.n_images, "threads": torch.get_num_threads()}
        return {**constants, **own, **general, "dictionaries": list(names)}


def show(row: dict[str, Any]) -> None:
    """One row for a person."""
    value = "–" if row["value"] is None else f"{row['value']:.4f}"
    bounds = "" if row["interval"] is None else "[{:.4f}, {:.4f}]".format(*row["interval"])
    keys = ("data", "how", "budget", "by", "figure", "against")
    print(" | ".join(str(row[key]) for key in keys if row.get(key) is not None), value, bounds, flush=True)


def _named_spec(text: str) -> tuple[str, str]:
    name, equals, spec = text.partition("=")
    if not (name and equals and spec):
        raise argparse.ArgumentTypeError(f"expected NAME=SPEC of a source of images, found {text!r}")
    return name, spec
