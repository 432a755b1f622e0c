"""Naming: from codes and words to named, related concepts; knows nothing of images."""

from .evidence.cooccurrence import Cooccurrence
from .evidence.evidence import Evidence
from .evidence.exemplars import Exemplars
from .evidence.features import FOLDS, FeatureMeans
from .evidence.peaks import strongest_of_image
from .evidence.regions import RegionPairs
from .metrics.accuracy import Accuracy, accuracy, advantage
from .metrics.agreement import Agreement, cosine_agreement, name_agreement
from .metrics.bootstrap import Interval
from .metrics.reference import Overlaps, Reference
from .names.embeddings import Mode, concept_embeddings
from .names.nearest import Names, name_concepts
from .relations.before import build_graph
from .relations.candidates import containment
from .relations.graph import ConceptGraph
from .relations.published import published_graph
from .words.lists import LISTS, load_phrases
from .words.phrases import WordList
from .words.vocabulary import TEMPLATES, Vocabulary
from .words.wordforms import word_key
from .words.wordnet import WordNet

__all__ = [
    "FOLDS",
    "LISTS",
    "TEMPLATES",
    "Accuracy",
    "Agreement",
    "ConceptGraph",
    "Cooccurrence",
    "Evidence",
    "Exemplars",
    "FeatureMeans",
    "Interval",
    "Mode",
    "Names",
    "Overlaps",
    "Reference",
    "RegionPairs",
    "Vocabulary",
    "WordList",
    "WordNet",
    "accuracy",
    "advantage",
    "build_graph",
    "concept_embeddings",
    "containment",
    "cosine_agreement",
    "load_phrases",
    "name_agreement",
    "name_concepts",
    "published_graph",
    "strongest_of_image",
    "word_key",
]
