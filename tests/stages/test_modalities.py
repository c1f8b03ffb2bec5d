"""Every modality goes through all stages and predicts finite values, down to data sets of a few rows."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from crosstune.assembly import build_model, plan_model, predict
from crosstune.backbones import Backbone
from crosstune.metrics import default_metric
from crosstune.records import Dataset, TargetKind
from crosstune.seeding import Streams
from crosstune.stages import align, fit, source_head
from crosstune.stages.align import AlignConfig
from crosstune.stages.fit import FitConfig
from crosstune.stages.source_head import SourceHeadConfig
from crosstune.stages.state import State

from .problems import Recorder, backbone, bank

MODALITIES = ["table", "mixed table", "series", "ragged", "gaps", "grid", "volume", "one sample"]


def inputs(modality: str, n: int) -> Dataset:
    rng = np.random.default_rng(n)
    shape = {
        "table": (5,), "mixed table": (4,), "series": (2, 30), "ragged": (1, 40), "gaps": (2, 20), "grid": (3, 9, 7),
        "volume": (1, 5, 6, 4), "one sample": (3, 1),
    }[modality]  # fmt: skip
    x = rng.normal(size=(n, *shape)).astype(np.float32)
    if modality == "mixed table":
        x[:, 1] = rng.integers(0, 3, n)
        x[rng.random(x.shape) < 0.1] = np.nan
        return Dataset(X=x, categories={1: ("a", "b", "c")})
    if modality == "gaps":
        x[rng.random(x.shape) < 0.2] = np.nan
    if modality == "ragged":
        return Dataset(X=x, lengths=rng.integers(3, 41, n))
    return Dataset(X=x)


def with_target(data: Dataset, kind: TargetKind) -> Dataset:
    from dataclasses import replace

    n, rng = len(data), np.random.default_rng(7)
    if kind == "classification":
        return replace(data, y=np.arange(n) % 2, kind=kind, classes=("no", "yes"))
    if kind == "multilabel":
        return replace(data, y=(rng.random((n, 3)) < 0.5).astype(np.float32), kind=kind)
    if kind == "regression":
        return replace(data, y=rng.normal(size=(n, 2)).astype(np.float32), kind=kind)
    return replace(data, y=np.nan_to_num(data.X[:, :1]) * 2, kind=kind)


def run_all(train: Dataset, validation: Dataset) -> np.ndarray:
    twin = backbone()
    fresh = Backbone(twin.info, copy.deepcopy(twin.body), twin.source, None)
    model = build_model(plan_model(train, fresh.body, tokens=9), fresh.body, train, token_rms=0.05)
    assert train.kind is not None
    state = State(
        model=model, backbone=fresh, train=train, validation=validation, metric=default_metric(train.kind),
        monitor=Recorder(), source=bank(),
    )  # fmt: skip
    streams = Streams(0)
    state, _ = source_head.run(state, SourceHeadConfig(iterations=20), streams=streams)
    small = AlignConfig(steps=2, distortion_steps=2, source_points=64, target_points=32, batch_size=8)
    state, report = align.run(state, small, streams=streams)
    assert report.steps == 4
    state, _ = fit.run(state, FitConfig(max_steps=3, batch_size=8), streams=streams)
    return predict(state.model, validation)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("rows", [30, 4])
def test_classification(modality: str, rows: int) -> None:
    train, held = (with_target(inputs(modality, n), "classification") for n in (rows, 5))
    prediction = run_all(train, held)
    assert prediction.shape == (5, 2)
    assert np.isfinite(prediction).all()


@pytest.mark.parametrize("modality", ["mixed table", "ragged", "grid"])
@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_other_targets(modality: str, kind: TargetKind) -> None:
    train, held = (with_target(inputs(modality, n), kind) for n in (12, 5))
    assert held.y is not None
    prediction = run_all(train, held)
    assert prediction.shape == held.y.shape
    assert np.isfinite(prediction).all()


@pytest.mark.parametrize("modality", ["series", "gaps", "grid"])
@pytest.mark.parametrize("rows", [12, 3])
def test_fields(modality: str, rows: int) -> None:
    train, held = (with_target(inputs(modality, n), "dense") for n in (rows, 5))
    assert held.y is not None
    prediction = run_all(train, held)
    assert prediction.shape == held.y.shape
    assert np.isfinite(prediction).all()
