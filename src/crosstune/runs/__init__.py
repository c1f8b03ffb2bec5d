"""Run folders: records, checkpoints, predictions, models."""

from crosstune.runs.export import LoadedModel, load_model, save_model
from crosstune.runs.folder import RunFolder, write_predictions

__all__ = ["LoadedModel", "RunFolder", "load_model", "save_model", "write_predictions"]
