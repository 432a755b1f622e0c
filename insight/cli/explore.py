"""`insight explore`: a model in the browser."""

from pathlib import Path
from typing import Annotated

import tyro

from ..defaults import MODEL
from .options import Device, MaybeInt, MaybeModel, pick_device

Images = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER|CACHE", help_behavior_hint="")]
Heads = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER...", help_behavior_hint="")]
Second = Annotated[str | None, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")]
Host = Annotated[str, tyro.conf.arg(metavar="ADDRESS")]
Open = Annotated[bool, tyro.conf.arg(name="open", help_behavior_hint="")]


def explore(
    model: MaybeModel = MODEL,
    /,
    images: Images = None,
    heads: Heads = (),
    compare: Second = None,
    host: Host = "127.0.0.1",
    port: MaybeInt = None,
    open_page: Open = False,
    device: Device = None,
) -> None:
    """Explore MODEL in a browser: its concepts and their graph, photos you drop, two models side by side, edits.

    The page is served from this machine alone, and nothing leaves it; Ctrl-C ends it.

    Example: insight explore model --images cache --heads head

    Args:
        images: Folder of the photographs the model was built from, or a feature cache of any photographs (default: the
            cache that `insight build` or `insight demo` left beside the model).
        heads: Folders of classifiers or segmenters of MODEL, to classify and segment with.
        compare: A second model: its folder, or `small`.
        host: Address to answer at. Any but 127.0.0.1 lets others on the network in, and they can edit the model.
        port: Port to answer at (default: 7860, or the next one that is free).
        open_page: Open the page in a browser.
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
