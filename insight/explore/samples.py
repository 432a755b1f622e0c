"""A few of the photographs behind a model, so that there is something to look at before one is dropped."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from sae.errors import InsightError

from ..model import PHOTO_PIXELS
from .explorer import Explorer

MOST = 6
TRIED = 24


def samples(explorer: Explorer) -> dict[str, Any]:
    """At most six photographs, the same whenever asked, as {"photo": token, "title"}; kept like dropped ones."""
    images = explorer.models[0].images
    if images.folder is None or not images.ids:
        return {"photos": []}
    drawn = np.random.default_rng(0).permutation(len(images.ids))[:TRIED].tolist()
    found: list[dict[str, str]] = []
    for place in drawn:
        if len(found) == MOST:
            break
        image = images.ids[place]
        token = hashlib.sha256(f"{images.folder}\n{image}".encode("utf-8", "backslashreplace")).hexdigest()[:32]
        if explorer.photos.get(token) is None:
            try:
                explorer.photos.keep(token, images.square(image, PHOTO_PIXELS))
            except InsightError:  # a photo that vanished or is damaged: another is drawn
                continue
        found.append({"photo": token, "title": PurePosixPath(image).name})
    return {"photos": found}
