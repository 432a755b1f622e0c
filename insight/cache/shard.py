"""One shard: a safetensors file with the features of some images, written once and read by offset.

`patches` [n, h*w, d] in the cache's dtype, `pooled` [n, d] float32 and, for int8, `scales` [n, h*w] float32. The file
is plain safetensors (any reader opens it); it is written and read here directly, because that way the checksum costs no
second pass, memory is what is asked for and no more, and a file cut short is an error and not a bus error.
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

from .dtypes import DTYPES

_CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int8: "I8"}
_MAX_HEADER = 1 << 16  # ours are below 400 bytes; others may add metadata


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
            for piece in (struct.pack("<Q", len(text)), text, *(_bytes(tensors[name]) for name in order)):
                digest.update(piece)
                file.write(piece)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say on which file it was noticed
        raise
    return 8 + len(text) + offset, digest.hexdigest()


@dataclass(frozen=True)
class Shard:
    """A shard whose header has been checked. patches, pooled, scales: where each begins in the file, in bytes."""

    path: Path
    rows: int
    dtype: torch.dtype
    patches: int
    pooled: int
    scales: int | None

    @classmethod
    def open(cls, path: Path, *, rows: int, tokens: int, dim: int, dtype: str, size: int) -> Shard:
        """Check the file's size and header against what the manifest says: tokens = h*w, size in bytes.

        Reads only the header; `InsightError` names the file, what was expected and what was found.
        """
        try:
            found = path.stat().st_size
            if found != size:
                raise _wrong(path, f"{size} bytes", f"{found}")
            with path.open("rb") as file:
                header, start = _read_header(path, file, size)
        except OSError as error:
            raise InsightError(f"{path}: cannot be read ({error.strerror}); make the cache again") from None
        expected = {"patches": (DTYPES[dtype], [rows, tokens, dim]), "pooled": (torch.float32, [rows, dim])}
        if dtype == "int8":
            expected["scales"] = (torch.float32, [rows, tokens])
        starts = {
            name: start + _check_tensor(path, name, header.get(name), *form, size - start)
            for name, form in expected.items()
        }
        return cls(path, rows, DTYPES[dtype], starts["patches"], starts["pooled"], starts.get("scales"))

    @contextmanager
    def opened(self) -> Iterator[FileIO]:
        """The file, for `read`; a file that cannot be opened or read any more is an `InsightError`."""
        try:
            with self.path.open("rb", buffering=0) as file:
                yield file
        except OSError as error:
            raise InsightError(f"{self.path}: cannot be read ({error.strerror})") from None

    def read(self, file: FileIO, offset: int, out: Tensor) -> None:
        """Fill the contiguous CPU tensor `out` with the bytes of the `opened` file from `offset` on."""
        file.seek(offset)
        view = memoryview(_bytes(out))
        while len(view):
            count = file.readinto(view)
            if not count:
                raise InsightError(f"{self.path}: ends too early; it changed after the cache was opened")
            view = view[count:]


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, in bounded memory."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    except OSError as error:
        raise InsightError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


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
    form = (_CODES[dtype], shape)
    if (entry.get("dtype"), entry.get("shape")) != form:
        raise _wrong(path, f"`{name}` to be {form[0]} {shape}", f"{entry.get('dtype')} {entry.get('shape')}"[:200])
    need = math.prod(shape) * dtype.itemsize
    offsets = entry.get("data_offsets")
    match offsets:
        case [int(start), int(end)] if start >= 0 and end - start == need and end <= available:
            return start
    raise _wrong(path, f"`{name}` to lie on {need} bytes of the file", f"offsets {offsets}"[:200])


def _bytes(tensor: Tensor) -> Any:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def _wrong(path: Path, expected: str, found: str) -> InsightError:
    return InsightError(f"{path}: damaged shard: expected {expected}, found {found}; make the cache again")
