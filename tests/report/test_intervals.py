"""Intervals against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crosstune import report
from crosstune.report.scores import metric_of, score_arms, seed_mean

from .writer import RunWriter


def test_the_error_rate_interval_agrees_with_the_normal_one(made):
    arm = report.summarise(made("digits")).arm("frozen")
    half = 1.96 * np.sqrt(arm.value * (1 - arm.value) / arm.rows)
    assert arm.low == pytest.approx(arm.value - half, abs=0.15 * half)
    assert arm.high == pytest.approx(arm.value + half, abs=0.15 * half)


def test_the_paired_difference_agrees_with_the_paired_t_interval(made):
    record = report.read_run(made("heat"))
    predictions = record.predictions("validation")
    metric = metric_of(record)
    method, other = predictions["recraft"][0], predictions["frozen"][0]
    per_row = [metric.per_sample(p.prediction, p.target) for p in (other, method)]
    expected = stats.ttest_rel(*per_row)
    gap = report.summarise(made("heat")).arm("frozen").difference
    assert gap.value == pytest.approx(np.mean(per_row[0] - per_row[1]), rel=1e-12)
    low, high = expected.confidence_interval(0.95)
    assert gap.low == pytest.approx(low, abs=0.2 * (high - low))
    assert gap.high == pytest.approx(high, abs=0.2 * (high - low))


def test_pairing_is_what_narrows_the_interval(tmp_path):
    # Two arms that fail on the same hard rows and differ on few: an unpaired interval would drown the difference.
    generator = np.random.default_rng(0)
    target = generator.normal(size=(300, 1))
    noise = generator.normal(size=(300, 1)) * 3
    arms = {"recraft": {0: target + noise}, "floor:linear": {0: target + noise * 1.1}}
    RunWriter(tmp_path, "regression", "mae", target, arms).write()
    summary = report.summarise(tmp_path)
    method, floor = summary.arm("recraft"), summary.arm("floor:linear")
    unpaired = np.hypot(method.high - method.low, floor.high - floor.low)
    paired = floor.difference.high - floor.difference.low
    assert paired < unpaired / 5
    assert summary.verdict.answer == "use"


def test_rows_are_paired_by_their_number_not_by_their_place(tmp_path):
    generator = np.random.default_rng(0)
    target = generator.normal(size=(50, 1))
    guess = target + 0.1 * generator.normal(size=(50, 1))
    writer = RunWriter(tmp_path, "regression", "mae", target, {"recraft": {0: guess}, "floor:linear": {0: guess}})
    writer.write()
    order = generator.permutation(50)
    writer._parquet("validation", "floor:linear", 0, target[order], guess[order], order)
    gap = report.summarise(tmp_path).arm("floor:linear").difference
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)
    # the smallest wrong implementation, pairing by place, sees a difference in every row
    assert np.abs(np.abs(guess - target) - np.abs(guess - target)[order]).max() > 0


def test_arms_on_other_rows_are_compared_on_the_common_ones_or_not_at_all(tmp_path):
    target = np.zeros((20, 1))
    writer = RunWriter(
        tmp_path, "regression", "mae", target, {"recraft": {0: target + 1}, "floor:a": None, "floor:b": None}
    )
    writer.write()
    writer._parquet("validation", "floor:a", 0, target[:12], target[:12] + 2, np.arange(12) + 8)
    writer._parquet("validation", "floor:b", 0, target, target + 2, np.arange(20) + 100)
    arms = {a.arm: a for a in report.summarise(tmp_path).arms}
    assert arms["floor:a"].difference.rows == 12
    assert "12 common rows" in arms["floor:a"].note
    assert arms["floor:b"].difference is None
    assert "other rows" in arms["floor:b"].note


def test_seeds_are_averaged_and_each_is_kept(made):
    summary = report.summarise(made("revealed"))
    method = summary.arm("recraft")
    assert set(method.by_seed) == {0, 1}
    assert method.value == pytest.approx(np.mean(list(method.by_seed.values())))
    assert summary.arm("floor:linear").by_seed.keys() == {0}
    assert summary.arm("floor:linear").difference.value == pytest.approx(
        summary.arm("floor:linear").value - method.value, abs=1e-12
    )
    assert any("means over 2 seeds" in s for s in summary.verdict.sentences)


@pytest.mark.parametrize("name", ["diabetes", "multilabel", "digits", "heat", "masks"])
def test_the_mean_over_one_seed_is_the_metric_itself(made, name):
    record = report.read_run(made(name))
    metric = metric_of(record)
    one = record.predictions("validation")["recraft"][0]
    mean = seed_mean(metric)
    twice = mean.facts([one.prediction, one.prediction], one.target)
    assert mean.score(twice, one.target) == pytest.approx(metric.score(one.prediction, one.target), rel=1e-12)
    assert score_arms(record, "validation")[0].value == pytest.approx(metric.score(one.prediction, one.target))


def test_a_metric_that_pools_is_scored_and_resampled_by_unit(tmp_path, monkeypatch):
    """Repeating every row of a unit changes nothing: neither the score nor the width of its interval."""
    from crosstune.metrics.classification import Error

    class Voted(Error):
        name, grouped, pooling = "voted", True, "votes"

    monkeypatch.setattr("crosstune.report.scores.get_metric", lambda name: Voted())
    monkeypatch.setattr("crosstune.report.summary.metric_of", lambda record: Voted())
    generator = np.random.default_rng(0)
    target = generator.integers(0, 2, 40)
    arms = {name: np.where(generator.random(40) < wrong, 1 - target, target) for name, wrong in
            (("recraft", 0.1), ("floor:linear", 0.4))}  # fmt: skip
    found = []
    for copies in (1, 9):
        repeated = {name: {0: np.eye(2)[np.repeat(codes, copies)]} for name, codes in arms.items()}
        RunWriter(tmp_path / str(copies), "classification", "voted", np.repeat(target, copies), repeated,
                  units=np.repeat(np.arange(40) * 3, copies)).write()  # fmt: skip
        found.append(report.summarise(tmp_path / str(copies)).arms)
    for once, often in zip(*found):
        assert (once.value, once.low, once.high, once.rows) == (often.value, often.low, often.high, often.rows)
        assert once.difference == often.difference
    assert found[0][0].value == (arms["recraft"] != target).mean()


def test_predictions_that_are_not_numbers_are_an_arm_without_a_score(tmp_path):
    target = np.arange(20.0)[:, None]
    arms = {"recraft": {0: np.full_like(target, np.nan)}, "floor:mean": {0: target + 1}}
    RunWriter(tmp_path, "regression", "nrmse", target, arms).write()
    summary = report.summarise(tmp_path)
    assert summary.arm("recraft").value is None
    assert summary.arm("recraft").note.startswith("no score: ")
    assert summary.verdict.answer == "undecided"
    assert report.write_html(tmp_path).is_file()
