"""Pretraining: resumed equals uninterrupted, what is written loads with transformers alone, objectives against plain
formulas."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from crosstune.backbones import load_backbone
from crosstune.errors import ConfigError, Interrupted, RunError, UsageError
from crosstune.nn.embedders import PatchEmbedder
from crosstune.nn.patching import PatchPlan
from crosstune.pretraining import preset, read_recipe, train
from crosstune.pretraining.networks import build
from crosstune.pretraining.objectives import Heads, contrast, foreign_tokens, hidden_places, loss_and_parts
from crosstune.pretraining.recipe import Recipe
from crosstune.pretraining.record import Curve
from crosstune.pretraining.stream import CHUNK, Stream

MINI: dict[str, Any] = {
    "body": {"width": 16, "layers": 2, "heads": 2, "inner": 24}, "formulas": {"prototypes": 1.0, "oscillations": 1.0},
    "classes": 24, "sizes": ((64,), (100,)), "batch": 8, "warmup": 4, "rate": 3e-3,
    "objective": {"supervised": 1.0, "contrastive": 0.5, "masked": 0.5}, "foreign": 0.3,
}  # fmt: skip


def mini(steps: int = 40, **changes: Any) -> Recipe:
    return preset("sequence", "tiny", **(MINI | {"steps": steps} | changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("pretraining") / "mini"
    return folder, train(mini(), folder, device="cpu")


def test_the_record_says_what_was_done(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, report = trained
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(report))
    assert report["samples"] == 40 * 8
    assert report["bytes"] == (folder / "model.safetensors").stat().st_size
    assert report["sha256"] == load_backbone(str(folder)).info.sha256
    assert report["parameters"] == sum(t.numel() for t in load_file(folder / "model.safetensors").values())
    assert all(t.dtype == torch.float16 for t in load_file(folder / "model.safetensors").values())
    assert read_recipe(folder / "recipe.json") == mini()
    card = (folder / "README.md").read_text()
    assert report["sha256"] in card
    assert "24 classes of prototypes (1), oscillations (1)" in card
    curve = json.loads((folder / "curve.json").read_text())["points"]
    assert sum(point["count"] for point in curve) == 40
    assert curve[-1]["step"] == 40
    assert not (folder / "checkpoint.pt").exists()


def test_the_first_loss_is_that_of_guessing_and_it_falls(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = trained
    curve = json.loads((folder / "curve.json").read_text())["points"]
    assert curve[0]["supervised"] == pytest.approx(math.log(24), rel=0.25)
    assert curve[0]["contrastive"] < 3 * math.log(7)
    assert np.mean([p["loss"] for p in curve[-8:]]) < np.mean([p["loss"] for p in curve[:8]]) - 0.2


def test_resumed_equals_uninterrupted(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = trained
    again = tmp_path / "again"
    with pytest.raises(Interrupted, match=r"after 13 of 40 steps.*\n.*same command"):
        train(mini(), again, device="cpu", stop=lambda step: step == 13)
    assert (again / "checkpoint.pt").exists()
    assert not (again / "model.safetensors").exists()
    seen: list[tuple[int, int, float]] = []
    train(mini(), again, device="cpu", on_step=lambda *values: seen.append(values))
    assert seen[0][:2] == (14, 40)  # it went on, it did not start again
    for name in ("model.safetensors", "config.json", "recipe.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    curves = [json.loads((place / "curve.json").read_text())["points"] for place in (folder, again)]
    assert [p["loss"] for p in curves[0]] == [p["loss"] for p in curves[1]]


def test_another_seed_gives_other_weights(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    assert train(mini(2, seed=1), tmp_path / "a", device="cpu")["sha256"] != trained[1]["sha256"]


def test_transformers_alone_reproduces_the_hidden_states(trained: tuple[Path, dict[str, Any]]) -> None:
    from transformers import AutoModel

    folder, _ = trained
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    backbone = load_backbone(str(folder))
    assert (backbone.info.family, backbone.modality) == ("series", "series")
    x = torch.randn(5, 1, 130, generator=torch.Generator().manual_seed(0))
    tokens, mask, grid = backbone.source_tokens({"series_values": x})
    assert grid == (tokens.shape[1] - 1,)
    with torch.no_grad():
        ours = backbone.body(tokens, mask, grid)
        out = model(inputs_embeds=tokens, output_hidden_states=True)
    for a, b in zip(ours, (*out.hidden_states[:-1], out.last_hidden_state), strict=True):
        assert float((a - b).abs().max()) < 1e-5
    assert float(ours[-1].std()) > 0.1


def test_what_is_written_is_what_was_trained(trained: tuple[Path, dict[str, Any]]) -> None:
    """One step's network in memory against the one that comes back from the folder, up to half precision."""
    network = build(mini())
    tensors = network.tensors()
    backbone = load_backbone(str(trained[0]))
    x = torch.randn(2, 1, 64, generator=torch.Generator().manual_seed(0))
    kept = load_file(trained[0] / "model.safetensors")
    assert set(kept) == set(tensors)
    assert {k: v.shape for k, v in kept.items()} == {k: v.shape for k, v in tensors.items()}
    network.body.load_state_dict(backbone.body.state_dict())
    network.source.load_state_dict(backbone.source.state_dict())  # type: ignore[union-attr]
    with torch.no_grad():
        tokens, grid = network.tokens(x)
        again, _, grid_again = backbone.source_tokens({"series_values": x})
    assert grid == grid_again
    assert torch.equal(tokens, again)


