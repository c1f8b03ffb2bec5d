"""Transport between point clouds: tensors in, results with their evidence out.

Conventions: "sqeuclidean" is the plain squared distance (no half), ``value`` is in the cost's own units (W2 squared
for "sqeuclidean", W1 for "euclidean"), ``epsilon`` is in cost units, weights are normalised to sum to one.
"""

from crosstune.ot.discrepancy import mmd
from crosstune.ot.entropic import sinkhorn_divergence
from crosstune.ot.entry import alignment, prepare
from crosstune.ot.geometry import PreparedSource
from crosstune.ot.labelled import dataset_distance
from crosstune.ot.linear_program import exact
from crosstune.ot.projections import sliced
from crosstune.ot.results import Coupling, EntropicPlan, Result, SparsePlan

__all__ = [
    "Coupling",
    "EntropicPlan",
    "PreparedSource",
    "Result",
    "SparsePlan",
    "alignment",
    "dataset_distance",
    "exact",
    "mmd",
    "prepare",
    "sinkhorn_divergence",
    "sliced",
]
