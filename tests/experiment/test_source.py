"""The source bank: of every modality, balanced, cached, never trusted blindly, and what there is without a proxy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contracts import native
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from crosstune.backbones import Backbone, load_backbone
from crosstune.backbones.contract import Native
from crosstune.data.proxies import Wanted, choose, make_image_proxy
from crosstune.data.proxies.shapes_and_textures import build
from crosstune.errors import UsageError
from crosstune.experiment import source
from crosstune.experiment.native import native_inputs, noise, normalised_images, normalised_waves, typical_tokens
from crosstune.experiment.source import cache_folder, rows_for, source_bank, source_bank_and_origin
from crosstune.nn.heads import token_means
from crosstune.stages.source_head import mean_hidden

OF_MODALITY = {"text": "twin-bert", "image": "twin-vit", "audio": "twin-wav2vec2"}


def test_features_come_from_the_cache_and_a_damaged_one_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSTUNE_CACHE", str(tmp_path))
    backbone = load_backbone("twin-bert")
    first = source_bank(backbone, "documentation", rows=64, tokens=8)
    assert first.tokens.shape == (64, 8, 32)
    assert first.hidden.shape == (64, 32)
    with monkeypatch.context() as without:
        without.setattr("crosstune.experiment.source.mean_hidden", None)  # must not be needed
        again = source_bank(backbone, "documentation", rows=64, tokens=8)
    assert torch.equal(first.hidden, again.hidden)
    written = list((tmp_path / "features").iterdir())
    assert written
    for path in written:
        path.write_bytes(b"damaged")
    assert torch.equal(source_bank(backbone, "documentation", rows=64, tokens=8).hidden, first.hidden)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*unused: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crosstune.experiment.source.write_bytes", full)
    backbone = load_backbone("twin-bert", seed=3)
    assert source_bank(backbone, "documentation", rows=16, tokens=4).hidden.shape == (16, 32)


def test_another_body_has_other_features() -> None:
    one, two = (
        source_bank(load_backbone("twin-bert", seed=s), "documentation", rows=16, tokens=4).hidden for s in (0, 1)
    )
    assert not torch.equal(one, two)


def test_unknown_proxies_and_those_of_another_modality() -> None:
    with pytest.raises(UsageError, match="documentation"):
        source_bank(load_backbone("twin-bert"), "wikipedia")
    with pytest.raises(UsageError, match="holds sounds, but the body was pretrained on images"):
        source_bank(load_backbone("twin-vit"), "sounds")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CROSSTUNE_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("CROSSTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "b" / "crosstune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c" / ".cache" / "crosstune"


@pytest.mark.parametrize("modality", list(OF_MODALITY))
def test_the_bank_is_what_the_body_says_of_the_proxy(modality: str) -> None:
    """Means of every row against one pass over everything; tokens and their labels against theta."""
    backbone = load_backbone(OF_MODALITY[modality])
    bank, origin = source_bank_and_origin(backbone, rows=80, tokens=8)
    found = choose("auto", backbone.modality)
    assert found is not None
    wanted = Wanted(80, backbone.native.size, 16000, 16000)
    proxy = found.load(wanted)
    rows = np.flatnonzero(np.isin(np.arange(len(proxy)), source.balanced(proxy.labels, 80)))
    tokens, mask, grid = backbone.source_tokens(native_inputs(backbone, proxy.take(rows), tokens=8))
    hidden = mean_hidden(backbone.body, tokens, mask, grid)
    assert torch.allclose(bank.hidden, hidden, atol=1e-5)
    assert torch.allclose(bank.token_means(), token_means(tokens, mask), atol=1e-5)
    assert bank.labels.tolist() == proxy.labels[rows].tolist()
    points, labels = bank.token_points()
    assert torch.allclose(points, tokens[mask], atol=1e-5)
    assert torch.equal(labels, bank.labels[:, None].expand_as(mask)[mask])
    assert (origin.name, origin.rows, origin.digest) == (found.name, 80, proxy.digest)
    assert origin.classes == len(bank.classes)
    assert bank.grid == grid


def test_large_clouds_are_sampled_the_same_with_and_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "TOKEN_ROWS", 20)
    monkeypatch.setattr(source, "MOST_VALUES", 20 * 32 * 7)
    backbone = load_backbone("twin-vit", seed=5)
    first = source_bank(backbone, rows=100)
    monkeypatch.setattr(source, "mean_hidden", None)
    again = source_bank(backbone, rows=100)
    assert first.tokens.shape == (20, 7, 32)
    assert first.means is not None
    assert first.means.shape == (100, 32)
    assert torch.equal(first.tokens, again.tokens)
    assert first.rows is not None
    assert (np.bincount(first.labels[first.rows]) <= 1).all()  # 72 classes take turns
    # what was kept are tokens of the rows it says, and every one of them only once
    tokens, _, _ = backbone.source_tokens(native_inputs(backbone, build(100, (32, 32)), tokens=0))
    whole = tokens[first.rows]
    near = torch.cdist(first.tokens, whole, compute_mode="donot_use_mm_for_euclid_dist")
    assert near.min(2).values.max() < 1e-4
    assert all(len(set(row.tolist())) == 7 for row in near.argmin(2))


@pytest.mark.parametrize("modality", ["text", "image"])
def test_whole_rows_have_every_token_and_the_body_knows_them(modality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows for want of room; shown to the body they give the hidden means that the bank has of their rows."""
    backbone = load_backbone(OF_MODALITY[modality])
    plain = source_bank(backbone, rows=300, tokens=12)
    monkeypatch.setattr(source, "MOST_VALUES", 24 * plain.tokens[0].numel())
    assert not source_bank(backbone, rows=300, tokens=12).whole or modality == "image"
    bank, origin = source_bank_and_origin(backbone, rows=300, tokens=12, whole=True)
    assert plain.whole
    assert bank.whole
    assert bank.tokens.shape == (24, *plain.tokens.shape[1:])
    assert bank.rows is not None
    hidden = mean_hidden(backbone.body, bank.tokens, bank.mask, bank.grid)
    assert torch.allclose(hidden, bank.hidden[bank.rows], atol=1e-5)
    assert bank.token_labels().tolist() == bank.labels[bank.rows].tolist()
    counts = torch.bincount(bank.token_labels())
    assert (counts[counts > 0] >= 3).all()  # pairs to compare
    assert any(note.startswith("samples are whole: ") for note in origin.notes)


