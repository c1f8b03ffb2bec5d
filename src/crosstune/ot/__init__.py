"""Transport between point clouds: tensors in, results with their evidence out."""

from crosstune.ot.entry import alignment, prepare
from crosstune.ot.geometry import PreparedSource
from crosstune.ot.linear_program import exact
from crosstune.ot.results import Coupling, EntropicPlan, Result, SparsePlan

__all__ = ["Coupling", "EntropicPlan", "PreparedSource", "Result", "SparsePlan", "alignment", "exact", "prepare"]
