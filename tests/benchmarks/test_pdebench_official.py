"""The official PDEBench figures against plain loops with an explicit Fourier matrix, and their known special cases."""

import cmath
import math

import numpy as np
import pytest

from crosstune.benchmarks.pdebench.official import FIGURES, OfficialMetrics, official_metrics
from crosstune.errors import DataError, UsageError

SHAPES = {1: (7, 2, 40, 5), 2: (5, 2, 28, 26, 4)}
LENGTHS = {1: (1.7,), 2: (1.7, 0.6)}


def trajectories(dimensions, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=SHAPES[dimensions]) + 0.5
    return target + 0.3 * rng.normal(size=target.shape), target


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def transform(line):
    """Coefficients 0 .. n-1 of a sequence, from the definition."""
    n = len(line)
    return [sum(v * cmath.exp(-2j * cmath.pi * k * x / n) for x, v in enumerate(line)) for k in range(n)]


def by_loops(prediction, target, initial_step, lengths):
    """Every figure sample by sample, channel by channel, frame by frame, from the formulas."""
    samples, channels = prediction.shape[:2]
    found = {name: [] for name in FIGURES}
    for c in range(channels):
        for t in range(initial_step, prediction.shape[-1]):
            p = [prediction[b, c, ..., t] for b in range(samples)]
            y = [target[b, c, ..., t] for b in range(samples)]
            error = [one - other for one, other in zip(p, y)]
            points = error[0].size
            e = [math.sqrt(mean(v * v for v in one.ravel())) for one in error]
            size = [math.sqrt(mean(v * v for v in one.ravel())) for one in y]
            found["RMSE"].append(mean(e))
            found["nRMSE"].append(mean(a / b for a, b in zip(e, size)))
            lost = mean((math.fsum(a.ravel()) - math.fsum(b.ravel())) ** 2 for a, b in zip(p, y))
            found["cRMSE"].append(math.sqrt(lost) / points)
            found["bRMSE"].append(mean(math.sqrt(edge(one)) for one in error))
            found["max"].append(max(abs(v) for one in error for v in one.ravel()))
            for name, values in spectrum(error, points, lengths).items():
                found[name].extend(values)
    return {name: mean(values) for name, values in found.items()}


def edge(error):
    if error.ndim == 1:
        return (error[0] ** 2 + error[-1] ** 2) / 2
    rows, columns = error.shape
    total = sum(error[0, j] ** 2 + error[rows - 1, j] ** 2 for j in range(columns))
    total += sum(error[i, 0] ** 2 + error[i, columns - 1] ** 2 for i in range(rows))
    return total / (2 * rows + 2 * columns)


