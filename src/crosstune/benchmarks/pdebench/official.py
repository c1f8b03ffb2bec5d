"""The figures that PDEBench reports for whole trajectories (Takamoto et al. 2022, section 4 and its appendix on
metrics): sums are accumulated over all samples, the figures are computed once.

With e[b,c,t] = RMS over space of p - y, n the number of grid points of a field, and means "over c, t" taken after the
frames before ``initial_step`` were dropped:

    RMSE         mean over b of e, then over c, t
    nRMSE        mean over b of e / RMS over space of y, then over c, t
    cRMSE        sqrt(mean over b of (sum_x p - sum_x y)^2) / n, then over c, t: what is not conserved
    bRMSE        1-D: mean over b of sqrt((left^2 + right^2) / 2); 2-D: of sqrt(sum of squares on the four edges /
                 (2 n_x + 2 n_y)), where a corner lies on two edges; then over c, t
    max          largest |p - y| over b and x, then over c, t
    fRMSE band   sqrt(mean over b of |F p - F y|^2) / n times the side lengths of the domain, over the wave numbers of a
                 band, c and t; bands low [0, 4), mid [4, 12), high [12, ...). 1-D: every wave number of the real
                 transform. 2-D: squares are summed over the shell floor(sqrt(i^2 + j^2)) = k, i < n_x / 2,
                 j < n_y / 2, for the shells k < min(n_x, n_y) / 2, which are complete

Two defects of published versions of the benchmark's code are not part of these figures. They are offered under names
of their own, since numbers in the literature contain them:

    "... as shipped"          each figure is computed per validation batch, the batches are summed and the sum is
                              divided by the index of the last batch, which is one less than their number: every
                              value is too high by nb / (nb - 1), and infinite with a single batch
    "... as first published"  the given frames were scored too, as perfect predictions: every value is too low by
                              (T - initial_step) / T
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from crosstune.errors import DataError, UsageError

FIGURES = ("RMSE", "nRMSE", "cRMSE", "bRMSE", "max", "fRMSE low", "fRMSE mid", "fRMSE high")
SHIPPED, FIRST = " as shipped", " as first published"
_BANDS = ((0, 4), (4, 12), (12, None))
_BLOCK_VALUES = 4_000_000  # values transformed at once: 32 MB of float64


class OfficialMetrics:
    """Accumulates trajectories; any batching of the same samples gives the same figures.

    initial_step: frames that were given to the model and are not scored. lengths: sides of the domain, one per axis
    of space, which scale the Fourier figures (the benchmark's own runs use 1).
    """

    def __init__(self, *, initial_step: int, lengths: Sequence[float]) -> None:
        if initial_step < 0:
            raise UsageError(f"initial_step is {initial_step}", fix="give the number of frames the model was given")
        self._initial, self._lengths = int(initial_step), tuple(float(side) for side in lengths)
        if not self._lengths or min(self._lengths) <= 0:
            raise UsageError(f"lengths {self._lengths} are not sides of a domain", fix="give one length per axis")
        self.samples = 0
        self._shape: tuple[int, ...] | None = None
        self._sums: dict[str, np.ndarray] = {}
        self._largest = np.zeros(0)

    def update(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Adds samples (B, C, X[, Y], T), the given frames included. Raises ``DataError`` for shapes that do not fit,
        for numbers that are not finite, and for a target field that is zero everywhere (nRMSE has no meaning)."""
        prediction, target = np.asarray(prediction), np.asarray(target)
        self._check(prediction, target)
        self._shape = prediction.shape[1:]
        step = max(1, _BLOCK_VALUES // math.prod(self._shape))
        for start in range(0, len(prediction), step):
            rows = slice(start, start + step)
            p = prediction[rows][..., self._initial :].astype(np.float64)
            self._add(p, target[rows][..., self._initial :].astype(np.float64))

    def compute(self) -> dict[str, float]:
        """Every figure by name. Raises ``DataError`` when there were no samples."""
        if not self.samples:
            raise DataError("the official figures of no samples do not exist", cause="the split is empty")
        assert self._shape is not None
        points = math.prod(self._shape[1:-1])
        mean = {name: total / self.samples for name, total in self._sums.items()}
        figures = {name: float(mean[name].mean()) for name in ("RMSE", "nRMSE", "bRMSE")}
        figures["cRMSE"] = float(np.sqrt(mean["cRMSE"]).mean()) / points
        figures["max"] = float(self._largest.mean())
        amplitude = np.sqrt(mean["fourier"]) / points * math.prod(self._lengths)
        for name, (low, high) in zip(("low", "mid", "high"), _BANDS):
            band = amplitude[:, low:high]
            # a grid too coarse for a band has no error in it
            figures[f"fRMSE {name}"] = float(band.mean()) if band.shape[1] else 0.0
        return {name: figures[name] for name in FIGURES}

    def _add(self, p: np.ndarray, y: np.ndarray) -> None:
        error = p - y
        space = tuple(range(2, error.ndim - 1))
        size = np.sqrt(np.mean(y**2, axis=space))
        self._refuse_zero(size)
        rms = np.sqrt(np.mean(error**2, axis=space))
        parts = {
            "RMSE": rms,
            "nRMSE": rms / size,
            "cRMSE": (p.sum(axis=space) - y.sum(axis=space)) ** 2,
            "bRMSE": _edges(error),
            "fourier": _spectrum(error),
        }
        for name, values in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + values.sum(axis=0)
        largest = np.abs(error).max(axis=(0, *space))
        self._largest = np.maximum(self._largest, largest) if self.samples else largest
        self.samples += len(error)

    def _check(self, prediction: np.ndarray, target: np.ndarray) -> None:
        if prediction.shape != target.shape or prediction.ndim not in (4, 5):
            raise DataError(
                f"official figures need prediction and target of one shape (B, C, X[, Y], T), got {prediction.shape} "
                f"and {target.shape}",
                fix="put time last and channels second; a field without time gets an axis of length 1",
            )
        if len(self._lengths) != prediction.ndim - 3:
            raise UsageError(f"{len(self._lengths)} lengths for {prediction.ndim - 3} axes of space")
        if self._initial >= prediction.shape[-1]:
            raise UsageError(
                f"initial_step {self._initial} leaves nothing of {prediction.shape[-1]} frames",
                fix="give fewer frames to the model, or more to score",
            )
        if self._shape is not None and prediction.shape[1:] != self._shape:
            raise DataError(f"samples of shape {prediction.shape[1:]} after others of {self._shape}")
        for what, values in (("prediction", prediction), ("target", target)):
            if not np.isfinite(values).all():
                bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
                row = self.samples + int(np.flatnonzero(bad)[0])
                raise DataError(f"{what} is NaN or infinite in {int(bad.sum())} samples, the first is sample {row}")

    def _refuse_zero(self, size: np.ndarray) -> None:
        if (size == 0).any():
            b, c, t = (int(i) for i in np.argwhere(size == 0)[0])
            raise DataError(
                f"nRMSE: the target of sample {self.samples + b} is zero everywhere in channel {c}, "
                f"frame {t + self._initial}",
                cause="relative error has no meaning against a zero field",
                fix="leave out that channel or sample, or score RMSE of crosstune.metrics",
            )


def official_metrics(
    prediction: np.ndarray,
    target: np.ndarray,
    *,
    initial_step: int,
    lengths: Sequence[float],
    shipped_batch: int | None = None,
) -> dict[str, float]:
    """Every official figure of trajectories (B, C, X[, Y], T), see the head of this module; errors as there.

    shipped_batch: also give every figure "as shipped", for validation batches of that many samples in the order given,
    and "as first published". They differ from the true figures by the two defects and are only for comparison with
    numbers that contain them.
    """
    whole = OfficialMetrics(initial_step=initial_step, lengths=lengths)
    whole.update(prediction, target)
    figures = whole.compute()
    if shipped_batch is None:
        return figures
    if shipped_batch < 1:
        raise UsageError(f"shipped_batch is {shipped_batch}", fix="give the number of samples of a validation batch")
    batches = []
    for start in range(0, len(prediction), shipped_batch):
        one = OfficialMetrics(initial_step=initial_step, lengths=lengths)
        one.update(prediction[start : start + shipped_batch], target[start : start + shipped_batch])
        batches.append(one.compute())
    last = len(batches) - 1
    frames = np.shape(prediction)[-1]
    shipped = {f"{n}{SHIPPED}": math.fsum(b[n] for b in batches) / last if last else math.inf for n in FIGURES}
    first = {f"{n}{FIRST}": figures[n] * (frames - initial_step) / frames for n in FIGURES}
    return figures | shipped | first


def _edges(error: np.ndarray) -> np.ndarray:
    """(B, C, X[, Y], T) to (B, C, T): root mean square on the boundary."""
    square = error**2
    if error.ndim == 4:
        return np.sqrt((square[:, :, 0] + square[:, :, -1]) / 2)
    across = square[:, :, 0].sum(axis=2) + square[:, :, -1].sum(axis=2)
    along = square[:, :, :, 0].sum(axis=2) + square[:, :, :, -1].sum(axis=2)
    return np.sqrt((across + along) / (2 * error.shape[2] + 2 * error.shape[3]))


def _spectrum(error: np.ndarray) -> np.ndarray:
    """(B, C, X[, Y], T) to (B, C, K, T): squared Fourier amplitudes by wave number, in 2-D summed over shells."""
    if error.ndim == 4:
        return np.abs(np.fft.rfft(error, axis=2)) ** 2
    half = error.shape[2] // 2, error.shape[3] // 2
    square = np.abs(np.fft.fft2(error, axes=(2, 3))[:, :, : half[0], : half[1]]) ** 2
    i, j = np.ogrid[: half[0], : half[1]]
    shell = np.floor(np.sqrt(i**2 + j**2)).astype(np.int64)  # the root of a square number is exact
    out = np.zeros((*error.shape[:2], min(half), error.shape[-1]))
    for k in range(min(half)):
        out[:, :, k] = square[:, :, shell == k].sum(axis=2)
    return out
