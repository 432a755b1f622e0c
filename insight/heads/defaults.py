"""What heads do when nothing else is said, and why."""

from .pooling import Pooling

POOLING: Pooling = "max+mean"
"""How strongly a concept stands anywhere, and how much of the photo it takes."""
L1_RATIO = 0.99
"""Nearly all of the penalty makes weights vanish; the rest shares a weight between concepts that come together."""
STANDARD_ERRORS = 1.0
"""alpha="auto" takes the strongest penalty whose held-out accuracy is at most so many standard errors below the best:
the fewest concepts that cannot be told from the best (the rule of Breiman et al. 1984)."""
VALIDATION = 0.2
"""Share of the images that are held out to choose the penalty."""
HELD_OUT = 500
"""With fewer images held out others are, in turns (cross-validation), until there are so many or all were."""
TEMPERATURE = 0.01
"""A cosine of one hundredth more makes a class e times as likely: what CLIP learnt (specs/insight.md §1.6)."""
SHARE = 0.9
"""Of a decision's positive contributions, how much the concepts must reach that are counted as its reason."""
ROWS_IN_MEMORY = 4 << 30
"""Bytes of pooled rows that are held in memory; more lie in temporary files that are mapped."""
