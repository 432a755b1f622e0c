"""A shard in the making: filled batch by batch, logged about once a second, written when it is full."""

from __future__ import annotations

import time

import torch

from ..format.manifest import StoredShard
from ..format.shard import Form, with_checks, write_shard
from .batches import Batch, BatchLog, Seen, tensors_of
from .journal import Journal, Note, shard_name

LOG_EVERY = 1.0  # seconds


class Making:
    """Shard `number` of a part, of one cache; it begins with what a killed run has logged of it.

    size: images that it is to be made of; start: number in the part of the first of them.
    """

    def __init__(self, journal: Journal, form: Form, part: int, number: int, *, size: int, start: int) -> None:
        self.form = form
        self.seen = Seen()
        self.next = start
        self._journal, self._part, self._number = journal, part, number
        self._tensors = {
            name: torch.empty(shape, dtype=dtype) for name, (dtype, shape) in tensors_of(form, size).items()
        }
        self._log = BatchLog(journal.log(part, number), form)
        self._unlogged: list[Batch] = []
        self._logged_at = time.monotonic()
        for batch in self._log.read():
            self._hold(batch)

    def add(self, batch: Batch) -> None:
        """The next batch; it is logged, with those before it, when the last time is a while ago."""
        self._unlogged.append(self._hold(batch))
        if time.monotonic() - self._logged_at >= LOG_EVERY:
            self.keep()

    def keep(self) -> None:
        """Log all that is not logged yet."""
        if self._unlogged:
            self._log.append(self._unlogged)
            self._unlogged = []
        self._logged_at = time.monotonic()

    def finish(self, last: bool) -> None:
        """Write the shard and note it; last: whether the part ends with it."""
        shard, rows = None, len(self.seen.ids)
        if rows:
            tensors = {name: tensor[:rows] for name, tensor in self._tensors.items()}
            file = f"{shard_name(self._part, self._number)}.safetensors"
            shard = StoredShard(file, *write_shard(self._journal.out / file, with_checks(tensors, self.form)), rows)
        self._journal.finish(self._part, self._number, Note(shard, self.seen, self.next, last))
        self._unlogged = []
        self._log.remove()

    def _hold(self, batch: Batch) -> Batch:
        """The same batch, its tensors lying in the shard's."""
        first, rows = len(self.seen.ids), len(batch.seen.ids)
        places = {name: tensor[first : first + rows] for name, tensor in self._tensors.items()}
        for name, place in places.items() if rows else ():
            place.copy_(batch.tensors[name])
        self.seen.extend(batch.seen)
        self.next = batch.next
        return Batch(batch.seen, places, batch.next)
