"""Naming: from codes and words to named, related concepts; knows nothing of images."""

from .evidence.cooccurrence import Cooccurrence
from .evidence.exemplars import Exemplars
from .metrics.agreement import Agreement, cosine_agreement, name_agreement
from .names.embeddings import Mode, concept_embeddings
from .names.nearest import Names, name_concepts
from .relations.graph import ConceptGraph, build_graph, containment, published_graph
from .words.phrases import WordList, load_phrases
from .words.vocabulary import TEMPLATES, Vocabulary
from .words.wordforms import word_key

__all__ = [
    "TEMPLATES",
    "Agreement",
    "ConceptGraph",
    "Cooccurrence",
    "Exemplars",
    "Mode",
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
