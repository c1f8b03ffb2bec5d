"""What is in the data, what is wrong with it, and what would be done with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crosstune.data.checks import ACCEPTABLE, grouping, leakage, rows, targets, values
from crosstune.data.lazy import is_lazy, thinned
from crosstune.discovery import suggest
from crosstune.errors import UsageError
from crosstune.records import FIELD_KINDS, Dataset, Finding, Split

_CHECKS = (values, targets, rows, grouping, leakage)
_ORDER = {"refuse": 0, "warn": 1, "note": 2}


@dataclass(frozen=True)
class Inspection:
    """The summary of a Dataset.

    shape: of one row, channel-first. classes: name -> rows, of class maps positions. missing: share of NaN, padding
    aside. lengths: shortest and longest series. findings: refusals first. plan: what fitting would do, in words.
    accepted: codes from --accept.
    """

    name: str
    rows: int
    shape: tuple[int, ...]
    modality: str
    kind: str | None
    reason: str | None
    classes: dict[str, int] | None
    missing: float
    lengths: tuple[int, int] | None
    findings: tuple[Finding, ...]
    plan: tuple[str, ...]
    accepted: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    source: dict[str, Any] = field(default_factory=dict)

    def refused(self, accept: Iterable[str] | None = None) -> tuple[Finding, ...]:
        """The findings that stop a run, those accepted left out (by default the codes given to ``inspect``)."""
        codes = self.accepted if accept is None else _accepted(tuple(accept))
        return tuple(f for f in self.findings if f.severity == "refuse" and f.code not in codes)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``--json`` and the run folder."""
        return {
            "name": self.name,
            "rows": self.rows,
            "shape": list(self.shape),
            "modality": self.modality,
            "kind": self.kind,
            "reason": self.reason,
            "classes": self.classes,
            "missing": self.missing,
            "lengths": None if self.lengths is None else list(self.lengths),
            "columns": None if self.columns is None else list(self.columns),
            "findings": [
                {
                    "code": f.code,
                    "severity": f.severity,
                    "message": f.message,
                    "accept": f.accept,
                    "detail": _jsonable(f.detail),
                }
                for f in self.findings
            ],
            "refused": [f.code for f in self.refused()],
            "accepted": list(self.accepted),
            "plan": list(self.plan),
            "source": _jsonable(self.source),
        }


def inspect(dataset: Dataset, split: Split | None = None, *, accept: Sequence[str] = ()) -> Inspection:
    """Everything that can be said about the data before a model sees them.

    split: also checks what straddles its parts. accept: codes of refusals to let pass; ``UsageError`` for others.
    """
    accepted = _accepted(tuple(accept))
    seen, seen_split, found = _seen(dataset, split)
    for check in _CHECKS:
        whole = check in (targets, grouping) and not is_lazy(dataset.y)  # these look at targets and groups alone
        found += check.check(dataset, split) if whole else check.check(seen, seen_split)
    if split is not None:
        found += [Finding("split", "note", warning) for warning in split.warnings]
    lengths = dataset.lengths
    return Inspection(
        name=dataset.name,
        rows=len(dataset),
        shape=tuple(int(s) for s in dataset.X.shape[1:]),
        modality=dataset.modality,
        kind=dataset.kind,
        reason=dataset.source.get("reason"),
        classes=targets.class_counts(dataset) if dataset.classes is not None and dataset.y is not None else None,
        missing=values.missing_share(seen),
        lengths=None if lengths is None else (int(lengths.min()), int(lengths.max())),
        findings=tuple(sorted(found, key=lambda f: _ORDER[f.severity])),
        plan=_plan(dataset, split, gaps=bool(np.isnan(seen.X).any())),
        accepted=accepted,
        columns=dataset.columns,
        source={k: v for k, v in dataset.source.items() if k not in ("notes", "reason")},
    )


def _accepted(codes: tuple[str, ...]) -> tuple[str, ...]:
    for code in codes:
        if code not in ACCEPTABLE:
            raise UsageError(f"--accept {code}: there is no such finding", fix=suggest(code, ACCEPTABLE))
    return codes


def _seen(dataset: Dataset, split: Split | None) -> tuple[Dataset, Split | None, list[Finding]]:
    """The rows whose values are checked: all of them, or of lazy data a sample (said in a note), with its split."""
    seen, rows = thinned(dataset)
    if rows is None:
        return seen, split, []
    said = (
        f"values were checked on {len(rows):,} of {len(dataset):,} rows, evenly spaced: the data are larger than memory"
    )
    note = Finding("sampled", "note", said, detail={"rows": len(rows)})
    if split is None:
        return seen, None, [note]
    place = np.full(len(dataset), -1)
    place[rows] = np.arange(len(rows))
    kept = {name: place[split.rows(name)] for name in ("train", "validation", "test")}
    return seen, replace(split, **{name: at[at >= 0] for name, at in kept.items()}), [note]


def _plan(dataset: Dataset, split: Split | None, *, gaps: bool) -> tuple[str, ...]:
    lines = [f"read {len(dataset):,} rows as {_what(dataset)}"]
    if dataset.kind is None:
        return (*lines, "name a target with --target to fit a model")
    lines.append(f"task: {_task(dataset)}; {dataset.source.get('reason', 'as given')}")
    if split is not None:
        sizes = ", ".join(f"{name} {len(split.rows(name)):,}" for name in ("train", "validation", "test"))
        lines.append(f"split ({split.strategy}, seed {split.seed}) before anything is fitted: {sizes}")
    else:
        how = "by group" if dataset.groups is not None else "by time" if dataset.time is not None else "at random"
        if how == "at random" and dataset.kind not in FIELD_KINDS:
            how = "stratified by the target"
        lines.append(f"split {how} before anything is fitted; the test part stays sealed")
    if gaps:
        lines.append("missing values are masked for the model; for floors filled with train medians and flagged")
    if dataset.categories:
        lines.append(f"{len(dataset.categories)} text columns are categories; values unseen in train count as missing")
    if dataset.lengths is not None:
        lines.append("series keep their own lengths; batches are padded to their longest and masked")
    return tuple(lines)


def _what(dataset: Dataset) -> str:
    shape = " x ".join(str(s) for s in dataset.X.shape[2:])
    channels = f"{dataset.X.shape[1]} channel{'s' * (dataset.X.shape[1] != 1)}"
    if dataset.is_table:
        return f"a table of {dataset.X.shape[1]} columns"
    if dataset.lengths is not None:
        return f"series of {channels} and {dataset.lengths.min()} to {dataset.lengths.max()} samples"
    kind = {3: "series", 4: "grids", 5: "volumes"}[dataset.X.ndim]
    return f"{kind} of {channels} and {shape} {'samples' if dataset.X.ndim == 3 else 'points'}"


def _task(dataset: Dataset) -> str:
    assert dataset.y is not None
    if dataset.kind == "classification":
        return f"classification into {len(dataset.classes or ())} classes"
    if dataset.kind == "multilabel":
        return f"{dataset.y.shape[1]} labels at once"
    if dataset.kind == "regression":
        return f"regression of {dataset.y.shape[1]} value{'s' * (dataset.y.shape[1] != 1)}"
    if dataset.kind == "segmentation":
        extent = " x ".join(str(s) for s in dataset.y.shape[1:])
        return f"segmentation: one of {len(dataset.classes or ())} classes at each of {extent} positions"
    return f"dense fields of shape {tuple(dataset.y.shape[1:])}"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
