"""What the pipeline and the command line do when nothing else is said, and why."""

MODEL = "small"
"""The model that is asked when none is named; it comes with the package (insight/models)."""
PATCHES_PER_CONCEPT = 400
"""A dictionary larger than its data can fill learns single photos by heart instead of what they share."""
K = 8
"""Concepts on a patch, by default. The published dictionary, on 10 million photos, has 12."""
PASSES = 3
"""Passes over the cache by default, as published (three epochs of CC12M) …"""
FEWEST_STEPS = 1000
"""… but a small cache is passed over more often, until the dictionary has had this many steps."""
LR = 2e-3
"""Adam's step size on rescaled features; from 1e-3 to 4e-3 the final FVU differs by less than 3 %."""
PRIOR = 0.05
"""Of two words that fit a concept alike, the common one is nearly always meant. Chosen on masks of MSRC-v2's training
split and classes of imagenet-200x5 (share of concepts named rightly: 33 and 27 % without, 47 and 27 % with it; 0.08
costs the rarer classes of ImageNet more than MSRC gains); the published rule has none."""
MIN_CONFIDENCE = 0.5
"""A concept is called by a name that is more likely right than wrong; the others are numbers, with guesses."""
SHARE_OF_DECAY = 0.2
"""Last part of training in which the step size falls to 0: short runs end on a settled dictionary."""
