"""The bound on thousands of random finite instances, its report, and the page that derives it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from crosstune import information as info
from crosstune import ot
from crosstune.bounds import TERMS, BoundReport, bound_report
from crosstune.errors import DataError, UsageError

D = torch.float64
PAGE = Path(__file__).parents[1] / "docs" / "bound.md"


def instance(seed: int) -> dict[str, Tensor]:
    """A random finite problem of random size, sharpness, dimension and shift."""
    rng = np.random.default_rng(seed)
    k, c, d = int(rng.integers(2, 6)), int(rng.integers(2, 5)), int(rng.integers(1, 4))
    n, m = int(rng.integers(3, 12)), int(rng.integers(3, 12))
    scale = float(10 ** rng.uniform(-1, 1))
    return {
        "source_features": torch.from_numpy(rng.normal(size=(n, d)) * scale),
        "source_labels": torch.from_numpy(rng.integers(k, size=n)),
        "target_features": torch.from_numpy(rng.normal(size=(m, d)) * scale * rng.uniform(0.1, 2) + rng.normal()),
        "target_labels": torch.from_numpy(rng.integers(c, size=m)),
        "head_weight": torch.from_numpy(rng.normal(size=(k, d))),
        "head_bias": torch.from_numpy(rng.normal(size=k)),
    }


def check_chain(terms: dict[str, float]) -> None:
    """Every inequality that the docstring of ``crosstune.bounds`` calls a theorem."""
    slack = 1e-9
    assert terms["neg_leep"] <= terms["distortion"] + slack
    assert terms["neg_leep"] <= terms["predictor_entropy"] + terms["distortion"] + slack
    assert terms["predictor_entropy"] <= terms["source_entropy"] + terms["tau"] * terms["w1"] + slack
    assert terms["tau"] <= terms["tau_head"] + slack
    assert terms["distortion"] >= terms["floor"] - slack
    if terms["err_s"] >= terms["source_entropy"]:
        assert terms["neg_leep"] <= terms["bound"] + slack


def values(report: BoundReport) -> dict[str, float]:
    return {name: term["value"] for name, term in report.as_dict()["terms"].items() if term is not None}


def test_chain_holds_on_three_thousand_random_instances() -> None:
    certified = 0
    for seed in range(3000):
        report = bound_report(**instance(seed), bootstrap=0, lipschitz="head" if seed % 3 == 0 else "support")
        check_chain(values(report))
        certified += report.certified
    assert 300 < certified < 3000


def test_chain_with_true_source_labels_and_every_channel() -> None:
    """The general theorem: any law of source labels D(z | u) on both supports, any target law, err_s with true labels.

    l_s(u) = -E_{z ~ D(. | u)} log p_s(z | u); W1 and the Lipschitz constant over the joint support are exact.
    """
    for seed in range(1500):
        data = instance(seed)
        rng = np.random.default_rng(10_000 + seed)
        us, ut = data["source_features"], data["target_features"]
        k = data["head_weight"].shape[0]
        log_p = torch.log_softmax(torch.cat([us, ut]) @ data["head_weight"].T + data["head_bias"], dim=1)
        law = torch.from_numpy(rng.dirichlet(np.full(k, 0.7), size=len(log_p)))
        loss = -(law * log_p).sum(1)
        err_s, err_s_on_target = float(loss[: len(us)].mean()), float(loss[len(us) :].mean())
        points = torch.cat([us, ut])
        tau = float(info.support_slopes(points, points, loss, loss).max())
        w1 = float(ot.exact(us, ut, cost="euclidean").value)
        assert err_s_on_target <= err_s + tau * w1 + 1e-9
        joint = info.joint_distribution(law[len(us) :], data["target_labels"])
        channel = info.label_channel(law[len(us) :], data["target_labels"])
        distortion = float(info.entropy(joint.flatten()) - info.entropy(joint.sum(0)))
        err_composed = -float(info.leep(log_p[len(us) :].exp(), data["target_labels"], channel=channel))
        assert err_composed <= err_s_on_target + distortion + 1e-9
        assert err_composed <= err_s + tau * w1 + distortion + 1e-9


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("median slope for tau", lambda t: {**t, "tau": 0.2 * t["tau"]}),
        ("transport left out", lambda t: {**t, "w1": 0.0}),
        ("H(z|z') for H(z'|z)", lambda t: {**t, "distortion": 0.0}),
        ("base-2 floor", lambda t: {**t, "floor": t["floor"] + math.log(2)}),
    ],
)
def test_chain_rejects_wrong_terms(name: str, broken) -> None:  # type: ignore[no-untyped-def]
    rejected = 0
    for seed in range(100):
        try:
            check_chain(broken(values(bound_report(**instance(seed), bootstrap=0))))
        except AssertionError:
            rejected += 1
    assert rejected > 0, name


def test_terms_match_independent_witnesses() -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(80, 1, generator=generator, dtype=D)
    target = 0.5 * torch.randn(60, 1, generator=generator, dtype=D) + 1
    weight, bias = torch.tensor([[1.0], [-2.0], [0.3]], dtype=D), torch.tensor([0.1, 0.0, -0.4], dtype=D)
    z, y = torch.randint(3, (80,), generator=generator), torch.randint(2, (60,), generator=generator)
    loss = torch.rand(60, generator=generator, dtype=D)
    report = bound_report(
        source_features=source, source_labels=z, target_features=target, target_labels=y,
        head_weight=weight, head_bias=bias, target_log_loss=loss,
    )  # fmt: skip
    assert report.w1.value == pytest.approx(wasserstein_distance(source.squeeze(), target.squeeze()))
    cross_entropy = torch.nn.functional.cross_entropy(source @ weight.T + bias, z)
    assert report.err_s.value == pytest.approx(float(cross_entropy))
    probs = torch.softmax(target @ weight.T + bias, 1)
    distortion = float(info.conditional_entropy(probs, y, direction="label_given_z"))
    assert report.distortion.value == pytest.approx(distortion)
    assert report.neg_leep.value == pytest.approx(-float(info.leep(probs, y)))
    assert report.err_t is not None
    assert report.err_t.value == pytest.approx(float(loss.mean()))
    assert report.bound.value == pytest.approx(report.err_s.value + report.tau.value * report.w1.value + distortion)
    assert report.slack.value == pytest.approx(report.bound.value - report.err_t.value)
    assert report.fitting is not None
    assert report.fitting.value == pytest.approx(report.err_t.value - report.neg_leep.value)
    spread = float(target.std(correction=0) / source.std(correction=0))
    assert report.spread_ratio.value == pytest.approx(spread)
    for name in TERMS:
        term = getattr(report, name)
        assert term.low <= term.value <= term.high, name
    assert json.loads(json.dumps(report.as_dict()))["terms"]["w1"]["value"] == report.w1.value


def test_bootstrap_interval_covers_the_mean_of_a_loss() -> None:
    """Coverage over repeated samples, for a term whose truth is known: err_t of a mean with known expectation."""
    hits = 0
    for seed in range(60):
        data = instance(seed)
        m = 100
        generator = torch.Generator().manual_seed(seed)
        data["target_features"] = torch.randn(m, data["head_weight"].shape[1], generator=generator, dtype=D)
        data["target_labels"] = torch.randint(3, (m,), generator=generator)
        loss = torch.rand(m, generator=generator, dtype=D)
        term = bound_report(**data, target_log_loss=loss, seed=seed).err_t
        assert term is not None
        hits += term.low <= 0.5 <= term.high
    assert hits >= 50  # 95 % nominal


def test_dual_bootstrap_follows_the_resolved_transport() -> None:
    """Moving W1 by its potentials is a lower bound on solving again, and close to it."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 2, generator=generator, dtype=D), torch.randn(40, 2, generator=generator, dtype=D) + 1
    coupling = ot.exact(x, y, cost="euclidean")
    f, g = coupling.potentials
    for _ in range(10):
        a = torch.bincount(torch.randint(60, (60,), generator=generator), minlength=60).to(D) / 60
        b = torch.bincount(torch.randint(40, (40,), generator=generator), minlength=40).to(D) / 40
        moved = float(a @ f + b @ g)
        solved = ot.exact(x, y, a=a, b=b, cost="euclidean").linear_cost
        assert moved <= solved + 1e-9
        assert moved == pytest.approx(solved, rel=0.15)