def test_a_folder_of_another_recipe_is_refused(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"another recipe.*\n.*\n.*another --out"):
        train(mini(rate=1e-4), trained[0], device="cpu")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        train(mini(), tmp_path, device="cpu")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="--budget"):
        train(mini().model_copy(update={"steps": None}), tmp_path / "new", device="cpu")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(mini(), tmp_path / "run", device="cpu", stop=lambda step: step == 3)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"cannot go on from.*checkpoint.pt"):
        train(mini(), tmp_path / "run", device="cpu")


def test_a_time_becomes_steps_that_are_written_down(tmp_path: Path) -> None:
    report = train(mini().model_copy(update={"steps": None}), tmp_path / "run", device="cpu", seconds=1.0)
    assert report["steps"] >= 1
    assert read_recipe(tmp_path / "run" / "recipe.json").steps == report["steps"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"formulas": {"chaso": 1.0}}, "did you mean 'chaos'"),
        ({"formulas": {"chaos": -1.0}}, "share of 'chaos' is -1"),
        ({"sizes": ((32, 32),)}, "sizes of 1 axes"),
        ({"body": {"width": 10, "layers": 1, "heads": 3, "inner": 8}}, "not a multiple of 3 heads"),
        ({"objective": {"supervised": 0.0}}, "weight 0"),
        ({"objective": {"supervised": 1.0}}, "foreign embedder train the contrast"),
        ({"rate": -1.0, "batch": 1}, "(?s)batch.*rate|rate.*batch"),
        ({"learning_rate": 1e-3}, "learning_rate"),
    ],
)
def test_recipes_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        mini(**changes)


def test_presets_have_names() -> None:
    with pytest.raises(UsageError, match="did you mean 'tiny'"):
        preset("sequence", "tinny")


# -- samples -----------------------------------------------------------------------------------------------------


def test_batches_are_a_function_of_the_step() -> None:
    one, two = Stream(mini()), Stream(mini())
    later = two.batch(CHUNK + 3)  # without having drawn what comes before
    for step in range(CHUNK + 4):
        x, labels = one.batch(step)
    assert torch.equal(x, later[0])
    assert torch.equal(labels, later[1])
    assert one.batch(0)[0].shape == (8, 1, 64)
    assert x.shape == (8, 1, 100)  # the next chunk has the next size


def test_labels_come_in_pairs_only_where_instances_are_compared() -> None:
    _, labels = Stream(mini()).batch(0)
    assert torch.equal(labels[::2], labels[1::2])
    _, labels = Stream(mini(objective={"supervised": 1.0}, foreign=0.0)).batch(0)
    assert not torch.equal(labels[::2], labels[1::2])


# -- objectives --------------------------------------------------------------------------------------------------


def test_contrast_is_the_cross_entropy_of_finding_the_partner() -> None:
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    u = F.normalize(z, dim=1)
    total = 0.0
    for i in range(6):
        partner = i + 1 if i % 2 == 0 else i - 1
        others = [math.exp(float(u[i] @ u[j]) / 0.3) for j in range(6) if j != i]
        total -= math.log(math.exp(float(u[i] @ u[partner]) / 0.3) / sum(others))
    assert float(contrast(z, 0.3)) == pytest.approx(total / 6, rel=1e-5)
    same = torch.eye(3).repeat_interleave(2, 0)  # partners alike, others at right angles
    assert float(contrast(same, 0.05)) < 1e-6 < float(contrast(same[[0, 2, 1, 4, 3, 5]], 0.05))


@pytest.mark.parametrize(("kind", "size"), [("sequence", (1, 100)), ("grid", (1, 24, 24))])
def test_a_foreign_embedder_trains_the_body_but_not_theta(kind: Any, size: tuple[int, ...]) -> None:
    """Its tokens have theta's scale; another draw gives other tokens of the same rows."""
    recipe = preset(kind, "tiny", steps=1, foreign=0.99, objective={"supervised": 1.0, "contrastive": 0.5})
    network = build(recipe)
    heads = Heads(recipe, network)
    x = torch.randn(8, *size, generator=torch.Generator().manual_seed(0)).cumsum(-1)
    tokens, grid = foreign_tokens(network, x, torch.Generator().manual_seed(1))
    other, _ = foreign_tokens(network, x, torch.Generator().manual_seed(2))
    theta = network.tokens(x)[0].detach()
    assert tokens.shape[1] - math.prod(grid) == 1
    assert 0.7 < float(tokens.square().mean() / theta.square().mean()) ** 0.5 < 1.4
    assert tokens.shape != other.shape or not torch.allclose(tokens, other)
    loss, parts = loss_and_parts(recipe, network, heads, x, torch.arange(8) // 2, torch.Generator().manual_seed(0))
    loss.backward()
    assert set(parts) == {"foreign"}
    assert parts["foreign"] < 3 * math.log(7)
    assert all(p.grad is None for p in network.source.parameters())  # type: ignore[union-attr]
    assert any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in network.body.parameters())


