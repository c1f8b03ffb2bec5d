"""Pictures of dense fields: input, truth, prediction and error of a few rows, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crosstune.report import svg
from crosstune.report.record import Prediction, RunRecord
from crosstune.report.words import number, short

_MOST_SAMPLES, _MOST_CHANNELS, _MOST_PICTURES = 3, 4, 9


@dataclass(frozen=True)
class Picture:
    """One channel of one row, as a line or an image. given: a channel of the input of that kind, or None."""

    name: str
    title: str
    said: str
    given: np.ndarray | None
    truth: np.ndarray
    guess: np.ndarray


def sample_fields(record: RunRecord, prediction: Prediction) -> tuple[list[svg.Drawing], list[str]]:
    """Drawings of a few rows and of their first channels, and what has to be said about them."""
    found = record.diagnostics("fields")
    arrays: dict[str, np.ndarray] = found[min(found)] if found else {}
    remarks: list[str] = []
    if {"target", "prediction"} <= set(arrays):
        target, guess = arrays["target"], arrays["prediction"]
        inputs, rows = arrays.get("input"), arrays.get("rows", np.arange(len(target)))
    else:
        target, guess, inputs, rows = prediction.target, prediction.prediction, None, prediction.rows
        remarks.append("No field diagnostics recorded: the first predictions are shown, without their inputs.")
    channels = target.shape[1] if target.ndim > 1 else 1
    shown = min(channels, _MOST_CHANNELS)
    samples = min(len(target), _MOST_SAMPLES, max(1, _MOST_PICTURES // shown))
    # rows are recorded from the smallest error to the largest: the first, the last, and between them what fits
    picks = np.unique(np.linspace(0, len(target) - 1, samples).astype(int)) if inputs is not None else range(samples)
    drawings = []
    for i in picks:
        for c in range(shown):
            picture = _picture(record, None if inputs is None else inputs[i], target[i], guess[i], int(rows[i]), i, c)
            if picture is not None:
                drawings.append((_lines if picture.truth.ndim == 1 else _images)(picture))
    if inputs is not None and samples > 1:
        remarks.append("Shown are the rows with the smallest, with the largest and with an error in between.")
    if channels > shown:
        remarks.append(f"The first {shown} of {channels} channels are shown.")
    if inputs is not None and inputs.shape[1] != channels:
        remarks.append(f"Of {inputs.shape[1]} input channel{'s' * (inputs.shape[1] != 1)} the first is shown.")
    if target.ndim == 5:
        remarks.append("Of each volume the middle slice is shown.")
    return drawings, remarks


def _picture(
    record: RunRecord, inputs: np.ndarray | None, target: np.ndarray, guess: np.ndarray, row: int, i: int, c: int
) -> Picture | None:
    given = None
    if inputs is not None:
        given = _plane(inputs, c if inputs.shape[0] == target.shape[0] else 0)
    truth, said = _plane(target, c), _plane(guess, c)
    if truth is None or said is None or truth.shape != said.shape:
        return None
    if given is not None and given.ndim != truth.ndim:
        given = None
    channels = len(target)
    names = list(record.task.get("target_names") or ())
    label = short(str(names[c]), 30) if c < len(names) else f"channel {c}"
    title = f"Row {row}" + (f", {label}" if channels > 1 else "")
    name = f"field-{i}" + (f"-{c}" if channels > 1 else "")
    return Picture(name, title, _error(truth, said), given, truth, said)


def _plane(field: np.ndarray, channel: int) -> np.ndarray | None:
    """A channel of one sample as a line or an image (of a volume the middle slice); None if it is neither."""
    if field.ndim < 2 or not field.size:
        return None
    plane = np.asarray(field[channel], dtype=float)
    if plane.ndim == 3:
        plane = plane[plane.shape[0] // 2]
    return plane if plane.ndim in (1, 2) and np.isfinite(plane).any() else None


def _error(truth: np.ndarray, guess: np.ndarray) -> str:
    size = float(np.linalg.norm(np.nan_to_num(truth)))
    gap = float(np.linalg.norm(np.nan_to_num(guess - truth)))
    error = f"relative error {number(gap / size)}" if size else "zero field"
    unknown = int(np.isnan(truth).sum())
    return error + (f"; {unknown:,} of {truth.size:,} points of the truth are unknown" if unknown else "")


def _lines(picture: Picture) -> svg.Drawing:
    panels = (1 if picture.given is not None else 0) + 2
    with svg.canvas(60 + 130 * panels) as figure:
        axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
        if panels == 3:
            axes[0].plot(picture.given, color=svg.CONTROL, linewidth=1.6)
            axes[0].set_title("input", loc="left")
        axes[-2].plot(picture.truth, color=svg.INK, linewidth=1.6, label="truth")
        axes[-2].plot(picture.guess, color=svg.METHOD, linewidth=1.8, linestyle="--", label="prediction")
        axes[-2].set_title("truth and prediction", loc="left")
        axes[-2].legend(loc="best")
        axes[-1].axhline(0, color=svg.LINE, linewidth=1)
        axes[-1].plot(picture.guess - picture.truth, color=svg.FLOOR, linewidth=1.5)
        axes[-1].set_title("error (prediction \u2212 truth)", loc="left")
        axes[-1].set_xlabel("position (grid points)")
        for one in axes:
            one.grid(axis="y")
        alt = f"{picture.title}: input, true field, predicted field and error as lines; {picture.said}"
        return svg.export(figure, picture.name, alt, f"{picture.title}: {picture.said}.")


def _images(picture: Picture) -> svg.Drawing:
    truth, guess = picture.truth, picture.guess
    low, high = float(np.nanmin(truth)), float(np.nanmax(truth))
    worst = float(np.nanmax(np.abs(guess - truth))) or 1.0
    panels: list[tuple[str, Any, dict[str, Any]]] = [
        ("truth", truth, {"cmap": "viridis", "vmin": low, "vmax": high}),
        ("prediction", guess, {"cmap": "viridis", "vmin": low, "vmax": high}),
        ("error (prediction \u2212 truth)", guess - truth, {"cmap": "PuOr", "vmin": -worst, "vmax": worst}),
    ]
    if picture.given is not None:
        panels.insert(0, ("input", picture.given, {"cmap": "viridis"}))
    tall = truth.shape[0] / truth.shape[1]
    aspect: Any = "equal" if 0.4 < tall < 2.5 else "auto"
    with svg.canvas(410) as figure:
        for position, (label, values, options) in enumerate(panels):
            axes = figure.add_subplot(2, 2, position + 1)
            image = axes.imshow(values, interpolation="nearest", aspect=aspect, **options)
            axes.set_title(label, loc="left")
            svg.bare(axes)
            bar = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02, aspect=18)
            bar.outline.set_visible(False)  # type: ignore[operator]
            bar.locator = _few_ticks()
        alt = f"{picture.title}: input, true field, predicted field and error as images; {picture.said}"
        caption = f"{picture.title}: {picture.said}. Truth and prediction share one colour scale."
        return svg.export(figure, picture.name, alt, caption)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)
