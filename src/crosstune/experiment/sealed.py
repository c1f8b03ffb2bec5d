"""After the run: predictions for new data, evaluation on labelled data, and the sealed test, opened once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from crosstune.errors import DataError, RunError
from crosstune.experiment.request import Request
from crosstune.experiment.scoring import keep_scores, own_scores, predictor, scores_of
from crosstune.experiment.sitting import silent
from crosstune.floors import run_floors
from crosstune.metrics import get_metric
from crosstune.metrics.bootstrap import interval
from crosstune.records import IGNORED, Dataset, Score
from crosstune.runs.export import LoadedModel, load_model
from crosstune.runs.folder import RunFolder, write_predictions


def predict_file(
    model: LoadedModel, data: Dataset, out: str | Path, *, on_share: Callable[[float], None] | None = None
) -> int:
    """Predict every row and write a Parquet or CSV file, chosen by the name's ending; whole or not at all.
    Gives the number of rows."""
    path = Path(out)
    if path.suffix not in (".parquet", ".csv", ".npy", ".npz"):
        raise DataError(
            f"cannot write {str(out)!r}", cause="unknown ending", fix="use -o FILE.parquet, .csv, .npy or .npz"
        )
    prediction = model.predict_canonical(data, on_share=on_share)
    rows = np.arange(len(data))
    if path.suffix == ".parquet":
        metadata = {"kind": model.kind, "classes": model.classes, "field_shape": list(prediction.shape[1:])}
        write_predictions(path, rows, prediction, None, model.kind, metadata, lengths=data.lengths)
    elif path.suffix == ".csv":
        _write_csv(path, prediction, model, data.lengths)
    else:
        from crosstune.runs.files import write_atomically

        save: Any = (
            np.save
            if path.suffix == ".npy"
            else lambda handle, p: np.savez(handle, prediction=p, label=model.decide(p, data.lengths))
        )
        write_atomically(path, lambda handle: save(handle, prediction))
    return len(rows)


def _write_csv(path: Path, prediction: np.ndarray, model: LoadedModel, lengths: np.ndarray | None) -> None:
    import csv
    import io

    from crosstune.runs.files import write_bytes

    flat = prediction.reshape(len(prediction), -1)
    if flat.shape[1] > 10_000:
        raise DataError(f"{flat.shape[1]} values a row do not make a useful CSV", fix="use -o FILE.parquet or FILE.npy")
    text = io.StringIO()
    writer = csv.writer(text)
    if model.kind == "classification":
        assert model.classes is not None
        writer.writerow(["row", "prediction", *[f"p_{name}" for name in model.classes]])
        decided = model.decide(prediction)
        writer.writerows([i, decided[i], *row] for i, row in enumerate(flat))
    elif model.kind == "segmentation":
        flat = model.decide(prediction, lengths).reshape(len(prediction), -1)
        writer.writerow(["row", *[f"position{k}" for k in range(flat.shape[1])]])
        writer.writerows([i, *row] for i, row in enumerate(flat))
    else:
        names = model.config["task"].get("target_names") or [f"y{k}" for k in range(flat.shape[1])]
        names = names if len(names) == flat.shape[1] else [f"y{k}" for k in range(flat.shape[1])]
        writer.writerow(["row", *names])
        writer.writerows([i, *row] for i, row in enumerate(flat))
    write_bytes(path, text.getvalue().encode())


def evaluate(model: LoadedModel, data: Dataset, *, on_share: Callable[[float], None] | None = None) -> list[Score]:
    """Scores of a model on labelled data: the run's metric first, then the usual ones for the kind."""
    from crosstune.metrics import metrics_for

    if data.y is None:
        raise DataError("the data have no target to evaluate against", fix="pass --target NAME")
    prediction = model.predict_canonical(data, on_share=on_share)
    target = _align_classes(data, model)
    own = str(model.config["task"]["metric"])
    # figures of public code as shipped are for the tasks that ask for them
    usual = [n for n in metrics_for(model.kind) if n != own and not n.startswith("shipped-")]  # type: ignore[arg-type]
    names = [own, *usual]
    scores = []
    for name in names:
        metric = get_metric(name)
        try:
            value = metric.score(prediction, target, data.units)
        except DataError:
            continue  # undefined for these rows (one class only, say); the run's own metric comes first and raises
        low, high = interval(metric, prediction, target, data.units, seed=0)
        scores.append(Score(value, name, split="given", selected_on="validation", low=low, high=high, rows=len(data),
                            seed=model.config["provenance"].get("seed")))  # fmt: skip
    return scores


