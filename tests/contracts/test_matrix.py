"""Family x shape x target: built, learning through its body into its embedder, and back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.contracts.shapes import ROWS, SHAPES, targets_for, with_target

from crosstune.assembly import batch, build_model, plan_model, predict
from crosstune.backbones import Backbone, load_backbone
from crosstune.backbones.load import families
from crosstune.nn.model import CrossModalModel, part_of
from crosstune.records import Dataset
from crosstune.runs.export import load_model, save_model

FAMILIES = sorted(families())
BACKBONES: dict[str, Backbone] = {}


def backbone_for(family: str) -> Backbone:
    if family not in BACKBONES:
        BACKBONES[family] = load_backbone(f"twin-{family}")
    return BACKBONES[family]


def model_for(data: Dataset, family: str) -> CrossModalModel:
    """A model whose head says something (a fresh head is zero)."""
    body = backbone_for(family).body
    model = build_model(plan_model(data, body), body, data, token_rms=0.05).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if part_of(name) == "head":
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def expected(data: Dataset) -> tuple[int, ...]:
    assert data.y is not None
    if data.kind == "segmentation":
        return (ROWS, 3, *data.y.shape[1:])
    return (ROWS, 3) if data.kind == "classification" else data.y.shape


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_shape_and_target(family: str, shape: str, tmp_path: Path) -> None:
    data = SHAPES[shape]()
    for target in targets_for(shape):
        task = with_target(data, target)
        model = model_for(task, family)
        x, lengths, _ = batch(task, np.arange(ROWS))
        out = model(x, lengths)
        out.square().mean().backward()
        moved = {part_of(n) for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
        assert moved == {"embedder", "body", "head"}, (target, moved)
        assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None), target
        whole = predict(model, task)
        assert whole.shape == expected(task), target
        assert np.isfinite(whole).all(), target
        # batching, and with it padding, changes nothing
        alone = predict(model, task.take(np.array([1])))[0] if task.lengths is None else one_by_one(model, task)[1]
        assert np.allclose(alone, whole[1][..., : alone.shape[-1]], atol=1e-4), target
    record: dict[str, Any] = {"kind": task.kind, "shape": list(task.X.shape[1:]), "ragged": task.lengths is not None,
                              "classes": None, "columns": None, "metric": "x"}  # fmt: skip
    save_model(tmp_path, model, backbone=backbone_for(family), task=record, provenance={})
    assert np.array_equal(load_model(tmp_path).predict_canonical(task), whole)


def one_by_one(model: CrossModalModel, task: Dataset) -> list[np.ndarray]:
    """Every row alone and cut to its own length: no padding anywhere."""
    assert task.lengths is not None
    rows = []
    for row, length in enumerate(task.lengths):
        x = torch.from_numpy(task.X[row : row + 1, :, :length])
        rows.append(model.predict(x, torch.tensor([length])).numpy()[0])
    return rows


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_never_changes_a_prediction(family: str) -> None:
    task = with_target(SHAPES["ragged"](), "classification")
    model = model_for(task, family)
    assert np.allclose(predict(model, task, batch_size=ROWS), one_by_one(model, task), atol=1e-5)


# torch.export traces without values: what looks at them cannot be exported
NOT_EXPORTED: dict[str, str] = {}


@pytest.mark.parametrize("family", FAMILIES)
def test_export_of_the_assembled_model(family: str) -> None:
    if family in NOT_EXPORTED:
        pytest.skip(NOT_EXPORTED[family])
    for shape, target in (("series", "classification"), ("grid", "dense")):
        task = with_target(SHAPES[shape](), target)
        model = model_for(task, family)
        x, _, _ = batch(task, np.arange(4))
        program = torch.export.export(model, (x,))
        assert torch.allclose(program.module()(x), model(x), atol=1e-5)
