"""Losses against scikit-learn and the formulas written out, in float64; pieces of a batch add up to the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from crosstune.errors import ConfigError
from crosstune.nn.losses import (
    LOSSES,
    Objective,
    balanced_classes,
    check_loss,
    find_loss,
    loss_names,
    make_objective,
    positive_weights,
)  # fmt: skip
from crosstune.nn.normalise import TargetScaler

ROWS, CLASSES = 24, 4
KINDS = ["classification", "segmentation", "multilabel", "regression", "dense"]
PAIRS = [(kind, loss.name) for loss in LOSSES for kind in loss.kinds]


def draw(kind: str, seed: int = 0) -> tuple[Tensor, np.ndarray]:
    """Outputs in float64 and targets; some positions do not count."""
    rng = np.random.default_rng(seed)
    shape = {"segmentation": (ROWS, CLASSES, 5), "dense": (ROWS, CLASSES, 3, 5)}.get(kind, (ROWS, CLASSES))
    out = torch.from_numpy(2 * rng.normal(size=shape))
    if kind == "classification":
        return out, rng.choice(CLASSES, ROWS, p=[0.6, 0.2, 0.1, 0.1])
    if kind == "segmentation":
        return out, rng.choice(np.arange(-1, CLASSES), (ROWS, 5), p=[0.2, 0.5, 0.1, 0.1, 0.1])
    if kind == "multilabel":
        return out, (rng.random(shape) < 0.2).astype(np.float64)
    y = 3.0 * rng.normal(size=shape) + 1.0
    if kind == "dense":
        y[rng.random(shape) < 0.1] = np.nan
        y[3] = np.nan  # a whole sample, and a channel of another
        y[4, 1] = np.nan
    return out, y


def scaler_of(y: np.ndarray) -> TargetScaler:
    made = TargetScaler(CLASSES).double()
    axes = (0, *range(2, y.ndim))
    made.mean.copy_(torch.from_numpy(np.nanmean(y, axes)))
    made.scale.copy_(torch.from_numpy(np.nanstd(y, axes)))
    return made


def objective(kind: str, name: str | None, y: np.ndarray, **options: Any) -> Objective:
    scaler = scaler_of(y) if kind in ("regression", "dense") else None
    return make_objective(kind, y, CLASSES, name=name, scaler=scaler, **options)  # type: ignore[arg-type]


def value(kind: str, name: str | None, out: Tensor, y: np.ndarray, **options: Any) -> float:
    return float(objective(kind, name, y, **options)(out, torch.from_numpy(y)))


def standard(y: np.ndarray) -> Tensor:
    return scaler_of(y)(torch.from_numpy(y))


# -- witnesses ----------------------------------------------------------------------------------------------------


def test_cross_entropy_is_that_of_scikit_learn() -> None:
    out, y = draw("classification")
    p = out.softmax(1).numpy()
    assert value("classification", None, out, y) == pytest.approx(log_loss(y, p), rel=1e-12)
    weights = compute_class_weight("balanced", classes=np.arange(CLASSES), y=y)[y]
    weighted = value("classification", "cross-entropy", out, y, class_weights="balanced")
    assert weighted == pytest.approx(log_loss(y, p, sample_weight=weights), rel=1e-12)
    assert weighted != pytest.approx(log_loss(y, p), rel=1e-3)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_focal_loss_is_its_formula(gamma: float, weights: str | None) -> None:
    out, y = draw("classification")
    p = out.softmax(1).numpy()[np.arange(ROWS), y]
    w = np.ones(ROWS) if weights is None else compute_class_weight("balanced", classes=np.arange(CLASSES), y=y)[y]
    expected = (w * (1 - p) ** gamma * -np.log(p)).sum() / w.sum()
    assert value("classification", "focal", out, y, gamma=gamma, class_weights=weights) == pytest.approx(expected)


def test_focal_loss_fades_what_is_certain_and_keeps_its_slope_finite() -> None:
    out = torch.tensor([[60.0, 0.0], [0.1, 0.0]], dtype=torch.float64, requires_grad=True)
    for gamma in (0.0, 0.5, 1.0, 2.0):
        loss = objective("classification", "focal", np.array([0, 0]), gamma=gamma)
        (grad,) = torch.autograd.grad(loss(out, torch.tensor([0, 0])), out)
        assert bool(torch.isfinite(grad).all())
        assert float(grad[0].abs().max()) < 1e-9 < float(grad[1].abs().max())


@pytest.mark.parametrize("pos_weight", [None, 3.5, "balanced"])
def test_binary_losses_are_their_formulas(pos_weight: Any) -> None:
    out, y = draw("multilabel")
    p = torch.sigmoid(out).numpy()
    w: Any = 1.0 if pos_weight is None else pos_weight
    if pos_weight == "balanced":
        w = (1 - y).sum(0) / y.sum(0)
    bce = (-w * y * np.log(p) - (1 - y) * np.log(1 - p)).mean()
    focal = (-w * y * (1 - p) ** 2 * np.log(p) - (1 - y) * p**2 * np.log(1 - p)).mean()
    assert value("multilabel", None, out, y, pos_weight=pos_weight) == pytest.approx(bce, rel=1e-10)
    assert value("multilabel", "focal", out, y, pos_weight=pos_weight) == pytest.approx(focal, rel=1e-10)
    if pos_weight is None:
        assert bce == pytest.approx(np.mean([log_loss(y[:, k], p[:, k], labels=[0, 1]) for k in range(CLASSES)]))


def test_regression_losses_are_those_of_scikit_learn() -> None:
    out, y = draw("regression")
    z = standard(y).numpy()
    assert value("regression", None, out, y) == pytest.approx(mean_squared_error(z, out.numpy()), rel=1e-12)
    assert value("regression", "mae", out, y) == pytest.approx(mean_absolute_error(z, out.numpy()), rel=1e-12)
    gap = np.abs(out.numpy() - z)
    huber = np.where(gap < 1, gap**2 / 2, gap - 0.5).mean()
    assert (gap < 1).any()
    assert (gap > 1).any()
    assert value("regression", "huber", out, y) == pytest.approx(huber, rel=1e-12)


def test_dense_losses_leave_out_missing_positions() -> None:
    out, y = draw("dense")
    z, known = standard(y).numpy(), ~np.isnan(y)
    gap = np.where(known, out.numpy() - z, 0)
    assert value("dense", None, out, y) == pytest.approx((gap**2).sum() / known.sum(), rel=1e-12)
    assert value("dense", "mae", out, y) == pytest.approx(np.abs(gap).sum() / known.sum(), rel=1e-12)
    flat, count = (gap**2).reshape(ROWS, CLASSES, -1).sum(-1), known.reshape(ROWS, CLASSES, -1).sum(-1)
    rmse = np.sqrt(flat[count > 0] / count[count > 0]).mean()
    assert value("dense", "rmse", out, y) == pytest.approx(rmse, rel=1e-12)


def test_relative_losses_are_in_the_targets_own_units() -> None:
    out, y = draw("dense")
    y[7] = 0.0  # no relative error: left out
    p = scaler_of(y).inverse(out).numpy()
    whole, single = [], []
    for i in range(ROWS):
        known = ~np.isnan(y[i])
        if (y[i][known] != 0).any():
            whole.append(np.linalg.norm((p[i] - y[i])[known]) / np.linalg.norm(y[i][known]))
        for c in range(CLASSES):
            if (y[i, c][known[c]] != 0).any():
                single.append(np.linalg.norm((p[i, c] - y[i, c])[known[c]]) / np.linalg.norm(y[i, c][known[c]]))
    assert len(whole) == ROWS - 2
    assert len(single) == CLASSES * (ROWS - 2) - 1
    assert value("dense", "relative-l2", out, y) == pytest.approx(np.mean(whole), rel=1e-10)
    assert value("dense", "nrmse", out, y) == pytest.approx(np.mean(single), rel=1e-10)


def test_relative_l2_is_the_metric() -> None:
    from crosstune.metrics import get_metric

    out, y = draw("dense")
    y = np.nan_to_num(y, nan=0.5)
    p = scaler_of(y).inverse(out).numpy()
    assert value("dense", "relative-l2", out, y) == pytest.approx(get_metric("nrmse-field").score(p, y), rel=1e-10)


@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_positions_are_rows_and_ignored_ones_are_none(name: str, weights: str | None) -> None:
    out, y = draw("segmentation")
    flat, codes = out.movedim(1, -1).reshape(-1, CLASSES), y.ravel()
    seen = codes != -1
    expected = value("classification", name, flat[seen], codes[seen], class_weights=weights)
    assert value("segmentation", name, out, y, class_weights=weights) == pytest.approx(expected, rel=1e-12)


# -- what all of them have in common --------------------------------------------------------------------------------


def options_of(kind: str) -> dict[str, Any]:
    if kind in ("classification", "segmentation"):
        return {"class_weights": "balanced"}
    return {"pos_weight": 2.0} if kind == "multilabel" else {}


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_pieces_add_up_to_the_whole(kind: str, name: str) -> None:
    """Value and gradient: a mean over the pieces' means would fail, since they hold unlike numbers of what counts."""
    out, y = draw(kind)
    loss = objective(kind, name, y, **options_of(kind))
    target = torch.from_numpy(y)
    out.requires_grad_()
    whole = loss(out, target)
    (expected,) = torch.autograd.grad(whole, out)
    total = loss.count(target)
    grad = torch.zeros_like(out)
    summed = 0.0
    for piece in (slice(0, 1), slice(1, 8), slice(8, 9), slice(9, ROWS)):
        part = loss.total(out[piece], target[piece]) / total
        grad += torch.autograd.grad(part, out)[0]
        summed += float(part.detach())
    assert summed == pytest.approx(float(whole.detach()), rel=1e-12)
    assert torch.allclose(grad, expected, rtol=1e-10, atol=1e-14)
    assert float(expected.abs().max()) > 0


