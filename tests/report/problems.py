"""Small real problems: scikit-learn models on scikit-learn's data (and one exactly solvable field), as run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.datasets import load_diabetes, load_digits, load_wine, make_multilabel_classification
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier

from .writer import RunWriter

FINDINGS = [
    {"code": "constant-channels", "severity": "warn", "message": "3 of 64 pixels are constant over all rows",
     "accept": "--accept constant-channels"},
    {"code": "balanced", "severity": "note", "message": "10 classes, the rarest has 174 rows", "accept": None},
]  # fmt: skip


def digits(folder: Path, *, reveal: bool = False, seeds: int = 1, **more: Any) -> RunWriter:
    """Digits by a small network trained step by step; the controls are weaker networks."""
    x, y = load_digits(return_X_y=True)
    x = x / 16
    train, validation, test = np.split(np.random.default_rng(0).permutation(len(x)), [600, 960])
    models: dict[str, dict[int, Any]] = {}
    events: list[dict[str, Any]] = []
    fitted, judged = (x[train], y[train]), (x[validation], y[validation])
    for arm, hidden, epochs in (("recraft", 64, 14), ("no-align", 64, 11), ("frozen", 12, 9), ("scratch", 8, 6)):
        for seed in range(seeds):
            events += _train_network(arm, seed, hidden, epochs, fitted, judged, models)
    models["floor:majority"] = {0: _Prior(y[train])}
    models["floor:neighbour"] = {0: KNeighborsClassifier(1).fit(x[train], y[train])}
    models["floor:linear"] = {0: LogisticRegression(max_iter=300).fit(x[train], y[train])}
    arms: dict[str, Any] = {a: {s: m.predict_proba(x[validation]) for s, m in ms.items()} for a, ms in models.items()}
    arms["floor:boosting"] = None
    tested = {a: {s: m.predict_proba(x[test]) for s, m in ms.items()} for a, ms in models.items()}
    alignment, bounds = _aligned(x[train], y[train])
    network = models["recraft"][0]
    return RunWriter(
        folder, "classification", "error", y[validation], arms, classes=[str(c) for c in range(10)],
        events=events + bounds(float(log_loss(y[validation], network.predict_proba(x[validation])))),
        alignment=alignment, findings=FINDINGS, rows=np.sort(validation)[np.argsort(np.argsort(validation))],
        statuses={"floor:boosting": ("timeout", "stopped after 20 s, its share of the budget")},
        test=tested if reveal else None, test_target=y[test] if reveal else None, **more,
    )  # fmt: skip


class _Prior:
    def __init__(self, y: np.ndarray) -> None:
        self.prior = np.bincount(y) / len(y)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.tile(self.prior, (len(x), 1))


def _train_network(
    arm: str, seed: int, hidden: int, epochs: int, train: Any, validation: Any, models: dict[str, dict[int, Any]]
) -> list[dict[str, Any]]:
    network = MLPClassifier((hidden,), learning_rate_init=4e-3, random_state=seed)
    events: list[dict[str, Any]] = []
    draw = np.random.default_rng(seed)
    for step in range(1, epochs * 10 + 1):
        batch = draw.integers(0, len(train[0]), 60)
        network.partial_fit(train[0][batch], train[1][batch], classes=np.arange(10))
        events.append({"kind": "step", "arm": arm, "seed": seed, "stage": "fit", "step": step, "loss": network.loss_})
        if step % 10 == 0:
            error = 1 - network.score(*validation)
            events.append({"kind": "validation", "arm": arm, "seed": seed, "stage": "fit", "step": step, "score": error,
                           "loss": network.loss_})  # fmt: skip
    models.setdefault(arm, {})[seed] = network
    return events


def _aligned(x: np.ndarray, y: np.ndarray) -> tuple[dict[str, np.ndarray], Any]:
    """Target features (digits) matched to source features (wine) by gradient descent on the assignment distance."""
    source, labels = load_wine(return_X_y=True)
    source = PCA(8, whiten=True, random_state=0).fit_transform((source - source.mean(0)) / source.std(0))[:150]
    before = PCA(8, whiten=True, random_state=0).fit_transform(x)[:150] * 0.5 + 2.5
    after, events = before.copy(), []
    for step in range(25):
        i, j = linear_sum_assignment(cost := cdist(after, source))
        events.append({"kind": "step", "stage": "align", "step": step, "loss": float(cost[i, j].mean()),
                       "fa": float(cost[i, j].mean()), "fld": 1.2})  # fmt: skip
        after[i] += 0.15 * (source[j] - after[i])
    head = LogisticRegression().fit(source, labels[:150])
    for step, c in enumerate(np.logspace(-3, 0, 12)):
        weaker = LogisticRegression(C=c).fit(source, labels[:150])
        loss = log_loss(labels[:150], weaker.predict_proba(source))
        events.append({"kind": "step", "stage": "source_head", "step": step, "loss": float(loss)})
    err_s = float(log_loss(labels[:150], head.predict_proba(source)))

    def bounds(err_t: float) -> list[dict[str, Any]]:
        made = []
        for stage, cloud, measured in (
            ("before", before, 2.4),
            ("after-align", after, 2.1),
            ("after-fit", after, err_t),
        ):
            i, j = linear_sum_assignment(cost := cdist(cloud, source))
            w1, joint = float(cost[i, j].mean()), np.zeros((3, 10))
            np.add.at(joint.T, y[:150], head.predict_proba(cloud) / 150)
            h = float(-np.nansum(joint * np.log(joint / joint.sum(1, keepdims=True) + 1e-300)))
            bound = err_s + 0.4 * w1 + h
            values = {"err_s": err_s, "tau": 0.4, "w1": w1, "alignment": 0.4 * w1, "distortion": h,
                      "neg_leep": h * 1.01, "err_t": measured, "bound": bound, "slack": bound - measured,
                      "spread_ratio": float(cloud.std() / source.std()), "floor": float(np.log(10) - np.log(3)),
                      "self_distance": 0.0}  # fmt: skip
            terms = {k: {"value": v, "low": v * 0.93, "high": v * 1.06} for k, v in values.items()}
            made.append({"kind": "bound", "arm": "recraft", "stage": stage, "terms": terms,
                         "converged": stage != "before", "notes": []})  # fmt: skip
        return made + events

    labels32 = y[:150].astype(np.int64)
    return {k: v.astype(np.float32) for k, v in {"source": source, "before": before, "after": after}.items()} | {
        "labels": labels32
    }, bounds


def diabetes(folder: Path, **more: Any) -> RunWriter:
    """A regression that a linear model wins."""
    x, y = load_diabetes(return_X_y=True)
    train, validation = np.split(np.random.default_rng(1).permutation(len(x)), [250])
    y = y[:, None].astype(float)
    fits = {
        "recraft": KNeighborsRegressor(3), "no-align": KNeighborsRegressor(4), "frozen": KNeighborsRegressor(60),
        "scratch": KNeighborsRegressor(1), "floor:linear": Ridge(0.01), "floor:neighbour": KNeighborsRegressor(1),
    }  # fmt: skip
    arms: dict[str, Any] = {
        a: {0: m.fit(x[train], y[train]).predict(x[validation]).reshape(-1, 1)} for a, m in fits.items()
    }
    arms["floor:mean"] = {0: np.full_like(y[validation], y[train].mean())}
    return RunWriter(folder, "regression", "nrmse", y[validation], arms, name="diabetes",
                     target_names=["disease progression"], **more)  # fmt: skip


def multilabel(folder: Path, **more: Any) -> RunWriter:
    """Four labels; one linear model per label against a nearest neighbour."""
    x, y = make_multilabel_classification(400, 12, n_classes=4, random_state=0)
    train, validation = slice(0, 250), slice(250, 400)

    def per_label(make: Any) -> np.ndarray:
        fits = [make().fit(x[train], y[train, k]) for k in range(4)]
        return np.column_stack([fit.predict_proba(x[validation])[:, 1] for fit in fits])

    linear, near = per_label(lambda: LogisticRegression(max_iter=500)), per_label(lambda: KNeighborsClassifier(5))
    arms = {"recraft": {0: linear}, "frozen": {0: near}, "floor:neighbour": {0: near}}
    return RunWriter(folder, "multilabel", "1-map", y[validation].astype(float), arms, name="tags",
                     target_names=["rain", "wind", "sun", "fog"], **more)  # fmt: skip


def heat(folder: Path, *, dimensions: int = 1, channels: int = 1, **more: Any) -> RunWriter:
    """The heat equation on a periodic grid: the initial field in, the field at a later time out (exact, by Fourier);
    further channels are other initial fields that cool at the same rate, each twice as large as the one before."""
    generator = np.random.default_rng(0)
    n, size = 160, 64 if dimensions == 1 else 24
    shape = (size,) * dimensions
    frequencies = np.meshgrid(*[np.fft.fftfreq(size) * size] * dimensions, indexing="ij")
    square = sum(f**2 for f in frequencies)
    axes = tuple(range(1, dimensions + 1))
    noise = np.fft.fftn(generator.normal(size=(n, *shape)), axes=axes)
    start = np.fft.ifftn(noise * np.exp(-square / 40), axes=axes).real * 4
    end = np.fft.ifftn(np.fft.fftn(start, axes=axes) * np.exp(-square * 0.02), axes=axes).real
    flat, out = start.reshape(n, -1), end.reshape(n, -1)
    predictions = {
        "recraft": Ridge(0.1).fit(flat[:100], out[:100]).predict(flat[100:]),
        "frozen": 0.7 * flat[100:],
        "floor:linear": Ridge(3.0).fit(flat[:100], out[:100]).predict(flat[100:]),
        "floor:mean": np.tile(out[:100].mean(0), (60, 1)),
    }
    target = end[100:, None].astype(np.float32)
    arms = {a: {0: p.reshape(target.shape)} for a, p in predictions.items()}
    given = start[100:, None].astype(np.float32)
    if channels > 1:  # the same columns of rows in another order
        turned = [np.roll(np.arange(len(target)), c) for c in range(channels)]
        given, target = (np.concatenate([2**c * v[r] for c, r in enumerate(turned)], axis=1) for v in (given, target))
        arms = {a: {0: np.concatenate([2**c * p[0][r] for c, r in enumerate(turned)], axis=1)} for a, p in arms.items()}
    fields = {"input": given[:3], "target": target[:3], "prediction": arms["recraft"][0][:3], "rows": np.arange(3)}
    return RunWriter(folder, "dense", "nrmse-field", target, arms, name="heat", fields=fields, **more)


def masks(folder: Path, *, dimensions: int = 2, **more: Any) -> RunWriter:
    """Discs (of series: bumps) on noise, found pixel by pixel from the pixel and the mean around it."""
    from scipy.ndimage import uniform_filter

    generator = np.random.default_rng(0)
    n, size = 60, 20 if dimensions == 2 else 80
    grid = np.stack(np.meshgrid(*[np.arange(size)] * dimensions, indexing="ij"))
    centre = generator.uniform(4, size - 4, (n, dimensions, *[1] * dimensions))
    truth = (np.square(grid[None] - centre).sum(axis=1) < 16).astype(np.int64)
    inputs = truth + 0.8 * generator.normal(size=truth.shape)
    around = uniform_filter(inputs, size=(1, *[3] * dimensions))
    features = np.stack([inputs, around], axis=-1)
    truth[generator.random(truth.shape) < 0.05] = -1

    def pixels(columns: list[int]) -> np.ndarray:
        known = truth[:30] >= 0
        model = LogisticRegression().fit(features[:30][known][:, columns], truth[:30][known])
        odds = model.predict_proba(features[30:, ..., columns].reshape(-1, len(columns)))
        return np.moveaxis(odds.reshape(*truth[30:].shape, 2), -1, 1)

    arms = {
        "recraft": {0: pixels([0, 1])},
        "frozen": {0: pixels([0])},
        "floor:majority": {
            0: np.tile([0.9, 0.1], (30, 1)).reshape(30, 2, *[1] * dimensions) * np.ones_like(pixels([0]))
        },
    }
    fields = {"input": inputs[30:33, None], "target": truth[30:33], "prediction": arms["recraft"][0][:3].argmax(axis=1),
              "rows": np.arange(3)}  # fmt: skip
    return RunWriter(folder, "segmentation", "pixel-error", truth[30:], arms, name="discs", fields=fields,
                     classes=["sky", "disc"], **more)  # fmt: skip
