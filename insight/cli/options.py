"""What several commands ask for: the flags, their defaults and their help, said once."""

from pathlib import Path
from typing import Annotated

import tyro

Model = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL", help="Folder of a model.")]
ReadModel = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="MODEL", help="Folder of a model, or `small`, which comes with the package."),
]
Cache = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CACHE", help="Folder of a feature cache.")]
Photos = Annotated[
    tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER", help="Folder of photographs, searched recursively.")
]
Device = Annotated[
    str | None, tyro.conf.arg(help="Where to compute: cpu, cuda, cuda:1 … (default: cuda when there is one).")
]


def pick_device(device: str | None) -> str:
    """The device asked for, or CUDA when there is one, else the CPU."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")
