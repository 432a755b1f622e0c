"""`insight explore`: a model in the browser."""

from pathlib import Path
from typing import Annotated

import tyro

from ..defaults import MODEL
from .options import Device, ReadModel, pick_device

Port = Annotated[int | None, tyro.conf.arg(metavar="N", help="Port (default: 7860, or the next one that is free).")]
Open = Annotated[bool, tyro.conf.arg(name="open", help="Open the page in a browser.")]


def explore(
    model: ReadModel = MODEL,
    /,
    images: Path | None = None,
    heads: tuple[Path, ...] = (),
    compare: str | None = None,
    host: str = "127.0.0.1",
    port: Port = None,
    open_page: Open = False,
    device: Device = None,
) -> None:
    """Explore MODEL in a browser: its concepts and their graph, photos you drop, two models side by side, edits.

    The page is served from this machine alone, and nothing leaves it; Ctrl-C ends it.

    Args:
        images: Folder of the photographs the model was built from, or a feature cache of any photographs (default: the
            cache that `insight build` or `insight demo` left beside the model).
        heads: Folders of classifiers or segmenters of MODEL, to classify and segment with.
        compare: A second model: its folder, or `small`.
        host: Address to answer at. Any but 127.0.0.1 lets others on the network in, and they can edit the model.
    """
    import os
    import sys

    from sae.errors import InsightError

    if port is not None and not 1 <= port <= 65535:
        raise InsightError(f"--port: expected a number from 1 to 65535, found {port}")

    from ..explore.server import find_port, require_gradio, serve

    find_port(host, port)
    require_gradio()

    from ..explore import Explorer

    opened = Explorer.open(model, images=images, heads=heads, compare=compare, device=pick_device(device))
    if not serve(opened, host=host, port=port, browser=open_page):
        sys.stdout.flush()
        os._exit(0)  # an interpreter that ends in the usual way under a loading encoder aborts
