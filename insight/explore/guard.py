"""What every request passes before anything else, and what every answer carries.

In: an ASGI application. Out: one that answers this host alone, keeps most of gradio's routes shut, reads no body
without a bound, and forbids browsers to load anything from elsewhere.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST_JSON = 64 << 10
UPLOAD = "/api/photos"
"""The one route that reads a larger body; it has a bound of its own."""
READ_OF_GRADIO = re.compile(
    r"/config/?|/gradio_api/(info/?|startup-events|queue/(data|status)|heartbeat/[\w-]+|call/\w+/[\w-]+)"
)
SENT_TO_GRADIO = re.compile(r"/gradio_api/(queue/join|call/\w+/?)")
"""What the page and `gradio_client` need of gradio: the queue and its description. Files, uploads, the proxy, logins,
monitoring and the rest stay shut."""
DATA = "/gradio_api/queue/data"
STREAMS = re.compile(r"/gradio_api/(queue/data|call/)")
OURS = re.compile(r"/|/app/.*|/api/.*")
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; object-src 'none';"
        " base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
LOCAL = ("localhost", "127.0.0.1", "::1")


class Guard:
    """`hosts`: names this server answers to, without port (None: any). `refused`: of a path and a body of JSON, the
    status and sentence to answer with, or None where it may go on."""

    def __init__(
        self, app: App, hosts: Iterable[str] | None, refused: Callable[[str, bytes], tuple[int, str] | None]
    ) -> None:
        self._app = app
        self._refused_body = refused
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":  # a websocket: nothing here speaks it
            return await send({"type": "websocket.close", "code": 1008})

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message.get("headers", []) if k.lower().decode("latin-1") not in HEADERS]
                message["headers"] = [*kept, *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if (refused := self._refused(scope, headers)) is not None:
            return await _answer(guarded, *refused)
        if STREAMS.match(scope["path"]) and scope["method"] == "GET":
            return await self._stream(scope, receive, guarded)
        if scope["method"] in ("GET", "HEAD") or scope["path"] == UPLOAD:
            return await self._app(scope, receive, guarded)
        body = await _body(receive, headers.get("content-length"))
        if body is None:
            return await _answer(guarded, 413, f"expected at most {MOST_JSON >> 10} kB of JSON, found more")
        if body and not _is_json(body):
            return await _answer(guarded, 400, "expected JSON, found something else")
        if (refused := self._refused_body(scope["path"], body)) is not None:
            return await _answer(guarded, *refused)
        await self._app(scope, _replay(body, receive), guarded)

    async def _stream(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """An answer out of the queue. Of a call it does not know gradio begins to tell, and then breaks off with an
        error: so the beginning waits for what comes next, and such a call is answered with 404."""
        held: list[Message] = []
        sent = False

        async def late(message: Message) -> None:
            nonlocal sent
            held.append(message)
            if sent or len(held) > 2 or scope["path"] == DATA:
                sent = True
                while held:
                    await send(held.pop(0))

        try:
            await self._app(scope, receive, late)
        except RuntimeError as error:
            if not isinstance(error.__cause__, HTTPException):
                raise
            if sent:
                await send({"type": "http.response.body", "body": b""})
            else:
                await _answer(send, 404, "this call is not in the queue; ask again")
        else:
            while held:
                await send(held.pop(0))

    def _refused(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and sentence for a request that goes no further."""
        host = _name_of(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return 403, "this explorer answers to the address it was started at alone"
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD", "POST", "DELETE"):
            return 405, "expected GET, POST or DELETE"
        of_gradio = SENT_TO_GRADIO if scope["method"] == "POST" else READ_OF_GRADIO
        if not (OURS.fullmatch(path) or of_gradio.fullmatch(path)):
            return 404, "there is nothing here; the explorer is at /"
        origin = headers.get("origin")
        if scope["method"] in ("POST", "DELETE"):
            foreign = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
            if foreign or (origin is not None and urlsplit(origin).netloc != headers.get("host")):
                return 403, "expected a request of the explorer's own page, found one of another site"
        return None


def hosts_of(host: str) -> list[str] | None:
    """The names a server bound to `host` answers to: of the own machine alone its local ones, else any."""
    name = host.strip("[]").lower()
    try:
        local = ipaddress.ip_address(name).is_loopback
    except ValueError:
        local = name == "localhost"
    return [*dict.fromkeys((name, *LOCAL))] if local else None


def _name_of(host: str) -> str:
    """"127.0.0.1" of "127.0.0.1:7860", "::1" of "[::1]:7860"."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


async def _body(receive: Receive, length: str | None) -> bytes | None:
    """The whole body, None as soon as it is larger than `MOST_JSON`."""
    if length is not None and (not length.isdecimal() or int(length[:12]) > MOST_JSON):
        return None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_JSON:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _is_json(body: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(body, parse_constant=refuse)  # NaN and infinity are not JSON
    except (ValueError, RecursionError):
        return False
    return True


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever else comes: that the other side has gone."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if status == 413 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
