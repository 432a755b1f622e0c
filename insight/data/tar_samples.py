"""From the members of a WebDataset tar to its images, each with the label and the mask that stand beside it.

Members whose names are the same up to the first dot and that follow each other are one sample. What a member is, its
suffix says: an image (.jpg, .png, ...), its mask (.seg.png, .mask.png) or its label (.cls, .label, or `label` in
.json). If a sample has an image named by the key alone (`key.jpg`), that is its image and others (`key.depth.png`) are
not; without one every image of it counts (`key.left.jpg`, `key.right.jpg`), called by its name without suffix.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from .folder import SUFFIXES
from .tar_format import DamagedTar, Member, TarReader

MAX_BYTES = 1 << 27  # of one image or mask as stored, 128 MB
MAX_HELD = 1 << 28  # of one sample; it is cut in two where it has more
_MAX_MEMBERS = 256  # of one sample, likewise
_MAX_TEXT = 1 << 20  # of a label or of JSON
_MAX_NAME = 4096
_MASKS = (".seg.png", ".mask.png")
_LABELS = (".cls", ".label")


@dataclass(frozen=True)
class TarImage:
    """name: the member's path in the tar without suffix; data: the bytes of the file, or why there are none."""

    name: str
    data: bytes | str
    label: str | None = None
    mask: bytes | None = None


@dataclass
class _Sample:
    key: str
    images: list[tuple[str, bytes | str]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    masks: dict[str, bytes] = field(default_factory=dict)
    held: int = 0

    def full(self) -> bool:
        return self.held > MAX_HELD or len(self.images) + len(self.labels) + len(self.masks) >= _MAX_MEMBERS

    def finished(self) -> Iterator[TarImage]:
        plain = [image for image in self.images if image[0] == self.key]
        for name, data in plain[:1] or self.images:
            yield TarImage(name, data, self.labels.get(name, self.labels.get(self.key)), self.masks.get(name))


def tar_images(reader: TarReader, start: int = 0, masks: bool = False) -> Iterator[TarImage]:
    """The images of a tar in its order, from number `start` on those before have empty data.

    masks: whether masks are read. A link, a device, a name that leads out of the tar and a file of more than 128 MB
    give their reason as data, and nothing of theirs is read. In memory are the files of one sample, up to 512 MB.
    `DamagedTar` after the last image that is whole.
    """
    sample, given = _Sample(""), 0
    try:
        for member in reader.members():
            name, reason = _clean(member)
            role, stem, key = _role(name)
            if role is None:
                continue
            if key != sample.key or sample.full():
                for image in sample.finished():
                    given += 1
                    yield image
                sample = _Sample(key)
            if role == "image":
                data: bytes | str = reason or b""
                if reason is None and given + len(sample.images) >= start:
                    data = reader.data()
                elif reason is None:
                    reader.skip()  # here, so that an image that is cut short is none on this way either
                sample.images.append((stem, data))
                sample.held += member.size if reason is None else 0
            elif reason is None and role == "mask" and masks:
                sample.masks[stem] = reader.data()
                sample.held += member.size
            elif reason is None and role in ("label", "json") and member.size <= _MAX_TEXT:
                label = _label(reader.data(), role)
                if label is not None:
                    sample.labels.setdefault(stem, label)
    except DamagedTar:
        yield from sample.finished()
        raise
    yield from sample.finished()


def _clean(member: Member) -> tuple[str, str | None]:
    """The name without detours, and why nothing is read of this member, None if it may be."""
    parts = [part for part in member.name.split("/") if part not in ("", ".", "..")]
    reason = None
    if member.name.startswith("/") or ".." in member.name.split("/"):
        reason = "its name leads out of the tar"
    elif len(member.name) > _MAX_NAME:
        reason = f"a name of {len(member.name)} characters, expected at most {_MAX_NAME}"
        parts = ["".join(parts)[-100:]]
    elif not member.is_file:
        reason = "not a regular file (links and devices in a tar are not followed)"
    elif member.size > MAX_BYTES:
        reason = f"too large: {member.size} bytes, expected at most {MAX_BYTES}"
    return "/".join(parts), reason


def _role(name: str) -> tuple[str | None, str, str]:
    """What a member is for, its name without suffix, and the key of its sample."""
    base = name.rpartition("/")[2]
    key = name[: len(name) - len(base)] + base.partition(".")[0]
    lower = base.lower()
    if lower.startswith("."):  # hidden, such as macOS's ._0001.jpg
        return None, name, key
    for role, suffixes in (("mask", _MASKS), ("label", _LABELS), ("json", (".json",))):
        for suffix in suffixes:
            if lower.endswith(suffix):
                return role, name[: -len(suffix)], key
    suffix = PurePosixPath(lower).suffix
    return ("image", name[: -len(suffix)], key) if suffix in SUFFIXES else (None, name, key)


def _label(data: bytes, role: str) -> str | None:
    """The label in a file, None where it holds no text or number that could be one."""
    try:
        label = json.loads(data) if role == "json" else data.decode("utf-8").strip()
    except (ValueError, RecursionError):
        return None
    if role == "json":
        label = label.get("label") if isinstance(label, dict) else None
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        return None
    return str(label)[:1000] or None
