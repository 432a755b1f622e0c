"""A report on a model: what it is, how well it explains, what its concepts are called and how they hang together.

`collect` gathers every fact once into a `Report`; a page, a picture and JSON are made of that one value, so they cannot
disagree.
"""

from .collect import collect
from .values import Report
from .write import write_report

__all__ = ["Report", "collect", "write_report"]
