"""Classes as a person types them: "car|bus, road, sky" are three classes, the first of two words."""

from __future__ import annotations

from .refusal import Refusal

MOST = 100
LONGEST = 4000


def read_classes(text: str) -> dict[str, tuple[str, ...]]:
    """{name: words}; the first word names the class. `Refusal` for too many, or none."""
    if len(text) > LONGEST:
        raise Refusal(f"classes: expected at most {LONGEST} characters, found {len(text)}")
    classes: dict[str, tuple[str, ...]] = {}
    for part in text.split(","):
        words = tuple(word.strip() for word in part.split("|") if word.strip())
        if words:
            if words[0] in classes:
                raise Refusal(f"classes: expected each once, found {words[0]!r} twice")
            classes[words[0]] = words
    if not classes:
        raise Refusal("classes: expected names with commas between them, found none")
    if len(classes) > MOST:
        raise Refusal(f"classes: expected at most {MOST}, found {len(classes)}")
    return classes