@pytest.mark.parametrize(("kind", "name"), [pair for pair in PAIRS if pair[0] in ("dense", "segmentation")])
def test_nothing_flows_where_nothing_counts(kind: str, name: str) -> None:
    out, y = draw(kind)
    loss = objective(kind, name, y, **options_of(kind))
    lost = np.isnan(y) if kind == "dense" else np.broadcast_to((y == -1)[:, None], out.shape)
    out.requires_grad_()
    (grad,) = torch.autograd.grad(loss(out, torch.from_numpy(y)), out)
    assert bool(torch.isfinite(grad).all())
    assert bool((grad[torch.from_numpy(lost.copy())] == 0).all())
    none = np.full_like(y, np.nan if kind == "dense" else -1)
    empty = loss(out, torch.from_numpy(none))
    assert float(empty.detach()) == 0
    assert bool((torch.autograd.grad(empty, out)[0] == 0).all())


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_gradients_are_those_of_finite_differences(kind: str, name: str) -> None:
    out, y = draw(kind)
    loss = objective(kind, name, y, **options_of(kind))
    piece, target = out[:3].clone().requires_grad_(), torch.from_numpy(y)[:3]
    assert torch.autograd.gradcheck(lambda o: loss(o, target), (piece,), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_float32_outputs_give_a_float32_loss(kind: str, name: str) -> None:
    out, y = draw(kind)
    loss = objective(kind, name, y, **options_of(kind))
    if loss.setting.scaler is not None:
        loss.setting.scaler.float()
        y = y.astype(np.float32)
    single = loss(out.float(), torch.from_numpy(y))
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(value(kind, name, out, y.astype(out.numpy().dtype) if kind in (
        "regression", "dense", "multilabel") else y, **options_of(kind)), rel=1e-5)  # fmt: skip


# -- weights -------------------------------------------------------------------------------------------------------


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    _, y = draw("classification")
    expected = compute_class_weight("balanced", classes=np.arange(CLASSES), y=y)
    assert np.allclose(balanced_classes(y, CLASSES).numpy(), expected, rtol=1e-14)


def test_a_class_that_does_not_occur_weighs_nothing_and_the_mean_stays_one() -> None:
    y = np.array([0, 0, 0, 2, -1, -1])
    weights = balanced_classes(y, 4)
    assert weights.tolist() == pytest.approx([4 / 6, 0, 2, 0])
    assert float(weights[[0, 0, 0, 2]].mean()) == pytest.approx(1.0)


def test_weights_of_positives() -> None:
    y = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0]], dtype=np.float32)
    assert positive_weights(y, 4, "balanced").tolist() == pytest.approx([3.0, 1.0, 1.0, 3.0])
    assert positive_weights(y, 4, 2.5).tolist() == [2.5] * 4


