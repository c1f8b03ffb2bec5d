"""Pretraining of grids: what the network gives, what it writes, and how an embedder starts from theta."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from crosstune.backbones import load_backbone, named
from crosstune.data.proxies import choose
from crosstune.data.proxies.formula_grids import CLASSES
from crosstune.data.proxies.formula_grids import build as build_proxy
from crosstune.nn.embedders import PatchEmbedder
from crosstune.nn.patching import PatchPlan
from crosstune.pretraining import preset, read_recipe, train
from crosstune.pretraining.networks import build
from crosstune.pretraining.networks.grid import PATCH, SIDE
from crosstune.pretraining.recipe import Recipe

MINI: dict[str, Any] = {
    "body": {"width": 32, "layers": 2, "heads": 2, "inner": 48}, "formulas": {"waves": 1.0, "contours": 1.0},
    "classes": 24, "sizes": ((16, 16), (32, 32)), "batch": 8, "warmup": 4, "rate": 3e-3,
    "objective": {"supervised": 1.0, "contrastive": 0.5, "masked": 0.5},
}  # fmt: skip
GOLDEN = 4.9504  # mean loss of the last 8 of 24 steps of the miniature


def mini(steps: int = 24, **changes: Any) -> Recipe:
    return preset("grid", "tiny", **(MINI | {"steps": steps} | changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("pretraining") / "mini"
    return folder, train(mini(), folder, device="cpu")


def pictures(n: int, height: int = SIDE, width: int = SIDE, channels: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(0))


def test_the_miniature_reaches_its_golden_loss(trained: tuple[Path, dict[str, Any]]) -> None:
    """The tolerance is a hundred times what another order of summation changes, a fifth of what another seed does."""
    points = json.loads((trained[0] / "curve.json").read_text())["points"]
    losses = [p["loss"] for p in points]
    assert len(losses) == 24
    assert points[0]["supervised"] == pytest.approx(math.log(24), rel=0.25)
    assert sum(losses[-8:]) / 8 == pytest.approx(GOLDEN, abs=0.01)
    assert sum(losses[-8:]) / 8 < sum(losses[:4]) / 4 - 0.2


@pytest.mark.parametrize("size", [(SIDE, SIDE), (64, 64), (16, 48)])
def test_transformers_alone_reproduces_the_hidden_states(
    trained: tuple[Path, dict[str, Any]], size: tuple[int, int]
) -> None:
    """At other sizes too, where both interpolate the positions."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(trained[0], dtype=torch.float32, add_pooling_layer=False).eval()
    backbone = load_backbone(str(trained[0]))
    assert (backbone.info.family, backbone.modality) == ("vit", "image")
    x = pictures(3, *size)
    with torch.no_grad():
        tokens, mask, _ = backbone.source_tokens({"pixel_values": x})
        ours = backbone.body(tokens, mask, (size[0] // PATCH, size[1] // PATCH))
        given = model(pixel_values=x, interpolate_pos_encoding=True, output_hidden_states=True)
    for a, b in zip(ours, (*given.hidden_states[:-1], given.last_hidden_state), strict=True):
        assert float((a - b[:, 1:]).abs().max()) < 1e-5
    assert float(ours[-1].std()) > 0.1


def test_what_is_written_is_what_was_trained(trained: tuple[Path, dict[str, Any]]) -> None:
    network, backbone = build(mini()), load_backbone(str(trained[0]))
    network.body.load_state_dict(backbone.body.state_dict())
    network.source.load_state_dict(backbone.source.state_dict())  # type: ignore[union-attr]
    x = pictures(2, 24, 16)
    with torch.no_grad():
        tokens, grid = network.tokens(x)
        assert torch.equal(tokens, backbone.source_tokens({"pixel_values": x})[0])
    assert grid == (6, 4)
    native = backbone.native  # brightness 0.5 is zero, the whole range six spreads
    assert (native.channels, native.size, native.mean) == (1, (SIDE, SIDE), (0.5,))
    assert native.std[0] == pytest.approx(1 / 6)


def test_hidden_windows_are_the_patches_in_reading_order() -> None:
    x = torch.arange(2 * 16 * 24, dtype=torch.float32).view(2, 1, 16, 24)
    network = build(mini())
    windows = network.windows(x)
    assert windows.shape == (2, 4 * 6, network.values)
    assert torch.equal(windows[1, 7].view(4, 4), x[1, 0, 4:8, 4:8])  # the second of the second row


def embedder(channels: int, plan: PatchPlan, width: int = 32) -> PatchEmbedder:
    return PatchEmbedder(channels, plan, width, generator=torch.Generator().manual_seed(1))


def test_an_embedder_starts_from_theta() -> None:
    """Windows like theta's patches give theta's tokens; windows twice as large give those of the picture at half its
    resolution."""
    backbone = load_backbone("twin-vit")
    source: Any = backbone.source
    x = pictures(4, 32, 32, 3)
    same = embedder(3, PatchPlan((32, 32), (4, 4), (4, 4)))
    source.start(same)
    coarse = embedder(3, PatchPlan((32, 32), (8, 8), (8, 8)))
    source.start(coarse)
    with torch.no_grad():
        assert float((same(x)[0][:, 1:] - source(x)).abs().max()) < 1e-5
        assert float((coarse(x)[0][:, 1:] - source(F.avg_pool2d(x, 2))).abs().max()) < 1e-5


def test_other_channels_start_from_theta_and_none_is_lost() -> None:
    source: Any = load_backbone("twin-vit").source
    made = embedder(2, PatchPlan((32, 32), (4, 4), (4, 4)))
    source.start(made)
    x = pictures(4, 32, 32, 2)
    for channel in range(2):
        other = x.clone()
        other[:, channel] += pictures(4, 32, 32)[:, 0]
        assert float((made(other)[0] - made(x)[0]).detach().abs().max()) > 0.05
    with pytest.raises(ValueError, match="two axes"):
        source.start(embedder(1, PatchPlan((64,), (8,), (8,))))


def test_the_package_carries_one() -> None:
    """Whole, as large as it may be, with a card and a record that name its checksum, and its own source of labels."""
    backbone, entry = load_backbone("tiny-grid"), named()["tiny-grid"]
    assert backbone.info.origin == "package crosstune"
    assert backbone.folder is not None
    folder = Path(backbone.folder)
    report, recipe = json.loads((folder / "report.json").read_text()), read_recipe(folder / "recipe.json")
    assert backbone.info.sha256 == entry.sha256 == report["sha256"]
    assert report["bytes"] == (folder / "model.safetensors").stat().st_size <= 8_000_000
    assert entry.sha256 in (folder / "README.md").read_text()
    assert recipe.model_copy(update={"steps": None}) == preset("grid", "tiny")
    source = choose("auto", backbone.modality, entry.proxy)
    assert source is not None
    assert source.name == "formula-grids"


def test_its_source_shows_every_family_in_grey() -> None:
    proxy = build_proxy(48, (16, 24))
    assert proxy.images.shape == (48, 3, 16, 24)
    assert (proxy.images == proxy.images[:, :1]).all()
    assert len(proxy.classes) == CLASSES <= preset("grid", "tiny").classes
    families = {proxy.classes[k].split()[0] for k in proxy.labels}
    assert families == set(preset("grid", "tiny").formulas)
    assert ((proxy.images == 0) | (proxy.images == 255)).mean() < 0.1  # little is cut off
