"""One word of the command line → the source of images that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae.errors import InsightError

from .folder import ImageFolder
from .huggingface import HuggingFaceSet
from .image_list import ImageList
from .layouts import LAYOUTS, Layout
from .list_records import SUFFIXES
from .place import FILE, FOLDER, NOTHING, found_at
from .source import ImageSource
from .tar_shards import TarShards, is_url
from .torchvision_set import TorchvisionSet

EXPECTED = (
    "expected a folder of images, a list of them (.txt, .csv, .tsv, .jsonl, .parquet), tar shards"
    " (data/{00000..00099}.tar, pipe:COMMAND, https://...tar), torchvision:NAME?root=FOLDER, hf:NAME?split=train, or"
    f" one of {', '.join(f'{kind}:' for kind in sorted(LAYOUTS))} and a folder (docs/data.md)"
)


def open_source(
    spec: str,
    *,
    masks: Path | str | None = None,
    classes: Path | str | None = None,
    splits: Mapping[str, Path | str] | None = None,
) -> ImageSource:
    """The source that `spec` names: a folder, a list, tars, `torchvision:...`, `hf:...` or a layout (`voc:...`).

    masks: a folder of masks, only for a folder of images; classes: a file that names the classes of the masks, for
    every kind of source (other sources say themselves where an image's mask is); splits: for each split a list of
    its images, only for a folder. `torchvision:NAME?root=FOLDER&train=False` gives what follows the `?` to the dataset
    of that name; nothing is downloaded unless `download=True` is there. `hf:NAME?split=test&config=...&image=COLUMN
    &label=COLUMN&mask=COLUMN&streaming=True` names a dataset of the hub or a local path. `voc:ROOT?split=train`
    and the other layouts (`insight.data.layouts`) know their own masks and classes. `InsightError` for a word that is
    none of these, and when the source cannot be opened, has no image or lacks a tar.
    """
    found = found_at(spec) if spec else NOTHING
    if found == FOLDER:
        folder = ImageFolder(spec, masks=masks, classes=classes, splits=splits)
        folder.require_images()
        return folder
    if masks is not None or splits:
        option = "masks" if masks is not None else "splits"
        raise InsightError(f"{spec}: {option} given apart go with a folder of images only, and this is no folder")
    if spec.startswith("torchvision:"):
        return _torchvision(spec, classes)
    if spec.startswith("hf:") and not spec.startswith("hf://"):
        return _huggingface(spec, classes)
    if spec.partition(":")[0] in LAYOUTS:
        return _layout(spec, classes)
    if Path(spec).suffix.lower() in SUFFIXES and not is_url(spec):
        return ImageList(spec, classes=classes)
    if is_url(spec) or spec.endswith(".tar") or ("{" in spec and ".tar" in spec):
        tars = TarShards(spec, classes=classes)
        next(tars.parts(1))  # one that is missing is said now
        return tars
    raise InsightError(f"{spec}: {EXPECTED}; found {'a file of another kind' if found == FILE else found}")


def _torchvision(spec: str, classes: Path | str | None) -> TorchvisionSet:
    name, options = _query(spec)
    import torchvision.datasets as known

    kind = getattr(known, name, None) if name in known.__all__ else None
    if kind is None:
        raise InsightError(f"{spec}: expected the name of a dataset of torchvision, such as CIFAR10, found {name!r}")
    try:
        dataset = kind(**options)
    except Exception as error:  # whatever a dataset thinks of its arguments and files
        raise InsightError(
            f"{spec}: cannot be opened ({_first_line(error)}); expected options such as root=FOLDER, and"
            " download=True to fetch it"
        ) from None
    split = options.get("split") or options.get("image_set")
    if split is None and "train" in options:
        split = "train" if options["train"] else "test"
    return TorchvisionSet(dataset, name=name, place=spec, split=split, classes=classes)


def _huggingface(spec: str, classes: Path | str | None) -> HuggingFaceSet:
    name, options = _query(spec)
    try:
        import datasets
    except ImportError:
        raise InsightError(f"{spec}: needs the package datasets; pip install datasets") from None
    columns = {option: options.pop(option) for option in ("image", "label", "mask") if option in options}
    split, config = options.pop("split", None), options.pop("config", None)
    streaming = options.pop("streaming", False)
    if options:
        raise InsightError(
            f"{spec}: expected split, config, image, label, mask or streaming after the ?, found {min(options)}"
        )
    saved = any(found_at(Path(name) / file) == FILE for file in ("state.json", "dataset_dict.json"))
    try:
        if saved:
            found = datasets.load_from_disk(name)
            found = found if split is None or not isinstance(found, dict) else found[split]
        else:
            found = datasets.load_dataset(name, config, split=split, streaming=streaming)
    except Exception as error:  # of the hub, of files, of arguments
        raise InsightError(
            f"{spec}: cannot be opened ({_first_line(error)}); expected the folder of a dataset, or one of the hub"
        ) from None
    if isinstance(found, dict):
        if len(found) != 1:
            raise InsightError(f"{spec}: expected one split, found {', '.join(found)}; say which, such as ?split=train")
        (split, found), *_ = found.items()
    label = name if found_at(name) == NOTHING else Path(name).name
    return HuggingFaceSet(found, **columns, classes=classes, name=label, place=spec, split=split)


def _layout(spec: str, classes: Path | str | None) -> Layout:
    name, options = _options(spec)
    layout = LAYOUTS[spec.partition(":")[0]]
    unknown = options.keys() - set(layout.options)
    if unknown or classes is not None:
        found = "a file of classes" if classes is not None else min(unknown)
        raise InsightError(f"{spec}: expected no options but {' and '.join(layout.options)}, found {found}")
    return layout(name, **options)


def _query(spec: str) -> tuple[str, dict[str, Any]]:
    """NAME and the options of `kind:NAME?option=value&...`; True, False and whole numbers are such."""
    name, options = _options(spec)
    values: dict[str, Any] = {"True": True, "False": False}
    return name, {key: int(value) if value.isdecimal() else values.get(value, value) for key, value in options.items()}


def _options(spec: str) -> tuple[str, dict[str, str]]:
    """NAME and the options as text."""
    name, _, query = spec.partition(":")[2].partition("?")
    pairs = [option.split("=", 1) for option in query.split("&")] if query else []
    if any(len(pair) < 2 for pair in pairs):
        raise InsightError(f"{spec}: expected option=value&option=value after the ?, found {query!r}")
    return name, {key: value for key, value in pairs}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
