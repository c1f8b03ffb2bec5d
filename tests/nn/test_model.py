"""The whole model: padding and batching never change predictions; predictions are canonical."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crosstune.assembly import build_model, outputs, plan_model, predict
from crosstune.backbones import load_backbone
from crosstune.data import from_arrays
from crosstune.errors import DataError, TaskError
from crosstune.nn.model import CrossModalModel, Layers, ModelConfig, part_of
from crosstune.records import Dataset

BODY = load_backbone("twin-bert").body.eval()


def model_for(data: Dataset, *, linear_part: bool = True, layers: Layers = "all") -> CrossModalModel:
    """A model whose head says something (a fresh head is zero)."""
    model = build_model(
        plan_model(data, BODY, linear_part=linear_part, layers=layers), BODY, data, token_rms=0.05
    ).eval()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if part_of(name) == "head":
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def ragged(n: int = 12, size: int = 40) -> Dataset:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, size + 1, n)
    lengths[0] = size
    x = rng.normal(size=(n, 2, size)).astype(np.float32)
    for row, k in enumerate(lengths):
        x[row, :, k:] = 0
    return Dataset(X=x, y=np.arange(n) % 3, kind="classification", classes=("a", "b", "c"), lengths=lengths)


RAGGED = ragged()
RAGGED_MODEL = model_for(RAGGED)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.integers(0, 11), min_size=1, max_size=5, unique=True),
    pad=st.integers(0, 50),
    junk=st.sampled_from([0.0, 7.0, float("nan")]),
)
def test_padding_never_changes_predictions(rows: list[int], pad: int, junk: float) -> None:
    x = np.pad(RAGGED.X[rows], ((0, 0), (0, 0), (0, pad)))
    assert RAGGED.lengths is not None
    lengths = RAGGED.lengths[rows]
    for i, k in enumerate(lengths):
        x[i, :, k:] = junk
    with torch.no_grad():
        together = RAGGED_MODEL(torch.from_numpy(x), torch.from_numpy(lengths))
        for i, k in enumerate(lengths):
            alone = RAGGED_MODEL(torch.from_numpy(x[i : i + 1, :, :k]), torch.from_numpy(lengths[i : i + 1]))
            assert torch.allclose(together[i], alone[0], atol=1e-4)


def test_the_padding_check_rejects_a_statistics_token_behind_the_padding() -> None:
    """The smallest wrong order: the same tokens, but the position of one of them follows the batch's padding."""
    x, lengths = torch.from_numpy(RAGGED.X[1:2]), torch.tensor([int(RAGGED.lengths[1])])  # type: ignore[index]

    def wrong(pad: int) -> torch.Tensor:
        tokens, mask = RAGGED_MODEL.tokens(torch.nn.functional.pad(x, (0, pad)), lengths)
        tokens, mask = torch.roll(tokens, -1, 1), torch.roll(mask, -1, 1)
        return RAGGED_MODEL.head.pool(RAGGED_MODEL.hidden(tokens, mask), mask)  # type: ignore[union-attr,operator]

    with torch.no_grad():
        assert float((wrong(0) - wrong(50)).abs().max()) > 1e-3


@pytest.mark.parametrize("size", [1, 5, 64])
def test_any_batching_gives_the_same_outputs(size: int) -> None:
    whole = outputs(RAGGED_MODEL, RAGGED, batch_size=len(RAGGED))
    assert torch.allclose(outputs(RAGGED_MODEL, RAGGED, batch_size=size), whole, atol=1e-4)


def small(kind: str) -> Dataset:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(16, 1, 24)).astype(np.float32)
    if kind == "classification":
        return Dataset(X=x, y=np.arange(16) % 3, kind="classification", classes=("a", "b", "c"))
    if kind == "multilabel":
        return Dataset(X=x, y=(rng.random((16, 4)) < 0.5).astype(np.float32), kind="multilabel")
    if kind == "regression":
        return Dataset(X=x, y=(100 + rng.normal(size=(16, 2))).astype(np.float32), kind="regression")
    if kind == "segmentation":
        return Dataset(X=x, y=rng.integers(-1, 3, (16, 12)), kind="segmentation", classes=("a", "b", "c"))
    return Dataset(X=x, y=(50 + rng.normal(size=(16, 2, 24))).astype(np.float32), kind="dense")


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "dense", "segmentation"])
@pytest.mark.parametrize("linear_part", [True, False])
def test_predictions_are_canonical(kind: str, linear_part: bool) -> None:
    data = small(kind)
    prediction = predict(model_for(data, linear_part=linear_part), data)
    assert prediction.dtype == np.float64
    assert data.y is not None
    if kind == "classification":
        assert prediction.shape == (16, 3)
        assert np.allclose(prediction.sum(1), 1, atol=1e-12)
    elif kind == "segmentation":
        assert prediction.shape == (16, 3, 12)
        assert np.allclose(prediction.sum(1), 1, atol=1e-12)
    else:
        assert prediction.shape == data.y.shape
    if kind == "multilabel":
        assert prediction.min() > 0
        assert prediction.max() < 1
    if kind in ("regression", "dense"):
        assert abs(float(prediction.mean()) - float(data.y.mean())) < 20  # the target's units


