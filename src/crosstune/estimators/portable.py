"""Estimators as folders, and folders as estimators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.errors import RunError
from crosstune.estimators.base import CrossModalEstimator, report_of
from crosstune.estimators.classifier import CrossModalClassifier
from crosstune.estimators.operators import CrossModalOperator
from crosstune.estimators.regressor import CrossModalRegressor
from crosstune.estimators.segmenter import CrossModalSegmenter
from crosstune.runs import LoadedModel, load_model
from crosstune.runs.export import class_values
from crosstune.runs.files import write_bytes, write_json

SAVED = "estimator.json"
FORMAT = "crosstune-estimator"
_BY_KIND: dict[str, type[CrossModalEstimator]] = {
    "classification": CrossModalClassifier,
    "multilabel": CrossModalClassifier,
    "regression": CrossModalRegressor,
    "dense": CrossModalOperator,
    "segmentation": CrossModalSegmenter,
}
_PLAIN = ("_flat", "_bare_input", "_bare_output", "n_features_in_")


def saved_state(estimator: CrossModalEstimator) -> dict[str, Any]:
    """What an estimator is beside its model, as plain data. A generator in ``random_state`` is not kept."""
    params = estimator.get_params(deep=False)
    if not isinstance(params["random_state"], (int, np.integer)):
        params["random_state"] = None
    state: dict[str, Any] = {"format": FORMAT, "version": 1, "class": type(estimator).__name__, "params": params}
    state |= {name: getattr(estimator, name) for name in _PLAIN if hasattr(estimator, name)}
    for name in ("classes_", "feature_names_in_"):
        values = getattr(estimator, name, None)
        if values is not None:
            state[name] = {"dtype": values.dtype.str, "values": values.tolist()}
    state["report_"] = estimator.report_
    return state


def save_estimator(estimator: CrossModalEstimator, folder: Path) -> Path:
    """Write the model, the model card and ``estimator.json``; each file whole or not at all."""
    card = card_of(estimator, folder.resolve().name)
    state = saved_state(estimator)
    state["params"]["out"] = None  # the folder is a model, not the run it came from
    write_json(folder / SAVED, state)
    write_bytes(folder / "README.md", card.encode())
    estimator.model_.save(folder)
    return folder


def card_of(estimator: CrossModalEstimator, name: str) -> str:
    """The model card for a folder of that name: of the run while there is one, else the one that came along."""
    from crosstune.report import model_card

    run = getattr(estimator, "run_", None)
    if run is not None and (Path(run) / "run.json").exists():
        card = model_card(run)
        # a card says how to load its folder; a temporary one has a name that nobody else can use
        return card.replace(Path(run).name, name) if getattr(estimator, "_workspace", None) else card
    return str(getattr(estimator, "_card", None) or _short_card(estimator.model_))


def _short_card(model: LoadedModel) -> str:
    task, backbone = model.config["task"], model.config["backbone"]
    return (
        f"---\ntags: [crosstune]\n---\n\n# {task['name']}\n\nA {task['kind']} model on samples of shape "
        f"{task['shape']}, made with crosstune from the backbone {backbone['name']} "
        f"(license: {backbone.get('license') or 'not recorded'}).\n"
    )


def finish_run(path: Path) -> None:
    """The report and the model card of a run that is kept."""
    from crosstune import report

    report.write_html(path)
    write_bytes(path / "model" / "README.md", report.model_card(path).encode())


def load(path: str | Path) -> Any:
    """The fitted estimator in a folder of ``save_pretrained``, a run folder, or a model folder (run/model).

    A run of the command line gives the class that fits its task; its ``classes_`` are the class names, as integers
    when all of them are. Raises RunError naming what is missing or damaged.
    """
    folder = Path(path)
    model = load_model(folder)
    where = folder if (folder / "config.json").exists() else folder / "model"
    run = next((f for f in (folder, where.parent) if (f / "run.json").exists()), None)
    saved = _read_saved(where / SAVED)
    estimator = _restored(model, saved) if saved else _inferred(model, run)
    estimator.run_ = None if run is None else str(run)
    if run is not None:
        estimator.report_ = report_of(run)
    elif saved is None:
        estimator.report_ = {}
    card = where / "README.md"
    if run is None and card.exists():
        estimator._card = card.read_text()
    return estimator


def _read_saved(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        saved = json.loads(path.read_text())
        if saved["format"] != FORMAT or saved["version"] != 1:
            raise ValueError(f"format {saved['format']!r}, version {saved['version']!r}")
    except (ValueError, KeyError, TypeError) as problem:
        raise RunError(
            f"{path} is damaged or from another version: {problem}",
            fix="copy the folder again, or delete this file to load the plain model",
        ) from None
    return dict(saved)


def _restored(model: LoadedModel, saved: dict[str, Any]) -> CrossModalEstimator:
    cls = next((c for c in set(_BY_KIND.values()) if c.__name__ == saved["class"]), None)
    if cls is None:
        raise RunError(f"no estimator named {saved['class']!r}", cause="a folder from another version")
    known = cls._get_param_names()
    params: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved["params"].items()}
    estimator = cls(**{k: v for k, v in params.items() if k in known})
    for name in (*_PLAIN, "report_"):
        if name in saved:
            setattr(estimator, name, saved[name])
    for name in ("classes_", "feature_names_in_"):
        if name in saved:
            setattr(estimator, name, np.array(saved[name]["values"], dtype=np.dtype(saved[name]["dtype"])))
    estimator.model_ = model
    return estimator


def _inferred(model: LoadedModel, run: Path | None) -> CrossModalEstimator:
    """An estimator around a model that was not made by one."""
    task = model.config["task"]
    estimator = _BY_KIND[model.kind](**_params(run))
    estimator.model_ = model
    estimator.n_features_in_ = int(task["shape"][0])
    if task.get("columns"):
        estimator.feature_names_in_ = np.array(task["columns"], dtype=object)  # type: ignore[attr-defined]
    if isinstance(estimator, CrossModalSegmenter):
        estimator.classes_, estimator._bare_input = class_values(model.classes or ()), False
    elif isinstance(estimator, CrossModalClassifier):
        names = model.classes or tuple(str(i) for i in range(model.model.config.outputs))
        whole = all(name.lstrip("-").isdigit() and str(int(name)) == name for name in names)
        estimator.classes_ = np.array([int(n) for n in names] if whole else names)
    elif isinstance(estimator, CrossModalRegressor):
        estimator._flat = model.model.config.outputs == 1
    elif isinstance(estimator, CrossModalOperator):
        estimator._bare_input = estimator._bare_output = False
    return estimator


def _params(run: Path | None) -> dict[str, Any]:
    if run is None:
        return {}
    request = json.loads((run / "run.json").read_text()).get("request") or {}
    same = ("backbone", "method", "budget", "metric", "tokens", "loss", "proxy", "threads")
    params = {key: request[key] for key in same if key in request}
    for key in ("floors", "controls"):
        if key in request:
            params[key] = tuple(request[key]) if isinstance(request[key], list) else request[key]
    seeds = request.get("seeds") or [0]
    return params | {"random_state": int(seeds[0]), "settings": request.get("settings") or None}
