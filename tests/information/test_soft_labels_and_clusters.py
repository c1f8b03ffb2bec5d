"""Targets that are not classes: neighbourhoods, k-means classes, the class index."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crosstune import information as info
from crosstune.errors import DataError, UsageError

D = torch.float64


def draw(n: int, k: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    return torch.softmax(2 * torch.randn(n, k, generator=generator, dtype=D), dim=1), labels


def test_indicator_kernel_is_the_class_form() -> None:
    probs, labels = draw(60, 5, 0)
    weights = info.indicator_weights(labels, dtype=D)
    soft = info.kernel_conditional_entropy(probs, weights)
    assert float(soft) == pytest.approx(float(info.conditional_entropy(probs, labels)), rel=1e-12)
    mutual = info.kernel_mutual_information(probs, weights)
    assert float(mutual) == pytest.approx(float(info.mutual_information(probs, labels)), rel=1e-10)


def test_small_bandwidth_on_separated_targets_approaches_the_class_form() -> None:
    """Leave-one-out differs from the class form by O(1 / class size)."""
    gaps = []
    for n in (60, 240):
        probs, labels = draw(n, 5, 1)
        targets = labels.to(D)[:, None] + 0.01 * torch.randn(n, 1, generator=torch.Generator().manual_seed(2), dtype=D)
        weights = info.kernel_weights(targets, bandwidth=0.1)
        soft = info.kernel_conditional_entropy(probs, weights)
        gaps.append(abs(float(soft) - float(info.conditional_entropy(probs, labels))))
    assert gaps[0] < 0.05
    assert gaps[1] < 0.5 * gaps[0]


def test_informative_predictions_score_higher() -> None:
    t = torch.linspace(-1, 1, 200, dtype=D)[:, None]
    following = torch.softmax(torch.cat([5 * t, -5 * t], dim=1), dim=1)
    shuffled = following[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    weights = info.kernel_weights(info.embed_targets(t, "regression"))
    assert float(info.kernel_mutual_information(following, weights)) > 0.3
    assert abs(float(info.kernel_mutual_information(shuffled, weights))) < 0.1


def test_kernel_weights_are_a_distribution_without_self() -> None:
    weights = info.kernel_weights(torch.randn(30, 2, generator=torch.Generator().manual_seed(0)), bandwidth=1e-3)
    assert torch.allclose(weights.sum(1), torch.ones(30), atol=1e-6)
    assert float(weights.diagonal().max()) == 0.0
    far = info.kernel_weights(torch.tensor([[0.0], [1.0], [1e6]]), bandwidth=1e-3)
    assert bool(torch.isfinite(far).all())


def test_target_embeddings() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, 3, generator=generator) * torch.tensor([1.0, 1000.0, 1e-3])
    embedded = info.embed_targets(values, "regression")
    assert torch.allclose(embedded.std(dim=0, correction=0), torch.full((3,), 3**-0.5), rtol=1e-4)
    fields = torch.randn(40, 2, 8, 8, generator=generator)
    assert info.embed_targets(fields, "dense", components=5).shape == (40, 5)
    bits = (torch.rand(20, 6, generator=generator) > 0.5).float()
    assert torch.equal(info.embed_targets(bits, "multilabel"), bits)
    with pytest.raises(UsageError, match="unknown target form 'class'"):
        info.embed_targets(bits, "class")  # type: ignore[arg-type]


def test_kernel_gradients() -> None:
    logits = torch.randn(8, 3, dtype=D, requires_grad=True)
    weights = info.kernel_weights(torch.randn(8, 2, dtype=D))
    assert torch.autograd.gradcheck(lambda t: info.kernel_mutual_information(torch.softmax(t, 1), weights), (logits,))


def test_clusters_are_reproducible_and_find_structure() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=300)
    y = (truth[:, None, None] * 10 + rng.normal(size=(300, 2, 5))).astype(np.float32)
    first, again = info.cluster_targets(y, 4, seed=3), info.cluster_targets(torch.from_numpy(y), 4, seed=3)
    assert np.array_equal(first.labels, again.labels)
    assert first.labels.dtype == np.int64
    assert first.centres.shape == (4, 10)
    assert len({(a, b) for a, b in zip(truth, first.labels, strict=True)}) == 4
    assert np.isclose(first.inertia, ((y.reshape(300, -1) - first.centres[first.labels]) ** 2).sum(), rtol=1e-4)


def test_clusters_in_many_rows_use_minibatches() -> None:
    y = np.repeat(np.arange(3.0), 4000)[:, None]
    found = info.cluster_targets(y, 3, seed=0)
    assert len(np.unique(found.labels)) == 3
    assert np.array_equal(found.labels, info.cluster_targets(y, 3, seed=0).labels)


def test_clusters_refuse_what_cannot_be_clustered() -> None:
    with pytest.raises(UsageError, match="clusters:9 asked for 5 targets"):
        info.cluster_targets(np.zeros((5, 2)), 9, seed=0)
    with pytest.raises(DataError, match="targets have 1 rows with NaN"):
        info.cluster_targets(np.array([[0.0], [np.nan], [1.0]]), 2, seed=0)
    assert info.cluster_targets(np.zeros((5, 2)), 3, seed=0).centres.shape == (1, 2)


def test_class_index_is_the_scan() -> None:
    labels = np.random.default_rng(0).integers(0, 7, size=500)
    labels[labels == 3] = 4
    index = info.class_index(labels, 9)
    assert len(index) == 9
    for c in range(9):
        assert np.array_equal(index.rows(c), np.flatnonzero(labels == c))
    with pytest.raises(DataError, match="expected integer codes"):
        info.class_index(np.array([0.5, 1.0]))
