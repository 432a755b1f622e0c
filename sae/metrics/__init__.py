"""How good an autoencoder and its dictionary are: streamed, sparse measures, one family a file.

Meters take in a stream (`update`, also `merge` across processes) and give a `result`; one pass over codes feeds as many
of them as wanted. Functions take a dictionary, or a sample that fits into memory.
"""

from .absorption import Absorption, AbsorptionMeter
from .alignment import cknna
from .coherence import Coherence, coherence
from .density import DENSE_SHARE, DENSITY_EDGES, Density, DensityMeter
from .matching import Matching, match, match_above
from .monosemanticity import Monosemanticity, MonosemanticityMeter
from .probes import LinearProbe, SparseProbe, linear_probe, sparse_probe
from .reconstruction import Evaluation, evaluate
from .stability import Stability, random_like, stability

__all__ = [
    "DENSE_SHARE",
    "DENSITY_EDGES",
    "Absorption",
    "AbsorptionMeter",
    "Coherence",
    "Density",
    "DensityMeter",
    "Evaluation",
    "LinearProbe",
    "Matching",
    "Monosemanticity",
    "MonosemanticityMeter",
    "SparseProbe",
    "Stability",
    "cknna",
    "coherence",
    "evaluate",
    "linear_probe",
    "match",
    "match_above",
    "random_like",
    "sparse_probe",
    "stability",
]
