"""A virtual environment for each peer, with the running interpreter's torch: made once, kept in a folder you choose.

A peer's own requirements go into its own environment, in the versions that it asks for; whatever of them the running
interpreter already has is used from there (a .pth file says where), so that torch is the same for all and nothing as
large is installed twice.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

import torch

from sae.errors import InsightError
from sae.files import read_json, write_json

SAEV_COMMIT = "3d73f1f7122738563404e4c50a98d897aa18a7d0"
REQUIREMENTS: dict[str, list[str]] = {
    "dictionary_learning": ["dictionary-learning==0.1.0"],
    "sparsify": ["eai-sparsify==1.3.3"],
    "sae_lens": ["sae-lens==6.54.12"],
    "overcomplete": ["overcomplete==0.3.0"],
    "saev": [f"saev @ git+https://github.com/OSU-NLP-Group/saev@{SAEV_COMMIT}"],
}
"""What is measured. The saev of the package index (0.1.0) is of another architecture; the repository's is taken."""
_OF_SAEV = ["beartype>=0.19", "orjson>=3.11", "cloudpickle", "psutil", "wandb", "einops", "submitit>=1.5.4"]
"""saev asks for notebooks, databases and Python 3.12 as well; its training loop runs without and on 3.11."""
OWN = ("insight", "floor")
"""Modules of this folder which need nothing but our own package."""


def python_of(peer: str, folder: Path, sources: Mapping[str, str]) -> Path:
    """The interpreter to run `benchmarks.peers.<peer>` with; makes its environment under `folder` where it is missing.

    `sources` replaces a peer's requirement (such as `saev` by a clone on disk). `InsightError`: it cannot be installed.
    """
    if peer in OWN:
        return Path(sys.executable)
    if peer not in REQUIREMENTS:
        raise InsightError(f"peers: expected some of {list(REQUIREMENTS)}, found {peer}")
    wanted = [sources[peer]] if peer in sources else REQUIREMENTS[peer]
    environment = folder / peer
    python = environment / "bin" / "python"
    made = environment / "made.json"
    recipe = {"requirements": wanted, "torch": torch.__version__, "packages": _packages_here()}
    if not made.exists() or read_json(made) != recipe:
        venv.create(environment, clear=True, symlinks=True)
        _link_packages(environment)
        _install(python, peer, wanted)
        write_json(made, recipe)
    return python


def _install(python: Path, peer: str, wanted: list[str]) -> None:
    with_torch = [f"torch=={torch.__version__.partition('+')[0]}"]
    if peer == "saev":
        _pip(python, [*_OF_SAEV, *with_torch])
        _pip(python, ["--no-deps", "--ignore-requires-python", *wanted])
    else:
        _pip(python, [*wanted, *with_torch])


def _pip(python: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        complaint = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise InsightError(f"pip install {' '.join(arguments)}: {complaint[-1]}")


def _packages_here() -> str:
    return sysconfig.get_paths()["purelib"]


def _link_packages(environment: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = environment / "lib" / version / "site-packages"
    (own / "of-the-running-interpreter.pth").write_text(_packages_here() + "\n", encoding="utf-8")
