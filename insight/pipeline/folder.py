"""What a step finds in the folder of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae.errors import InsightError
from sae.files import read_json


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model that was trained on a cache; `InsightError` for an autoencoder without a backbone."""
    config = read_json(folder / "config.json")
    if "backbone" not in config:
        raise InsightError(f"{folder}: an autoencoder without a backbone; train by `insight train CACHE --out MODEL`")
    return dict(config)
