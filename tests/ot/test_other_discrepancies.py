"""Sliced, kernel and label-aware distances, and the door that stage 1 uses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

import ot as pot
from crosstune import ot
from crosstune.errors import UsageError
from crosstune.ot import discrepancy
from crosstune.ot.labelled import bures_squared, class_law

D = torch.float64


def cloud(n: int, d: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=D)


def directions(d: int, count: int) -> Tensor:
    raw = cloud(d, count, 99)
    return raw / raw.norm(dim=0)


@pytest.mark.parametrize("p", [1, 2])
def test_sliced_matches_pot_for_unequal_sizes(p: int) -> None:
    x, y, v = cloud(45, 4, 0), cloud(28, 4, 1), directions(4, 30)
    expected = pot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=v.numpy(), p=p) ** p
    assert float(ot.sliced(x, y, projections=v, p=p).value) == pytest.approx(expected, rel=1e-10)


def test_sliced_on_the_axes_of_a_translation() -> None:
    x, t = cloud(50, 3, 0), torch.tensor([3.0, 0.0, -1.0], dtype=D)
    value = ot.sliced(x, x + t, projections=torch.eye(3, dtype=D)).value
    assert float(value) == pytest.approx(10 / 3, rel=1e-12)


def test_sliced_gradients_by_finite_differences() -> None:
    v = directions(3, 4)
    x, y = cloud(6, 3, 0).requires_grad_(), cloud(4, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: ot.sliced(a, b, projections=v).value, (x, y))


def test_sliced_prepared_directions_are_reused_and_generators_are_honoured() -> None:
    x, y = cloud(300, 5, 0), cloud(40, 5, 1)
    source = ot.prepare(x, projections=16, generator=torch.Generator().manual_seed(3))
    drawn = ot.sliced(x, y, projections=16, generator=torch.Generator().manual_seed(3)).value
    assert float(ot.sliced(source, y).value) == pytest.approx(float(drawn), rel=1e-12)
    other = ot.sliced(source, y, generator=torch.Generator().manual_seed(4)).value
    assert float(other) != pytest.approx(float(drawn), rel=1e-6)


def test_energy_distance_matches_its_definition() -> None:
    x, y = cloud(40, 4, 0), cloud(25, 4, 1)

    def mean(u: Tensor, v: Tensor) -> Tensor:
        return (u[:, None] - v[None]).norm(dim=2).mean()

    expected = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    assert float(ot.mmd(x, y).value) == pytest.approx(float(expected), rel=1e-10)


def test_gaussian_mmd_of_gaussians_has_its_closed_form() -> None:
    """E k(x, y) for N(0, I), N(m, I) and width h is (h^2 / (h^2 + 2))^(d/2) exp(-|m|^2 / (2 (h^2 + 2)))."""
    shift = torch.tensor([1.0, 0.5], dtype=D)
    x, y = cloud(3000, 2, 0), cloud(3000, 2, 1) + shift
    h2 = 1.5**2
    closed = 2 * h2 / (h2 + 2) * (1 - math.exp(-float(shift.square().sum()) / (2 * (h2 + 2))))
    assert float(ot.mmd(x, y, kernel="gaussian", bandwidth=1.5).value) == pytest.approx(closed, rel=0.1)


@pytest.mark.parametrize("kernel", discrepancy.KERNELS)
def test_mmd_gradients_self_distance_and_blocks(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cloud(6, 3, 0).requires_grad_(), cloud(4, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: ot.mmd(a, b, kernel=kernel, bandwidth=1.3).value, (x, y))
    big, other = cloud(90, 4, 2), cloud(50, 4, 3)
    assert float(ot.mmd(big, big.flip(0), kernel=kernel).value) < 1e-14
    whole = float(ot.mmd(ot.prepare(big), other, kernel=kernel, bandwidth=2.0).value)
    monkeypatch.setattr(discrepancy, "BLOCK_BYTES", 4 * 50 * 8 * 7)
    assert float(ot.mmd(big, other, kernel=kernel, bandwidth=2.0).value) == pytest.approx(whole, rel=1e-10)


def test_bures_matches_the_matrix_square_root() -> None:
    p, q = cloud(60, 5, 0) @ cloud(5, 5, 3), cloud(40, 5, 1) + 1
    s, t = np.cov(p.T.numpy(), bias=True), np.cov(q.T.numpy(), bias=True)
    root = sqrtm(s)
    expected = float((p.mean(0) - q.mean(0)).square().sum()) + np.trace(s + t - 2 * sqrtm(root @ t @ root)).real
    assert float(bures_squared(class_law(p), class_law(q))) == pytest.approx(expected, rel=1e-8)
    few = class_law(cloud(3, 5, 4))  # a covariance of rank 2: no ridge needed
    assert float(bures_squared(few, few)) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("cost", "inner"),
    [("sqeuclidean", i) for i in ("gaussian", "exact", "means")] + [("euclidean", i) for i in ("exact", "means")],
)
def test_dataset_distance_by_finite_differences_and_at_itself(cost: str, inner: str) -> None:
    lx, ly = torch.arange(10) % 3, torch.arange(7) % 2

    def value(u: Tensor, v: Tensor) -> Tensor:
        return ot.dataset_distance(u, lx, v, ly, cost=cost, inner=inner).value

    assert torch.autograd.gradcheck(value, (cloud(10, 2, 0).requires_grad_(), cloud(7, 2, 1).requires_grad_()))
    x, labels = cloud(40, 3, 2), torch.arange(40) % 4
    assert float(ot.dataset_distance(x, labels, x, labels, cost=cost, inner=inner).value) == pytest.approx(0, abs=1e-12)


def test_dataset_distance_is_the_program_on_the_summed_cost() -> None:
    x, y = cloud(30, 3, 0), cloud(20, 3, 1)
    lx, ly = torch.arange(30) % 3, torch.arange(20) % 2
    coupling = ot.dataset_distance(x, lx, y, ly)
    between = coupling.details["label_distance"]
    costs = torch.cdist(x, y).square() + between[lx][:, ly]
    expected = pot.emd2(np.full(30, 1 / 30), np.full(20, 1 / 20), costs.numpy())
    assert float(coupling.value) == pytest.approx(expected, rel=1e-10)
    plain = ot.dataset_distance(x, lx, y, ly, label_weight=0.0)
    assert float(plain.value) == pytest.approx(float(ot.exact(x, y).value), rel=1e-10)


def test_dataset_distance_sees_labels_where_points_agree() -> None:
    """Same points, labels crossed: only a label-aware cost tells the two data sets apart."""
    x = torch.cat([cloud(30, 2, 0, 0.1), cloud(30, 2, 1, 0.1) + 5])
    labels = torch.arange(60) // 30
    mixed = torch.arange(60) % 2
    assert float(ot.dataset_distance(x, labels, x, mixed).value) > 1.0
    assert float(ot.exact(x, x).value) == pytest.approx(0.0, abs=1e-12)
    renamed = ot.dataset_distance(x, labels, x, 7 - labels)
    assert float(renamed.value) == pytest.approx(0.0, abs=1e-10)


def test_dataset_distance_large_enough_to_be_reduced() -> None:
    x, y = cloud(1500, 8, 0), cloud(90, 8, 1, 0.5)
    lx, ly = torch.arange(1500) % 5, torch.arange(90) % 3
    coupling = ot.dataset_distance(ot.prepare(x), lx, y, ly)
    assert "certified" in coupling.solver
    costs = torch.cdist(x, y).square() + coupling.details["label_distance"][lx][:, ly]
    expected = pot.emd2(np.full(1500, 1 / 1500), np.full(90, 1 / 90), costs.numpy())
    assert float(coupling.value) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("method", ["auto", "exact", "sinkhorn", "sliced", "mmd", "otdd"])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
def test_every_alignment_falls_along_its_gradient(method: str, cost: str) -> None:
    x, y = cloud(200, 4, 0), (cloud(30, 4, 1) + 2).requires_grad_()
    options = {"labels_x": torch.arange(200) % 3, "labels_y": torch.arange(30) % 2} if method == "otdd" else {}
    if method == "otdd" and cost == "euclidean":
        options["inner"] = "means"
    source = ot.prepare(x, cost=cost, projections=32)
    before = ot.alignment(source, y, method=method, cost=cost, **options)
    before.value.backward()
    assert before.converged
    moved = (y - 0.5 * y.grad / y.grad.norm()).detach()
    after = ot.alignment(source, moved, method=method, cost=cost, **options)
    assert float(after.value.detach()) < float(before.value.detach())


def test_alignment_errors() -> None:
    x = cloud(5, 2, 0)
    with pytest.raises(UsageError, match="did you mean 'sinkhorn'"):
        ot.alignment(x, x, method="sinkhron")
    with pytest.raises(UsageError, match="got no labels"):
        ot.alignment(x, x, method="otdd")
    with pytest.raises(UsageError, match="unknown kernel 'rbf'"):
        ot.mmd(x, x, kernel="rbf")
    with pytest.raises(UsageError, match="dataset_distance has no cost 'euclidean' with inner 'gaussian'"):
        ot.dataset_distance(x, torch.zeros(5).long(), x, torch.zeros(5).long(), cost="euclidean")
    with pytest.raises(UsageError, match="number of projections is -1"):
        ot.sliced(x, x, projections=-1)
