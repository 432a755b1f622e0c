"""Training over several processes: who shares what, and the few exchanges that make the result that of one process.

A step is written for `Ranks`: those that share the tokens of a batch and those that share the concepts of a dictionary.
In a single process both are a group of one, all of whose exchanges do nothing.
"""

from .group import Gathered, Group
from .ranks import ALONE, Parallel, Ranks, leave, local_device, ranks_of

__all__ = ["ALONE", "Gathered", "Group", "Parallel", "Ranks", "leave", "local_device", "ranks_of"]
