"""Figures and tables of class maps: the confusion of positions, scores of each class, and pictures of a few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from crosstune.metrics.segmentation import confusions
from crosstune.records import IGNORED
from crosstune.report import svg
from crosstune.report.record import Prediction, RunRecord
from crosstune.report.words import number, short

_MOST_SAMPLES = 3
# Okabe and Ito (2008); more classes than these go around again, a little lighter
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")
_UNKNOWN, _WRONG, _RIGHT = "#bdbdbd", "#d55e00", "#e8e8e8"


def position_counts(prediction: Prediction) -> np.ndarray:
    """(K, K) counts of the positions that count, row: true class, column: most probable class."""
    classes = prediction.prediction.shape[1]
    codes = prediction.prediction.argmax(axis=1)
    return np.asarray(confusions(codes, prediction.target, classes).sum(axis=0))


def class_rows(counts: np.ndarray, names: list[str]) -> tuple[tuple[str, ...], ...]:
    """Per class: positions, precision, recall, F1, intersection over union."""
    rows = []
    for k, name in enumerate(names):
        hits, true, said = int(counts[k, k]), int(counts[k].sum()), int(counts[:, k].sum())
        rows.append((
            short(name, 40), f"{true:,}", number(hits / said if said else None), number(hits / true if true else None),
            number(2 * hits / (true + said) if true + said else None),
            number(hits / (true + said - hits) if true + said else None),
        ))  # fmt: skip
    return tuple(rows)


def sample_maps(record: RunRecord, prediction: Prediction, names: list[str]) -> tuple[list[svg.Drawing], list[str]]:
    """Input, true and predicted map of a few rows, and what has to be said about them."""
    found = record.diagnostics("fields")
    arrays: dict[str, np.ndarray] = found[min(found)] if found else {}
    remarks = []
    if {"target", "prediction"} <= set(arrays):
        target, guess = arrays["target"], arrays["prediction"]
        inputs, rows = arrays.get("input"), arrays.get("rows", np.arange(len(target)))
    else:
        target, guess = prediction.target, prediction.prediction.argmax(axis=1)
        inputs, rows = None, prediction.rows
        remarks.append("No maps were recorded for pictures: the first predictions are shown, without their inputs.")
    samples = min(len(target), _MOST_SAMPLES)
    # rows are recorded from the smallest error to the largest: the first, the last, and between them what fits
    picks = np.unique(np.linspace(0, len(target) - 1, samples).astype(int)) if inputs is not None else range(samples)
    drawings = []
    for i in picks:
        given = None if inputs is None or i >= len(inputs) else np.asarray(inputs[i][0], float)
        drawn = _picture(given, _plane(np.asarray(target[i])), _plane(np.asarray(guess[i])), names, int(rows[i]), i)
        if drawn is not None:
            drawings.append(drawn)
    if inputs is not None and samples > 1:
        remarks.append("Shown are the rows with the smallest, with the largest and with an error in between.")
    if inputs is not None and inputs.shape[1] > 1:
        remarks.append(f"The first of {inputs.shape[1]} input channels is shown.")
    if target.ndim == 4:
        remarks.append("Of each volume the middle slice is shown.")
    return drawings, remarks


def _plane(codes: np.ndarray) -> np.ndarray:
    return codes[len(codes) // 2] if codes.ndim == 3 else codes


def _picture(
    given: np.ndarray | None, truth: np.ndarray, said: np.ndarray, names: list[str], row: int, i: int
) -> svg.Drawing | None:
    if truth.shape != said.shape or truth.ndim not in (1, 2):
        return None
    if given is not None and given.ndim == 3:
        given = _plane(given)
    counted = truth != IGNORED
    wrong = int((said != truth)[counted].sum())
    share = f"{wrong:,} of {int(counted.sum()):,} positions wrong"
    draw = _strips if truth.ndim == 1 else _images
    return draw(given, truth, said, names, f"map-{i}", f"Row {row}", share)


def _colours(count: int) -> ListedColormap:
    """Colour of code k at k + 1, of ignored positions at 0."""
    return ListedColormap([_UNKNOWN, *(_COLOURS[k % len(_COLOURS)] for k in range(count))])


def _show(axes: Any, codes: np.ndarray, count: int, **options: Any) -> None:
    axes.imshow(codes + 1, cmap=_colours(count), vmin=-0.5, vmax=count + 0.5, interpolation="nearest", **options)
    svg.bare(axes)


def _legend(figure: Any, truth: np.ndarray, said: np.ndarray, names: list[str]) -> None:
    shown = [k for k in np.unique(np.concatenate([truth.ravel(), said.ravel()])) if k != IGNORED][:8]
    patches = [Patch(color=_COLOURS[k % len(_COLOURS)], label=short(names[k], 14)) for k in shown]
    if (truth == IGNORED).any():
        patches.append(Patch(color=_UNKNOWN, label="not counted"))
    figure.legend(handles=patches, loc="outside lower center", ncols=min(4, len(patches)))


def _strips(given: Any, truth: Any, said: Any, names: list[str], name: str, title: str, share: str) -> svg.Drawing:
    with_input = given is not None and given.ndim == 1
    heights = ([3.0] if with_input else []) + [1.0, 1.0]
    with svg.canvas(110 + 50 * sum(heights)) as figure:
        axes = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        if with_input:
            axes[0].plot(given, color=svg.INK, linewidth=1.4)
            axes[0].set_xlim(-0.5, len(given) - 0.5)
            axes[0].set_title("input", loc="left")
            axes[0].grid(axis="y")
        for one, codes, label in ((axes[-2], truth, "truth"), (axes[-1], said, "prediction")):
            _show(one, codes[None], len(names), aspect="auto")
            one.set_title(label, loc="left")
        _legend(figure, truth, said, names)
        alt = f"{title}: input series, true and predicted class of every position; {share}"
        return svg.export(figure, name, alt, f"{title}: {share}.")


def _images(given: Any, truth: Any, said: Any, names: list[str], name: str, title: str, share: str) -> svg.Drawing:
    tall = truth.shape[0] / truth.shape[1]
    aspect: Any = "equal" if 0.4 < tall < 2.5 else "auto"
    with svg.canvas(450) as figure:
        places = iter(figure.subplots(2, 2).ravel())
        if given is not None and given.ndim == 2:
            axes = next(places)
            axes.imshow(given, cmap="viridis", interpolation="nearest", aspect=aspect)
            axes.set_title("input", loc="left")
            svg.bare(axes)
        for codes, label in ((truth, "truth"), (said, "prediction")):
            axes = next(places)
            _show(axes, codes, len(names), aspect=aspect)
            axes.set_title(label, loc="left")
        axes = next(places)
        verdict = np.where(truth == IGNORED, 0, np.where(said == truth, 1, 2))
        colours = ListedColormap([_UNKNOWN, _RIGHT, _WRONG])
        axes.imshow(verdict, cmap=colours, vmin=-0.5, vmax=2.5, interpolation="nearest", aspect=aspect)
        axes.set_title("wrong positions", loc="left")
        svg.bare(axes)
        for left in places:
            left.remove()
        _legend(figure, truth, said, names)
        alt = f"{title}: input image, true class map, predicted class map and wrong positions; {share}"
        return svg.export(figure, name, alt, f"{title}: {share}.")
