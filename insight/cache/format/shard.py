"""One shard: a safetensors file with the features of some images, written once and read by offset.

With n images, t tokens of each, d numbers a token and p blocks an image (see `blocks`):
`patches` [n, t, d] in the cache's dtype, `pooled` [n, d] float32, `checks` [n, p + 1] int64; for int8 `scales` [n, t]
float32; where not all patches were kept `positions` [n, t] int32, their numbers on the grid; where images have masks
`classes` [n, t] int16, -1 for none. The file is plain safetensors (any reader opens it); it is written and read here
directly, because that way the checksum costs no second pass, memory is what is asked for and no more, and a file cut
short is an error and not a bus error.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sae.errors import InsightError
from sae.files import atomic_write

from .blocks import block_edges, image_checks
from .dtypes import DTYPES

_CODES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
}
_MAX_HEADER = 1 << 16  # ours are below 700 bytes; others may add metadata


@dataclass(frozen=True)
class Form:
    """What the shards of a cache have in common. tokens: of each image; dtype: of the patches; has_positions,
    has_classes: whether there are those tensors."""

    tokens: int
    dim: int
    dtype: str
    has_positions: bool = False
    has_classes: bool = False

    def tensors(self, rows: int) -> dict[str, tuple[torch.dtype, list[int]]]:
        """Type and shape of each tensor of a shard of so many images."""
        found = {
            "patches": (DTYPES[self.dtype], [rows, self.tokens, self.dim]),
            "pooled": (torch.float32, [rows, self.dim]),
            "checks": (torch.int64, [rows, len(block_edges(self.tokens))]),
        }
        if self.dtype == "int8":
            found["scales"] = (torch.float32, [rows, self.tokens])
        if self.has_positions:
            found["positions"] = (torch.int32, [rows, self.tokens])
        if self.has_classes:
            found["classes"] = (torch.int16, [rows, self.tokens])
        return found

    @property
    def rest(self) -> list[str]:
        """The tensors that the last column of the checks is of, in their order."""
        return ["pooled", *(["positions"] if self.has_positions else []), *(["classes"] if self.has_classes else [])]


def with_checks(tensors: dict[str, Tensor], form: Form) -> dict[str, Tensor]:
    """The tensors of a shard and their `checks`."""
    others = [tensors[name] for name in form.rest]
    return tensors | {"checks": image_checks(tensors["patches"], tensors.get("scales"), others)}


def write_shard(path: Path, tensors: dict[str, Tensor]) -> tuple[int, str]:
    """Write the tensors as a safetensors file, whole or not at all → (bytes, SHA-256 of the file)."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # wide ones first: all aligned
    header: dict[str, Any] = {}
    offset = 0
    for name in order:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    digest = hashlib.sha256()
    try:
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            for piece in (struct.pack("<Q", len(text)), text, *(bytes_of(tensors[name]) for name in order)):
                digest.update(piece)
                file.write(piece)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say on which file it was noticed
        raise
    return 8 + len(text) + offset, digest.hexdigest()


@dataclass(frozen=True)
class Shard:
    """A shard whose header has been checked. starts: where each tensor begins in the file, in bytes."""

    path: Path
    rows: int
    form: Form
    starts: dict[str, int]

    @classmethod
    def open(cls, path: Path, form: Form, *, rows: int, size: int) -> Shard:
        """Check the file's size in bytes and its header against what the manifest says.

        Reads only the header; `InsightError` names the file, what was expected and what was found.
        """
        try:
            found = path.stat().st_size
            if found != size:
                raise _wrong(path, f"{size} bytes", f"{found}")
            with path.open("rb") as file:
                header, start = _read_header(path, file, size)
        except OSError as error:
            raise InsightError(
                f"{path}: cannot be read ({error.strerror}); put it back or make the cache again"
            ) from None
        expected = form.tensors(rows)
        starts = {
            name: start + _check_tensor(path, name, header.get(name), *kind, size - start)
            for name, kind in expected.items()
        }
        ends = [starts[name] + math.prod(shape) * dtype.itemsize for name, (dtype, shape) in expected.items()]
        if sorted([*starts.values(), size]) != sorted([start, *ends]):
            raise _wrong(path, "tensors that lie one behind the other", "overlaps or gaps")
        return cls(path, rows, form, starts)

    @contextmanager
    def opened(self) -> Iterator[FileIO]:
        """The file, for `read`; a file that cannot be opened or read any more is an `InsightError`."""
        try:
            with self.path.open("rb", buffering=0) as file:
                yield file
        except OSError as error:
            raise InsightError(
                f"{self.path}: cannot be read ({error.strerror}); put it back or make the cache again"
            ) from None

    def read(self, file: FileIO, offset: int, out: Tensor) -> None:
        """Fill the contiguous CPU tensor `out` with the bytes of the `opened` file from `offset` on."""
        file.seek(offset)
        view = memoryview(bytes_of(out))
        while len(view):
            count = file.readinto(view)
            if not count:
                raise InsightError(
                    f"{self.path}: ends too early; it changed after the cache was opened; put it back or open it again"
                )
            view = view[count:]

    def tensor(self, file: FileIO, name: str, first: int = 0, rows: int | None = None) -> Tensor:
        """Rows `first` to `first + rows` (default: all from there on) of one of the tensors, as it is stored."""
        dtype, (all_rows, *shape) = self.form.tensors(self.rows)[name]
        out = torch.empty([all_rows - first if rows is None else rows, *shape], dtype=dtype)
        self.read(file, self.starts[name] + first * math.prod(shape) * dtype.itemsize, out)
        return out


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, in bounded memory."""
    digest = hashlib.sha256()
    try:
        if path.exists() and not path.is_file():  # a pipe or a device has no end
            raise InsightError(f"{path}: expected a file, found something else; restore it or make the cache again")
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    except OSError as error:
        raise InsightError(f"{path}: cannot be read ({error.strerror}); put it back or make the cache again") from None
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> Any:
    """The memory of a contiguous CPU tensor, or of a contiguous copy."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def _read_header(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    head = file.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 0 < length <= min(_MAX_HEADER, size - 8):
        raise _wrong(path, f"a safetensors header of at most {_MAX_HEADER} bytes", f"one of {length}")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        raise _wrong(path, "a safetensors header in JSON", "something else") from None
    if not isinstance(header, dict):
        raise _wrong(path, "a safetensors header", f"a {type(header).__name__}")
    return header, 8 + length


def _check_tensor(path: Path, name: str, entry: Any, dtype: torch.dtype, shape: list[int], available: int) -> int:
    if not isinstance(entry, dict):
        raise _wrong(path, f"a tensor `{name}`", "none")
    kind = (_CODES[dtype], shape)
    if (entry.get("dtype"), entry.get("shape")) != kind:
        raise _wrong(path, f"`{name}` to be {kind[0]} {shape}", f"{entry.get('dtype')} {entry.get('shape')}"[:200])
    need = math.prod(shape) * dtype.itemsize
    offsets = entry.get("data_offsets")
    match offsets:
        case [int(start), int(end)] if start >= 0 and end - start == need and end <= available:
            return start
    raise _wrong(path, f"`{name}` to lie on {need} bytes of the file", f"offsets {offsets}"[:200])


def _wrong(path: Path, expected: str, found: str) -> InsightError:
    return InsightError(f"{path}: damaged shard: expected {expected}, found {found}; make the cache again")
