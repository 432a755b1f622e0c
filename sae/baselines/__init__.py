"""Dictionaries that are no autoencoders: what any learned dictionary has to beat.

Each is a `sae.dictionary.Dictionary`. In: features as a `TokenSource` (a tensor: `TensorSource(x)`). Out: dictionaries
with codes as sparse as is asked for.
"""

from .file import load_dictionary, save_dictionary
from .kmeans import Centroids, fit_kmeans
from .nmf import Parts, fit_nmf
from .pca import fit_pca
from .random import random_dictionary
from .sparse_coding import SparseCoding, fit_sparse_coding

__all__ = [
    "Centroids",
    "Parts",
    "SparseCoding",
    "fit_kmeans",
    "fit_nmf",
    "fit_pca",
    "fit_sparse_coding",
    "load_dictionary",
    "random_dictionary",
    "save_dictionary",
]
