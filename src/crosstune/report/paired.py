"""How much two contestants differ, paired by task and seed, over data sets whose errors are on different scales.

The relative difference of errors a and b is d = (a - b) / max(|a|, |b|), in [-1, 1] for errors that are not negative.
Below zero a is better, and -0.2 reads "the error of a is lower by 20 %". Why this form: an error of 0.3 on one task
and of 40 on another must count alike; d is antisymmetric, so that it does not matter who is called a; it is defined
where one error is zero (d is 1 or -1) or both are (d is 0), where the logarithm of the ratio needs a floor, and the
floor would decide the mean; and no task can outweigh the others.

A data set and its variants with fewer training rows (``-30``, ``-10``) are not independent: d is averaged within a
data set first, and data sets are what is resampled and tested. The interval is that of a hierarchical bootstrap: data
sets are drawn with replacement, then, within each task of a drawn data set, seeds, the same ones for both sides. Test
rows are held fixed. Drawing both levels with replacement counts the spread over seeds a little twice: the interval
errs towards too wide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from crosstune.report.statistics import DIGITS, even, wilcoxon
from crosstune.seeding import derive_seed

LEVEL = 0.95
RESAMPLES = 10_000
FEWEST_SEEDS = 3  # below, an interval over seeds says nothing
# with three, the interval of resampled means is the range of the three: (1/3)^3 is more than the 2.5 % cut off
FEWEST_DATA_SETS = 4
FEWEST_TO_DECIDE = 6  # a signed-rank test over five data sets cannot fall below 5 % (2 / 2^5)
SHARE = re.compile(r"-(30|10)$")

Errors = Mapping[str, Mapping[int, float]]  # task -> seed -> error


@dataclass(frozen=True)
class Relative:
    """The relative difference of a to b: mean over data sets of d. low, high: 95 %, None below four data sets. p:
    Wilcoxon over data sets. win, tie, loss: tasks, by the interval over seeds of the task's own difference
    (``task_outcome``). lower, equal, higher: tasks by mean errors alone."""

    a: str
    b: str
    value: float | None
    low: float | None
    high: float | None
    p: float
    data_sets: int
    tasks: int
    seeds: tuple[int, int]
    win: int
    tie: int
    loss: int
    lower: int
    equal: int
    higher: int

    @property
    def decided(self) -> int:
        """-1 where the interval says that a has the lower error, 1 where the higher; 0 where it has zero in it, or is
        over fewer than six data sets: the percentile interval of so few is too narrow."""
        if self.low is None or self.high is None or self.data_sets < FEWEST_TO_DECIDE:
            return 0
        return -1 if self.high < 0 else 1 if self.low > 0 else 0


def data_set_of(task: str) -> str:
    """The task without its share: ``suite/digits-10`` is a variant of ``suite/digits``."""
    return SHARE.sub("", task)


def share_of(task: str) -> int:
    """Per cent of the training rows that the task's name says it trains on; 100 without a suffix."""
    found = SHARE.search(task)
    return int(found[1]) if found else 100