@pytest.mark.parametrize("kind", ["classification", "dense"])
def test_a_head_on_the_last_layer_is_blind_to_the_others(kind: str) -> None:
    data = small(kind)
    full, last = model_for(data), model_for(data, layers="last")
    depth = len(full.body.widths)
    assert full.head.linear.in_features == depth * last.head.linear.in_features
    x = torch.from_numpy(data.X)
    tokens, mask = last.tokens(x)
    hidden = full.hidden(tokens, mask, (24,))
    assert len(hidden) == depth
    (seen,) = last.hidden(tokens, mask, (24,))
    assert torch.equal(seen, hidden[-1])
    assert np.isfinite(predict(last, data)).all()


@pytest.mark.parametrize("shape", [(24,), (3, 24), (1, 9, 9), (1, 5, 5, 5)], ids=["table", "series", "grid", "volume"])
def test_every_modality_with_missing_values_gives_finite_outputs(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(10, *shape)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    data = Dataset(X=x, y=np.arange(10) % 2, kind="classification", classes=("a", "b"))
    assert np.isfinite(predict(model_for(data), data)).all()


def test_a_value_lost_only_at_prediction_time_is_survived() -> None:
    data = small("classification")
    model = model_for(data)
    x = data.X.copy()
    x[:, :, 3:6] = np.nan
    assert np.isfinite(predict(model, Dataset(X=x))).all()


@pytest.mark.parametrize(
    ("x", "y"),
    [((1, 6, 6, 6), (1, 6, 6, 6)), ((1, 12, 12), (1, 12)), ((1, 24), (1, 8, 8)), ((10,), (1, 20))],
)
def test_fields_that_cannot_be_painted_are_refused(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    data = Dataset(X=np.zeros((4, *x), np.float32), y=np.zeros((4, *y), np.float32), kind="dense")
    with pytest.raises(TaskError, match="axes of the input"):
        plan_model(data, BODY)


def test_fields_over_ragged_series_are_refused_with_a_way_out() -> None:
    x = np.zeros((4, 1, 24), np.float32)
    data = Dataset(X=x, y=x, kind="dense", lengths=np.array([24, 20, 10, 5]))
    with pytest.raises(TaskError, match="windows of one length"):
        plan_model(data, BODY)
    coarse = replace(data, y=np.zeros((4, 12), np.int64), kind="segmentation", classes=("a", "b"))
    with pytest.raises(TaskError, match="a class for every sample of their series"):
        plan_model(coarse, BODY)


@pytest.mark.parametrize("batch_size", [12, 5, 1])
def test_ragged_class_maps_do_not_depend_on_padding(batch_size: int) -> None:
    y = np.where(np.arange(40) < RAGGED.lengths[:, None], np.arange(40) % 3, -1)
    data = replace(RAGGED, y=y, kind="segmentation")
    model = model_for(data)
    assert not model.config.linear_part
    found = predict(model, data, batch_size=batch_size)
    assert found.shape == (12, 3, 40)
    for row, length in enumerate(data.lengths):
        alone = model.predict(torch.from_numpy(data.X[row : row + 1, :, :length]), torch.tensor([length]))
        assert np.allclose(found[row, :, :length], alone[0], atol=1e-6)
        assert found[row, :, :length].std() > 1e-3
    assert np.allclose(found[4, :, data.lengths[4] :], found[4, :, -1:]) or data.lengths[4] == 40


def test_tables_wider_than_the_body_are_refused_with_a_way_out() -> None:
    x = np.zeros((8, 300), dtype=np.float32)
    data = Dataset(X=x, y=np.arange(8) % 2, kind="classification", classes=("a", "b"))
    with pytest.raises(TaskError, match=r"\(rows, 1, columns\)"):
        plan_model(data, BODY)


def test_a_sequence_longer_than_the_body_is_refused() -> None:
    with pytest.raises(DataError, match="129 tokens exceed the body's limit of 128"):
        BODY(torch.zeros(1, 129, BODY.width), torch.ones(1, 129, dtype=torch.bool))


def test_the_configuration_survives_json_and_refuses_unknown_keys() -> None:
    config = plan_model(RAGGED, BODY)
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="extra"):
        ModelConfig.model_validate({**config.model_dump(), "colour": 1})


def test_the_embedder_depends_on_its_seed_alone() -> None:
    def weights(seed: int, global_seed: int) -> torch.Tensor:
        torch.manual_seed(global_seed)
        config = plan_model(RAGGED, BODY, embedder_seed=seed)
        return build_model(config, BODY, RAGGED, token_rms=0.05).embedder.weight  # type: ignore[return-value]

    assert torch.equal(weights(1, 0), weights(1, 99))
    assert not torch.equal(weights(1, 0), weights(2, 0))


def test_a_new_model_for_fields_depends_on_its_seed_alone() -> None:
    """Also where no closed form replaces the linear part afterwards (fit.head_init = zero)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 1, 32)).astype("float32")
    data = from_arrays(X, X[:, :, ::2].copy(), task="dense")

    def weights(seed: int, global_seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(global_seed)
        config = plan_model(data, BODY, embedder_seed=seed)
        return build_model(config, BODY, data, token_rms=0.05).state_dict()

    one, again, other = weights(1, 0), weights(1, 99), weights(2, 0)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["head.skip_in.weight"], other["head.skip_in.weight"])
