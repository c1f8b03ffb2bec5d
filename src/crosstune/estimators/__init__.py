"""The Python API: estimators in scikit-learn's contract, and the command line's verbs as functions."""

from __future__ import annotations

from crosstune.estimators.base import CrossModalEstimator, DataWarning
from crosstune.estimators.classifier import CrossModalClassifier
from crosstune.estimators.functions import FittedModel, bound, fit, rank
from crosstune.estimators.operators import CrossModalOperator
from crosstune.estimators.portable import load
from crosstune.estimators.regressor import CrossModalRegressor
from crosstune.estimators.segmenter import CrossModalSegmenter

__all__ = [
    "CrossModalClassifier",
    "CrossModalEstimator",
    "CrossModalOperator",
    "CrossModalRegressor",
    "CrossModalSegmenter",
    "DataWarning",
    "FittedModel",
    "bound",
    "fit",
    "load",
    "rank",
]
