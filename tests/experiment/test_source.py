"""The source bank: balanced, cached, and never trusted blindly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from crosstune.backbones import load_backbone
from crosstune.errors import UsageError
from crosstune.experiment.source import _balanced, cache_folder, source_bank


def test_classes_take_turns() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 20)
    rows = _balanced(labels, 12)
    assert np.bincount(labels[rows]).tolist() == [5, 3, 4]
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(_balanced(labels, 1000), np.arange(73))
    # each class gives its first rows
    np.testing.assert_array_equal(rows[labels[rows] == 0], np.arange(5))


def test_features_come_from_the_cache_and_a_damaged_one_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    backbone = load_backbone("twin-bert")
    first = source_bank(backbone, "documentation", passages=64, tokens=8)
    assert first.tokens.shape == (64, 8, 32)
    assert first.hidden.shape == (64, 32)
    monkeypatch.setattr("crosstune.experiment.source.mean_hidden", None)  # must not be needed
    again = source_bank(backbone, "documentation", passages=64, tokens=8)
    assert torch.equal(first.hidden, again.hidden)
    monkeypatch.undo()
    found = {p: p.read_bytes() for p in (cache / "features").iterdir()}
    for path in found:
        path.write_bytes(b"damaged")
    assert torch.equal(source_bank(backbone, "documentation", passages=64, tokens=8).hidden, first.hidden)
    for path, content in found.items():
        path.write_bytes(content)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*unused: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crosstune.experiment.source.write_bytes", full)
    backbone = load_backbone("twin-bert", seed=3)
    assert source_bank(backbone, "documentation", passages=16, tokens=4).hidden.shape == (16, 32)


def test_another_body_has_other_features() -> None:
    one, two = (
        source_bank(load_backbone("twin-bert", seed=s), "documentation", passages=16, tokens=4).hidden for s in (0, 1)
    )
    assert not torch.equal(one, two)


def test_an_unknown_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="documentation"):
        source_bank(load_backbone("twin-bert"), "wikipedia")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CROSSTUNE_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("CROSSTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "b" / "crosstune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c" / ".cache" / "crosstune"
