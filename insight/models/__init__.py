"""Models that come with the package, and which folder is meant by the name of a model.

Each subfolder is a model, with a card (README.md, card.json). They are read, not written to: to name or edit one anew,
copy its folder.
"""

from __future__ import annotations

from pathlib import Path

from sae.errors import InsightError
from sae.hub import is_repository

from ..data.place import FILE, FOLDER, NOTHING, found_at

_SHIPPED = Path(__file__).parent


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(config.parent.name for config in _SHIPPED.glob("*/config.json"))


def is_model(name: Path | str) -> bool:
    """Whether there is a model of that name on this machine: a folder with `config.json`, or one that is shipped."""
    return found_at(Path(name) / "config.json") == FILE or str(name) in shipped_models()


def model_folder(name: Path | str) -> Path:
    """The folder of a model: the path itself if it holds one, else the shipped model of that name, else from the hub.

    A folder wins over a shipped model of its name. "user/name" is downloaded from the Hugging Face hub if no such path
    exists. `InsightError` where there is no model of that name.
    """
    if found_at(Path(name) / "config.json") == FILE:
        return Path(name)
    if str(name) in shipped_models():
        return _SHIPPED / str(name)
    found = found_at(name)
    if found == NOTHING and is_repository(str(name)):
        return _from_hub(str(name))
    found = "a folder without config.json" if found == FOLDER else found
    raise InsightError(
        f"{name}: no model here; expected the folder of a model, or the name of one that comes with the package"
        f" ({', '.join(shipped_models())}), found {found}; make a model by `insight build`"
    )


def own_folder(path: Path) -> Path:
    """The folder of a model that is to be changed; `InsightError` for the name of a shipped one, or no model."""
    if found_at(path / "config.json") != FILE and str(path) in shipped_models():
        raise InsightError(
            f"{path}: comes with the package and is not written to; copy {model_folder(path)} and name the copy"
        )
    return model_folder(path)


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository))
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise InsightError(
            f"{repository}: no such model folder here, and none could be had from the hub ({type(error).__name__});"
            " check the path, or make a model by `insight build`"
        ) from None
