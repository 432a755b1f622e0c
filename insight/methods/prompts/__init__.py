"""Prompts that are learnt: context vectors in front of the classes' words (Zhou et al., CoOp, IJCV 2022)."""

from .placeholders import with_placeholders
from .prompt_learner import PromptLearner

__all__ = ["PromptLearner", "with_placeholders"]
