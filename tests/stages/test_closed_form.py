"""The head in closed form: calibrated, never worse than the linear part, exact on linear operators."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from crosstune.assembly import build_model, outputs, plan_model, predict
from crosstune.nn.heads import PooledHead
from crosstune.nn.model import CrossModalModel
from crosstune.nn.ridge import RidgeFit, fit_ridge
from crosstune.records import Dataset
from crosstune.stages import closed_form
from crosstune.stages.closed_form import fit_head
from crosstune.stages.fit import FitConfig

from .problems import backbone, changed, dataset, snapshot, state

KINDS = ["classification", "multilabel", "regression", "dense", "segmentation"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_head_is_fitted(kind: str) -> None:
    made = state(kind)  # type: ignore[arg-type]
    before = snapshot(made.model)
    fit_head(made.model, made.train, max_rows=1000, generator=rng())
    moved = changed(before, snapshot(made.model))
    assert moved
    assert all(name.startswith("head.") for name in moved)


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_beats_its_zero_start_on_rows_it_has_not_seen(kind: str) -> None:
    made = state(kind)  # type: ignore[arg-type]
    error = made.metric.error
    assert made.validation.y is not None
    start = error(made.metric.score(predict(made.model, made.validation), made.validation.y))
    fit_head(made.model, made.train, max_rows=1000, generator=rng())
    end = error(made.metric.score(predict(made.model, made.validation), made.validation.y))
    assert end < 0.97 * start


def advection(n: int, points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Periodic fields and the same fields moved by a third of the domain: an exact shift in Fourier space."""
    x = rng(seed).normal(size=(n, 1, points)).astype(np.float32)
    k = np.fft.rfftfreq(points, 1 / points)
    y = np.fft.irfft(np.fft.rfft(x) * np.exp(-2j * np.pi * k / 3), n=points)
    return x, y.astype(np.float32)


def operator_model(points: int, rows: int, *, linear_part: bool = True) -> tuple[CrossModalModel, Dataset, Dataset]:
    (x, y), (xv, yv) = advection(rows, points, 0), advection(40, points, 1)
    train, held = Dataset(X=x, y=y, kind="dense"), Dataset(X=xv, y=yv, kind="dense")
    body = backbone().body
    model = build_model(plan_model(train, body, linear_part=linear_part, tokens=8), body, train, token_rms=0.05)
    fit_head(model, train, max_rows=1000, generator=rng())
    return model, train, held


def relative_error(model: CrossModalModel, data: Dataset) -> float:
    assert data.y is not None
    return float(np.linalg.norm(predict(model, data) - data.y) / np.linalg.norm(data.y))


def test_a_linear_operator_is_solved_by_the_linear_part() -> None:
    model, _, held = operator_model(48, 120)
    assert relative_error(model, held) < 1e-3


def test_without_the_linear_part_the_same_operator_is_not_solved() -> None:
    model, _, held = operator_model(48, 120, linear_part=False)
    assert relative_error(model, held) > 0.1


def test_fields_in_two_dimensions_have_a_linear_part_too() -> None:
    x = rng().normal(size=(90, 1, 8, 8)).astype(np.float32)
    train = Dataset(X=x[:80], y=np.roll(x[:80], 2, axis=-1) * 3 + 7, kind="dense")
    held = Dataset(X=x[80:], y=np.roll(x[80:], 2, axis=-1) * 3 + 7, kind="dense")
    body = backbone().body
    model = build_model(plan_model(train, body, tokens=16), body, train, token_rms=0.05)
    fit_head(model, train, max_rows=1000, generator=rng())
    assert relative_error(model, held) < 1e-3


def test_the_linear_part_alone_is_the_ridge_floor() -> None:
    """Targets linear in the raw signal: the mix leaves the body out and predicts what ridge regression predicts."""
    x = rng().normal(size=(200, 1, 12)).astype(np.float32)
    y = (x[:, 0] @ rng(1).normal(size=(12, 2)) + 5).astype(np.float32)
    train = Dataset(X=x, y=y, kind="regression")
    body = backbone().body
    model = build_model(plan_model(train, body), body, train, token_rms=0.05)
    report = fit_head(model, train, max_rows=1000, generator=rng())
    assert report.body_share == 0.0
    assert report.relative_press < 1e-6
    fresh = rng(2).normal(size=(30, 1, 12)).astype(np.float32)
    witness = Ridge(alpha=1e-4).fit(x[:, 0], y).predict(fresh[:, 0])
    assert np.allclose(predict(model, Dataset(X=fresh)), witness, atol=1e-3)


def test_noise_is_recognised_as_such() -> None:
    x = rng().normal(size=(100, 1, 12)).astype(np.float32)
    train = Dataset(X=x, y=rng(1).normal(size=(100, 1)).astype(np.float32), kind="regression")
    body = backbone().body
    model = build_model(plan_model(train, body), body, train, token_rms=0.05)
    report = fit_head(model, train, max_rows=1000, generator=rng())
    assert 0.9 < report.relative_press < 1.2
    prediction = predict(model, Dataset(X=rng(2).normal(size=(50, 1, 12)).astype(np.float32)))
    assert prediction.std() < 0.5  # shrunk to the mean


