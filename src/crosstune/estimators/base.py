"""What the estimators share: parameters, fitting through a run folder, pickling, saving."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, check_random_state

from crosstune.data.checks import ACCEPTABLE
from crosstune.errors import Interrupted
from crosstune.estimators.inputs import read_inputs, with_groups
from crosstune.estimators.workspace import Workspace
from crosstune.records import Dataset

if TYPE_CHECKING:
    from crosstune.runs import LoadedModel

# The command line refuses data with these findings until they are accepted. In memory, where folds of a
# cross-validation are small and the caller holds the test set, they are warnings instead (DataWarning).
ACCEPTED = tuple(code for code in ACCEPTABLE if code not in ("infinite", "groups-straddle"))


class DataWarning(UserWarning):
    """A finding for which the command line would have refused the data."""


def names_of(value: Any) -> Any:
    """Floors or controls: "auto", "none" or None, one name, or several."""
    if value is None or (isinstance(value, str) and value == "none"):
        return ()
    if isinstance(value, str):
        return value if value == "auto" else tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value)


def narrate(*, kind: str, **values: Any) -> None:
    """What a run says, in plain lines on stderr."""
    if kind == "floor":
        score = values.get("score")
        figure = values["status"] if score is None else f"{values['metric']} {score:.4f}"
        print(f"floor   {values['label']}: {figure}", file=sys.stderr, flush=True)
    elif kind == "arm":
        print(
            f"model   {values['label']} (seed {values['seed']}): {values['metric']} {values['score']:.4f} on "
            f"validation, {values['seconds']:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    elif kind == "message":
        print(f"        {values['text']}", file=sys.stderr, flush=True)


class CrossModalEstimator(BaseEstimator):
    """Base of the estimators; see ``CrossModalClassifier`` for the parameters, which all of them share."""

    model_: LoadedModel
    report_: dict[str, Any]
    run_: str | None
    n_features_in_: int

    def __init__(
        self,
        backbone: str = "auto",
        method: str = "recraft",
        budget: str = "4m",
        random_state: Any = 0,
        metric: str | None = None,
        floors: Any = "auto",
        controls: Any = "auto",
        tokens: int | None = None,
        loss: str | None = None,
        settings: dict[str, Any] | None = None,
        validation_fraction: float = 0.2,
        proxy: str = "auto",
        threads: int | None = None,
        device: str = "auto",
        out: str | None = None,
        verbose: bool = False,
    ) -> None:
        self.backbone = backbone
        self.method = method
        self.budget = budget
        self.random_state = random_state
        self.metric = metric
        self.floors = floors
        self.controls = controls
        self.tokens = tokens
        self.loss = loss
        self.settings = settings
        self.validation_fraction = validation_fraction
        self.proxy = proxy
        self.threads = threads
        self.device = device
        self.out = out
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.target_tags.required = True
        return tags

    # -- what subclasses say -------------------------------------------------------------------------------------
    def _with_target(self, dataset: Dataset, y: Any) -> Dataset:
        """The Dataset with its target in canonical form; sets what predictions need to undo that."""
        raise NotImplementedError

    # -- fitting -------------------------------------------------------------------------------------------------
    def fit(self, X: Any, y: Any, groups: Any = None, lengths: Any = None) -> Self:
        """Fit on X and y. A share of the rows (``validation_fraction``) selects; no rows are kept for a test.

        X: (n, F), (n, C, L), (n, C, H, W) or (n, C, D, H, W), channel-first, NaN = missing; a list of ragged series
        (C, L_i) or (L_i,); a data frame. groups: (n,), rows of one group never straddle the inner split.
        lengths: (n,) valid samples of padded series (n, C, L).

        Raises ValueError for data that fit no task, WeightsError when the backbone is not to be had, BudgetError when
        the budget ended before there was a model, KeyboardInterrupt when the user stopped it.
        """
        started = time.monotonic()
        dataset = read_inputs(self, X, lengths, reset=True)
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        dataset = with_groups(self._with_target(dataset, y), groups)
        self._run(dataset, started)
        return self

    def _request(self) -> Any:
        from pydantic import ValidationError

        from crosstune.errors import ConfigError
        from crosstune.experiment import Request

        fraction = float(self.validation_fraction)
        if not 0 < fraction < 1:
            raise ConfigError(
                f"validation_fraction = {self.validation_fraction!r} is not between 0 and 1",
                cause="without validation rows nothing can be selected",
                fix="validation_fraction=0.2",
            )
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        try:
            request = Request(
                backbone=self.backbone, method=self.method, budget=str(self.budget), seeds=(int(seed),),
                metric=self.metric, floors=names_of(self.floors), controls=names_of(self.controls),
                tokens=self.tokens, loss=self.loss, settings=dict(self.settings or {}),
                fractions=(1 - fraction, fraction, 0.0),
                split_seed=int(seed), accept=ACCEPTED, proxy=self.proxy, threads=self.threads, device=self.device,
            )  # fmt: skip
        except ValidationError as problem:
            lines = [f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in problem.errors()]
            raise ConfigError("\n".join(lines)) from None
        request.check()
        return request

    def _given(self) -> dict[str, str]:
        """Which settings of the run the user chose, for its record of origins."""
        renamed = {"random_state": "seeds", "validation_fraction": "fractions"}
        defaults = type(self)().get_params(deep=False)
        chosen = [key for key, value in self.get_params(deep=False).items() if value != defaults[key]]
        return {renamed.get(key, key): f"argument {key}" for key in chosen}

    def _run(self, dataset: Dataset, started: float) -> None:
        import torch

        from crosstune.estimators.portable import SAVED, finish_run, saved_state
        from crosstune.experiment import execute, prepare
        from crosstune.experiment.sitting import silent
        from crosstune.nn.devices import resolve_device
        from crosstune.runs import load_model
        from crosstune.runs.files import write_json

        request = self._request()
        workspace = Workspace() if self.out is None else None
        path = Path(str(self.out)) if workspace is None else workspace.path
        command = [f"crosstune.{type(self).__name__}.fit"]
        dataset = replace(dataset, name=path.name if workspace is None else "arrays")
        with torch.random.fork_rng(devices=[]):  # the caller's generator goes on as if nothing had happened
            folder, _ = prepare(dataset, request, path, command=command, given=self._given())
            record = folder.record()
            _warn(record["findings"])
            if record["status"] != "complete":
                try:
                    execute(folder, notify=narrate if self.verbose else silent, started=started)
                except Interrupted as stop:
                    # searches over parameters swallow errors of one fit and go on with the next, but not this
                    raise KeyboardInterrupt(str(stop) if workspace is None else "fit was interrupted") from None
        self.model_ = load_model(path).to(resolve_device(self.device))
        self.report_ = report_of(path)
        self.run_ = str(path)
        self._workspace = workspace
        if workspace is not None:
            workspace.prune()
        else:
            write_json(path / "model" / SAVED, saved_state(self))
            if not (path / "report.html").exists():
                finish_run(path)

    # -- predicting ----------------------------------------------------------------------------------------------
    def _read(self, X: Any, lengths: Any = None) -> Dataset:
        check_is_fitted(self)
        task = self.model_.config["task"]
        keep = tuple(self.model_.columns or ()) if task.get("categories") else ()
        return read_inputs(self, X, lengths, reset=False, ragged=bool(task.get("ragged")), keep=keep)

    def _canonical(self, X: Any, lengths: Any = None) -> np.ndarray:
        data = self._read(X, lengths)  # first of all says so when the estimator is not fitted
        return self.model_.predict_canonical(data)

    # -- keeping -------------------------------------------------------------------------------------------------
    def save_pretrained(self, path: str | Path) -> Path:
        """Write a folder that ``crosstune.load`` makes this estimator from: config.json, model.safetensors,
        estimator.json and README.md (the model card). Gives the folder."""
        from crosstune.estimators.portable import save_estimator

        check_is_fitted(self)
        return save_estimator(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The estimator saved at ``path``, a folder of ``save_pretrained`` or a run. Raises RunError as
        ``crosstune.load``, and TaskError when the folder holds a model of another kind of task."""
        from crosstune.errors import TaskError
        from crosstune.estimators.portable import load

        found = load(path)
        if not isinstance(found, cls):
            raise TaskError(
                f"{str(path)!r} holds a model for a {type(found).__name__}, not a {cls.__name__}",
                fix="crosstune.load(path) finds the right class by itself",
            )
        return found

    def __getstate__(self) -> dict[str, Any]:
        """A copy owns no temporary folder: the model's weights travel inside, and the card with them."""
        from crosstune.estimators.portable import card_of

        state = dict(super().__getstate__())
        if state.pop("_workspace", None) is not None:
            state["_card"] = card_of(self, "model")
            state["run_"] = None
        return state


def report_of(path: str | Path) -> dict[str, Any]:
    """The summary of a run on validation (scores, intervals, bound, verdict) with the data's findings and split."""
    from crosstune.report import read_run
    from crosstune.report.summary import summary_of

    record = read_run(path)
    task = record.task
    return summary_of(record, "validation").as_dict() | {
        "rows": dict(task.get("rows") or {}),
        "findings": list(record.run.get("findings") or ()),
        "split_strategy": (task.get("split") or {}).get("strategy"),
    }


def _warn(findings: list[dict[str, Any]]) -> None:
    for found in findings:
        if found["severity"] == "refuse":
            warnings.warn(f"{found['code']}: {found['message']}", DataWarning, stacklevel=4)
