"""A person's corrections of a model: names, merges, hidden concepts and relations, in one small file beside it.

`edits.json` is never written by training, relating or naming. `Edits` changes it; `ConceptModel.from_pretrained`
applies it, after each concept has been found again by its direction. docs/editing.md describes the file.
"""

from .applied import Applied
from .edits import Edits
from .record import Edit

__all__ = ["Applied", "Edit", "Edits"]
