"""A model as a folder: config.json, model.safetensors. Loading needs the folder alone, no network, no pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save

from crosstune.assembly import predict
from crosstune.backbones import Backbone, families
from crosstune.data import conform, from_arrays
from crosstune.errors import DataError, RunError
from crosstune.nn.model import CrossModalModel, ModelConfig
from crosstune.records import FIELD_KINDS, IGNORED, Dataset
from crosstune.runs.files import write_bytes, write_json

FORMAT = "crosstune-model"


@dataclass
class LoadedModel:
    """A portable model: ``predict(X)`` takes raw data and gives classes, values, fields or class maps.

    config: config.json as a dict (task, classes, columns, categories, backbone, provenance).
    """

    model: CrossModalModel
    config: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.config["task"]["kind"])

    @property
    def classes(self) -> tuple[str, ...] | None:
        names = self.config["task"].get("classes")
        return None if names is None else tuple(names)

    @property
    def columns(self) -> list[str] | None:
        """Column names of a table, in the model's order."""
        names = self.config["task"].get("columns")
        return None if names is None else list(names)

    def columns_for(self, data: Any) -> list[str] | None:
        """The model's columns, for data that are read by name: tables, frames, mappings; not files of arrays, which
        have keys instead."""
        if isinstance(data, (str, os.PathLike)):
            by_name = Path(str(data).split("::")[0]).suffix.lower() not in (".npz", ".npy", ".h5", ".hdf5")
        else:
            by_name = isinstance(data, Mapping) or hasattr(data, "iloc")
        return self.columns if by_name else None

    def to(self, device: torch.device | str) -> LoadedModel:
        """Move the model, in place; predictions are made there and come back as arrays."""
        self.model.to(device)
        return self

    def _read(self, X: Any, lengths: Any) -> Dataset:
        if isinstance(X, Dataset):
            return X
        return from_arrays(X, lengths=lengths, keep=tuple(self.columns or ()))

    def prepare(self, data: Dataset) -> Dataset:
        """Match new data to what the model was fitted on: columns by name, categories by name, shape checked."""
        return match_columns(data, self.config)

    def predict_canonical(
        self, data: Dataset, *, batch_size: int = 64, on_share: Callable[[float], None] | None = None
    ) -> np.ndarray:
        """Probabilities (n, K) or (n, K, ...), values (n, K) or fields (n, C, ...), float64. ``on_share`` hears how
        far, 0 to 1."""
        return predict(self.model, self.prepare(data), batch_size=batch_size, on_share=on_share)

    def predict(self, X: Any, *, lengths: Any = None) -> np.ndarray:
        """Labels (class names), values, fields or class maps for raw ``X`` (arrays, list of ragged series, data frame).
        Maps hold the class at each position as it was in the target: integers, or names where they were names."""
        data = self._read(X, lengths)
        return self.decide(self.predict_canonical(data), data.lengths)

    def predict_proba(self, X: Any, *, lengths: Any = None) -> np.ndarray:
        """Class or label probabilities (n, K), of class maps (n, K, ...)."""
        return self.predict_canonical(self._read(X, lengths))

    def decide(self, prediction: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Canonical predictions to decisions. lengths: of ragged series, behind whose end a map holds -1, or "" where
        classes are names."""
        if self.kind == "classification":
            assert self.classes is not None
            return np.asarray(self.classes)[prediction.argmax(1)]
        if self.kind == "segmentation":
            values = class_values(self.classes or ())
            return np.where(
                behind(prediction, lengths), np.array(NO_CLASS[values.dtype.kind]), values[prediction.argmax(1)]
            )
        if self.kind == "multilabel":
            return (prediction >= 0.5).astype(np.int64)
        return prediction

    def save(self, folder: str | Path) -> None:
        """Write the model folder: config.json and model.safetensors, which ``load_model`` reads."""
        write_bytes(Path(folder) / "model.safetensors", _weights(self.model))
        write_json(Path(folder) / "config.json", self.config)

    def __reduce__(self) -> Any:
        """Pickled as configuration and safetensors bytes: no code of ours or of the body's travels with the weights."""
        return _unpickled, (self.config, _weights(self.model))


NO_CLASS: dict[str, float | str] = {"i": IGNORED, "f": float("nan"), "U": ""}  # by the kind of the classes' dtype


def behind(prediction: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Whether positions of class maps from (n, K, L) lie behind the end of their series, (n, L) or broadcastable."""
    if lengths is None:
        return np.zeros((1,) * (prediction.ndim - 1), bool)
    return np.arange(prediction.shape[-1]) >= np.asarray(lengths)[:, None]


def class_values(names: tuple[str, ...]) -> np.ndarray:
    """The classes of a map (K,): int64 where all of them are integers, else their names."""
    return np.array([int(name) for name in names]) if all(map(_is_integer, names)) else np.asarray(names)


def _is_integer(name: str) -> bool:
    return name.isascii() and name.removeprefix("-").isdigit()


def _weights(model: CrossModalModel) -> bytes:
    return save(
        {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}, metadata={"format": "pt"}
    )


def _unpickled(config: dict[str, Any], weights: bytes) -> LoadedModel:
    return _rebuilt(config, load(weights))


def _rebuilt(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> LoadedModel:
    family = families()[config["body"]["family"]]
    with torch.random.fork_rng():
        model = CrossModalModel(ModelConfig.model_validate(config["model"]), family.build(config["body"]["config"]))
    model.load_state_dict(tensors)
    model.eval()
    return LoadedModel(model, config)


def match_columns(data: Dataset, config: dict[str, Any]) -> Dataset:
    """Bring a Dataset to the columns, categories and shape of the training data; DataError when it cannot be done."""
    task = config["task"]
    shape = tuple(task["shape"])
    if len(shape) == 1 and data.is_table and task.get("columns"):
        categories = {int(k): tuple(v) for k, v in (task.get("categories") or {}).items()}
        data = conform(data, tuple(task["columns"]), categories)
    got = tuple(data.X.shape[1:])
    fits = len(got) == len(shape) and got[0] == shape[0]
    if fits and not task.get("ragged") and task["kind"] not in FIELD_KINDS:
        fits = got == shape
    if not fits or (data.lengths is not None and not task.get("ragged")):
        ragged = "ragged " if data.lengths is not None else ""
        raise DataError(
            f"{ragged}data of sample shape {got} do not fit a model made for {shape}",
            cause="another file, channel order or column selection than at fitting",
            fix="arrays are channel-first; `crosstune inspect` shows the shape of a file",
        )
    if task.get("ragged") and data.lengths is None:
        data = replace(data, lengths=np.full(len(data), got[-1], dtype=np.int64))
    return data


def save_model(
    folder: Path, model: CrossModalModel, *, backbone: Backbone, task: dict[str, Any], provenance: dict[str, Any]
) -> None:
    """Write config.json and model.safetensors, each atomically; weights first, so a config implies weights."""
    write_bytes(folder / "model.safetensors", _weights(model))
    write_json(
        folder / "config.json",
        {
            "format": FORMAT,
            "version": 1,
            "model": model.config.model_dump(),
            "body": {"family": backbone.body.family, "config": backbone.body.config_dict()},
            "backbone": backbone.info.as_dict(),
            "task": task,
            "provenance": provenance,
        },
    )


def load_model(path: str | Path) -> LoadedModel:
    """Load a model folder, or the model of a run folder. RunError names what is missing or damaged."""
    folder = Path(path)
    if not (folder / "config.json").exists() and (folder / "model" / "config.json").exists():
        folder = folder / "model"
    if not (folder / "config.json").exists():
        raise RunError(
            f"no model in {str(path)!r}",
            cause="not a model or run folder, or the run ended before there was a model",
            fix="pass a run folder with model/, or `crosstune resume RUN` to finish it",
        )
    try:
        config = json.loads((folder / "config.json").read_text())
        if config.get("format") != FORMAT:
            raise RunError(
                f"{folder / 'config.json'} is not a crosstune model", fix="pass a crosstune run or model folder"
            )
        return _rebuilt(config, load_file(folder / "model.safetensors"))
    except (SafetensorError, ValueError, KeyError, FileNotFoundError, RuntimeError) as problem:
        if isinstance(problem, RunError):
            raise
        raise RunError(
            f"the model in {str(folder)!r} cannot be loaded: {problem}",
            cause="a file is truncated, missing, or from another version",
            fix="copy the folder again, or `crosstune resume RUN`",
        ) from None
