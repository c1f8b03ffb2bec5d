"""Binds data, backbone, method and seeds to a run folder."""

from crosstune.experiment.bounding import bound
from crosstune.experiment.conduct import execute
from crosstune.experiment.preparation import prepare
from crosstune.experiment.request import Request
from crosstune.experiment.sealed import evaluate, predict_file, reveal

__all__ = ["Request", "bound", "evaluate", "execute", "predict_file", "prepare", "reveal"]