def spectrum(error, points, lengths):
    if error[0].ndim == 1:
        parts = [transform(one) for one in error]
        square = {k: [abs(one[k]) ** 2 for one in parts] for k in range(points // 2 + 1)}
    else:
        rows, columns = error[0].shape
        square = {k: [0.0] * len(error) for k in range(min(rows, columns) // 2)}
        for b, one in enumerate(error):
            half = [transform(line)[: columns // 2] for line in one]
            for j in range(columns // 2):
                for i, value in enumerate(transform([line[j] for line in half])[: rows // 2]):
                    k = math.isqrt(i * i + j * j)
                    if k in square:
                        square[k][b] += abs(value) ** 2
    amplitude = {k: math.sqrt(mean(v)) / points * math.prod(lengths) for k, v in square.items()}
    return {
        "fRMSE low": [v for k, v in amplitude.items() if k < 4],
        "fRMSE mid": [v for k, v in amplitude.items() if 4 <= k < 12],
        "fRMSE high": [v for k, v in amplitude.items() if k >= 12],
    }


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("initial_step", [0, 2])
def test_figures_equal_plain_loops(dimensions, initial_step):
    prediction, target = trajectories(dimensions)
    options = {"initial_step": initial_step, "lengths": LENGTHS[dimensions]}
    expected = by_loops(prediction, target, **options)
    got = official_metrics(prediction, target, **options)
    assert tuple(got) == FIGURES
    assert got == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_any_batching_gives_the_same_figures(dimensions, monkeypatch):
    prediction, target = trajectories(dimensions)
    whole = official_metrics(prediction, target, initial_step=1, lengths=LENGTHS[dimensions])
    for cuts in ([1], [2, 3], [0, 4]):
        parts = OfficialMetrics(initial_step=1, lengths=LENGTHS[dimensions])
        for rows in np.split(np.arange(len(target))[::-1], cuts):
            parts.update(prediction[rows], target[rows])
        assert parts.compute() == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr("crosstune.benchmarks.pdebench.official._BLOCK_VALUES", 1)
    assert official_metrics(prediction, target, initial_step=1, lengths=LENGTHS[dimensions]) == pytest.approx(
        whole, rel=1e-12
    )


def test_figures_of_errors_known_beforehand():
    """A constant shift; one wave; a spike on the boundary."""
    x = np.arange(64) / 64
    target = np.ones((3, 1, 64, 2))
    shift = official_metrics(target + 0.25, target, initial_step=0, lengths=(1,))
    # a constant has its whole spectrum, 0.25, at wave number 0 of the four in the low band
    assert shift == pytest.approx({
        "RMSE": 0.25, "nRMSE": 0.25, "cRMSE": 0.25, "bRMSE": 0.25, "max": 0.25, "fRMSE low": 0.25 / 4,
        "fRMSE mid": 0, "fRMSE high": 0,
    }, abs=1e-15)  # fmt: skip
    wave = target + np.sin(2 * np.pi * 5 * x)[None, None, :, None]
    found = official_metrics(wave, target, initial_step=0, lengths=(2,))
    assert found["cRMSE"] == pytest.approx(0, abs=1e-15)
    assert found["RMSE"] == pytest.approx(math.sqrt(0.5))
    assert found["fRMSE mid"] == pytest.approx(0.5 * 2 / 8)  # amplitude 1/2 in one of eight wave numbers, side 2
    spike = np.ones((1, 1, 16, 16, 1))
    spike[0, 0, 0, 0] += 2  # a corner lies on two edges
    found = official_metrics(spike, np.ones_like(spike), initial_step=0, lengths=(1, 1))
    assert found["bRMSE"] == pytest.approx(math.sqrt(2 * 4 / 64))
    assert found["max"] == 2


def test_defects_of_published_code_have_names_of_their_own():
    prediction, target = trajectories(1)
    plain = official_metrics(prediction, target, initial_step=2, lengths=(1,))
    both = official_metrics(prediction, target, initial_step=2, lengths=(1,), shipped_batch=3)
    assert {name: both[name] for name in FIGURES} == plain
    assert set(both) == {n + end for n in FIGURES for end in ("", " as shipped", " as first published")}
    batches = [
        by_loops(prediction[rows], target[rows], 2, (1,)) for rows in (slice(0, 3), slice(3, 6), slice(6, 7))
    ]  # three batches, divided by two
    for name in FIGURES:
        assert both[f"{name} as shipped"] == pytest.approx(sum(b[name] for b in batches) / 2, rel=1e-10)
        assert both[f"{name} as first published"] == pytest.approx(plain[name] * 3 / 5)
    alone = official_metrics(prediction, target, initial_step=2, lengths=(1,), shipped_batch=7)
    assert alone["nRMSE as shipped"] == math.inf
    # what the second defect really does: given frames that are perfect, and are counted
    copied = prediction.copy()
    copied[..., :2] = target[..., :2]
    counted = official_metrics(copied, target, initial_step=0, lengths=(1,))
    assert counted["nRMSE"] == pytest.approx(both["nRMSE as first published"])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"initial_step": 5}, UsageError, "initial_step 5 leaves nothing of 5 frames"),
        ({"initial_step": -1}, UsageError, "initial_step is -1"),
        ({"lengths": (1, 1)}, UsageError, "2 lengths for 1 axes"),
        ({"lengths": (0,)}, UsageError, "one length per axis"),
        ({"shipped_batch": 0}, UsageError, "shipped_batch is 0"),
        ({"target": np.zeros(SHAPES[1])}, DataError, "sample 0 is zero everywhere in channel 0, frame 2"),
        ({"target": np.full(SHAPES[1], np.nan)}, DataError, "target is NaN or infinite in 7 samples"),
        ({"target": np.ones((7, 2, 41, 5))}, DataError, r"one shape \(B, C, X\[, Y\], T\), got \(7, 2, 40, 5\)"),
        ({"prediction": np.ones((0, 2, 40, 5)), "target": np.ones((0, 2, 40, 5))}, DataError, "split is empty"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, error, words):
    prediction, target = trajectories(1)
    arguments = {"prediction": prediction, "target": target, "initial_step": 2, "lengths": (1,)} | change
    with pytest.raises(error, match=words):
        official_metrics(arguments.pop("prediction"), arguments.pop("target"), **arguments)
