"""Images and regions found by concept, by text or by example."""

from .hits import Hit, Hits, Region
from .index import ConceptIndex

__all__ = ["ConceptIndex", "Hit", "Hits", "Region"]
