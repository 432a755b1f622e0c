"""Methods that choose a class together with a rationale: P(class, rationale | photo), of prompts that say both."""

from .chooses_pairs import ChoosesPairs, PairSettings
from .gold import right_rationales
from .scores import Marginals, all_pairs, pair_scores
from .texts import PairTexts

__all__ = ["ChoosesPairs", "Marginals", "PairSettings", "PairTexts", "all_pairs", "pair_scores", "right_rationales"]
