"""Work done ahead of whoever wants its results, by threads, in order, and not too far."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(work: Callable[[T], R], entries: Iterable[T], workers: int, most: int) -> Generator[R, None, None]:
    """`work` done on every entry by so many threads; results come in the order of the entries.

    The entries are taken in one more thread, and one is taken while `most` are being worked on, wait, or are in the
    caller's hands. What fails is raised here, in its turn. `close` it to end the threads.
    """
    results: SimpleQueue[Future[Any] | None] = SimpleQueue()
    slots, stopped = Semaphore(most), Event()

    def take() -> None:
        try:
            for entry in entries:
                slots.acquire()
                if stopped.is_set():
                    return
                results.put(threads.submit(work, entry))
        except BaseException as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            results.put(failed)
        results.put(None)

    with ThreadPoolExecutor(workers) as threads:
        taking = Thread(target=take, daemon=True)
        taking.start()
        try:
            while (result := results.get()) is not None:
                yield result.result()
                slots.release()
        finally:
            stopped.set()
            slots.release()
            taking.join()
            threads.shutdown(cancel_futures=True)