# -- calibration --------------------------------------------------------------------------------------------------


def log_loss(model: CrossModalModel, data: Dataset) -> float:
    out, y = outputs(model, data), torch.from_numpy(np.asarray(data.y))
    if model.config.kind == "classification":
        return float(F.cross_entropy(out, y.long()))
    return float(F.binary_cross_entropy_with_logits(out, y))


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_calibration_lowers_the_log_loss_of_unseen_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = state(kind)  # type: ignore[arg-type]
    plain = copy.deepcopy(made.model)
    fit_head(made.model, made.train, max_rows=1000, generator=rng())
    monkeypatch.setattr(closed_form, "_calibrate", lambda *_: (1.0, 0.0))
    fit_head(plain, made.train, max_rows=1000, generator=rng())
    assert log_loss(made.model, made.validation) < 0.97 * log_loss(plain, made.validation)


def test_classification_calibration_keeps_the_ranking() -> None:
    made = state()
    fit_head(made.model, made.train, max_rows=1000, generator=rng())
    head = made.model.head
    assert isinstance(head, PooledHead)
    before = predict(made.model, made.validation).argmax(1)
    with torch.no_grad():
        for parameter in (head.linear.weight, head.linear.bias, head.skip.weight):
            parameter.mul_(3.0)
    assert np.array_equal(before, predict(made.model, made.validation).argmax(1))


def test_labels_seen_half_the_time_are_cut_at_one_half() -> None:
    """Sure scores of 0 and 1 must become sure probabilities on both sides."""
    truth = (torch.arange(40) % 2).double()[:, None]
    fit = RidgeFit((), torch.zeros(1), 1.0, (1.0,), loo=truth * 0.98 + 0.01, loo_rows=torch.arange(40), press=0.0)
    slope, offset = closed_form._calibrate("multilabel", fit, truth)
    assert float(torch.sigmoid(torch.tensor(slope * 0.99 + offset))) > 0.99
    assert float(torch.sigmoid(torch.tensor(slope * 0.01 + offset))) < 0.01


# -- rows and factors ---------------------------------------------------------------------------------------------


def test_more_rows_than_allowed_are_subsampled_by_the_stream() -> None:
    made = state()
    report = fit_head(made.model, made.train, max_rows=40, generator=rng())
    assert report.rows == 40


def test_dense_operators_are_stored_exactly_when_the_rank_allows() -> None:
    model, train, _ = operator_model(16, 60)
    x = torch.from_numpy(train.X)
    with torch.no_grad():
        assert model.raw is not None
        raw = model.head.raw_features(model.raw(model.normaliser(x)))
        assert model.scaler is not None
        assert train.y is not None
        fit = fit_ridge([raw], model.scaler(torch.from_numpy(train.y)).flatten(1).double())
        stored = model.head.skip_in.weight.T @ model.head.skip_out.weight.T  # type: ignore[union-attr,operator]
    assert torch.allclose(stored.double(), fit.weights[0], atol=1e-4)


def test_tiny_training_sets_are_survived() -> None:
    for kind in KINDS:
        data = dataset(kind, 6, 0)  # type: ignore[arg-type]
        body = backbone().body
        model = build_model(plan_model(data, body, tokens=8), body, data, token_rms=0.05)
        fit_head(model, data, max_rows=1000, generator=rng())
        assert np.isfinite(predict(model, data)).all(), kind


# -- weights of the loss ------------------------------------------------------------------------------------------


def rare(kind: str) -> Any:
    """Twelve times fewer rows of the last class, or of the last label's positives."""
    made = state(kind, rows=240)  # type: ignore[arg-type]
    y = made.train.y
    assert y is not None
    of_last = (y == 2) if kind == "classification" else (y[:, 0] > 0)
    keep = np.flatnonzero(~of_last | (np.cumsum(of_last) % 12 == 1))
    made.train = made.train.take(keep)
    return made


def recall(made: Any) -> float:
    p, y = predict(made.model, made.validation), made.validation.y
    return float((p.argmax(1) == y)[y == 2].mean())


def test_class_weights_lift_the_recall_of_a_rare_class() -> None:
    recalls, losses = [], []
    for weights in (None, "balanced"):
        made = rare("classification")
        loss = FitConfig(class_weights=weights).objective(made)
        fit_head(made.model, made.train, max_rows=1000, generator=rng(), setting=loss.setting)
        recalls.append(recall(made))
        balanced = FitConfig(class_weights="balanced").objective(made)
        losses.append(float(balanced(outputs(made.model, made.validation), torch.from_numpy(made.validation.y))))
    assert recalls[1] > recalls[0] + 0.1
    assert losses[1] < losses[0]


@pytest.mark.parametrize("weight", [8.0, "balanced"])
def test_weights_of_positives_lower_the_loss_that_has_them(weight: Any) -> None:
    losses = []
    for given in (None, weight):
        made = rare("multilabel")
        config = FitConfig(pos_weight=given)
        fit_head(made.model, made.train, max_rows=1000, generator=rng(), setting=config.objective(made).setting)
        loss = FitConfig(pos_weight=weight).objective(made)
        losses.append(float(loss(outputs(made.model, made.validation), torch.from_numpy(made.validation.y))))
    assert losses[1] < losses[0]
