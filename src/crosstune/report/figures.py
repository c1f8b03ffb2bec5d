"""Figures every run has: arms as a forest, learning curves, alignment before and after, the bound with its slack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from sklearn.decomposition import PCA

from crosstune.report import svg
from crosstune.report.record import RunRecord
from crosstune.report.scores import ArmScore
from crosstune.report.summary import BoundStage, Summary
from crosstune.report.words import number, short, with_interval

STAGE_LABELS = {"before": "before alignment", "after-align": "after alignment", "after-fit": "after fitting"}
TRAINING_STAGES = {
    "source_head": "source head", "align": "alignment", "mix": "mixing", "meta": "meta-learning", "fit": "fitting",
}  # fmt: skip
_ROLE_MARKS = {"method": "o", "control": "D", "floor": "s"}
_POINTS = 400  # a curve keeps at most this many points, a cloud this many markers


def forest(summary: Summary) -> svg.Drawing | None:
    """Score and interval of every arm on one axis; the method's score as a dashed line."""
    arms = [a for a in summary.arms if a.value is not None and math.isfinite(a.value)]
    if not arms:
        return None
    with svg.canvas(56 + 44 * len(arms)) as figure:
        axes = figure.add_subplot()
        for row, arm in enumerate(arms):
            _forest_row(axes, -row, arm)
        method = summary.arm(summary.method)
        if method is not None and method.value is not None:
            axes.axvline(method.value, color=svg.METHOD, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
        axes.set_ylim(-len(arms) + 0.6, 0.68)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        better = "\u2190 lower is better" if summary.direction == "lower" else "higher is better \u2192"
        axes.set_xlabel(f"{summary.split} {summary.metric}   {better}")
        _label_rows(axes, arms)
        alt = f"Forest plot of {summary.split} {summary.metric}: " + "; ".join(
            f"{a.label} {with_interval(a.value, a.low, a.high)}" for a in arms
        )
        ticks = " Ticks: single seeds." if any(len(a.by_seed) > 1 for a in arms) else ""
        caption = (
            f"Score on {summary.split} with 95 % bootstrap interval over rows. Circle: method; diamond: control; "
            f"square: floor. Dashed: the method's score.{ticks}"
        )
        return svg.export(figure, f"forest-{summary.split}", alt, caption)


def _forest_row(axes: Any, y: float, arm: ArmScore) -> None:
    colour = svg.ROLE_COLOURS.get(arm.role, svg.FLOOR)
    if arm.low is not None and arm.high is not None:
        axes.plot([arm.low, arm.high], [y, y], color=colour, linewidth=2.4)
    axes.plot([arm.value], [y], marker=_ROLE_MARKS.get(arm.role, "s"), color=colour, markersize=8,
              markeredgecolor=svg.PAPER, markeredgewidth=1.2, linestyle="none")  # fmt: skip
    if len(arm.by_seed) > 1:
        axes.plot(list(arm.by_seed.values()), [y - 0.2] * len(arm.by_seed), "|", color=colour, markersize=5)


def _label_rows(axes: Any, arms: Sequence[ArmScore]) -> None:
    """Each name above its interval, at the left edge: readable at any width."""
    left = axes.get_yaxis_transform()
    under = {"facecolor": svg.PAPER, "edgecolor": "none", "pad": 1.5}  # keeps the grid from running through the words
    for row, arm in enumerate(arms):
        weight = "bold" if arm.role == "method" else "normal"
        options: Any = {"transform": left, "va": "bottom", "bbox": under}
        axes.text(0.0, -row + 0.2, short(arm.label, 30), fontweight=weight, ha="left", **options)
        score = with_interval(arm.value, arm.low, arm.high)
        axes.text(1.0, -row + 0.2, score, color=svg.MUTED, ha="right", fontsize=11, **options)


Curves = dict[Any, list[tuple[float, float]]]  # seed -> (step, value)


def loss_curves(record: RunRecord) -> list[svg.Drawing]:
    """Training loss of the method, one figure per stage; thin: each recorded step, thick: running mean."""
    return [_loss_curve(stage, seeds) for stage, seeds in _losses(record).items() if _drawable(seeds)]


def single_values(record: RunRecord) -> list[str]:
    """What was recorded once only, and therefore makes a sentence and not a curve."""
    said = []
    for stage, seeds in _losses(record).items():
        if not _drawable(seeds):
            step, loss = next(iter(seeds.values()))[0]
            name = TRAINING_STAGES.get(stage, stage)
            said.append(f"Training loss of {name} was recorded once: {number(loss)} at step {int(step)}.")
    validation = _scores(record).get(record.method, {})
    if validation and not any(_drawable(seeds) for seeds in _scores(record).values()):
        step, score = next(iter(validation.values()))[0]
        said.append(f"Validation {record.metric} was recorded once: {number(score)} at step {int(step)}.")
    return said


def _losses(record: RunRecord) -> dict[str, Curves]:
    """Stage -> seed -> points, in the order of training."""
    stages: dict[str, Curves] = {}
    for event in record.events_of("step", record.method):
        _collect(stages.setdefault(str(event.get("stage", "?")), {}), event, "loss")
    order = list(TRAINING_STAGES)
    names = sorted(stages, key=lambda s: order.index(s) if s in order else len(order))
    return {name: stages[name] for name in names if stages[name]}


def _scores(record: RunRecord) -> dict[str, Curves]:
    """Arm -> seed -> points of validation."""
    curves: dict[str, Curves] = {}
    for event in record.events_of("validation"):
        _collect(curves.setdefault(str(event.get("arm", record.method)), {}), event, "score")
    return {arm: seeds for arm, seeds in curves.items() if seeds}


def _collect(seeds: Curves, event: Mapping[str, Any], key: str) -> None:
    step, value = event.get("step"), event.get(key)
    if isinstance(step, int | float) and isinstance(value, int | float) and math.isfinite(value):
        points = seeds.setdefault(event.get("seed"), [])
        # a resumed run repeats the steps since its last checkpoint: the later telling replaces the earlier
        while points and points[-1][0] >= step:
            points.pop()
        points.append((step, value))


def _drawable(seeds: Curves) -> bool:
    return any(len(points) > 1 for points in seeds.values())


def _loss_curve(stage: str, seeds: Curves) -> svg.Drawing:
    label = TRAINING_STAGES.get(stage, stage)
    with svg.canvas(250) as figure:
        axes = figure.add_subplot()
        low, high, first, last, steps = math.inf, -math.inf, math.nan, math.nan, 0
        for points in seeds.values():
            x, y = _thin(np.asarray(points, dtype=float))
            smooth = _running_mean(y)
            axes.plot(x, y, color=svg.METHOD, alpha=0.28, linewidth=1, marker="o" if len(x) == 1 else None)
            axes.plot(x, smooth, color=svg.METHOD, linewidth=1.8)
            low, high = min(low, float(y.min())), max(high, float(y.max()))
            first, last, steps = float(smooth[0]), float(smooth[-1]), max(steps, int(x[-1]))
        if low > 0 and high / low > 30:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e3 else (1,), numticks=8))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="y")
        axes.set_xlabel("step")
        axes.set_ylabel("training loss")
        axes.set_title(label, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        alt = f"Training loss during {label}: from {number(first)} to {number(last)} in {steps} steps"
        few = f"{len(seeds)} seeds. " if len(seeds) > 1 else ""
        caption = f"Training loss during {label}. {few}Faint: recorded steps; solid: running mean."
        return svg.export(figure, f"loss-{stage}", alt, caption)


def validation_curve(record: RunRecord, summary: Summary) -> svg.Drawing | None:
    """Validation score by step for the method and the controls; the selected step of the method is ringed."""
    curves = _scores(record)
    if record.method not in curves or not any(_drawable(seeds) for seeds in curves.values()):
        return None
    selected: list[str] = []
    with svg.canvas(250) as figure:
        axes = figure.add_subplot()
        styles = {"no-align": "--", "frozen": ":", "scratch": "-."}
        for arm, seeds in sorted(curves.items(), key=lambda item: item[0] == record.method):
            ours = arm == record.method
            for i, points in enumerate(seeds.values()):
                x, y = np.asarray(points, dtype=float).T
                axes.plot(x, y, color=svg.METHOD if ours else svg.CONTROL, linewidth=2 if ours else 1.3,
                          linestyle="-" if ours else styles.get(arm, "-"), marker="o" if len(x) < 3 else None,
                          markersize=4, label=short(record.label(arm), 26) if i == 0 else None)  # fmt: skip
                if ours:
                    best = int(np.argmin(y) if summary.direction == "lower" else np.argmax(y))
                    axes.plot(x[best], y[best], "o", color=svg.PAPER, markersize=9, markeredgecolor=svg.METHOD,
                              markeredgewidth=2, zorder=5)  # fmt: skip
                    selected.append(f"{number(float(y[best]))} at step {int(x[best])}")
        axes.grid(axis="y")
        axes.set_xlabel("step of fitting")
        axes.set_ylabel(f"validation {summary.metric}")
        axes.set_title("validation", loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.legend(loc="best")
        alt = f"Validation {summary.metric} by step; best of {record.label(record.method)}: {', '.join(selected)}"
        caption = (
            f"Validation {summary.metric} by step of fitting. Ring: the method's best step ({', '.join(selected)})."
        )
        return svg.export(figure, "validation", alt, caption)


def alignment_clouds(record: RunRecord) -> list[svg.Drawing]:
    """Source and target features before and after alignment, in the first two principal components of all three."""
    found = record.diagnostics("alignment")
    if not found:
        return []
    seed, arrays = next(iter(sorted(found.items())))
    if not {"source", "before", "after"} <= set(arrays):
        return []
    source, before, after = (np.asarray(arrays[key], dtype=np.float64) for key in ("source", "before", "after"))
    everything = np.concatenate([source, before, after])
    everything = everything[np.isfinite(everything).all(axis=1)]
    if source.ndim != 2 or source.shape[1] < 2 or len(everything) < 3:
        return []
    pca = PCA(2, random_state=0).fit(everything)
    clouds = {
        k: pca.transform(v[np.isfinite(v).all(axis=1)])
        for k, v in {"source": source, "before": before, "after": after}.items()
    }
    shares = pca.explained_variance_ratio_ * 100
    both = np.concatenate(list(clouds.values()))
    margin = 0.06 * np.ptp(both, axis=0) + 1e-9
    box = (both.min(axis=0) - margin, both.max(axis=0) + margin)
    return [_cloud(clouds["source"], clouds[when], when, box, shares, seed) for when in ("before", "after")]


def _cloud(source: Any, target: Any, when: str, box: Any, shares: Any, seed: int) -> svg.Drawing:
    with svg.canvas(360) as figure:
        axes = figure.add_subplot()
        dots: Any = {"linestyle": "none", "markeredgewidth": 0}
        axes.plot(*_sample(source).T, marker="o", color=svg.CONTROL, markersize=4, alpha=0.5, label="source", **dots)
        axes.plot(*_sample(target).T, marker="^", color=svg.FLOOR, markersize=5, alpha=0.75, label="target", **dots)
        axes.set_xlim(box[0][0], box[1][0])
        axes.set_ylim(box[0][1], box[1][1])
        axes.set_xlabel(f"component 1 ({shares[0]:.0f} % of variance)")
        axes.set_ylabel(f"component 2 ({shares[1]:.0f} %)")
        axes.set_title(f"{when} alignment", loc="left")
        axes.legend(loc="best", markerscale=1.5)
        distance = float(np.linalg.norm(source.mean(axis=0) - target.mean(axis=0)))
        alt = (
            f"Source features ({len(source)} points) and target features ({len(target)} points) {when} alignment in "
            f"two principal components; distance of the means {number(distance)}"
        )
        caption = (
            f"{when.capitalize()} alignment (seed {seed}): pooled source and target features, principal components "
            "fitted to the source and both target clouds together; the same axes before and after."
        )
        return svg.export(figure, f"cloud-{when}", alt, caption)


def bound_bars(stages: Sequence[BoundStage]) -> svg.Drawing | None:
    """err_s + tau W1 + H(z'|z) stacked, per checkpoint, against measured err_t and -LEEP (nats)."""
    parts = [("err_s", "err_s (source)", svg.CONTROL), ("alignment", "\u03c4\u00b7W1 (alignment)", svg.METHOD),
             ("distortion", "H(z\u2032|z) (distortion)", svg.FLOOR)]  # fmt: skip
    drawn = [s for s in stages if any(key in s.terms for key, _, _ in parts)]
    if not drawn:
        return None
    several = len({s.seed for s in drawn}) > 1
    with svg.canvas(104 + 62 * len(drawn)) as figure:
        axes = figure.add_subplot()
        words = []
        for row, stage in enumerate(drawn):
            words.append(_bound_row(axes, -row, stage, parts, several))
        axes.set_ylim(-len(drawn) + 0.45, 0.75)
        axes.set_xlim(left=0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("nats")
        figure.legend(*_bound_legend(parts), loc="outside upper left", ncols=2, columnspacing=1.2, handlelength=1.4)
        alt = "Bound on the target error as a stacked bar: " + "; ".join(words)
        caption = (
            "The bound err_s + \u03c4\u00b7W1 + H(z\u2032|z) per checkpoint (stacked bars, 95 % interval) against "
            "measured quantities: diamond \u2212LEEP, circle err_t of the fitted model. The gap between the end "
            "of the bar and err_t (before fitting: \u2212LEEP) is the slack."
        )
        return svg.export(figure, "bound", alt, caption)


def _bound_row(axes: Any, y: float, stage: BoundStage, parts: Any, several: bool) -> str:
    left = 0.0
    for key, _, colour in parts:
        term = stage.terms.get(key)
        if term is not None and math.isfinite(term.value):
            axes.barh(y, max(term.value, 0), left=left, height=0.36, color=colour, edgecolor=svg.PAPER, linewidth=1)
            left += max(term.value, 0)
    total = stage.terms.get("bound")
    if total is not None and total.low is not None and total.high is not None:
        axes.plot([total.low, total.high], [y, y], color=svg.INK, linewidth=1.4, marker="|", markersize=7)
    for key, mark in (("neg_leep", "D"), ("err_t", "o")):
        term = stage.terms.get(key)
        if term is not None and math.isfinite(term.value):
            axes.plot([term.value], [y], mark, color=svg.PAPER, markeredgecolor=svg.INK, markersize=8,
                      markeredgewidth=1.8, zorder=5)  # fmt: skip
    name = STAGE_LABELS.get(stage.stage, stage.stage) + (f", seed {stage.seed}" if several else "")
    slack = stage.terms.get("slack")
    said = f"bound {number(total.value if total else left)}" + (f", slack {number(slack.value)}" if slack else "")
    transform = axes.get_yaxis_transform()
    axes.text(0.0, y + 0.25, name, transform=transform, va="bottom", ha="left")
    axes.text(1.0, y + 0.25, said, transform=transform, va="bottom", ha="right", color=svg.MUTED, fontsize=11)
    return f"{name}: {said}"


def _bound_legend(parts: Any) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks = [
        Line2D([], [], marker=mark, linestyle="none", markerfacecolor=svg.PAPER, markeredgecolor=svg.INK, markersize=8)
        for mark in ("D", "o")
    ]
    handles = [*(Patch(color=colour) for _, _, colour in parts), *marks]
    return handles, [*(label for _, label, _ in parts), "\u2212LEEP (measured)", "err_t (measured)"]


def _thin(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most ``_POINTS`` points: means over equal runs of steps."""
    if len(points) <= _POINTS:
        return points[:, 0], points[:, 1]
    bins = np.array_split(points, _POINTS)
    return np.array([b[-1, 0] for b in bins]), np.array([b[:, 1].mean() for b in bins])


def _running_mean(y: np.ndarray) -> np.ndarray:
    """Centred mean over a twentieth of the curve; the window shrinks at the ends."""
    half = len(y) // 40
    total = np.concatenate([[0.0], np.cumsum(y)])
    low = np.maximum(np.arange(len(y)) - half, 0)
    high = np.minimum(np.arange(len(y)) + half + 1, len(y))
    return (total[high] - total[low]) / (high - low)


def _sample(cloud: np.ndarray) -> np.ndarray:
    if len(cloud) <= _POINTS:
        return cloud
    return cloud[np.sort(np.random.default_rng(0).choice(len(cloud), _POINTS, replace=False))]
