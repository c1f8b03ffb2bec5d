"""Closed-form ridge regression against brute force and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeCV
from torch import Tensor

from crosstune.nn.ridge import LAMBDAS, fit_ridge


def problem(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) + 2.0
    w = torch.randn(d, 2, generator=generator, dtype=torch.float64)
    return x, x @ w / d**0.5 + 3.0 + 0.3 * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def penalty(x: Tensor, lam: float) -> float:
    """The penalty on the given features: ``lam`` is relative to the mean squared norm of a centred row."""
    return lam * float((x - x.mean(0)).square().sum(1).mean())


@pytest.mark.parametrize(("n", "d"), [(12, 40), (30, 4), (9, 9)])
@pytest.mark.parametrize("lam", LAMBDAS)
def test_leave_one_out_equals_brute_force(n: int, d: int, lam: float) -> None:
    x, y = problem(n, d)
    fit = fit_ridge([x], y, lambdas=[lam])
    alpha = penalty(x, lam)  # stays fixed while rows are left out
    brute = []
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        brute.append(Ridge(alpha=alpha, solver="svd").fit(x[rest].numpy(), y[rest].numpy()).predict(x[[i]].numpy())[0])
    scale = np.abs(brute).max()
    assert np.abs(fit.loo.numpy() - np.stack(brute)).max() < 1e-8 * scale
    assert fit.press == pytest.approx(float(((fit.loo - y) ** 2).mean()))


def test_forgetting_the_intercepts_leverage_fails_the_check() -> None:
    """The smallest wrong formula: the kernel's leverage without the mean's 1/n."""
    x, y = problem(12, 4)
    lam = 1e-2
    fit = fit_ridge([x], y, lambdas=[lam])
    xc, yc = x - x.mean(0), y - y.mean(0)
    kernel = xc @ xc.T + penalty(x, lam) * torch.eye(12, dtype=torch.float64)
    inverse = torch.linalg.inv(kernel)
    wrong = y - (inverse @ yc) / inverse.diagonal()[:, None]
    assert float((wrong - fit.loo).abs().max()) > 1e-4


@pytest.mark.parametrize(("n", "d"), [(12, 40), (60, 5)])
def test_weights_equal_ridge_and_kernel_ridge_of_scikit_learn(n: int, d: int) -> None:
    x, y = problem(n, d)
    fit = fit_ridge([x], y)
    alpha = penalty(x, fit.lam)
    witness = Ridge(alpha=alpha, solver="svd").fit(x.numpy(), y.numpy())
    assert np.allclose(fit.weights[0].T.numpy(), witness.coef_, atol=1e-7)
    assert np.allclose(fit.bias.numpy(), witness.intercept_, atol=1e-7)
    xc, yc = (x - x.mean(0)).numpy(), (y - y.mean(0)).numpy()
    dual = KernelRidge(alpha=alpha, kernel="linear").fit(xc, yc).predict(xc) + y.mean(0).numpy()
    assert np.allclose((x @ fit.weights[0] + fit.bias).numpy(), dual, atol=1e-6)


def test_the_chosen_penalty_is_that_of_ridge_cv() -> None:
    x, y = problem(40, 20, seed=3)
    y = y + 2 * torch.randn(40, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    fit = fit_ridge([x], y)
    alphas = [penalty(x, lam) for lam in LAMBDAS]
    witness = RidgeCV(alphas=alphas, scoring="neg_mean_squared_error").fit(x.numpy(), y.numpy())
    assert penalty(x, fit.lam) == pytest.approx(witness.alpha_)


def test_primal_equals_dual() -> None:
    """n = d sits on the border: one more constant feature moves the solver to the other side, not the answer."""
    x, y = problem(30, 29)
    wide = torch.cat([x, torch.zeros(30, 2, dtype=torch.float64)], dim=1)
    a, b = fit_ridge([x], y, lambdas=[1e-3]), fit_ridge([wide], y, lambdas=[1e-3])
    assert torch.allclose(a.weights[0], b.weights[0][:29], atol=1e-8)
    assert torch.allclose(a.bias, b.bias, atol=1e-8)


@pytest.mark.parametrize("informative", [0, 1])
def test_mixes_choose_the_informative_block(informative: int) -> None:
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(80, 6, generator=generator)
    noise = torch.randn(80, 200, generator=generator)
    y = signal @ torch.randn(6, 1, generator=generator)
    blocks = [signal, noise] if informative == 0 else [noise, signal]
    mixes = [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    fit = fit_ridge(blocks, y, mixes=mixes)
    assert fit.mix[informative] == 1.0
    assert float(fit.weights[1 - informative].abs().max()) == 0.0
    alone = fit_ridge([signal], y)
    assert fit.press == pytest.approx(alone.press)


def test_a_subset_for_selection_keeps_the_full_fit() -> None:
    x, y = problem(300, 10)
    generator = torch.Generator().manual_seed(0)
    fit = fit_ridge([x], y, max_rows=100, generator=generator)
    assert len(fit.loo_rows) == 100
    assert len(fit.loo_rows.unique()) == 100
    witness = Ridge(alpha=penalty(x[fit.loo_rows], fit.lam) * 3, solver="svd").fit(x.numpy(), y.numpy())
    assert np.allclose(fit.weights[0].T.numpy(), witness.coef_, atol=1e-4)
    # leave-one-out on the chosen rows is exact although the rows have another mean than the whole
    exact = fit_ridge([x[fit.loo_rows]], y[fit.loo_rows], lambdas=[fit.lam])
    assert torch.allclose(fit.loo, exact.loo, atol=1e-8)


def test_degenerate_features_are_survived() -> None:
    y = torch.randn(10, 1, generator=torch.Generator().manual_seed(0))
    fit = fit_ridge([torch.zeros(10, 3), torch.ones(10, 2)], y)
    assert all(bool(torch.isfinite(w).all()) for w in fit.weights)
    assert float(fit.bias) == pytest.approx(float(y.double().mean()))


# -- weighted rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(12, 40), (30, 4)])
@pytest.mark.parametrize("lam", [1e-4, 1e-2, 1.0])
def test_weighted_rows_equal_scikit_learn_left_out_one_by_one(n: int, d: int, lam: float) -> None:
    x, y = problem(n, d)
    weights = torch.rand(n, generator=torch.Generator().manual_seed(5), dtype=torch.float64) + 0.1
    fit = fit_ridge([x], y, lambdas=[lam], weights=7 * weights)  # only ratios matter
    w = (weights / weights.mean()).numpy()
    centred = x - torch.from_numpy(np.average(x.numpy(), axis=0, weights=w))
    alpha = lam * float((torch.from_numpy(w) * centred.square().sum(1)).mean())
    witness = Ridge(alpha=alpha, solver="svd").fit(x.numpy(), y.numpy(), sample_weight=w)
    assert np.allclose(fit.weights[0].T.numpy(), witness.coef_, atol=1e-7)
    assert np.allclose(fit.bias.numpy(), witness.intercept_, atol=1e-7)
    brute = []
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        model = Ridge(alpha=alpha, solver="svd").fit(x[rest].numpy(), y[rest].numpy(), sample_weight=w[rest])
        brute.append(model.predict(x[[i]].numpy())[0])
    assert np.abs(fit.loo.numpy() - np.stack(brute)).max() < 1e-8 * np.abs(brute).max()
    assert fit.press == pytest.approx(float((w[:, None] * (fit.loo - y).numpy() ** 2).mean()))


def test_equal_weights_are_none() -> None:
    x, y = problem(30, 10)
    plain, weighted = fit_ridge([x], y), fit_ridge([x], y, weights=torch.full((30,), 3.0))
    assert torch.allclose(plain.weights[0], weighted.weights[0], atol=1e-10)
    assert torch.allclose(plain.loo, weighted.loo, atol=1e-10)
    assert plain.lam == weighted.lam


def test_whole_weights_on_a_sample_of_rows_are_repeated_rows() -> None:
    """Selection on few rows, the final fit on all: a row of weight two is that row twice."""
    x, y = problem(20, 4)
    weights = torch.ones(20, dtype=torch.float64)
    weights[:5] = 2.0
    twice = torch.cat([torch.arange(20), torch.arange(5)])
    weighted = fit_ridge([x], y, lambdas=[1e-3], weights=weights)
    # a penalty stands beside a sum over rows: 25 of them here, weights that sum to 20 there
    repeated = fit_ridge([x[twice]], y[twice], lambdas=[1e-3 * 25 / 20])
    assert torch.allclose(weighted.weights[0], repeated.weights[0], atol=1e-9)
    few = fit_ridge([x], y, lambdas=[1e-9], weights=weights, max_rows=10, generator=torch.Generator().manual_seed(0))
    assert len(few.loo) == 10
    assert torch.allclose(few.weights[0], fit_ridge([x], y, lambdas=[1e-9], weights=weights).weights[0], atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_many_outputs_choose_as_few_do(weighted: bool) -> None:
    """Beyond twice as many outputs as rows only sums of squares are kept: the same errors, penalty and predictions."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(20, 6)))
    y = torch.from_numpy(rng.normal(size=(20, 6)) @ rng.normal(size=(6, 60)) + 2 * rng.normal(size=(20, 60)))
    weights = torch.from_numpy(rng.uniform(0.5, 2, 20)) if weighted else None
    wide = fit_ridge([x], y, weights=weights)
    parts = [fit_ridge([x], some, lambdas=(wide.lam,), weights=weights) for some in y.split(30, dim=1)]
    assert torch.allclose(wide.loo, torch.cat([p.loo for p in parts], dim=1), atol=1e-9)
    assert wide.press == pytest.approx(np.mean([p.press for p in parts]), rel=1e-9)
    for lam in LAMBDAS:
        others = [fit_ridge([x], some, lambdas=(lam,), weights=weights).press for some in y.split(30, dim=1)]
        assert np.mean(others) >= wide.press * (1 - 1e-9)
