"""The names of backbones: `parse` reads one, `Name` holds its parts. The grammar stands here and nowhere else.

    small | openclip:MODEL/PRETRAINED | openclip:hf-hub:ORG/NAME | openclip:local-dir:PATH | timm:MODEL

PRETRAINED is one of open_clip's tags or the path of a checkpoint; an empty one (`openclip:MODEL/`, `timm:MODEL/`) means
untrained, for tests. Behind a name may stand +WAY, how patches become features, and behind that @BLOCK.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sae.errors import InsightError

POOLED = ("dino",)  # works on the patches of any encoder
WAYS = {"small": POOLED, "openclip": ("tokens", "sclip", "clearclip", "dino", "dinoiser"), "timm": POOLED}
HELD_ELSEWHERE = ("hf-hub:", "local-dir:")  # open_clip's own prefixes for models that bring their configuration along
FORMS = (
    "expected small, openclip:MODEL/PRETRAINED or timm:MODEL, or one of these with @BLOCK for the tokens that go into a"
    " block (counted from 0), such as small@6"
)
_BLOCK = re.compile(r"(.+)@([0-9]{1,4})")
_WAY = re.compile(r"(.+)\+([A-Za-z0-9_-]*)")


@dataclass(frozen=True)
class Name:
    """kind: "small", "openclip" or "timm"; model: the architecture, or hf-hub:… or local-dir:… as open_clip takes it;
    pretrained: tag or path, "" for untrained, None where nothing is said; way: "value" or one of `WAYS`; block: None,
    or the number in @BLOCK."""

    kind: str
    model: str = ""
    pretrained: str | None = None
    way: str = "value"
    block: int | None = None

    @property
    def source(self) -> str:
        """What the loader of its kind takes: the name without kind, way and block."""
        return self.model if self.pretrained is None else f"{self.model}/{self.pretrained}"

    @property
    def base(self) -> Name:
        """The backbone whose block it is."""
        return replace(self, block=None)

    @property
    def untrained(self) -> bool:
        """Whether it asks for seeded random weights."""
        return self.pretrained == ""

    def __str__(self) -> str:
        """The name as `parse` takes it."""
        way = "" if self.way == "value" else f"+{self.way}"
        block = "" if self.block is None else f"@{self.block}"
        return (f"{self.kind}:{self.source}" if self.source else self.kind) + way + block


def parse(text: str) -> Name:
    """The parts of a backbone's name. `InsightError` for what is not one, with the nearest that would be."""
    rest, block, way = text, None, "value"
    if found := _BLOCK.fullmatch(rest):
        rest, block = found[1], int(found[2])
    if found := _WAY.fullmatch(rest):
        rest, way = found[1], found[2]
    kind, _, source = rest.partition(":")
    if kind not in WAYS or (not source if kind != "small" else rest != "small"):
        raise InsightError(f"no backbone is called {text!r}{_guess(text)}; {FORMS}")
    if way not in ("value", *WAYS[kind]):
        raise InsightError(
            f"{text!r}: {kind} has no way to dense patches called +{way}{meant(way, WAYS[kind])}; expected nothing (its"
            f" own) or {', '.join(f'+{known}' for known in WAYS[kind])}"
        )
    if kind == "openclip" and source.startswith(HELD_ELSEWHERE):
        if source in HELD_ELSEWHERE:
            raise InsightError(f"{text!r} ends where a model should stand; expected hf-hub:ORG/NAME or local-dir:PATH")
        return Name(kind, source, None, way, block)
    if kind == "openclip":
        model, slash, pretrained = source.partition("/")
        return Name(kind, model, pretrained if slash else None, way, block)
    return Name(kind, source.rstrip("/"), "" if source.endswith("/") else None, way, block)


def meant(word: str, known: Iterable[str]) -> str:
    """For a message: " (did you mean A or B?)" with up to three known words spelt like `word`, or nothing."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=3)
    return f" (did you mean {' or '.join(folded[name] for name in near)}?)" if near else ""


def _guess(text: str) -> str:
    """What a text that is no name may have meant, as `meant` says it."""
    kind, colon, _ = text.partition(":")
    if kind in WAYS:
        return ""
    if colon or len(text) <= len("openclip"):
        return meant(kind, WAYS)
    return f" (did you mean openclip:{text}?)" if "/" in text else f" (did you mean timm:{text}?)"
