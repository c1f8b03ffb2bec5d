"""The command line's verbs as functions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crosstune.data import dataset_digest, from_arrays
from crosstune.data import read as read_source
from crosstune.errors import ConfigError, DataError
from crosstune.estimators.base import names_of, narrate, report_of
from crosstune.records import Dataset, Score
from crosstune.runs import LoadedModel, load_model

if TYPE_CHECKING:
    from crosstune.bounds import BoundReport


@dataclass
class FittedModel(LoadedModel):
    """A LoadedModel with the run it came from. run_: path of the run folder. report_: what the run came to, as plain
    data with the verdict (see ``CrossModalClassifier``)."""

    run_: str | None = None
    report_: dict[str, Any] = field(default_factory=dict)

    def evaluate(self, data: Any, target: Any = None, **options: Any) -> list[Score]:
        """Scores on other labelled data: the run's metric first. data, target, options: as for ``crosstune.fit``'s
        reader. Raises DataError for data without a target, or with classes that the model does not know."""
        from crosstune.experiment import evaluate

        task: Any = self.kind
        options = {"features": self.columns_for(data), **options}
        return evaluate(self, as_dataset(data, target, task=task, **options))

    def __reduce__(self) -> Any:
        revive, arguments = super().__reduce__()
        return _revive, (revive, arguments, self.run_, self.report_)


def _revive(revive: Any, arguments: Any, run: str | None, report: dict[str, Any]) -> FittedModel:
    plain = revive(*arguments)
    return FittedModel(plain.model, plain.config, run, report)


def as_dataset(
    data: Any, target: Any = None, *, groups: Any = None, task: Any = None, time: Any = None, lengths: Any = None,
    features: Any = None, allow_pickle: bool = False, drop_missing_target: bool = False,
    classes: Sequence[str] | None = None,
) -> Dataset:  # fmt: skip
    """Data in any form: a Dataset as it is; a path or a mapping by ``crosstune.read``, where target, groups, time and
    lengths are keys or columns; a data frame likewise when ``target`` names a column; else arrays X and target.
    classes: class names of a trained model, for data that may lack some."""
    if isinstance(data, Dataset):
        return data
    named = target is None or isinstance(target, str)
    if hasattr(data, "iloc") and hasattr(data, "columns") and isinstance(target, str):
        data = {str(name): data[name] for name in data.columns}
    if isinstance(data, (str, os.PathLike)) or (isinstance(data, Mapping) and named):
        return read_source(
            data, target=target, groups=groups, task=task, time=time, lengths=lengths, features=features,
            allow_pickle=allow_pickle, drop_missing_target=drop_missing_target, classes=classes,
        )  # fmt: skip
    if target is None:
        raise DataError("no target was given with the arrays", fix="pass the target as the second argument")
    return from_arrays(
        data, target, groups=groups, lengths=lengths, time=time, task=task, drop_missing_target=drop_missing_target,
        classes=classes,
    )  # fmt: skip


def fit(
    data: Any,
    target: Any = None,
    *,
    groups: Any = None,
    task: str | None = None,
    time: Any = None,
    lengths: Any = None,
    features: Any = None,
    backbone: str = "auto",
    method: str = "recraft",
    budget: str = "4m",
    seeds: int | Sequence[int] = 1,
    metric: str | None = None,
    floors: Any = "auto",
    controls: Any = "auto",
    tokens: int | None = None,
    loss: str | None = None,
    settings: dict[str, Any] | None = None,
    split: str = "auto",
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    split_seed: int = 0,
    proxy: str = "auto",
    accept: Sequence[str] = (),
    threads: int | None = None,
    device: str = "auto",
    allow_pickle: bool = False,
    drop_missing_target: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    verbose: bool = False,
) -> FittedModel:
    """``crosstune fit`` as a function: data to a run folder with model, report and verdict.

    data: a path, a mapping of arrays or columns, a data frame, a Dataset, or an array X with ``target`` as array.
    seeds: how many (3 means 0, 1, 2) or which. fractions: train, validation, sealed test. accept: codes of findings
    that would refuse the data. out: the run folder; ``runs/NAME-METHOD-HASH`` otherwise. A folder that already holds
    this very run is not run again. Other options as for ``CrossModalClassifier`` and ``crosstune fit --help``.

    Gives the model with ``run_`` and ``report_``. Raises DataError for refused data, WeightsError for a backbone that
    is not to be had, BudgetError, and KeyboardInterrupt when stopped (``crosstune resume`` goes on).
    """
    from pydantic import ValidationError

    from crosstune.estimators.portable import finish_run
    from crosstune.experiment import Request, execute, prepare
    from crosstune.experiment.sitting import silent
    from crosstune.nn.devices import resolve_device

    try:
        request = Request(
            backbone=backbone, method=method, budget=str(budget),
            seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds), metric=metric,
            floors=names_of(floors), controls=names_of(controls), tokens=tokens, loss=loss,
            settings=dict(settings or {}), fractions=fractions, split=split, split_seed=split_seed,  # type: ignore[arg-type]
            proxy=proxy, accept=tuple(accept), threads=threads, device=device,
            allow_pickle=allow_pickle,
        )  # fmt: skip
    except ValidationError as problem:
        lines = [f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in problem.errors()]
        raise ConfigError("\n".join(lines)) from None
    request.check()
    dataset = as_dataset(
        data, target, groups=groups, task=task, time=time, lengths=lengths, features=features,
        allow_pickle=allow_pickle, drop_missing_target=drop_missing_target,
    )  # fmt: skip
    request = request.settled(dataset)
    path = Path(out or Path("runs") / f"{dataset.name}-{method}-{request.digest(dataset_digest(dataset))[:8]}")
    try:
        folder, _ = prepare(dataset, request, path, command=["crosstune.fit"], overwrite=overwrite)
    except DataError as problem:
        raise _in_python(problem) from None
    if folder.record()["status"] != "complete":
        _execute(folder, execute, narrate if verbose else silent)
    if not (path / "report.html").exists():
        finish_run(path)
    plain = load_model(path).to(resolve_device(device))
    return FittedModel(plain.model, plain.config, str(path), report_of(path))


def _execute(folder: Any, execute: Any, notify: Any) -> None:
    import torch

    from crosstune.errors import Interrupted

    try:
        with torch.random.fork_rng(devices=[]):
            execute(folder, notify=notify)
    except Interrupted as stop:
        raise KeyboardInterrupt(str(stop)) from None


def _in_python(problem: DataError) -> DataError:
    """The advice with the argument instead of the flag."""
    if not problem.fix or "--accept" not in problem.fix:
        return problem
    codes = [word for before, word in zip(problem.fix.split(), problem.fix.split()[1:]) if before == "--accept"]
    return DataError(problem.problem, cause=problem.cause, fix=f"mend the data, or pass accept={tuple(codes)!r}")


def rank(
    data: Any,
    target: Any = None,
    *,
    backbones: Sequence[str] = (),
    errors: Mapping[str, float] | None = None,
    groups: Any = None,
    task: str | None = None,
    lengths: Any = None,
    features: Any = None,
    proxy: str = "auto",
    seed: int = 0,
    rows: int = 1000,
) -> dict[str, Any]:
    """Score backbones for the data before any fine-tuning; data, target and the rest as for ``crosstune.fit``.

    Gives {"backbones": [{"name", "bound", "neg_leep", "logme", "h_score", ...}, ...] sorted by the bound (nats, lower
    is better; None with proxy="none"), "correlation": {...}}; the latter with ``errors`` of fine-tuned models, name ->
    error, of three or more.
    """
    from crosstune.experiment.ranking import default_ranking
    from crosstune.experiment.ranking import rank as score

    dataset = as_dataset(data, target, groups=groups, task=task, lengths=lengths, features=features)
    known = {name: float(value) for name, value in (errors or {}).items() if np.isfinite(value)}
    return score(dataset, list(backbones) or default_ranking(), errors=known, seed=seed, rows=rows, proxy=proxy)


def bound(
    model: Any,
    source: str,
    target: Any,
    y: Any = None,
    *,
    labels: str = "clusters:40",
    tau: float | None = 1.0,
    seed: int = 0,
    rows: int = 2000,
    bootstrap: int = 200,
) -> BoundReport:
    """The terms of the bound (nats, with bootstrap intervals) for a fitted model on rows it was not fitted on.

    model: a fitted estimator, what ``crosstune.fit`` gives, or the path of either. source: labelled source data, "auto"
    (by the body's modality), a name or a path. target, y: labelled data as for ``crosstune.fit``. labels, tau: source
    classes and Lipschitz target of the source predictor, as in stage 0. rows: at most so many are measured.

    Raises DataError for data without a target, or with classes unknown to the model; WeightsError when the pretrained
    body is not to be had, since a model folder holds the fine-tuned one only.
    """
    from crosstune.experiment import bound as measure

    loaded: LoadedModel = (
        load_model(Path(model)) if isinstance(model, (str, os.PathLike)) else getattr(model, "model_", model)
    )
    task: Any = loaded.kind
    data = as_dataset(target, y, task=task, features=loaded.columns_for(target), classes=loaded.classes)
    return measure(loaded, source, data, labels=labels, tau=tau, seed=seed, rows=rows, bootstrap=bootstrap)
