"""What heads do when nothing else is said, and why."""

from .linear.scaling import Scale
from .pooling import Pooling

POOLING: Pooling = "max+mean"
"""How strongly a concept stands anywhere, and how much of the photo it takes."""
L1_RATIO = 0.9
"""Most of the penalty makes weights vanish; the rest shares a weight between concepts that come together."""
SCALE: Scale = "sqrt"
"""What a feature is divided by before it is penalised. By its whole deviation ("std"), what fires in one photo weighs
as much as what fires in all, and heads on few photos learn those by heart: on training photographs of 200 names of
ImageNet, four a class, accuracy was 0.51 by "std", 0.59 undivided and 0.65 by "sqrt"."""
READABLE = 25
"""alpha="auto" looks among penalties at which a decision rests on so many concepts at most (on average over held-out
images, to `SHARE` of its positive contributions): more than a person will read."""
VALIDATION = 0.2
"""Share of the images that are held out to choose the penalty."""
HELD_OUT = 500
"""With fewer images held out others are, in turns (cross-validation), until there are so many or all were."""
TEMPERATURE = 0.01
"""A cosine of one hundredth more makes a class e times as likely: what CLIP learnt."""
SHARE = 0.9
"""Of a decision's positive contributions, how much the concepts must reach that are counted as its reason."""
ROWS_IN_MEMORY = 4 << 30
"""Bytes of pooled rows that are held in memory; more lie in temporary files that are mapped. Heads of so many rows, or
of so many images × classes, are fitted from batches (`large`)."""