def test_hidden_places_are_blocks_of_about_the_share() -> None:
    hide = hidden_places(4000, (13,), 0.4, torch.Generator().manual_seed(0))
    assert hide.shape == (4000, 13)
    assert float(hide.float().mean()) == pytest.approx(0.4, abs=0.02)
    assert bool((hide[:, 0:4] == hide[:, :1]).all())
    assert bool((hide[:, 12] != hide[:, 11]).any())
    square = hidden_places(500, (6, 5), 0.5, torch.Generator().manual_seed(0)).reshape(500, 6, 5)
    assert bool((square[:, :2, :2] == square[:, :1, :1]).all())
    assert bool((square[:, 2] != square[:, 1]).any())


def test_windows_are_what_tokens_are_made_of() -> None:
    network = build(mini())
    x = torch.randn(3, 1, 70, generator=torch.Generator().manual_seed(0))
    windows = network.windows(x)
    tokens, grid = network.tokens(x)
    assert windows.shape == (3, *grid, 16)
    assert torch.equal(windows[:, 2], x[:, 0, 16:32])
    # a change within one window changes the tokens of the windows that hold it, and the statistics
    other = x.clone()
    other[0, 0, 3] += 1.0
    changed = (network.tokens(other)[0] - tokens).abs().amax(-1)[0] > 1e-6
    assert changed.nonzero()[:, 0].tolist() == [0, 1]


def test_an_embedder_can_start_from_theta() -> None:
    """On series of theta's own windows it is theta, and on windows twice as long about the same with every other
    window; random weights are not."""
    network = build(mini())
    theta = network.source
    network.requires_grad_(False)
    x = torch.sin(torch.linspace(0, 9, 256) + torch.arange(4.0)[:, None])[:, None]
    wanted = theta(x)
    embedder = PatchEmbedder(1, PatchPlan((256,), (16,), (8,)), 16, generator=torch.Generator().manual_seed(3))
    embedder.requires_grad_(False)
    assert float((embedder(x)[0] - wanted).abs().mean()) > 0.3
    theta.start(embedder)  # type: ignore[operator, union-attr]
    assert torch.allclose(embedder(x)[0], wanted, atol=1e-5)
    wide = PatchEmbedder(1, PatchPlan((512,), (32,), (16,)), 16, generator=torch.Generator().manual_seed(3))
    wide.requires_grad_(False)
    theta.start(wide)  # type: ignore[operator, union-attr]
    finer = torch.nn.functional.interpolate(x, size=512, mode="linear", align_corners=True)
    assert float((wide(finer)[0] - wanted).abs().mean()) < 0.1 * float(wanted.abs().mean())


def test_several_channels_are_all_heard() -> None:
    network = build(mini())
    embedder = PatchEmbedder(3, PatchPlan((64,), (16,), (8,)), 16, generator=torch.Generator().manual_seed(3))
    embedder.requires_grad_(False)
    network.source.start(embedder)  # type: ignore[operator, union-attr]
    x = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0))
    base = embedder(x)[0]
    assert bool(base.isfinite().all())
    moved = []
    for channel in range(3):
        other = x.clone()
        other[:, channel] += torch.randn(64, generator=torch.Generator().manual_seed(1))
        moved.append(embedder(other)[0] - base)
    assert all(float(m.abs().mean()) > 0.05 for m in moved)
    # and none is the mirror of another, as a mere sum with signs would make them
    assert float((moved[0] + moved[1]).abs().mean()) > 0.1 * float(moved[0].abs().mean())


# -- the curve ---------------------------------------------------------------------------------------------------


def test_a_long_curve_is_merged_without_losing_steps() -> None:
    curve = Curve()
    losses = np.random.default_rng(0).random(1000)
    for step, loss in enumerate(losses):
        curve.add(step + 1, {"loss": float(loss)}, 0.01)
    assert len(curve.points) <= 200
    assert sum(p["count"] for p in curve.points) == 1000
    assert sum(p["loss"] * p["count"] for p in curve.points) == pytest.approx(losses.sum())
    assert curve.points[-1]["step"] == 1000
    assert curve.points[-1]["seconds"] == pytest.approx(10.0)
    assert all(a["step"] < b["step"] for a, b in zip(curve.points, curve.points[1:]))
