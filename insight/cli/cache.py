"""`insight cache`: patch features of a folder of photographs, once, on disk."""

from pathlib import Path
from typing import Literal

from .options import Device, Photos, pick_device


def cache(
    folder: Photos,
    /,
    out: Path,
    backbone: str = "small",
    dtype: Literal["float16", "bfloat16", "float32", "int8"] = "float16",
    batch_size: int = 16,
    device: Device = None,
) -> None:
    """Encode every photo of FOLDER and write its patch features to a cache.

    Photos that cannot be read are skipped, counted and listed in OUT/manifest.json. A killed run goes on where it
    stopped when the same command is given again.

    Args:
        out: Folder to write the cache to.
        backbone: Encoder: `small`, `openclip:MODEL/PRETRAINED` or `timm:MODEL`.
        dtype: How features are stored.
        batch_size: Photos a forward pass.
    """
    from ..backbones import load
    from ..cache import write_cache

    encoder = load(backbone, device=pick_device(device))
    written = write_cache(folder, encoder, out, dtype=dtype, batch_size=batch_size)
    skipped = len(written.manifest["skipped"])
    print(f"{out}: {written.n_images} photos, {written.n_tokens} patches of {written.dim} values", end="")
    print(f"; {skipped} files could not be read and are listed in its manifest" if skipped else "")
