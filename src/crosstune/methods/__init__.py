"""Methods: short declarative tuples of stage configurations, one file each."""

from crosstune.methods.contract import Method, get_method, methods, override

__all__ = ["Method", "get_method", "methods", "override"]
