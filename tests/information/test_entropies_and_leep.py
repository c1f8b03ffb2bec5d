"""Entropies, channels and LEEP: cases with known answers, the collapse case, bias decay, unbiased gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor

from crosstune import information as info
from crosstune.errors import DataError, UsageError

D = torch.float64


def one_hot(codes: Tensor, k: int) -> Tensor:
    return torch.nn.functional.one_hot(codes, k).to(D)


def draw(n: int, k: int, c: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(c, (n,), generator=generator)
    logits = torch.randn(n, k, generator=generator, dtype=D) + torch.randn(c, k, generator=generator, dtype=D)[labels]
    return torch.softmax(logits, dim=1), labels


def check_no_collapse(objective: Callable[[Tensor, Tensor], Tensor]) -> None:
    """An alignment objective must prefer predictions that follow the labels to one source class for all."""
    labels = torch.arange(60) % 3
    faithful, collapsed = one_hot(labels, 5), one_hot(torch.zeros(60).long(), 5)
    assert float(objective(faithful, labels)) < float(objective(collapsed, labels)) - 0.1


def test_mutual_and_leep_do_not_collapse() -> None:
    check_no_collapse(lambda p, y: -info.mutual_information(p, y))
    check_no_collapse(lambda p, y: info.conditional_entropy(p, y, direction="label_given_z"))
    check_no_collapse(lambda p, y: -info.leep(p, y))


def test_conditional_collapses() -> None:
    """H(z | z') alone is zero for constant predictions: the public objective must fail this check."""
    with pytest.raises(AssertionError):
        check_no_collapse(info.conditional_entropy)


def test_permuted_one_hot_predictions_leave_no_entropy() -> None:
    labels = torch.arange(40) % 4
    probs = one_hot(torch.tensor([2, 0, 3, 1])[labels], 4)
    for direction in ("z_given_label", "label_given_z"):
        assert float(info.conditional_entropy(probs, labels, direction=direction)) == pytest.approx(0, abs=1e-12)
    assert float(info.mutual_information(probs, labels)) == pytest.approx(math.log(4))
    assert float(info.leep(probs, labels)) == pytest.approx(0, abs=1e-12)


def test_constant_predictions_leave_all_label_entropy() -> None:
    labels = torch.arange(60) % 3
    probs = one_hot(torch.zeros(60).long(), 4)
    assert float(info.conditional_entropy(probs, labels)) == pytest.approx(0, abs=1e-12)
    assert float(info.conditional_entropy(probs, labels, direction="label_given_z")) == pytest.approx(math.log(3))


@pytest.mark.parametrize(("k", "noise"), [(2, 0.1), (5, 0.3), (10, 0.9)])
def test_symmetric_noise_has_its_closed_form(k: int, noise: float) -> None:
    labels = torch.arange(20 * k) % k
    probs = (1 - noise) * one_hot(labels, k) + noise / (k - 1) * (1 - one_hot(labels, k))
    closed = -(1 - noise) * math.log(1 - noise) - noise * math.log(noise / (k - 1))
    assert float(info.conditional_entropy(probs, labels)) == pytest.approx(closed)
    assert float(info.conditional_entropy(probs, labels, direction="label_given_z")) == pytest.approx(closed)


def test_hard_predictions_match_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    z, labels = torch.randint(4, (500,), generator=generator), torch.randint(3, (500,), generator=generator)
    expected = mutual_info_score(z, labels)
    assert float(info.mutual_information(one_hot(z, 4), labels)) == pytest.approx(expected, abs=1e-12)


def test_channel_rows_and_the_unseen_label() -> None:
    probs, labels = draw(50, 4, 3, 0)
    channel = info.label_channel(probs, labels, 3)
    assert channel.shape == (4, 3)
    assert torch.allclose(channel.sum(1), torch.ones(4, dtype=D))
    by_hand = torch.stack([(probs[labels == c].sum(0) / probs.sum(0)) for c in range(3)], dim=1)
    assert torch.allclose(channel, by_hand)
    silent = one_hot(torch.zeros(50).long(), 4)
    prior = torch.bincount(labels, minlength=3) / 50
    assert torch.allclose(info.label_channel(silent, labels, 3)[2], prior.to(D))


def test_leep_is_the_likelihood_of_the_composed_predictor() -> None:
    probs, labels = draw(80, 5, 3, 1)
    channel = info.label_channel(probs, labels)
    predictor = info.composed_predictor(probs, channel)
    assert torch.allclose(predictor.sum(1), torch.ones(80, dtype=D))
    expected = np.log(predictor.numpy()[np.arange(80), labels.numpy()]).mean()
    assert float(info.leep(probs, labels)) == pytest.approx(expected)
    assert float(info.leep(probs, labels, channel=channel.detach())) == pytest.approx(expected)


@pytest.mark.parametrize("corrected", [False, True])
def test_gradients_by_finite_differences(corrected: bool) -> None:
    logits = torch.randn(9, 3, dtype=D, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(9) % 2

    def entropy(t: Tensor) -> Tensor:
        return info.conditional_entropy(
            torch.softmax(t, 1), labels, direction="label_given_z", bias_correction=corrected
        )

    assert torch.autograd.gradcheck(entropy, (logits,))
    assert torch.autograd.gradcheck(lambda t: info.leep(torch.softmax(t, 1), labels), (logits,))


def test_gradient_stays_finite_at_zero_probability() -> None:
    probs = one_hot(torch.arange(6) % 3, 3).requires_grad_()
    info.mutual_information(probs, torch.arange(6) % 2).backward()
    assert bool(torch.isfinite(probs.grad).all())


def mean_plugin(n: int, corrected: bool, repeats: int = 3000) -> float:
    generator = torch.Generator().manual_seed(n)
    z = torch.randint(10, (repeats, n), generator=generator)
    zeros = torch.zeros(n, dtype=torch.int64)
    return float(
        np.mean([float(info.conditional_entropy(one_hot(row, 10), zeros, bias_correction=corrected)) for row in z])
    )


def test_bias_decays_like_one_over_n_and_is_corrected() -> None:
    """Uniform labels over 10 classes, truth log 10: the plug-in misses by 9 / (2 n), the correction by O(1 / n^2)."""
    truth = math.log(10)
    small, large = truth - mean_plugin(40, False, 800), truth - mean_plugin(160, False, 800)
    assert small == pytest.approx(9 / 80, rel=0.1)
    assert small / large == pytest.approx(4.0, rel=0.15)
    assert abs(truth - mean_plugin(40, True, 800)) < 0.1 * small


def test_bias_correction_rejects_half_the_correction() -> None:
    truth = math.log(10)
    halfway = 0.5 * (mean_plugin(40, False, 400) + mean_plugin(40, True, 400))
    assert abs(truth - halfway) > 0.1 * (9 / 80)


def test_running_statistics_give_unbiased_gradients() -> None:
    """Batch gradients average to the population gradient; those of the batch entropy itself do not."""
    probs, labels = draw(512, 4, 3, 0)
    logits = probs.log().requires_grad_()
    info.mutual_information(torch.softmax(logits, 1), labels).neg().backward()
    population = logits.grad.clone()
    running = info.RunningLabelStatistics(4, 3)
    running.reset_to(probs, labels)
    order = torch.randperm(512, generator=torch.Generator().manual_seed(1)).reshape(64, 8)

    def mean_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        logits.grad = None
        for rows in order:
            (loss(torch.softmax(logits[rows], 1), labels[rows]) / len(order)).backward()
        return logits.grad

    ours = mean_gradient(lambda p, y: running.loss(p, y, objective="mutual"))
    assert torch.allclose(ours, population, atol=1e-12)
    naive = mean_gradient(lambda p, y: -info.mutual_information(p, y, num_labels=3))
    assert float((naive - population).norm()) > 0.1 * float(population.norm())


@pytest.mark.parametrize("objective", ["conditional", "mutual", "label_given_z", "leep"])
def test_running_loss_has_the_value_of_the_whole_data(objective: str) -> None:
    probs, labels = draw(200, 5, 3, 2)
    running = info.RunningLabelStatistics(5, 3, momentum=0.5)
    running.reset_to(probs, labels)
    expected = {
        "conditional": info.conditional_entropy(probs, labels),
        "mutual": -info.mutual_information(probs, labels),
        "label_given_z": info.conditional_entropy(probs, labels, direction="label_given_z"),
        "leep": -info.leep(probs, labels),
    }[objective]
    assert float(running.loss(probs, labels, objective=objective)) == pytest.approx(float(expected), rel=1e-6)


def test_running_statistics_start_without_bias_and_survive_saving() -> None:
    probs, labels = draw(64, 4, 3, 3)
    running = info.RunningLabelStatistics(4, 3, momentum=0.99)
    with pytest.raises(UsageError, match="running label statistics are empty"):
        _ = running.joint
    running.update(probs, labels)
    assert torch.allclose(running.joint, info.joint_distribution(probs, labels, 3))
    assert torch.allclose(running.channel, info.label_channel(probs, labels, 3))
    running.update(*draw(64, 4, 3, 4))
    copy = info.RunningLabelStatistics(4, 3)
    copy.load_state_dict(running.state_dict())
    assert torch.equal(copy.joint, running.joint)
    assert float(running.joint.sum()) == pytest.approx(1.0)


def test_collision_probability_is_unbiased() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.tensor([0.5, 0.3, 0.2], dtype=D)
    z = torch.multinomial(p, 4000 * 3, replacement=True, generator=generator).reshape(4000, 3)
    values = torch.stack([info.collision_probability(one_hot(row, 3)) for row in z])
    truth = float(p.square().sum())
    error = float(values.std()) / math.sqrt(4000)
    assert abs(float(values.mean()) - truth) < 4 * error
    plug_in = torch.stack([one_hot(row, 3).mean(0).square().sum() for row in z])
    assert abs(float(plug_in.mean()) - truth) > 20 * error


def test_collision_probability_per_class() -> None:
    probs, labels = draw(30, 4, 3, 5)
    parts = [info.collision_probability(probs[labels == c]) * (labels == c).sum() / 30 for c in range(3)]
    assert float(info.collision_probability(probs, labels)) == pytest.approx(float(sum(parts)))


def test_label_floor() -> None:
    labels = torch.arange(1000) % 100
    assert info.label_floor(labels, 10) == pytest.approx(math.log(10))
    assert info.label_floor(labels, 1000) < 0


def test_malformed_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"pass torch\.softmax\(logits, dim=1\)"):
        info.conditional_entropy(torch.randn(5, 3), torch.zeros(5).long())
    with pytest.raises(DataError, match="labels range from 0 to 4, expected codes from 0 to 2"):
        info.leep(torch.full((5, 2), 0.5), torch.arange(5), num_labels=3)
    with pytest.raises(DataError, match="use cluster_targets or the kernel forms"):
        info.mutual_information(torch.full((5, 2), 0.5), torch.rand(5))
    with pytest.raises(UsageError, match="unknown direction 'forward'"):
        info.conditional_entropy(torch.full((5, 2), 0.5), torch.zeros(5).long(), direction="forward")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"channel has shape \(3, 2\), expected \(K=2, C\)"):
        info.leep(torch.full((5, 2), 0.5), torch.zeros(5).long(), channel=torch.full((3, 2), 0.5))