def test_whole_rows_of_many_classes_are_of_few_of_them() -> None:
    labels = np.repeat(np.arange(70), 10)
    rows = source.whole_rows(labels, 40)
    assert len(rows) == len(set(rows)) == 40
    counts = np.bincount(labels[rows], minlength=70)
    assert sorted(counts[counts > 0]) == [4] * 10
    assert counts[[0, 69]].tolist() == [4, 4]  # spread over the list of classes
    assert source.whole_rows(labels, 10**6).tolist() == list(range(700))
    assert len(source.whole_rows(labels, 1)) == 1


def test_padding_is_kept_only_for_want_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MOST_VALUES", 40 * 32 * 5)
    bank = source_bank(load_backbone("twin-bert"), rows=40, tokens=60)
    assert bank.tokens.shape == (40, 5, 32)
    assert bank.mask.all()  # every passage has twenty words


def test_images_are_normalised_as_transformers_does(tmp_path: Path) -> None:
    """The pixels a checkpoint's own image processor makes, from the same picture at the model's size."""
    folder = native.folder("vit", tmp_path)
    statistics = {"image_mean": [0.48, 0.45, 0.4], "image_std": [0.2, 0.25, 0.3]}
    processor = ViTImageProcessorPil(**statistics, size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    proxy = build(5, (32, 32))
    ours = native_inputs(load_backbone(str(folder)), proxy, tokens=0)["pixel_values"]
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in proxy.images]
    assert torch.allclose(ours, processor(pictures, return_tensors="pt")["pixel_values"], atol=1e-5)
    bare = load_backbone("twin-vit")
    assert native_inputs(bare, proxy, tokens=0)["pixel_values"].abs().max() <= 1


