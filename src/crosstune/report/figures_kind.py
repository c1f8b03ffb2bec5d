"""Figures and tables that depend on the target kind: confusion, scatter and residuals, labels, fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from crosstune.report import svg
from crosstune.report.figures_fields import sample_fields
from crosstune.report.record import Prediction, RunRecord
from crosstune.report.words import number, short

MOST_CLASSES = 20
_MOST_OUTPUTS = 4


@dataclass(frozen=True)
class View:
    """What the prediction section shows: figures, at most one table (text columns first), and remarks."""

    drawings: tuple[svg.Drawing, ...] = ()
    caption: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    remarks: tuple[str, ...] = ()
    text_columns: int = 1


def prediction_view(record: RunRecord, split: str) -> View:
    """The view of the method's predictions on ``split`` (its first seed)."""
    first = min(record.prediction_files(split).get(record.method, {}), default=None)
    seeds = {} if first is None else record.predictions_of(split, record.method, first)
    if first not in seeds or not len(seeds[first]):
        return View(remarks=(f"No predictions of the method on {split} were recorded.",))
    prediction, dropped = _usable(seeds[first])
    if not len(prediction):
        return View(remarks=(f"No prediction of the method on {split} is a number.",))
    view = {
        "classification": _classification,
        "multilabel": _multilabel,
        "regression": _regression,
        "dense": _dense,
        "segmentation": _segmentation,
    }.get(record.kind)
    if view is None:
        return View(remarks=(f"No view for targets of kind {record.kind}.",))
    made = view(record, prediction)
    return replace(made, remarks=(*made.remarks, f"{dropped} rows are not numbers and left out.")) if dropped else made


def _usable(prediction: Prediction) -> tuple[Prediction, int]:
    """The rows whose target and prediction are finite, and how many are not. Of fields (n, C, ...) the target need not
    be known everywhere."""
    n = len(prediction)
    known = np.isfinite(prediction.target.reshape(n, -1))
    known = known.any(axis=1) if prediction.target.ndim > 2 else known.all(axis=1)
    keep = known & np.isfinite(prediction.prediction.reshape(n, -1)).all(axis=1)
    return (prediction, 0) if keep.all() else (prediction.take(prediction.rows[keep]), int((~keep).sum()))


# --- classification ---


