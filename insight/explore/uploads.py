"""Files that are on their way in: read piece by piece, never more than is allowed, all of them together bounded too.

In: a request with a body. Out: its bytes, or a `Refusal` as soon as there are too many.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from .photos import MOST_BYTES, too_many_bytes
from .refusal import Refusal

TOGETHER = 256 << 20
"""Bytes of all files that are held at a time."""


class Uploads:
    """The uploads of one server; used by one event loop, so that a plain number counts their bytes."""

    def __init__(self, together: int = TOGETHER) -> None:
        self._together = together
        self.held = 0

    @asynccontextmanager
    async def reading(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request; its bytes count until the context is left. `Refusal` with 413 for a file that is too
        large, 503 while others fill the memory, 400 for one that breaks off."""
        length = request.headers.get("content-length", "")
        if length and (not length.isdecimal() or int(length[:15]) > MOST_BYTES):
            raise Refusal(too_many_bytes(), 413)
        data = bytearray()
        try:
            async for part in request.stream():
                if len(data) + len(part) > MOST_BYTES:
                    raise Refusal(too_many_bytes(), 413)
                if self.held + len(part) > self._together:
                    raise Refusal("busy: too many photos are on their way; try again in a moment", 503)
                self.held += len(part)
                data += part
            yield bytes(data)
        except ClientDisconnect:
            raise Refusal("the file was cut off; drop it again") from None
        finally:
            self.held -= len(data)
