"""Methods: short declarative tuples of stage configurations, one file each."""

from crosstune.methods.contract import Method, fit_of, get_method, methods, override
from crosstune.methods.variants import Variant, control, variants

__all__ = ["Method", "Variant", "control", "fit_of", "get_method", "methods", "override", "variants"]