def confusion_counts(prediction: Prediction, classes: int) -> np.ndarray:
    """(K, K) counts, row: true class, column: class with the highest probability."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (prediction.target, prediction.prediction.argmax(axis=1)), 1)
    return counts


def _classification(record: RunRecord, prediction: Prediction) -> View:
    k = max(prediction.prediction.shape[1], int(prediction.target.max()) + 1)
    names = list(record.classes or ())
    names += [f"class {i}" for i in range(len(names), k)]
    counts = confusion_counts(prediction, k)
    pairs = _confused_pairs(counts, names)
    drawings = (_confusion(counts, names, prediction, "rows"),) if k <= MOST_CLASSES else ()
    remarks = () if k <= MOST_CLASSES else (f"{k} classes: the most confused pairs instead of a {k} x {k} matrix.",)
    return View(
        drawings=drawings,
        caption=f"Most confused pairs on {prediction.split}, seed {prediction.seed}; share of the true class's rows",
        columns=("true", "predicted", "rows", "share"),
        rows=pairs,
        text_columns=2,
        remarks=remarks + (() if pairs else ("No row was confused.",)),
    )


def _confused_pairs(counts: np.ndarray, names: list[str]) -> tuple[tuple[str, ...], ...]:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    pairs = [divmod(int(i), len(counts)) for i in order]
    return tuple(
        (short(names[t], 40), short(names[p], 40), str(wrong[t, p]), f"{100 * wrong[t, p] / counts[t].sum():.0f} %")
        for t, p in pairs
        if wrong[t, p]
    )


def _confusion(counts: np.ndarray, names: list[str], prediction: Prediction, what: str) -> svg.Drawing:
    k = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with svg.canvas(480, width=480) as figure:
        axes = figure.add_subplot()
        size = 12 if k <= 10 else 9 if k <= 14 else 7
        for t, p in np.ndindex(k, k):
            axes.add_patch(Rectangle((p - 0.5, t - 0.5), 1, 1, facecolor=svg.METHOD, alpha=float(share[t, p]) * 0.9,
                                     linewidth=0))  # fmt: skip
            if counts[t, p]:
                colour = svg.PAPER if share[t, p] > 0.55 else svg.INK
                shown = str(counts[t, p]) if counts[t, p] < 100_000 else f"{counts[t, p]:.2g}"
                axes.text(p, t, shown, ha="center", va="center", fontsize=size, color=colour)
        axes.set_xlim(-0.5, k - 0.5)
        axes.set_ylim(k - 0.5, -0.5)
        axes.set_aspect("equal")
        ticks = [short(n, 14) for n in names]
        tilt = max(len(n) for n in ticks) > 3
        axes.set_xticks(range(k), ticks, rotation=45 if tilt else 0, ha="right" if tilt else "center",
                        rotation_mode="anchor" if tilt else "default")  # fmt: skip
        axes.set_yticks(range(k), ticks)
        axes.tick_params(length=0, labelsize=11 if k <= 12 else 9)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        right = int(np.trace(counts))
        alt = f"Confusion matrix over {k} classes: {right} of {counts.sum()} {what} on the diagonal"
        of = "" if what == "rows" else f" of {what}"
        caption = (
            f"Confusion matrix on {prediction.split} (seed {prediction.seed}): counts{of}; colour is the share of the "
            "row (true class)."
        )
        return svg.export(figure, "confusion", alt, caption)


# --- class maps ---


def _segmentation(record: RunRecord, prediction: Prediction) -> View:
    from crosstune.report.figures_maps import class_rows, position_counts, sample_maps

    counts = position_counts(prediction)
    names = list(record.classes or ())
    names += [f"class {i}" for i in range(len(names), len(counts))]
    drawings, remarks = sample_maps(record, prediction, names)
    if len(counts) <= MOST_CLASSES:
        drawings.append(_confusion(counts, names, prediction, "positions"))
    return View(
        drawings=tuple(drawings),
        caption=f"Classes of positions on {prediction.split}, seed {prediction.seed}",
        columns=("class", "positions", "precision", "recall", "F1", "intersection over union"),
        rows=class_rows(counts, names),
        remarks=tuple(remarks),
    )


# --- multilabel ---


def _multilabel(record: RunRecord, prediction: Prediction) -> View:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rows = []
    names = list(record.classes or record.task.get("target_names") or ())
    target = prediction.target > 0.5
    said = prediction.prediction >= 0.5
    for k in range(target.shape[1]):
        truth, score = target[:, k], prediction.prediction[:, k]
        hits = int((truth & said[:, k]).sum())
        mixed = 0 < truth.sum() < len(truth)
        rows.append((
            short(names[k], 40) if k < len(names) else f"label {k}",
            str(int(truth.sum())),
            number(hits / said[:, k].sum() if said[:, k].any() else None),
            number(hits / truth.sum() if truth.any() else None),
            number(float(average_precision_score(truth, score)) if truth.any() else None),
            number(float(roc_auc_score(truth, score)) if mixed else None),
        ))  # fmt: skip
    return View(
        drawings=(_label_bars(rows, prediction),),
        caption=f"Labels on {prediction.split}, seed {prediction.seed}; precision and recall at probability 0.5",
        columns=("label", "positives", "precision", "recall", "average precision", "AUROC"),
        rows=tuple(rows),
    )


def _label_bars(rows: list[Any], prediction: Prediction) -> svg.Drawing:
    """Average precision per label against its prevalence, which is what guessing scores."""
    shown = rows[:30]
    prevalence = (prediction.target > 0.5).mean(axis=0)
    with svg.canvas(70 + 26 * len(shown)) as figure:
        axes = figure.add_subplot()
        values = [float(r[4]) if r[4] != "\u2013" else np.nan for r in shown]
        y = np.arange(len(shown))
        axes.barh(y, values, height=0.6, color=svg.METHOD)
        axes.plot(prevalence[: len(shown)], y, "|", color=svg.INK, markersize=12, markeredgewidth=2)
        axes.set_yticks(y, [short(r[0], 22) for r in shown])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("average precision (tick: prevalence)")
        alt = "Average precision per label: " + ", ".join(f"{short(r[0])} {r[4]}" for r in shown)
        more = f" First {len(shown)} of {len(rows)} labels." if len(rows) > len(shown) else ""
        caption = f"Average precision per label on {prediction.split}; the tick is what guessing would score.{more}"
        return svg.export(figure, "labels", alt, caption)


# --- regression ---


def _regression(record: RunRecord, prediction: Prediction) -> View:
    names = list(record.task.get("target_names") or ())
    outputs = prediction.target.shape[1]
    drawings: list[svg.Drawing] = []
    for k in range(min(outputs, _MOST_OUTPUTS)):
        name = str(names[k]) if k < len(names) else ("target" if outputs == 1 else f"target {k}")
        truth, value = prediction.target[:, k], prediction.prediction[:, k]
        drawings += [_scatter(truth, value, name, k, prediction), _residuals(value - truth, name, k, prediction)]
    left = (f"The first {_MOST_OUTPUTS} of {outputs} outputs are shown.",) if outputs > _MOST_OUTPUTS else ()
    return View(drawings=tuple(drawings), remarks=left)


def _scatter(truth: np.ndarray, value: np.ndarray, name: str, k: int, prediction: Prediction) -> svg.Drawing:
    keep = np.arange(len(truth))
    if len(keep) > 800:
        keep = np.sort(np.random.default_rng(0).choice(len(truth), 800, replace=False))
    with svg.canvas(380) as figure:
        axes = figure.add_subplot()
        low, high = min(truth.min(), value.min()), max(truth.max(), value.max())
        pad = 0.05 * (high - low) + 1e-9
        axes.plot([low - pad, high + pad], [low - pad, high + pad], color=svg.MUTED, linewidth=1, linestyle="--")
        axes.plot(truth[keep], value[keep], "o", color=svg.METHOD, markersize=5, alpha=0.6, markeredgewidth=0)
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(low - pad, high + pad)
        axes.set_aspect("equal")
        axes.grid()
        axes.set_xlabel("truth")
        axes.set_ylabel("prediction")
        axes.set_title(short(name, 40), loc="left")
        both = len(truth) > 1 and np.ptp(truth) > 0 and np.ptp(value) > 0
        r = f"; correlation {number(float(np.corrcoef(truth, value)[0, 1]))}" if both else ""
        alt = f"Prediction against truth for {short(name)}, {len(truth)} rows{r}"
        shown = f" {len(keep)} of {len(truth)} rows drawn." if len(keep) < len(truth) else ""
        caption = f"Prediction against truth on {prediction.split} (seed {prediction.seed}){r}. Dashed: perfect.{shown}"
        return svg.export(figure, f"scatter-{k}", alt, caption)


def _residuals(residual: np.ndarray, name: str, k: int, prediction: Prediction) -> svg.Drawing:
    with svg.canvas(300) as figure:
        axes = figure.add_subplot()
        bins = int(np.clip(np.sqrt(len(residual)) * 1.5, 5, 40))
        axes.hist(residual, bins=bins, color=svg.METHOD, alpha=0.85, edgecolor=svg.PAPER, linewidth=0.8)
        axes.axvline(0, color=svg.MUTED, linewidth=1, linestyle="--")
        axes.grid(axis="y")
        axes.set_xlabel("prediction \u2212 truth")
        axes.set_ylabel("rows")
        mean, spread = float(residual.mean()), float(residual.std())
        alt = f"Histogram of residuals of {short(name)}: mean {number(mean)}, standard deviation {number(spread)}"
        caption = f"Residuals on {prediction.split}: mean {number(mean)}, standard deviation {number(spread)}."
        return svg.export(figure, f"residuals-{k}", alt, caption)


# --- dense fields ---


def _dense(record: RunRecord, prediction: Prediction) -> View:
    drawings, remarks = sample_fields(record, prediction)
    return View(drawings=tuple(drawings), remarks=tuple(remarks))
