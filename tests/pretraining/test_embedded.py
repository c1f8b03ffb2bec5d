"""The pair that the package carries: whole, small, described, and what is taken where nothing else is there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import crosstune
from crosstune.backbones import load, load_backbone, named
from crosstune.backbones.load import default_backbone, file_sha256, modality_of, own_proxy
from crosstune.data.proxies import choose
from crosstune.errors import UsageError, WeightsError
from crosstune.experiment import Request
from crosstune.experiment.source import source_bank
from crosstune.pretraining import read_recipe, train
from crosstune.pretraining.recipe import Shape
from crosstune.records import Dataset

WEIGHTS = Path(crosstune.__file__).parent / "weights"
PAIR = sorted(name for name in named() if named()[name].package == "crosstune")


def test_series_have_an_embedded_backbone() -> None:
    assert "tiny-sequence" in PAIR


@pytest.mark.parametrize("name", PAIR)
def test_weights_are_small_whole_and_described(name: str) -> None:
    entry, folder = named()[name], WEIGHTS / name
    weights = folder / "model.safetensors"
    assert weights.stat().st_size <= 8_000_000
    assert file_sha256(weights) == entry.sha256
    report = json.loads((folder / "report.json").read_text())
    recipe = read_recipe(folder / "recipe.json")
    assert report["sha256"] == entry.sha256
    assert report["bytes"] == weights.stat().st_size
    assert report["steps"] == recipe.steps
    assert recipe.classes >= 1000
    assert report["hardware"]["name"]
    card = (folder / "README.md").read_text()
    assert entry.sha256 in card
    assert f"{recipe.steps:,} steps of {recipe.batch}" in card
    curve = json.loads((folder / "curve.json").read_text())["points"]
    assert sum(point["count"] for point in curve) == recipe.steps
    assert np.mean([p["loss"] for p in curve[-5:]]) < curve[0]["loss"] - 0.5


@pytest.mark.parametrize("name", PAIR)
def test_it_loads_by_name_and_by_transformers_alone(name: str) -> None:
    from transformers import AutoModel

    backbone = load_backbone(name)
    assert backbone.info.origin == "package crosstune"
    assert backbone.info.license == "apache-2.0"
    model = AutoModel.from_pretrained(WEIGHTS / name, dtype=torch.float32, local_files_only=True).eval()
    generator = torch.Generator().manual_seed(0)
    if backbone.modality == "series":
        tokens, mask, grid = backbone.source_tokens({"series_values": torch.randn(4, 1, 200, generator=generator)})
        with torch.no_grad():
            ours = backbone.body(tokens, mask, grid)[-1]
            theirs = model(inputs_embeds=tokens).last_hidden_state
    else:
        native = backbone.native
        pixels = torch.randn(4, native.channels, *native.size, generator=generator)
        tokens, mask, grid = backbone.source_tokens({"pixel_values": pixels})
        with torch.no_grad():
            ours = backbone.body(tokens, mask, grid)[-1]
            theirs = model(pixel_values=pixels).last_hidden_state[:, 1:]
    assert float((ours - theirs).abs().max()) < 1e-5
    assert float(ours.std()) > 0.1


@pytest.mark.parametrize("name", PAIR)
def test_pretrained_weights_are_not_their_controls(name: str) -> None:
    kinds = {kind: load_backbone(name, weights=kind) for kind in ("pretrained", "random", "shuffled")}  # type: ignore[arg-type]
    tokens = torch.randn(2, 17, kinds["random"].body.width, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 17, dtype=torch.bool)
    with torch.no_grad():
        outs = [b.body.eval()(tokens, mask)[-1] for b in kinds.values()]
    assert all(float((a - b).abs().mean()) > 0.05 for i, a in enumerate(outs) for b in outs[i + 1 :])


def test_a_damaged_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(named()["tiny-sequence"], sha256="0" * 64)
    monkeypatch.setattr(load, "named", lambda: {"tiny-sequence": entry})
    with pytest.raises(WeightsError, match=r"do not match the pinned sha256(?s:.*)pip install"):
        load_backbone("tiny-sequence")


def test_the_source_of_the_pair_is_its_own() -> None:
    assert own_proxy("tiny-sequence") == "formula-series"
    assert own_proxy("minilm") is None
    assert own_proxy("owner/name") is None
    source = choose("auto", modality_of("tiny-sequence"), own_proxy("tiny-sequence"))
    assert source is not None
    assert source.name == "formula-series"
    with pytest.raises(UsageError, match="holds sounds, but the body was pretrained on series"):
        choose("sounds", "series")


def test_the_source_bank_is_labelled_with_many_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSTUNE_CACHE", str(tmp_path))
    bank = source_bank(load_backbone("tiny-sequence"), rows=96)
    assert bank.tokens.shape[:2] == (96, 32)
    assert len(bank.classes) == 128
    assert len(set(bank.labels.tolist())) == 96
    families = {bank.classes[k].split()[0] for k in bank.labels.tolist()}
    assert families == {"chaos", "events", "kernels", "oscillations", "prototypes", "stochastic"}


@pytest.mark.parametrize("name", ["tiny-sequence", "tiny-grid"])
def test_a_source_class_is_seen_often_enough_to_be_learnt(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSTUNE_CACHE", str(tmp_path))
    labels = source_bank(load_backbone(name)).labels
    assert int(torch.bincount(labels).min()) >= 10


# -- the default -------------------------------------------------------------------------------------------------


def without_minilm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = replace(named()["minilm"], package="no_such_package")
    others = {k: v for k, v in named().items() if k != "minilm"}
    monkeypatch.setattr(load, "named", lambda: {"minilm": entry, **others})
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


def test_without_minilm_the_pair_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_minilm(monkeypatch, tmp_path)
    assert default_backbone("series") == default_backbone("table") == default_backbone() == "tiny-sequence"
    assert default_backbone("grid") == ("tiny-grid" if "tiny-grid" in PAIR else "tiny-sequence")
    series = Dataset(X=np.zeros((4, 1, 16), np.float32), y=np.zeros((4, 1), np.float32), kind="regression")
    assert Request().settled(series).backbone == "tiny-sequence"
    assert Request(backbone="tiny").settled(series).backbone == "tiny-sequence"
    assert Request(backbone="twin-bert").settled(series).backbone == "twin-bert"


def test_a_damaged_minilm_is_not_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_minilm(monkeypatch, tmp_path)
    place = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / "x"
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(b"not these")
    assert default_backbone("series") == "tiny-sequence"


def test_a_run_without_minilm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_minilm(monkeypatch, tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = np.sin(np.linspace(0, 6, 64) * (1 + y[:, None])) + 0.1 * rng.standard_normal((60, 64))
    model = crosstune.fit(x[:, None].astype(np.float32), y, budget="5steps", floors="none", controls="none",
                          proxy="none", out=tmp_path / "run")  # fmt: skip
    record: dict[str, Any] = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["backbone"]["name"] == "tiny-sequence"
    assert record["request"]["backbone"] == "tiny-sequence"
    assert model.predict(x[:, None].astype(np.float32)).shape == (60,)


# -- the recipe --------------------------------------------------------------------------------------------------

GOLDEN = {"tiny-grid": 5.1073, "tiny-sequence": 5.5532}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_miniature_of_the_recipe_is_what_it_was(name: str, tmp_path: Path) -> None:
    """The packaged recipe with a smaller body, fewer classes and few steps: its loss, which last bits do not move."""
    recipe = read_recipe(WEIGHTS / name / "recipe.json")
    small = {"body": Shape(width=16, layers=1, heads=2, inner=24), "classes": 40, "batch": 8, "steps": 24}
    shrunk = recipe.model_copy(update=small)
    one = train(shrunk, tmp_path / "one", device="cpu")
    two = train(shrunk, tmp_path / "two", device="cpu")
    assert one["sha256"] == two["sha256"]
    points = json.loads((tmp_path / "one" / "curve.json").read_text())["points"]
    assert np.mean([p["loss"] for p in points]) == pytest.approx(GOLDEN[name], abs=2e-3)
    assert train(shrunk.model_copy(update={"seed": 1}), tmp_path / "three", device="cpu")["sha256"] != one["sha256"]
