"""Judging bodies: test rows stay out, and the quick head is the one that a model is fitted with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crosstune.assembly import build_model, plan_model, predict
from crosstune.backbones import load_backbone
from crosstune.metrics import get_metric
from crosstune.pretraining.transfer import divisions, judge, prepare, rows_of
from crosstune.stages.closed_form import fit_head


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare(folder, ("iris", "gun-point", "diabetes"))
    return folder


@pytest.mark.parametrize("share", [100, 10])
def test_divisions_leave_the_test_alone_and_differ(data: Path, share: int) -> None:
    dataset, split = rows_of(data, "gun-point")
    found = list(divisions(dataset, split, share, 5))
    for train, validation in found:
        assert not np.intersect1d(np.concatenate([train, validation]), split.test).size
        assert not np.intersect1d(train, validation).size
        assert len(validation) == len(split.validation)
        assert len(train) == len(split.train) if share == 100 else len(train) < len(split.train)
        assert dataset.y is not None
        assert set(dataset.y[train]) == {0, 1}
    assert np.array_equal(found[0][1], split.validation)  # the first is the task's own
    assert not np.array_equal(found[1][1], found[2][1])


@pytest.mark.parametrize("task", ["gun-point", "diabetes"])
def test_the_quick_head_is_the_one_that_fitting_gives(data: Path, task: str) -> None:
    backbone = load_backbone("tiny-sequence")
    quick = next(judge(backbone, data, tasks=(task,), shares=(100,), seeds=(0,), draws=2))
    assert quick.draws == 2
    dataset, split = rows_of(data, task)
    seen = dataset.take(np.sort(np.concatenate([split.train, split.validation])))
    errors = []
    for train, validation in divisions(dataset, split, 100, 2):
        config = plan_model(seen, backbone.body, linear_part=False, embedder_seed=0)
        model = build_model(config, backbone.body, seen, token_rms=backbone.token_rms()).eval()
        fit_head(model, dataset.take(train), max_rows=2000, generator=np.random.default_rng(0))
        part = dataset.take(validation)
        errors.append(get_metric(quick.metric).score(predict(model, part), np.asarray(part.y), part.units))
    assert quick.error == pytest.approx(np.mean(errors), abs=1e-3)
    assert quick.spread == pytest.approx(np.std(errors), abs=1e-3)


def test_theta_is_judged_where_it_can_be_read(data: Path) -> None:
    scores = list(judge(load_backbone("tiny-sequence"), data, tasks=("iris", "gun-point"), shares=(100,), seeds=(0,),
                        starts=("random", "theta"), draws=1))  # fmt: skip
    assert [(s.task, s.start) for s in scores] == [("iris", "random"), ("gun-point", "random"), ("gun-point", "theta")]
