"""The explorer as a web server: our page and routes, and gradio's queue for whatever runs an encoder.

In: an `Explorer`. Out: `make_app`, a `gradio.Server`; `serve` runs it until it is interrupted.
"""

from __future__ import annotations

import os
import socket
import threading
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from sae.errors import InsightError

from .explorer import Explorer
from .guard import Guard, hosts_of

if TYPE_CHECKING:
    import gradio

PORT = 7860
PORTS = 100
"""That are tried, one after the other, when none is asked for."""
WAITING = 200
"""Calls in the queue; further ones are told to try again."""
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SHARE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9),
}
"""What gradio reads when it is imported: no request leaves this machine, and it keeps no statistics of calls, which
would cost more with each."""


def require_gradio() -> None:
    """`InsightError` where gradio is missing or too old."""
    os.environ.update(QUIET)
    try:
        from gradio import Server  # noqa: F401
    except ImportError:
        raise InsightError(
            "the explorer needs gradio 6.12 or later, found none; pip install 'insight-concepts[explore]'"
        ) from None


def make_app(explorer: Explorer, host: str = "127.0.0.1") -> gradio.Server:
    """The server, not launched: plain routes answer (also through a test client), the queue once it is launched."""
    require_gradio()
    import gradio

    from .calls import add_calls, refused_call
    from .routes import add_routes

    class ExplorerServer(gradio.Server):
        """Whatever gradio adds, the guard stands before it."""

        def build_middleware_stack(self) -> Any:
            return Guard(super().build_middleware_stack(), hosts_of(host), partial(refused_call, types=types))

    app = ExplorerServer(title="Insight", docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(app, explorer)
    types = add_calls(app, explorer)
    return app


def serve(explorer: Explorer, *, host: str = "127.0.0.1", port: int | None = None, browser: bool = False) -> bool:
    """Answer requests until Ctrl-C. `port`: None: 7860, or the next that is free. One line says where it is.

    False where something still runs in the background and cannot be ended (`Explorer.close`).
    """
    app, address = launch(explorer, host=host, port=port)
    print(f"Explorer of {explorer.models[0].name} at {address} (Ctrl-C ends it)", flush=True)
    if browser:
        import webbrowser

        webbrowser.open(address)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    return close(app, explorer)


def launch(explorer: Explorer, *, host: str = "127.0.0.1", port: int | None = None) -> tuple[gradio.Server, str]:
    """Start to answer, in the background; returns the server and its address. `close` ends it."""
    port = find_port(host, port)
    app = make_app(explorer, host)
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # such photos are refused
    app.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        inbrowser=False,
        inline=False,
        show_error=False,
        enable_monitoring=False,
        ssr_mode=False,
        run_history=False,
        mcp_server=False,
        pwa=False,
        root_path="",
        _frontend=False,
    )
    queue = app.get_blocks()._queue
    queue.max_size = WAITING
    queue.sleep_when_free = 0.02  # a thousand looks a second would keep an idle server busy
    queue.pending_messages_per_session.max_size = 2 * WAITING  # answers that nobody came for
    explorer.start()
    return app, f"http://{f'[{host}]' if ':' in host else host}:{port}"


def close(app: gradio.Server, explorer: Explorer) -> bool:
    """End the server and what runs behind it; False as of `Explorer.close`."""
    ended = explorer.close()
    app.get_blocks().close(verbose=False)
    return ended


def find_port(host: str, port: int | None) -> int:
    """A free port: the one that is asked for, or from 7860 on. `InsightError` where there is none."""
    try:
        family = socket.getaddrinfo(host, None)[0][0]
    except OSError:
        raise InsightError(f"--host: expected an address of this machine, found {host}") from None
    for tried in range(PORT, PORT + PORTS) if port is None else [port]:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, tried))
            except OSError as error:
                reason = error.strerror
                continue
            return tried
    if port is None:
        raise InsightError(f"--port: none of {PORT} to {PORT + PORTS - 1} is free at {host}; give another")
    raise InsightError(f"--port: {port} cannot be had at {host} ({reason}); give another, or none")

