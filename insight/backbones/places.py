"""Where the weights of a backbone lie on this machine, and what would bring them here. Looks; fetches nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sae.errors import InsightError

from .names import Name
from .weights import WeightSet


@dataclass(frozen=True)
class Place:
    """origin: what has the weights, in words ("" when nothing does); here: their file or folder on this machine, None
    when there is none; kept_by: whose cache that is; downloadable: whether loading would bring them here."""

    origin: str
    here: Path | None
    kept_by: str = ""
    downloadable: bool = True


def place_of_set(weights: WeightSet) -> Place:
    """Of weights that this project pins: its own cache, or the hub's, from where they are taken without a download."""
    origin = f"the hub ({weights.hub}) or the package registry ({weights.requirement})"
    if all((weights.folder / file.name).is_file() for file in weights.files):
        return Place(origin, weights.folder, "insight's cache")
    cached = [in_hub_cache(weights.hub, [file.in_hub]) for file in weights.files]
    return Place(origin, cached[0] if all(cached) else None, "the hub's cache")


def place_of(name: Name) -> Place:
    """Of an open_clip or timm model that is known to its library, where that library would look."""
    if name.kind == "timm":
        return _place_of_timm(name.model)
    schema, _, rest = name.model.partition(":")
    if schema == "local-dir":
        return _place_of_own(rest)
    if schema == "hf-hub":
        return _place_of_openclip_repository(rest, "")
    return _place_of_tag(name.model, name.pretrained or "")


def check_whole(path: Path, name: str) -> None:
    """`InsightError` when a checkpoint on this machine is cut short: a download that broke off, a full disk.

    Looks at the beginning of a safetensors file and at the end of a PyTorch one; other files pass.
    """
    reason = None
    with path.open("rb") as stream:
        start = stream.read(8)
        size = stream.seek(0, os.SEEK_END)
    if size == 0:
        reason = "is empty"
    elif path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            reason = f"is not a whole safetensors file ({str(error)[:80]})"
    elif start[:4] == b"PK\x03\x04":
        import zipfile

        if not zipfile.is_zipfile(path):
            reason = "is cut short"
    if reason:
        # In the hub's cache this is a link; its target would be taken for the whole file again.
        raise InsightError(f"{name}: {path.resolve()} {reason}; delete this file and get it again")


def _place_of_tag(model: str, pretrained: str) -> Place:
    import open_clip

    config = open_clip.get_pretrained_cfg(model, pretrained)
    if not config:
        return _place_of_own(pretrained)
    repository, filename = os.path.split(config.get("hf_hub") or "")
    if repository:
        return _place_of_openclip_repository(repository, filename)
    file = Path("~/.cache/clip").expanduser() / Path(config.get("url", "")).name
    return Place(config.get("url", ""), file if file.is_file() else None, "open_clip's cache")


def _place_of_own(path: str) -> Place:
    """Of a file or folder that the user names."""
    own = Path(path).expanduser()
    return Place(path, own if own.exists() else None, "you", downloadable=False)


def _place_of_openclip_repository(repository: str, filename: str) -> Place:
    filename = filename or "open_clip_pytorch_model.bin"
    safe = "open_clip_model.safetensors" if filename == "open_clip_pytorch_model.bin" else _as_safetensors(filename)
    return Place(f"the hub ({repository})", in_hub_cache(repository, [safe, filename]), "the hub's cache")


def _place_of_timm(model: str) -> Place:
    import timm

    config = timm.get_pretrained_cfg(model)
    if config is None or not (config.hf_hub_id or config.url):
        return Place("", None, downloadable=False)
    if config.hf_hub_id:
        filename = config.hf_hub_filename or "pytorch_model.bin"
        safe = "model.safetensors" if filename == "pytorch_model.bin" else _as_safetensors(filename)
        here = in_hub_cache(config.hf_hub_id, [safe, filename])
        return Place(f"the hub ({config.hf_hub_id})", here, "the hub's cache")
    from torch.hub import get_dir

    url = str(config.url)
    file = Path(get_dir()) / "checkpoints" / Path(url).name
    return Place(url, file if file.is_file() else None, "torch's cache")


def _as_safetensors(filename: str) -> str:
    return str(Path(filename).with_suffix(".safetensors"))


def in_hub_cache(repository: str, filenames: list[str]) -> Path | None:
    """The first of the files that the hub's client has downloaded, whole as far as it knows."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    found = (try_to_load_from_cache(repository, filename, revision=revision or None) for filename in filenames)
    return next((Path(path) for path in found if isinstance(path, str)), None)
