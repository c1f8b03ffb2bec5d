"""What stage 1 changed, as a table: distances, distortion and spread before and after, and whether to trust them."""

from __future__ import annotations

from typing import Any

from crosstune.report.record import RunRecord
from crosstune.report.words import number

ROWS = (
    ("fa", "feature alignment", "transport cost to the source cloud, in units of the source's own spread"),
    ("fld", "distortion objective", "nats; of the variant that was minimised (lower is better)"),
    ("spread_ratio", "spread", "target spread over source spread; below 0.5 the target cloud has contracted"),
)


def _stage(record: RunRecord, name: str) -> Any:
    """The report of a stage of the method's first seed, or None."""
    arm = record.arms.get(record.method)
    stages = (arm.raw.get("stages") or ()) if arm is not None else ()
    return next((s for s in stages if s.get("stage") == name), None)


def source_head_line(record: RunRecord) -> str:
    """How well the source predictor knows its own source, in words; empty where there is none."""
    report = _stage(record, "source_head")
    figures = report.get("figures", {}) if report else {}
    if not {"classes", "passages", "holdout_accuracy"} <= set(figures):
        return ""
    name = str(record.part("proxy").get("name") or "the source proxy")
    classes = int(figures["classes"])
    return (
        f"Source head: {figures['holdout_accuracy']:.1%} of held-out examples of {name} right, in {classes} classes "
        f"(chance {1 / max(1, classes):.1%}), from {int(figures['passages']):,} examples."
    )


def alignment_table(record: RunRecord) -> dict[str, Any]:
    """Rows of before and after for the method's first seed; empty when stage 1 did not run."""
    report = _stage(record, "align")
    if report is None:
        return {"rows": [], "steps": 0, "seconds": 0.0, "stopped_by": "", "converged": None, "notes": []}
    figures = report.get("figures", {})
    rows = [
        {"symbol": symbol, "meaning": meaning,
         "before": number(figures[f"{key}_before"]), "after": number(figures[f"{key}_after"])}
        for key, symbol, meaning in ROWS
        if f"{key}_before" in figures and f"{key}_after" in figures
    ]  # fmt: skip
    return {
        "rows": rows, "steps": report.get("steps"), "seconds": report.get("seconds"),
        "stopped_by": report.get("stopped_by"), "converged": figures.get("converged"), "notes": report.get("notes", []),
    }  # fmt: skip