def test_weights_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from crosstune.nn import losses

    _, y = draw("segmentation")
    _, labels = draw("multilabel")
    whole = balanced_classes(y, CLASSES), positive_weights(labels, CLASSES, "balanced")
    monkeypatch.setattr(losses, "BLOCK", 5)
    assert torch.equal(balanced_classes(y, CLASSES), whole[0])
    assert torch.equal(positive_weights(labels, CLASSES, "balanced"), whole[1])


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_default(kind: Any) -> None:
    assert find_loss(None, kind).name == loss_names(kind)[0]


def test_unknown_names_are_refused_with_what_fits() -> None:
    with pytest.raises(ConfigError, match="unknown loss 'crossentropy'") as caught:
        find_loss("crossentropy", "classification")
    assert "did you mean 'cross-entropy'" in str(caught.value)


def test_names_of_other_kinds_are_refused_with_what_fits() -> None:
    with pytest.raises(ConfigError, match="'bce' does not fit classification targets") as caught:
        find_loss("bce", "classification")
    assert "one of cross-entropy, focal" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("classification", {"gamma": 2.0}, "loss_gamma = 2.0 says nothing to the loss 'cross-entropy'"),
        ("regression", {"class_weights": "balanced"}, "class_weights = 'balanced' does not fit regression"),
        ("multilabel", {"class_weights": "balanced"}, "pos_weight=balanced weighs positive labels"),
        ("classification", {"pos_weight": 2.0}, "pos_weight = 2.0 does not fit classification"),
    ],
)
def test_settings_that_nothing_would_read_are_refused(kind: Any, options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_loss(kind, None, **options)


def test_the_focal_loss_is_that_of_a_hand_made_example() -> None:
    """p = 0.8: 0.2^2 * -ln 0.8."""
    out = torch.log(torch.tensor([[0.8, 0.2]], dtype=torch.float64))
    assert value("classification", "focal", out, np.array([0])) == pytest.approx(0.04 * -np.log(0.8))
    assert float(F.cross_entropy(out, torch.tensor([0]))) == pytest.approx(-np.log(0.8))
