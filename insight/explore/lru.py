"""A bounded memory of things by key, for several threads: what was not asked for longest is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most `most` things whose sizes add up to at most `bound` (size 1 each, unless `size` says another)."""

    def __init__(self, most: int, *, bound: float = float("inf"), size: Callable[[V], int] = lambda value: 1) -> None:
        self._most, self._bound, self._size_of = most, bound, size
        self._held: OrderedDict[K, V] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """What is held under a key, and now the newest; None where nothing is."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: K, value: V) -> None:
        """Hold a value; the oldest go until it fits."""
        with self._lock:
            if key in self._held:
                self._size -= self._size_of(self._held.pop(key))
            self._held[key] = value
            self._size += self._size_of(value)
            while self._held and (len(self._held) > self._most or self._size > self._bound):
                _, gone = self._held.popitem(last=False)
                self._size -= self._size_of(gone)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._size = 0

    def __len__(self) -> int:
        return len(self._held)