def test_same_seed_same_report_and_rows_are_capped() -> None:
    generator = torch.Generator().manual_seed(0)
    data = instance(1)
    d = data["head_weight"].shape[1]
    data["source_features"] = torch.randn(400, d, generator=generator, dtype=D)
    data["source_labels"] = torch.zeros(400, dtype=torch.int64)
    first, again = bound_report(**data, max_points=100, seed=5), bound_report(**data, max_points=100, seed=5)
    assert first == again
    assert first.rows == (100, len(data["target_features"]))
    assert any("measured on 100 of 400 source rows" in note for note in first.notes)
    assert first != bound_report(**data, max_points=100, seed=6)


def test_contraction_and_underconfidence_are_noted() -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(200, 4, generator=generator)
    weight = torch.randn(3, 4, generator=generator) * 0.1
    report = bound_report(
        source_features=source, source_labels=(source @ weight.T).argmax(1), target_features=0.1 * source[:50],
        target_labels=torch.arange(50) % 2, head_weight=weight,
    )  # fmt: skip
    assert not report.certified
    assert any(re.search(r"spread is 0\.\d\d of the source's", note) for note in report.notes)
    assert any("less confident than its loss warrants" in note for note in report.notes)
    assert report.err_t is None
    assert report.as_dict()["terms"]["err_t"] is None
    assert report.slack.value == pytest.approx(report.bound.value - report.neg_leep.value)


def test_spaces_that_do_not_fit_are_refused() -> None:
    data = instance(0)
    d = data["head_weight"].shape[1]
    with pytest.raises(DataError, match="features were taken from another space than the head's input"):
        bound_report(**{**data, "target_features": torch.randn(5, d + 1), "target_labels": torch.zeros(5).long()})
    with pytest.raises(DataError, match=r"target_log_loss has shape \(2,\)"):
        bound_report(**data, target_log_loss=torch.zeros(2))
    with pytest.raises(UsageError, match="unknown lipschitz 'p99'"):
        bound_report(**data, lipschitz="p99")  # type: ignore[arg-type]


def test_page_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 5
    space: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), space)
