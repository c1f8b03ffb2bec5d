"""A model as a folder: the same predictions from the folder alone, and plain words about one that is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crosstune.assembly import build_model, plan_model, predict
from crosstune.backbones import load_backbone
from crosstune.data import from_arrays
from crosstune.errors import DataError, RunError
from crosstune.records import Dataset
from crosstune.runs import load_model, save_model


def describe(data: Dataset) -> dict[str, Any]:
    return {
        "kind": data.kind, "metric": "error", "classes": list(data.classes) if data.classes else None,
        "shape": list(data.X.shape[1:]), "ragged": data.lengths is not None,
        "columns": list(data.columns) if data.columns else None,
        "categories": {str(k): list(v) for k, v in data.categories.items()}, "target_names": None,
    }  # fmt: skip


def exported(data: Dataset, folder: Path) -> np.ndarray:
    """A model with arbitrary weights, saved; gives its predictions from memory."""
    backbone = load_backbone("twin-bert")
    model = build_model(plan_model(data, backbone.body), backbone.body, data, token_rms=0.05)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_model(folder, model, backbone=backbone, task=describe(data), provenance={"seed": 0})
    return predict(model, data)


def series(n: int = 12, length: int = 20) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 2, length)).astype("float32")


def test_the_loaded_model_predicts_what_the_saved_one_did(tmp_path: Path) -> None:
    data = from_arrays(series(), np.array(list("abc") * 4))
    expected = exported(data, tmp_path)
    state = torch.random.get_rng_state()
    loaded = load_model(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)  # loading draws nothing from the caller's generator
    np.testing.assert_array_equal(loaded.predict_canonical(data), expected)
    np.testing.assert_array_equal(loaded.predict_proba(series()), expected)
    np.testing.assert_array_equal(loaded.predict(series()), np.array(list("abc"))[expected.argmax(1)])
    np.testing.assert_allclose(loaded.predict_canonical(data, batch_size=5), expected, atol=1e-6)
    assert loaded.kind == "classification"
    assert loaded.classes == ("a", "b", "c")
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def test_ragged_series_one_by_one_and_together(tmp_path: Path) -> None:
    lengths = np.array([20, 8, 15, 11] * 3)
    X = series()
    for row, n in zip(X, lengths):
        row[:, n:] = 0
    data = from_arrays(X, np.arange(12) % 3, lengths=lengths)
    expected = exported(data, tmp_path)
    loaded = load_model(tmp_path)
    np.testing.assert_allclose(loaded.predict_proba([row[:, :n] for row, n in zip(X, lengths)]), expected, atol=1e-5)
    one = np.concatenate([loaded.predict_proba([row[:, :n]]) for row, n in zip(X, lengths)])
    np.testing.assert_allclose(one, expected, atol=1e-5)


def test_what_does_not_fit_names_both_shapes(tmp_path: Path) -> None:
    exported(from_arrays(series(), np.arange(12) % 3), tmp_path)
    loaded = load_model(tmp_path)
    for bad in (series(3, 21), series(3)[:, :1], series(3)[:, :, 0]):
        with pytest.raises(DataError, match=r"made for \(2, 20\)"):
            loaded.predict(bad)
    with pytest.raises(DataError, match="ragged"):
        loaded.predict([row[:, : 10 + i] for i, row in enumerate(series(3))])


def test_tables_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = {"a": rng.random(20), "b": rng.random(20), "site": np.array(["left", "right"] * 10)}
    data = from_arrays(table, np.arange(20) % 2)
    expected = exported(data, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.columns == ["a", "b", "site"]
    turned = {name: table[name] for name in ("site", "b", "a")} | {"more": np.zeros(20)}
    np.testing.assert_allclose(loaded.predict_proba(turned), expected, atol=1e-6)
    with pytest.raises(DataError, match="columns: b"):
        loaded.predict({"a": table["a"], "site": table["site"]})
    # other categories in another order keep their meaning; one that is unknown counts as missing
    few = {"a": table["a"][1:3], "b": table["b"][1:3], "site": np.array(["right", "left"])}
    np.testing.assert_allclose(loaded.predict_proba(few), expected[1:3], atol=1e-6)


@pytest.mark.parametrize("damage", ["truncated weights", "no weights", "no json", "another format", "another body"])
def test_a_damaged_folder_is_told_in_words(damage: str, tmp_path: Path) -> None:
    exported(from_arrays(series(), np.arange(12) % 3), tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    if damage == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no json":
        config.write_text("{")
    elif damage == "another format":
        config.write_text(json.dumps({"model_type": "bert"}))
    else:
        config.write_text(json.dumps(json.loads(config.read_text()) | {"body": {"family": "gru", "config": {}}}))
    with pytest.raises(RunError) as caught:
        load_model(tmp_path)
    assert caught.value.fix
    assert str(tmp_path) in str(caught.value)


def test_no_model_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="crosstune resume"):
        load_model(tmp_path / "nowhere")
