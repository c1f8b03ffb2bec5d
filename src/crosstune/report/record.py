"""Reading a run folder into one frozen record. The folder is the only input of the whole room.

Everything is read leniently where a run may have been cut off (a torn last event line, arms without predictions,
no diagnostics) and strictly where a guess would be wrong (a foreign folder, another schema).
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crosstune.errors import RunError

SCHEMA = 1
ROLES = ("method", "control", "floor")
CONTROL_LABELS = {
    "no-align": "no alignment (equal time)",
    "frozen": "frozen body",
    "scratch": "from scratch",
}


@dataclass(frozen=True)
class Prediction:
    """What one arm said about one split with one seed.

    rows: (n,) int64 row numbers in the data file, ascending. target and prediction: canonical shapes of
    ``crosstune.records`` (classification: (n,) codes and (n, K) probabilities; multilabel and regression: (n, K);
    dense: (n, C, ...), the target NaN where it is unknown; segmentation: (n, ...) codes and (n, K, ...)
    probabilities), float64. units: (n,) int64 where rows are pieces of units, else None.
    """

    arm: str
    seed: int
    split: str
    rows: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    selected_on: str = "validation"
    protocol: str = "clean"
    units: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray) -> Prediction:
        """The same record restricted to ``rows`` (a sorted subset of ``self.rows``)."""
        keep = np.searchsorted(self.rows, rows)
        return Prediction(
            self.arm,
            self.seed,
            self.split,
            self.rows[keep],
            self.target[keep],
            self.prediction[keep],
            self.selected_on,
            self.protocol,
            None if self.units is None else self.units[keep],
        )


@dataclass(frozen=True)
class Arm:
    """One contestant: the method, a control (the same recipe with a part taken out) or a floor."""

    name: str
    role: str
    label: str
    status: str
    seconds: float | None
    note: str | None
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """A run folder as read: ``run`` is run.json, ``events`` the readable lines of events.jsonl.

    ``ignored_lines`` counts event lines that could not be read (a torn last line is normal after a kill).
    """

    path: Path
    run: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    ignored_lines: int = 0

    def part(self, name: str) -> Mapping[str, Any]:
        """A top-level object of run.json, or an empty one."""
        value = self.run.get(name)
        return value if isinstance(value, Mapping) else {}

    @property
    def unlabelled(self) -> bool:
        """Whether the method's stages 0 and 1 had no labelled source data."""
        proxy = self.part("proxy")
        return bool(proxy) and proxy.get("name") is None

    @property
    def aligns(self) -> bool:
        """Whether the method does anything before fitting (what is not known to, does)."""
        stages = self.part("method").get("stages")
        return not isinstance(stages, list) or len(stages) > 1

    @property
    def task(self) -> Mapping[str, Any]:
        return self.part("task")

    @property
    def name(self) -> str:
        return str(self.task.get("name") or self.path.name)

    @property
    def kind(self) -> str:
        return str(self.task.get("kind", "classification"))

    @property
    def metric(self) -> str:
        return str(self.task.get("metric", ""))

    @property
    def protocol(self) -> str:
        return str(self.task.get("protocol") or "clean")

    @property
    def selected_on(self) -> str:
        """The part that chose the checkpoint: "test" where a protocol makes validation and test the same rows."""
        return str(self.task.get("selected_on") or "validation")

    @property
    def status(self) -> str:
        return str(self.run.get("status", "unknown"))

    @property
    def classes(self) -> tuple[str, ...] | None:
        classes = self.task.get("classes")
        return tuple(str(c) for c in classes) if classes else None

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(int(s) for s in self.run.get("seeds") or (0,))

    @property
    def arms(self) -> dict[str, Arm]:
        """Arms by name: the method first, then controls, then floors, in the order of run.json."""
        arms = [_arm(str(name), raw) for name, raw in self.part("arms").items()]
        order = {role: i for i, role in enumerate(ROLES)}
        return {arm.name: arm for arm in sorted(arms, key=lambda a: order.get(a.role, len(ROLES)))}

    @property
    def method(self) -> str:
        """Name of the method's arm (from the arms, else from the method record)."""
        for arm in self.arms.values():
            if arm.role == "method":
                return arm.name
        return str(self.part("method").get("name") or "method")

    def label(self, arm: str) -> str:
        """What a reader should see for an arm."""
        found = self.arms.get(arm)
        return found.label if found else _default_label(arm)

    def events_of(self, kind: str, arm: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Events of one kind, optionally of one arm (events without an arm belong to the method)."""
        for event in self.events:
            if event.get("kind") == kind and (arm is None or event.get("arm", self.method) == arm):
                yield event

    def prediction_files(self, split: str) -> dict[str, dict[int, Path]]:
        """Arm -> seed -> file, for the arms that have predictions on ``split``."""
        found: dict[str, dict[int, Path]] = {}
        folder = self.path / "predictions"
        names = {_file_name(arm): arm for arm in self.arms}
        pattern = re.compile(re.escape(split) + r"\.(?P<arm>.+)\.s(?P<seed>\d+)\.parquet")
        for file in sorted(folder.glob(f"{split}.*.parquet")) if folder.is_dir() else []:
            match = pattern.fullmatch(file.name)
            if match:
                arm = names.get(match["arm"], match["arm"])
                found.setdefault(arm, {})[int(match["seed"])] = file
        return found

    def splits(self) -> tuple[str, ...]:
        """Splits that have predictions of at least one arm: ("validation",) before the reveal."""
        return tuple(s for s in ("validation", "test") if self.prediction_files(s))

    def predictions(self, split: str) -> dict[str, dict[int, Prediction]]:
        """Arm -> seed -> prediction. Files that cannot be read are left out (an interrupted run may have one)."""
        loaded = {arm: self.predictions_of(split, arm) for arm in self.prediction_files(split)}
        return {arm: seeds for arm, seeds in loaded.items() if seeds}

    def predictions_of(self, split: str, arm: str, seed: int | None = None) -> dict[int, Prediction]:
        """Seed -> prediction of one arm, of one seed or of all: fields of many arms need not fit in memory at once."""
        loaded: dict[int, Prediction] = {}
        for one, file in self.prediction_files(split).get(arm, {}).items():
            if seed is None or one == seed:
                prediction = _read_prediction(file, arm, one, split, self.kind)
                if prediction is not None:
                    loaded[one] = prediction
        return loaded

    def diagnostics(self, what: str, arm: str | None = None) -> dict[int, dict[str, np.ndarray]]:
        """Seed -> arrays of diagnostics/<what>.<arm>.s<seed>.npz; empty where nothing was recorded."""
        found: dict[int, dict[str, np.ndarray]] = {}
        for file in sorted(
            (self.path / "diagnostics").glob(f"{what}.{glob.escape(_file_name(arm or self.method))}.s*.npz")
        ):
            seed = file.name.rsplit(".s", 1)[1].removesuffix(".npz")
            try:
                with np.load(file, allow_pickle=False) as archive:
                    found[int(seed)] = {key: archive[key] for key in archive.files}
            except (OSError, ValueError, KeyError, EOFError):
                continue
        return found


def read_run(path: str | Path) -> RunRecord:
    """The record of the run folder ``path``.

    Raises RunError: no such folder; a folder without run.json; run.json that is no JSON object; unknown schema.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise RunError(
            f"no run folder at {folder}",
            cause="the path is mistyped, or the run was moved or never started",
            fix="give the folder that `crosstune fit ... --out FOLDER` wrote",
        )
    file = folder / "run.json"
    if not file.is_file():
        raise RunError(
            f"{folder} is not a run folder: it has no run.json",
            cause="the path is one level too high or too low, or the folder was made by another program",
            fix="give the folder that `crosstune fit ... --out FOLDER` wrote",
        )
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{file} cannot be read as JSON: {error}",
            cause="the file was edited or cut off while being copied",
            fix="restore run.json from where the run was made, or fit again",
        ) from error
    schema = run.get("schema") if isinstance(run, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"{file} has schema {schema!r}; this version of crosstune reads schema {SCHEMA}",
            cause="the run was written by another version of crosstune, or by another program",
            fix=f"install the crosstune version named in {file} (key 'crosstune'), or fit again with this one",
        )
    events, ignored = _read_events(folder / "events.jsonl")
    return RunRecord(folder, run, events, ignored)