def test_grey_and_many_channels_and_waves() -> None:
    pictures = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey = normalised_images(pictures, Native("image", channels=1, mean=(0.0,), std=(1.0,)))
    assert torch.allclose(grey[:, 0], pictures.float().mean(1) / 255, atol=1e-6)
    six = normalised_images(pictures, Native("image", channels=6, mean=(0.5,) * 6, std=(0.5,) * 6))
    assert torch.equal(six[:, :3], six[:, 3:])
    waves = normalised_waves(3 + 5 * torch.rand(3, 999))
    assert torch.allclose(waves.mean(1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(waves.std(1, unbiased=False), torch.ones(3), atol=1e-4)


def test_large_bodies_see_fewer_rows() -> None:
    class Sized(Backbone):
        pass

    backbone = load_backbone("twin-vit")
    assert rows_for(backbone) == 2048
    counts = []
    for parameters in (22_000_000, 86_000_000, 300_000_000):
        info = backbone.info.__class__(**{**backbone.info.__dict__, "parameters": parameters})
        counts.append(rows_for(Sized(info, backbone.body, backbone.source, None)))
    assert counts[0] >= counts[1] >= counts[2] == 256


@pytest.mark.parametrize("family", ["bert", "vit", "swin", "wav2vec2"])
def test_without_a_proxy_the_bank_holds_typical_tokens(family: str) -> None:
    backbone = load_backbone(f"twin-{family}")
    bank, origin = source_bank_and_origin(backbone, "none")
    assert not bank.labelled
    assert origin.name is None
    points, labels = bank.token_points()
    assert (labels == -1).all()
    assert points.shape[1] == backbone.info.width
    # the scale the model is calibrated to is measured elsewhere, on other noise
    assert float(points.square().mean().sqrt()) == pytest.approx(backbone.token_rms(), rel=0.25)
    if family == "bert":
        table = backbone.source.weight
        assert torch.allclose(points.mean(0), table.mean(0), atol=1e-6)  # type: ignore[operator, arg-type]
        assert torch.allclose(points.std(0), table.std(0), atol=1e-6)  # type: ignore[operator, arg-type]


def test_noise_has_octaves_of_one_strength() -> None:
    """Power over octaves of frequency is even to a factor of three, where white noise doubles (waves) or quadruples."""
    generator = torch.Generator().manual_seed(0)
    image = noise(Native("image", channels=1, size=(64, 64)), 64, generator)[:, 0].double()
    wave = noise(Native("audio", rate=4096), 64, generator).double()
    assert torch.allclose(image.flatten(1).std(1), torch.ones(64).double(), atol=1e-4)
    power = torch.fft.fft2(image).abs().square().mean(0)
    at = torch.fft.fftfreq(64) * 64
    radius = (at[:, None] ** 2 + at[None] ** 2).sqrt()
    octaves = torch.stack([power[(radius >= low) & (radius < 2 * low)].sum() for low in (2, 4, 8)])
    assert octaves.max() / octaves.min() < 3
    power = torch.fft.rfft(wave).abs().square().mean(0)
    octaves = torch.stack([power[low : 2 * low].sum() for low in (8, 16, 32, 64, 128, 256)])
    assert octaves.max() / octaves.min() < 3


def test_typical_tokens_are_bounded_and_repeatable() -> None:
    backbone = load_backbone("twin-vit")
    few = typical_tokens(backbone, most=32 * 10)
    assert few.shape == (10, 32)
    assert torch.equal(few, typical_tokens(backbone, most=32 * 10))


def test_own_pictures_reach_the_bank(tmp_path: Path) -> None:
    images = build(60, (20, 24)).images
    np.savez(tmp_path / "own.npz", X=images, y=np.arange(60) % 3)
    bank, origin = source_bank_and_origin(load_backbone("twin-vit"), str(tmp_path / "own.npz"))
    assert bank.classes == ("0", "1", "2")
    assert bank.hidden.shape == (60, 32)
    assert any("resampled to 32x32" in note for note in origin.notes)
    json.dumps(origin.as_dict())
    # of the same pictures in another order nothing is taken from the cache
    other = make_image_proxy(images[::-1].copy(), np.arange(60) % 3, ("0", "1", "2"))
    assert other.digest != make_image_proxy(images, np.arange(60) % 3, ("0", "1", "2")).digest
