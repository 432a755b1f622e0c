"""The explorer: a model's concepts, graph, photographs and edits in a browser, served from this machine alone.

`insight explore` starts it; `Explorer.open` and `launch` do from Python. It needs the extra `explore` (gradio).
"""

from .explorer import Explorer
from .refusal import Refusal
from .server import close, launch, make_app, serve

__all__ = ["Explorer", "Refusal", "close", "launch", "make_app", "serve"]
