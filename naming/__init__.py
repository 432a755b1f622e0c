"""Naming: from codes and words to named, related concepts; knows nothing of images."""

from .cooccurrence import Cooccurrence
from .exemplars import Exemplars
from .metrics import Agreement, cosine_agreement, name_agreement
from .names import Names, concept_embeddings, name_concepts
from .phrases import WordList, load_phrases
from .relations import ConceptGraph, build_graph, containment, published_graph
from .vocabulary import Vocabulary
from .wordforms import word_key

__all__ = [
    "Agreement",
    "ConceptGraph",
    "Cooccurrence",
    "Exemplars",
    "Names",
    "Vocabulary",
    "WordList",
    "build_graph",
    "concept_embeddings",
    "containment",
    "cosine_agreement",
    "load_phrases",
    "name_agreement",
    "name_concepts",
    "published_graph",
    "word_key",
]
