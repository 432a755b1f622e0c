"""Autoencoders of other toolkits: imported from their files (no code in them is run), and exported to SAELens.

Each importer gives a `SparseAutoencoder` with the codes and reconstructions of the toolkit's own. What it cannot carry
over it names in an `InsightError`; nothing is dropped in silence.
"""

from .dictionary_learning import load_dictionary_learning
from .msae import load_msae
from .overcomplete import load_overcomplete
from .saelens import load_saelens
from .saelens_export import export_saelens
from .saev import load_saev

__all__ = [
    "export_saelens",
    "load_dictionary_learning",
    "load_msae",
    "load_overcomplete",
    "load_saelens",
    "load_saev",
]
