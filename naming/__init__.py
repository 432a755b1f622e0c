"""Naming: from codes and words to named, related concepts; knows codes on grids of tokens, and nothing of pixels.

Names are imported when first used: word lists do without torch.
"""

from typing import TYPE_CHECKING

from sae.lazy import names_of

if TYPE_CHECKING:
    from .evidence.cooccurrence import Cooccurrence
    from .evidence.evidence import Evidence
    from .evidence.exemplars import Exemplars
    from .evidence.features import FOLDS, FeatureMeans
    from .evidence.peaks import strongest_of_image
    from .evidence.regions import RegionPairs
    from .metrics.abstention import Coverage, calibration_error, coverage_curve
    from .metrics.accuracy import Accuracy, accuracy, advantage, fit_scores
    from .metrics.agreement import Agreement, cosine_agreement, name_agreement
    from .metrics.bootstrap import Interval
    from .metrics.dissect import soft_wpmi
    from .metrics.edges import EdgePrecision, Judge, by_containment, by_masks, by_names, edge_precision, lift
    from .metrics.reference import Overlaps, Reference
    from .names.by_language_model import Clues, Namer, ask_names, command_namer, names_from, prompt_of
    from .names.confidence import Confidence
    from .names.embeddings import Mode, concept_embeddings, region_embeddings, resampled_embeddings
    from .names.nearest import Names, name_concepts
    from .names.relatives import clues_of, titles_of
    from .names.signals import SIGNALS, name_signals, name_stability
    from .relations.build import build_graph, check_rules
    from .relations.candidates import containment
    from .relations.context import ContextPairs
    from .relations.edges import KINDS
    from .relations.graph import ConceptGraph, Edge
    from .relations.published import published_graph
    from .words.composition import Composed, compose
    from .words.lists import LISTS, load_phrases
    from .words.phrases import WordList
    from .words.titles import of_parent, tell_apart, with_article
    from .words.vocabulary import TEMPLATES, Vocabulary
    from .words.wordforms import word_key
    from .words.wordnet import WordNet

__all__ = [
    "FOLDS",
    "KINDS",
    "LISTS",
    "SIGNALS",
    "TEMPLATES",
    "Accuracy",
    "Agreement",
    "Clues",
    "Composed",
    "ConceptGraph",
    "Confidence",
    "ContextPairs",
    "Cooccurrence",
    "Coverage",
    "Edge",
    "EdgePrecision",
    "Evidence",
    "Exemplars",
    "FeatureMeans",
    "Interval",
    "Judge",
    "Mode",
    "Namer",
    "Names",
    "Overlaps",
    "Reference",
    "RegionPairs",
    "Vocabulary",
    "WordList",
    "WordNet",
    "accuracy",
    "advantage",
    "ask_names",
    "build_graph",
    "by_containment",
    "by_masks",
    "by_names",
    "calibration_error",
    "check_rules",
    "clues_of",
    "command_namer",
    "compose",
    "concept_embeddings",
    "containment",
    "cosine_agreement",
    "coverage_curve",
    "edge_precision",
    "fit_scores",
    "lift",
    "load_phrases",
    "name_agreement",
    "name_concepts",
    "name_signals",
    "name_stability",
    "names_from",
    "of_parent",
    "prompt_of",
    "published_graph",
    "region_embeddings",
    "resampled_embeddings",
    "soft_wpmi",
    "strongest_of_image",
    "tell_apart",
    "titles_of",
    "with_article",
    "word_key",
]

__getattr__ = names_of(
    __name__,
    {
        "evidence.cooccurrence": ["Cooccurrence"],
        "evidence.evidence": ["Evidence"],
        "evidence.exemplars": ["Exemplars"],
        "evidence.features": ["FOLDS", "FeatureMeans"],
        "evidence.peaks": ["strongest_of_image"],
        "evidence.regions": ["RegionPairs"],
        "metrics.abstention": ["Coverage", "calibration_error", "coverage_curve"],
        "metrics.accuracy": ["Accuracy", "accuracy", "advantage", "fit_scores"],
        "metrics.agreement": ["Agreement", "cosine_agreement", "name_agreement"],
        "metrics.bootstrap": ["Interval"],
        "metrics.dissect": ["soft_wpmi"],
        "metrics.edges": ["EdgePrecision", "Judge", "by_containment", "by_masks", "by_names", "edge_precision", "lift"],
        "metrics.reference": ["Overlaps", "Reference"],
        "names.by_language_model": ["Clues", "Namer", "ask_names", "command_namer", "names_from", "prompt_of"],
        "names.confidence": ["Confidence"],
        "names.embeddings": ["Mode", "concept_embeddings", "region_embeddings", "resampled_embeddings"],
        "names.nearest": ["Names", "name_concepts"],
        "names.relatives": ["clues_of", "titles_of"],
        "names.signals": ["SIGNALS", "name_signals", "name_stability"],
        "relations.build": ["build_graph", "check_rules"],
        "relations.candidates": ["containment"],
        "relations.context": ["ContextPairs"],
        "relations.edges": ["KINDS"],
        "relations.graph": ["ConceptGraph", "Edge"],
        "relations.published": ["published_graph"],
        "words.composition": ["Composed", "compose"],
        "words.lists": ["LISTS", "load_phrases"],
        "words.phrases": ["WordList"],
        "words.titles": ["of_parent", "tell_apart", "with_article"],
        "words.vocabulary": ["TEMPLATES", "Vocabulary"],
        "words.wordforms": ["word_key"],
        "words.wordnet": ["WordNet"],
    },
)
