"""Class maps and fields with gaps in closed form: what is unknown has no say, and logits are calibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from crosstune.assembly import build_model, outputs, plan_model, predict
from crosstune.metrics import get_metric
from crosstune.nn.heads import FieldHead
from crosstune.records import Dataset
from crosstune.stages import closed_form_fields as fields
from crosstune.stages.closed_form import fit_head

from .problems import backbone, dataset


def fitted(train: Dataset, *, linear_part: bool = True, tokens: int | None = None):
    config = plan_model(train, backbone().body, linear_part=linear_part, tokens=tokens)
    model = build_model(config, backbone().body, train, token_rms=0.05)
    fit = fit_head(model, train, max_rows=1000, generator=np.random.default_rng(0))
    return model, fit


def shifted(n: int = 100, points: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(n, 1, points)).astype(np.float32)
    return x, np.roll(x, 3, axis=-1) + 2


def test_an_operator_is_found_from_fields_with_gaps() -> None:
    x, y = shifted()
    gappy = np.where(np.random.default_rng(1).random(y.shape) < 0.25, np.nan, y)
    gappy[:, :, 11] = np.nan  # of this point nothing is ever known
    model, _ = fitted(Dataset(X=x, y=gappy, kind="dense"))
    held, truth = shifted(seed=5)
    truth[:, :, 11] = np.nan
    error = get_metric("rmse-field").score(predict(model, Dataset(X=held)), truth)
    assert error < 0.02
    # the smallest wrong implementation takes unknown points for zeros of the standardised target
    zeros = np.where(np.isnan(gappy), np.nanmean(gappy), gappy)
    wrong, _ = fitted(Dataset(X=x, y=zeros, kind="dense"))
    assert get_metric("rmse-field").score(predict(wrong, Dataset(X=held)), truth) > 10 * error


def test_filling_ends_at_the_ridge_of_the_known_values() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(60, 7)))
    known = torch.from_numpy(rng.random((60, 1, 4)) < 0.7)
    values = (x @ torch.from_numpy(rng.normal(size=(7, 4))) + 0.3 * torch.from_numpy(rng.normal(size=(60, 4))))[:, None]
    target = fields.Fields((values * known).float(), known)
    lam = 0.8
    found = fields._filled_in(x, target, target.filled(target.mean().expand_as(target.values)), lam, 1e-6)
    z = x - x.mean(0)
    z = z / z.square().sum(1).mean().sqrt()
    for column in range(4):
        rows = known[:, 0, column]
        design = torch.cat([z, torch.ones(60, 1, dtype=torch.float64)], dim=1)[rows]
        penalty = torch.diag(torch.tensor([lam] * 7 + [0.0], dtype=torch.float64))
        w = torch.linalg.solve(design.T @ design + penalty, design.T @ values[rows, 0, column])
        expected = z @ w[:7] + w[7]
        assert torch.allclose(found[~rows, 0, column].double(), expected[~rows], atol=1e-3)


@pytest.mark.parametrize("linear_part", [True, False])
def test_logits_are_calibrated_on_rows_not_seen(linear_part: bool) -> None:
    train, held = dataset("segmentation", 160, 0), dataset("segmentation", 80, 7)
    model, fit = fitted(train, linear_part=linear_part, tokens=8)
    out, y = outputs(model, held), torch.from_numpy(held.y)
    loss = float(F.cross_entropy(out.double(), y, ignore_index=-1))
    counts = np.bincount(held.y[held.y >= 0])
    assert loss < 0.8 * -np.sum(counts / counts.sum() * np.log(counts / counts.sum()))
    assert 0 < fit.relative_press < 1
    assert get_metric("pixel-error").score(predict(model, held), held.y) < 0.7 * min(counts) / counts.sum()
    for slope in (0.4, 2.5):
        assert float(F.cross_entropy(slope * out.double(), y, ignore_index=-1)) > loss


def test_calibration_is_the_minimum_of_the_log_loss() -> None:
    train = dataset("segmentation", 60, 0)
    model, _ = fitted(train, tokens=8)
    head = model.head
    assert isinstance(head, FieldHead)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, 2, 24, generator=generator)
    odds = 3 * scores + torch.tensor([0.7, -0.7])[None, :, None]
    drawn = torch.rand(50, 24, generator=generator) < odds.softmax(1)[:, 1]
    codes = torch.where(torch.rand(50, 24, generator=generator) < 0.2, -1, drawn.long())
    with torch.no_grad():
        head.linear.weight.fill_(1.0)
        head.linear.bias.zero_()
    fields._calibrate(head, scores, codes, None)
    slope = float(head.linear.weight[0, 0].detach())
    shift = head.linear.bias.detach().view(2, -1)[:, 0]

    def loss(a: float, b: float) -> float:
        offset = shift + torch.tensor([b, -b])
        return float(F.cross_entropy(a * scores + offset[None, :, None], codes, ignore_index=-1))

    assert slope == pytest.approx(3, abs=0.5)
    assert float(shift[0] - shift[1]) == pytest.approx(1.4, abs=0.4)
    best = loss(slope, 0.0)
    assert all(loss(slope + a, b) > best for a, b in ((0.3, 0), (-0.3, 0), (0, 0.1), (0, -0.1)))


def test_balanced_classes_are_predicted_more_often() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 1, 24)).astype(np.float32)
    y = (x[:, 0] + 0.7 * rng.normal(size=(120, 24)) > 1.6).astype(np.int64)
    train = Dataset(X=x, y=y, kind="segmentation", classes=("common", "rare"))
    config = plan_model(train, backbone().body, tokens=8)
    shares = []
    for weights in (None, torch.tensor([0.55, 5.0])):
        model = build_model(config, backbone().body, train, token_rms=0.05)
        assert isinstance(model.head, FieldHead)
        fields.fit_field(model, model.head, train, np.arange(120), torch.Generator().manual_seed(0), weights)
        shares.append((predict(model, train).argmax(axis=1) == 1).mean())
    assert shares[1] > 2 * shares[0]


def test_indicators_of_all_classes_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(40, 5)))
    codes = torch.from_numpy(rng.integers(0, 3, (40, 6)))
    target = fields.Fields(F.one_hot(codes, 3).movedim(-1, 1).float(), None)
    fit = fields._fit_operator(x, target, "segmentation", torch.Generator().manual_seed(0))
    whole = fields.fit_ridge([x], target.values.flatten(1), lambdas=(fit.lam,))
    assert torch.allclose(fit.weights[0], whole.weights[0], atol=1e-9)
    assert torch.allclose(fit.bias, whole.bias, atol=1e-9)
    assert torch.allclose(fit.loo, whole.loo, atol=1e-8)


def test_ragged_maps_are_fitted_on_what_is_there() -> None:
    """Series of different lengths: what stands behind their ends is not learnt from."""
    train = dataset("segmentation", 120, 0)
    lengths = np.random.default_rng(0).integers(8, 25, 120)
    lengths[0] = 24
    behind = np.arange(24) >= lengths[:, None]
    ragged = replace(train, X=np.where(behind[:, None], 0, train.X), y=np.where(behind, -1, train.y), lengths=lengths)
    model, _ = fitted(ragged, tokens=8)
    held = dataset("segmentation", 60, 3)
    error = get_metric("pixel-error").score(predict(model, replace(held, lengths=np.full(60, 24))), held.y)
    assert error < 0.8 * min(np.bincount(held.y[held.y >= 0])) / (held.y >= 0).sum()
    other = replace(ragged, X=np.where(behind[:, None], 50, ragged.X).astype(np.float32))
    again, _ = fitted(other, tokens=8)
    assert np.allclose(predict(again, ragged), predict(model, ragged), atol=1e-5)


@pytest.mark.parametrize(("rows", "raw", "outputs"), [(12, 40, 90), (12, 40, 5), (60, 20, 90), (60, 40, 5)])
def test_operators_of_any_shape_are_factored_as_by_singular_values(rows: int, raw: int, outputs: int) -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(rows, raw)))
    fit = fields.fit_ridge([x], torch.from_numpy(rng.normal(size=(rows, outputs))), lambdas=(0.1,))
    train = Dataset(X=np.zeros((rows, 1, raw), np.float32), y=np.zeros((rows, 1, outputs), np.float32), kind="dense")
    config = plan_model(train, backbone().body, tokens=4)
    for rank in (4, min(rows, raw, outputs)):
        head = FieldHead((8,), config.plan, 1, (outputs,), raw, rank)
        fields._low_rank(head, fit, x)
        stored = (head.skip_out.weight @ head.skip_in.weight).T.detach().double()
        u, s, v = torch.linalg.svd(fit.weights[0], full_matrices=False)
        expected = u[:, :rank] * s[:rank] @ v[:rank]
        assert torch.allclose(stored, expected, atol=1e-6 * float(s[0]))


def test_large_fields_are_solved_on_the_rows_that_the_time_allows() -> None:
    train = dataset("segmentation", 200, 0)
    config = plan_model(train, backbone().body, tokens=8)
    model = build_model(config, backbone().body, train, token_rms=0.05)
    assert isinstance(model.head, FieldHead)
    counts = [fields.affordable_rows(model.head, seconds) for seconds in (1e-9, 1e-3, 1e-2, 1e3)]
    assert counts[0] == 64
    assert counts == sorted(set(counts))
    outputs, raw = 48, model.head.raw_width
    assert outputs * counts[2] * (8 * counts[2] + 6 * raw) == pytest.approx(2e10 * 1e-2, rel=0.01)
    fit = fit_head(model, train, max_rows=1000, generator=np.random.default_rng(0), seconds=1e-9)
    assert fit.rows == 64
