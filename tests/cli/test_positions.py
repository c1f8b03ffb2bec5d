"""Class maps and fields with gaps from a file to a finished run, and what the run is good for afterwards."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from crosstune.report import summarise

from . import support

SHORT = ("--backbone", "twin-bert", "--method", "no-align", "--controls", "none", "--floors", "majority",
         "--threads", "1", "--budget", "12steps")  # fmt: skip


@pytest.mark.parametrize("name", ["motifs", "masks"])
def test_class_maps_beat_the_majority_and_are_scored_predicted_and_revealed(
    name: str, tmp_path: Path, capsys: Any
) -> None:
    path, run = getattr(support, name)(tmp_path), tmp_path / "run"
    code, out, err = support.call(capsys, "fit", path, *SHORT, "--out", run)
    assert code == 0, err
    assert "segmentation" in out + err
    arms = {arm.arm: arm for arm in summarise(run).arms}
    assert arms["no-align"].value < 0.7 * arms["floor:majority"].value

    code, out, _ = support.call(capsys, "evaluate", run, path, "--json")
    scores = {score["metric"]: score for score in json.loads(out)["scores"]}
    assert {"pixel-error", "mean-iou", "pixel-macro-f1"} <= set(scores)
    assert ("1-auroc-pixels" in scores) == (name == "motifs")

    with np.load(path) as stored:
        X, y = stored["X"], stored["y"].astype(int)
    for ending in ("parquet", "npz", "csv", "npy"):
        assert support.call(capsys, "predict", run, path, "-o", tmp_path / f"p.{ending}")[0] == 0
    with np.load(tmp_path / "p.npz") as stored:
        maps = stored["label"]
        assert stored["prediction"].shape == (len(X), y.max() + 1, *X.shape[2:])
        np.testing.assert_array_equal(stored["prediction"], np.load(tmp_path / "p.npy"))
    assert maps.shape == y.shape
    assert maps.dtype == np.int64
    assert (maps != y)[y >= 0].mean() == pytest.approx(scores["pixel-error"]["value"])
    read = pq.read_table(tmp_path / "p.parquet")
    assert json.loads(read.schema.metadata[b"crosstune"])["field_shape"] == [y.max() + 1, *X.shape[2:]]
    np.testing.assert_array_equal(np.array(read["label"].to_pylist()).reshape(y.shape), maps)
    with open(tmp_path / "p.csv", newline="") as file:
        lines = list(csv.reader(file))
    np.testing.assert_array_equal(np.array(lines[1:], int)[:, 1:], maps.reshape(len(maps), -1))

    code, _, err = support.call(capsys, "reveal", run)
    assert code == 0, err
    assert summarise(run, split="test").arm("no-align").value < summarise(run, split="test").arm("floor:majority").value
    html = (run / "report.html").read_text()
    assert "intersection over union" in html
    assert "wrong" in html


def test_series_of_different_lengths_keep_theirs(tmp_path: Path, capsys: Any) -> None:
    path = support.motifs(tmp_path)
    with np.load(path) as stored:
        X, y = stored["X"], stored["y"]
    lengths = np.random.default_rng(0).integers(20, 41, len(X))
    np.savez(path, X=X, y=y, lengths=lengths)
    code, _, err = support.call(capsys, "fit", path, *SHORT, "--out", tmp_path / "run")
    assert code == 0, err
    arms = {arm.arm: arm for arm in summarise(tmp_path / "run").arms}
    assert arms["no-align"].value < 0.8 * arms["floor:majority"].value
    assert support.call(capsys, "predict", tmp_path / "run", path, "-o", tmp_path / "p.npz")[0] == 0
    with np.load(tmp_path / "p.npz") as stored:
        np.testing.assert_array_equal(stored["label"] == -1, np.arange(40) >= lengths[:, None])


def test_classes_keep_their_names_in_every_file(tmp_path: Path, capsys: Any) -> None:
    path = support.motifs(tmp_path)
    with np.load(path) as stored:
        X, y = stored["X"], np.array(["", "noise", "bump"])[stored["y"] + 1]
    np.savez(path, X=X, y=y)
    code, _, err = support.call(capsys, "fit", path, "--task", "segmentation", *SHORT, "--out", tmp_path / "run")
    assert code == 0, err
    assert support.call(capsys, "predict", tmp_path / "run", path, "-o", tmp_path / "p.npz")[0] == 0
    with np.load(tmp_path / "p.npz") as stored:
        assert set(np.unique(stored["label"])) == {"bump", "noise"}
        assert (stored["label"] == y)[y != ""].mean() > 0.9
    np.savez(path, X=X, y=np.where(y == "bump", "dip", y))
    code, _, err = support.call(capsys, "evaluate", tmp_path / "run", path)
    assert code == 3
    assert "holds 'dip', which the model was not trained on" in err


def test_fields_with_gaps_are_told_and_learnt(tmp_path: Path, capsys: Any) -> None:
    path, run = support.gappy(tmp_path), tmp_path / "run"
    code, out, _ = support.call(capsys, "inspect", path)
    assert code == 0
    with np.load(path) as stored:
        X, y = stored["X"], stored["y"]
    assert f"{np.isnan(y).sum():,} positions of the target" in out
    code, _, err = support.call(capsys, "fit", path, *SHORT, "--out", run)
    assert code == 0, err
    arms = {arm.arm: arm for arm in summarise(run).arms}
    assert arms["no-align"].value < 0.5 * arms["floor:majority"].value
    assert "points of the truth are unknown" in (run / "report.html").read_text()
    assert support.call(capsys, "reveal", run)[0] == 0
    code, out, _ = support.call(capsys, "evaluate", run, path, "--json")
    assert {s["metric"] for s in json.loads(out)["scores"]} >= {"nrmse-field", "rmse-field", "mae-field"}
    y[11] = np.nan
    np.savez(path, X=X, y=y)
    code, _, err = support.call(capsys, "fit", path, *SHORT, "--out", tmp_path / "other")
    assert code == 3
    assert "the target is missing everywhere in 1 of 60 rows: rows 11" in err
    assert not (tmp_path / "other").exists()