def relative_difference(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """d of the module's docstring, elementwise; 0 where both are 0 or equal to twelve digits."""
    first, second = (even(np.asarray(x, dtype=np.float64)) for x in (a, b))
    size = np.maximum(np.abs(first), np.abs(second))
    return np.divide(first - second, size, out=np.zeros_like(size), where=size > 0)


def seed_interval(gaps: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of paired differences over seeds, Student's t with n - 1 degrees of freedom: with three
    seeds a bootstrap gives their range, which excludes zero by chance once in four times. None below three seeds, and
    where all agree to the last digit: seeds that decide nothing say nothing about chance."""
    if len(gaps) < FEWEST_SEEDS:
        return None
    values = np.asarray(gaps, dtype=np.float64)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    if error <= 1e-12 * max(abs(mean), float(np.abs(values).max()), 1e-300):
        return None
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def task_outcome(gaps: Sequence[float], interval: tuple[float, float] | None) -> str:
    """ "win", "tie" or "loss" of a, from error of b minus error of a per seed: by the interval, or, without one, by
    every seed saying the same."""
    if interval is None:
        return "win" if min(gaps) > 0 else "loss" if max(gaps) < 0 else "tie"
    return "win" if interval[0] > 0 else "loss" if interval[1] < 0 else "tie"


@dataclass(frozen=True)
class _Task:
    name: str
    a: np.ndarray  # (S,) errors, by seed
    b: np.ndarray

    @property
    def difference(self) -> float:
        return float(relative_difference(self.a.mean(), self.b.mean()))


def _paired(a: Errors, b: Errors) -> list[_Task]:
    found = []
    for task in sorted(set(a) & set(b)):
        seeds = sorted(set(a[task]) & set(b[task]))
        if seeds:
            found.append(_Task(task, *(np.array([side[task][s] for s in seeds], dtype=np.float64) for side in (a, b))))
    return found


def _by_data_set(tasks: Iterable[_Task]) -> dict[str, list[_Task]]:
    found: dict[str, list[_Task]] = {}
    for task in tasks:
        found.setdefault(data_set_of(task.name), []).append(task)
    return found


def differences(a: Errors, b: Errors) -> dict[str, float]:
    """Data set -> mean relative difference over its tasks."""
    groups = _by_data_set(_paired(a, b))
    return {name: math.fsum(t.difference for t in tasks) / len(tasks) for name, tasks in groups.items()}


def relative(name_a: str, a: Errors, name_b: str, b: Errors) -> Relative:
    """Both contestants' errors, paired by task and seed; what one has alone is left out."""
    tasks = _paired(a, b)
    each = list(differences(a, b).values())
    outcomes, signs = [], []
    for task in tasks:
        gaps = [float(g) for g in even(task.b) - even(task.a)]
        outcomes.append(task_outcome(gaps, seed_interval(gaps)))
        signs.append(np.sign(task.difference))
    low, high = _interval(_by_data_set(tasks)) or (None, None)
    counts = [len(task.a) for task in tasks] or [0]
    return Relative(
        name_a, name_b, math.fsum(each) / len(each) if each else None, low, high, wilcoxon(each), len(each), len(tasks),
        (min(counts), max(counts)), outcomes.count("win"), outcomes.count("tie"), outcomes.count("loss"),
        signs.count(-1), signs.count(0), signs.count(1),
    )  # fmt: skip


def _interval(groups: Mapping[str, list[_Task]]) -> tuple[float, float] | None:
    """Percentile interval of the hierarchical bootstrap. Neither the order of the records nor the names of the
    contestants change the draws, nor which of the two is called a."""
    if len(groups) < FEWEST_DATA_SETS:
        return None
    rng = np.random.default_rng(derive_seed(0, "data sets"))
    drawn = np.stack([_resampled(tasks, rng) for tasks in groups.values()])  # (data sets, resamples), seeds drawn
    which = rng.integers(0, len(drawn), (len(drawn), RESAMPLES))
    row = rng.integers(0, RESAMPLES, (len(drawn), RESAMPLES))  # a data set drawn twice has its seeds drawn twice
    means = np.round(drawn[which, row].sum(axis=0) / len(drawn), DIGITS)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _resampled(tasks: Sequence[_Task], rng: np.random.Generator) -> np.ndarray:
    """The data set's mean relative difference with seeds drawn anew, (resamples,)."""
    total = np.zeros(RESAMPLES)
    for task in tasks:
        if np.ptp(task.a) == 0 and np.ptp(task.b) == 0:
            total += task.difference
            continue
        seeds = rng.integers(0, len(task.a), (len(task.a), RESAMPLES))
        a, b = task.a[seeds].sum(axis=0), task.b[seeds].sum(axis=0)
        size = np.maximum(np.abs(a), np.abs(b))
        total += np.divide(a - b, size, out=np.zeros(RESAMPLES), where=size > 0)
    return total / len(tasks)