def _arm(name: str, raw: Any) -> Arm:
    raw = raw if isinstance(raw, Mapping) else {}
    role = str(raw.get("role") or ("floor" if name.startswith("floor:") else "control"))
    seconds = raw.get("seconds")
    return Arm(
        name=name,
        role=role,
        label=str(raw.get("label") or _default_label(name)),
        status=str(raw.get("status") or "ok"),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        note=str(raw["note"]) if raw.get("note") else None,
        raw=raw,
    )


def _default_label(arm: str) -> str:
    return CONTROL_LABELS.get(arm, arm.removeprefix("floor:"))


def _file_name(arm: str) -> str:
    return arm.replace(":", "-")


def _read_events(file: Path) -> tuple[tuple[Mapping[str, Any], ...], int]:
    if not file.is_file():
        return (), 0
    events: list[Mapping[str, Any]] = []
    ignored = 0
    for line in file.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError:
            ignored += 1
            continue
        if isinstance(event, dict):
            events.append(event)
        else:
            ignored += 1
    return tuple(events), ignored


def _read_prediction(file: Path, arm: str, seed: int, split: str, kind: str) -> Prediction | None:
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid):
        return None
    meta: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"crosstune", b"{}"))
    if meta.get("kind", kind) == "segmentation":
        shape = meta.get("field_shape") or (1, -1)
        target = _fields(table["target"], shape[1:]).astype(np.int64)
        prediction = _fields(table["prediction"], shape)
    elif meta.get("kind", kind) == "dense":
        target, prediction = (_fields(table[name], meta.get("field_shape")) for name in ("target", "prediction"))
    elif meta.get("kind", kind) == "classification":
        target, prediction = table["target"].to_numpy().astype(np.int64), _columns(table, "p")
    else:
        target, prediction = _columns(table, "target"), _columns(table, "pred")
    rows = table["row"].to_numpy().astype(np.int64)
    order = np.argsort(rows, kind="stable")
    return Prediction(
        arm=str(meta.get("arm", arm)) if meta.get("arm", arm) != _file_name(arm) else arm,
        seed=seed,
        split=split,
        rows=rows[order],
        target=target[order],
        prediction=prediction[order],
        selected_on=str(meta.get("selected_on") or "validation"),
        protocol=str(meta.get("protocol") or "clean"),
        units=table["unit"].to_numpy().astype(np.int64)[order] if "unit" in table.column_names else None,
    )


def _columns(table: pa.Table, prefix: str) -> np.ndarray:
    """(n, K) float64 from columns prefix0, prefix1, ..."""
    names = [name for name in table.column_names if re.fullmatch(prefix + r"\d+", name)]
    names.sort(key=lambda name: int(name[len(prefix) :]))
    if not names:
        return np.empty((table.num_rows, 0))
    return np.column_stack([table[name].to_numpy().astype(np.float64) for name in names])


def _fields(column: pa.ChunkedArray, shape: Any) -> np.ndarray:
    """(n, C, ...) float64 from a list column that was flattened in C order; (n, 1, L) without a known shape."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)  # nulls become NaN
    return flat.reshape(len(column), *(shape or (1, -1))) if len(column) else flat.reshape(0, *(shape or (1, 0)))