def _align_classes(data: Dataset, model: LoadedModel) -> np.ndarray:
    assert data.y is not None
    if model.kind not in ("classification", "segmentation"):
        return np.asarray(data.y)
    assert model.classes is not None
    names = data.classes or tuple(str(v) for v in range(int(data.y.max()) + 1))
    unknown = [n for n in names if n not in model.classes]
    if unknown:
        raise DataError(
            f"classes {unknown[:5]} are unknown to the model",
            cause="the model was fitted on other classes",
            fix=f"known classes: {', '.join(model.classes[:20])}",
        )
    table = np.array([*(model.classes.index(n) for n in names), IGNORED])  # the code -1 finds the last one
    return table[data.y.astype(np.int64)]


def reveal(path: str | Path, *, again: bool = False, notify: Callable[..., None] = silent) -> RunFolder:
    """Open the sealed test: score every arm and floor on the test rows, once, and record it in run.json.

    A second reveal is refused unless ``again``, and is recorded too: a test looked at twice is no longer a test.
    """
    folder = RunFolder.open(path)
    record = folder.record()
    if record["status"] != "complete":
        raise RunError(
            f"run {str(path)!r} is {record['status']}, not complete", fix=f"finish it with `crosstune resume {path}`"
        )
    if not record["task"]["rows"]["test"]:
        raise RunError(f"run {str(path)!r} has no test rows", cause="it was made with a test fraction of zero",
                       fix="score other labelled data with `crosstune evaluate RUN DATA`")  # fmt: skip
    if record["reveals"] and not again:
        raise RunError(
            f"the test of {str(path)!r} was already opened at {record['reveals'][0]['time']}",
            cause="a second look makes it another validation set",
            fix=f"see it with `crosstune report {path}`; --again opens it once more and records that",
        )
    if not (folder.path / "data" / "test.npz").exists():
        folder.part("test")  # the error; nothing is opened, and nothing recorded
    folder.lock()
    try:
        # recorded before anything is read: an interrupted look is still a look
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record = folder.update(reveals=[*record["reveals"], {"time": now}])
        _score_test(folder, record, notify)
    finally:
        folder.unlock()
    return folder


def _score_test(folder: RunFolder, record: dict[str, Any], notify: Callable[..., None]) -> None:
    test = folder.part("test")
    metric = get_metric(record["task"]["metric"], record["task"]["kind"])
    request = Request.model_validate(record["request"])
    protocol, selected_on = record["task"].get("protocol", "clean"), record["task"].get("selected_on", "validation")
    scores: list[dict[str, Any]] = []
    with np.load(folder.path / "split.npz") as saved:
        rows = saved["test"]
    for arm, entry in record["arms"].items():
        if entry["role"] == "floor":
            continue
        for seed in entry.get("done_seeds", []):
            notify(kind="message", text=f"test: {arm}")
            model = load_model(folder.path / "arms" / f"{arm}.s{seed}")
            prediction = model.predict_canonical(test)
            folder.save_predictions("test", arm, seed, rows=rows, prediction=prediction, data=test, metric=metric.name,
                                    selected_on=selected_on, protocol=protocol)  # fmt: skip
            scores += scores_of(record, prediction, test, "test", arm, seed, selected_on)
            scores += own_scores(request, record, predictor(model.model, test), "test", arm, seed, notify)
    floors = [n for n, e in record["arms"].items() if e["role"] == "floor" and e["status"] == "ok"]
    for name, prediction in _floors_on_test(folder, record, floors, test, notify).items():
        seed = record["seeds"][0]
        folder.save_predictions("test", name, seed, rows=rows, prediction=prediction, data=test, metric=metric.name,
                                selected_on="train", protocol=protocol)  # fmt: skip
        scores += scores_of(record, prediction, test, "test", name, seed, "train")
    keep_scores(record, scores)
    folder.update(scores=record.get("scores", []))


def _floors_on_test(
    folder: RunFolder, record: dict[str, Any], arms: list[str], test: Dataset, notify: Callable[..., None]
) -> dict[str, np.ndarray]:
    """Arm -> prediction of the test rows: what was laid under the seal, else from the floor trained again."""
    found: dict[str, np.ndarray] = {}
    again = []
    for arm in arms:
        name = arm.removeprefix("floor:")
        kept = folder.sealed(name)
        if kept is None:
            again.append(name)
        else:
            found[arm] = kept
    if again:
        notify(kind="message", text="test: floors, fitted again on the same training rows")
        # what a floor was allowed decides what it cuts: the same plan gives the same model again
        planned = {n: record["arms"][f"floor:{n}"].get("planned") for n in again}
        results = run_floors(
            folder.part("train"), {"test": test}, again, seed=record["seeds"][0], threads=1,
            planned={n: p for n, p in planned.items() if p is not None},
        )  # fmt: skip
        found |= {f"floor:{n}": r.predictions["test"] for n, r in results.items() if r.status == "ok"}
    return found
