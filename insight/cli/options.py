"""What several commands ask for: the flags, their defaults and their help, said once.

`Maybe…` are flags that may be left out; what happens then stands in their help, so tyro is not to say "default: None".
"""

from pathlib import Path
from typing import Annotated

import tyro

Model = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL", help="Folder of a model.")]
ReadModel = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="MODEL", help="Folder of a model, or `small`, which comes with the package."),
]
MaybeModel = Annotated[ReadModel, tyro.conf.arg(metavar="[MODEL]")]
Cache = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CACHE", help="Folder of a feature cache.")]
Photos = Annotated[
    tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER", help="Folder of photographs, searched recursively.")
]
Folder = Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
MaybeFolder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")]
MaybeFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
MaybeInt = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
MaybeFloat = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]
MaybeText = Annotated[str | None, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]
Templates = Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT...")]
BackboneName = Annotated[str, tyro.conf.arg(metavar="NAME")]
Texts = Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT...", help_behavior_hint="")]
Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
Device = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="DEVICE",
        help="Where to compute: cpu, cuda, cuda:1 … (default: cuda when there is one).",
        help_behavior_hint="",
    ),
]


def pick_device(device: str | None) -> str:
    """The device asked for, or CUDA when there is one, else the CPU; `InsightError` for one that is not there."""
    import torch

    from sae.errors import InsightError

    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # a misspelt name, no driver, no such number
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise InsightError(
            f"--device {device}: no such device here; expected {' or '.join(there)}, or leave --device out"
        ) from None
    return device
