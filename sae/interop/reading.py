"""Files of other toolkits, read without running what is in them: their arrays come out checked, one by one, by name.

In: a file of `torch.save` or safetensors. Out: `Checkpoint`. `InsightError` names the file and what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InsightError
from ..files import read_json


def read_torch(path: Path, file: IO[bytes] | None = None) -> Any:
    """What `torch.save` wrote to a file, or to the rest of an open `file`: tensors and plain values; runs no code."""
    if not path.is_file():
        raise InsightError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            return torch.load(file or path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make the reader raise anything
        if _OBJECTS.search(str(error)):
            raise InsightError(
                f"{path}: expected weights alone, found Python objects, which could run code; where it was written, "
                "save the weights: torch.save(model.state_dict(), file)"
            ) from None
        raise InsightError(f"{path}: expected a file of torch.save, found a damaged one; get it again") from None


def read_safetensors(path: Path) -> Checkpoint:
    """The arrays of a safetensors file."""
    if not path.is_file():
        raise InsightError(f"{path}: no such file")
    try:
        return Checkpoint(path, load_file(path))
    except (SafetensorError, OSError) as error:
        raise InsightError(f"{path}: expected safetensors, found a damaged file ({error}); get it again") from None


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON file which holds an object."""
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise InsightError(f"{path}: expected a JSON object, found {type(settings).__name__}; get it again")
    return settings


_OBJECTS = re.compile("unsupported (global|class)|unrecognized function", re.IGNORECASE)
"""What torch says of a file with more in it than arrays and plain values."""


class Checkpoint:
    """The arrays of one file. Each is taken once; `finish` complains of those that nobody took."""

    def __init__(self, path: Path, arrays: Any) -> None:
        self.path = path
        if not isinstance(arrays, Mapping) or not all(isinstance(value, Tensor) for value in arrays.values()):
            found = _kinds(arrays) if isinstance(arrays, Mapping) else type(arrays).__name__
            raise InsightError(f"{path}: expected a state dict of arrays, found {found}; save model.state_dict()")
        self._arrays = {str(name): value for name, value in arrays.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    @property
    def names(self) -> frozenset[str]:
        """Of the arrays which were not taken yet."""
        return frozenset(self._arrays)

    def take(self, name: str, *shape: int | None) -> Tensor:
        """An array in float64; `shape` is what is expected of it, None where any size will do."""
        if name not in self._arrays:
            raise InsightError(f"{self.path}: expected an array {name}, found {sorted(self._arrays)}")
        array = self._arrays.pop(name)
        wanted = ["any" if size is None else size for size in shape]
        fits = array.dim() == len(shape) and all(want in (None, size) for want, size in zip(shape, array.shape))
        if not fits:
            raise InsightError(f"{self.path}: expected {name} of shape {wanted}, found {list(array.shape)}")
        if not array.dtype.is_floating_point or array.is_quantized or not _is_whole(array):
            raise InsightError(f"{self.path}: expected {name} in plain floating point, found {array.dtype} or a stub")
        array = array.to(torch.float64)
        bad = int((~torch.isfinite(array)).sum())
        if bad:
            raise InsightError(f"{self.path}: expected finite numbers, found {bad} NaN or infinite in {name}")
        return array

    def take_integers(self, name: str) -> list[int]:
        """An array of integers, flattened."""
        if name not in self._arrays:
            raise InsightError(f"{self.path}: expected an array {name}, found {sorted(self._arrays)}")
        array = self._arrays.pop(name)
        if array.dtype.is_floating_point or array.dtype.is_complex or not _is_whole(array):
            raise InsightError(f"{self.path}: expected integers in {name}, found {array.dtype}")
        return [int(value) for value in array.reshape(-1).tolist()]

    def drop(self, *names: str) -> None:
        """Forget arrays which have no part in encoding and decoding, like counters; they may be missing."""
        for name in names:
            self._arrays.pop(name, None)

    def finish(self) -> None:
        """`InsightError` when an array is left: it would mean something that the import had lost."""
        if self._arrays:
            raise InsightError(f"{self.path}: expected no other arrays, found {sorted(self._arrays)}")


def whole_number(path: Path, name: str, value: Any) -> int:
    """A setting that must be a positive integer."""
    if type(value) is not int or value < 1:
        raise InsightError(f"{path}: expected {name}, a whole number of at least 1, found {value!r}")
    return value


def mean_count(path: Path, name: str, value: Any) -> int | None:
    """A setting that is a mean number of active concepts, rounded to at least one; None stays None."""
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise InsightError(f"{path}: expected {name}, a number above 0, found {value!r}")
    return max(1, round(value))


def _is_whole(array: Tensor) -> bool:
    """Whether every number is there: a few bytes can claim to be an array which fills the memory."""
    stored = array.layout == torch.strided and array.device.type == "cpu"
    return stored and array.numel() * array.element_size() <= array.untyped_storage().nbytes()


def _kinds(values: Mapping[Any, Any]) -> str:
    return ", ".join(f"{name}: {type(value).__name__}" for name, value in list(values.items())[:8])


def _number_reader(module: str) -> Callable[..., float]:
    def scalar(dtype: np.dtype[Any], data: bytes) -> float:
        return float(np.frombuffer(data, dtype)[0])

    scalar.__module__, scalar.__qualname__ = module, "scalar"
    return scalar


# A NumPy number among the settings (MSAE's target norm) is written as a call of `scalar` with a type and its bytes.
_NUMPY_NUMBERS: list[Any] = [
    _number_reader("numpy.core.multiarray"),
    _number_reader("numpy._core.multiarray"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
]
