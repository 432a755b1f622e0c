"""SIGINT and SIGTERM as a wish that a loop can grant at a good moment, instead of an exception at any moment."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While open, remembers the first of the two signals in `requested`; on leaving, lets it take its usual effect.

    Outside the main thread Python delivers no signals, and nothing is changed. A signal that the process was told to
    ignore (as a shell does for SIGINT of a background job) stays ignored.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._handlers = {number: signal.signal(number, self._remember) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.requested is not None:
            signal.raise_signal(self.requested)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.requested = self.requested or number
