"""The verbs that only look: inspect, list, doctor, rank, and the help of them all."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from . import support

VERBS = ("inspect", "fit", "predict", "evaluate", "report", "resume", "reveal", "rank", "pretrain", "list", "doctor",
         "demo")  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: Any) -> None:
    code, out, err = support.call(capsys, verb, "--help")
    assert code == 0
    assert err == ""
    assert f"crosstune {verb}" in out
    assert "--json" in out


def test_help_names_every_verb_and_version_is_the_package_s(capsys: Any) -> None:
    import crosstune

    code, out, _ = support.call(capsys, "--help")
    assert code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in out
    assert support.call(capsys, "--version") == (0, f"crosstune {crosstune.__version__}\n", "")


def test_inspect_says_what_is_there_and_what_would_be_done(files: Path, capsys: Any) -> None:
    code, out, _ = support.call(capsys, "inspect", files / "digits.npz")
    assert code == 0
    assert "240 rows of grid 1x8x8" in out
    assert "classification" in out
    assert "plan " in out
    code, out, err = support.call(capsys, "inspect", files / "cancer.csv", "--target", "diagnosis", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["kind"] == "classification"
    assert set(found["classes"]) == {"benign", "malignant"}
    assert sum(found["classes"].values()) == 200
    assert found["missing"] == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("what", ["methods", "backbones", "tasks", "kinds", "metrics", "floors", "proxies"])
def test_list(what: str, capsys: Any) -> None:
    code, out, _ = support.call(capsys, "list", what, "--json")
    assert code == 0
    rows = json.loads(out)
    assert all(row["name"] and row["summary"] for row in rows)
    code, text, _ = support.call(capsys, "list", what)
    assert code == 0
    assert len(text.splitlines()) == len(rows)
    names = [row["name"] for row in rows]
    for expected in {
        "methods": ["recraft", "recraft-reference", "finetune", "frozen", "scratch"],
        "backbones": ["minilm", "twin-FAMILY"],
        "tasks": [],
        "kinds": ["classification", "multilabel", "regression", "dense"],
        "metrics": ["error", "rmse"],
        "floors": ["majority", "nearest", "linear", "boosting"],
        "proxies": ["documentation", "shapes-and-textures", "sounds", "cifar10", "PATH", "none"],
    }[what]:
        assert expected in names
    if what == "proxies":
        assert {row["name"]: row["modality"] for row in rows if row["default"]} == {
            "documentation": "text", "shapes-and-textures": "image", "sounds": "audio", "formula-series": "series"
        }  # fmt: skip
        assert all(row["license"] and row["size"] for row in rows[:-2])
    if what == "methods":
        stages = {row["name"]: [s["name"] for s in row["stages"]] for row in rows}
        assert stages["recraft"] == ["source_head", "align", "fit"]
        assert stages["finetune"] == ["fit"]


def test_doctor(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from crosstune import backbones
    from crosstune.errors import WeightsError

    def none(name: str) -> None:
        raise WeightsError(f"no weights for {name!r}", fix="install them")

    monkeypatch.setattr(backbones, "load_backbone", none)
    code, out, _ = support.call(capsys, "doctor", "--json")
    checks = {row["name"]: row for row in json.loads(out)}
    assert code == 4
    assert not checks["weights minilm"]["ok"]
    assert checks["weights minilm"]["fix"] == "install them"
    assert checks["cache"]["ok"]
    assert checks["versions"]["ok"]
    monkeypatch.undo()
    code, out, _ = support.call(capsys, "doctor")
    assert "ok      weights" in out
    assert code == 0


def test_rank_minilm_against_its_random_twin(files: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from crosstune.backbones import load_backbone
    from crosstune.errors import WeightsError
    from crosstune.experiment import bounding
    from crosstune.experiment.source import source_bank

    # fewer passages than usual: the body of minilm reads every one of them
    monkeypatch.setattr(bounding, "source_bank", partial(source_bank, rows=240, tokens=16))

    try:
        load_backbone("minilm")
    except WeightsError:
        pytest.skip("the weights of minilm are not installed")
    code, out, err = support.call(capsys, "rank", files / "digits.npz", "--backbones", "minilm,twin-bert", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert {b["name"] for b in result["backbones"]} == {"minilm", "twin-bert"}
    assert result["backbones"] == sorted(result["backbones"], key=lambda b: b["bound"])
    assert result["correlation"] == {}
    for entry in result["backbones"]:
        assert entry["bound"] == pytest.approx(entry["err_s"] + entry["alignment"] + entry["distortion"], rel=1e-6)
        assert entry["h_score"] > 0
        assert entry["neg_leep"] > 0
        assert entry["intervals"]["bound"][0] <= entry["bound"]


def test_rank_prints_a_table(files: Path, capsys: Any) -> None:
    code, out, err = support.call(capsys, "rank", files / "digits.npz", "--backbones", "twin-bert")
    assert code == 0, err
    assert out.splitlines()[0].split() == [
        "backbone", "bound", "err_s", "tau*W1", "H(z'|z)", "-LEEP", "LogME", "H-score",
    ]  # fmt: skip
    assert out.splitlines()[1].startswith("twin-bert")


def test_the_module_is_the_command_and_hands_over_its_exit_code() -> None:
    for arguments, expected in ((["list", "floors", "--json"], 0), (["list", "nothing-of-the-kind"], 2)):
        found = subprocess.run(
            [sys.executable, "-m", "crosstune", *arguments], capture_output=True, text=True, check=False
        )
        assert found.returncode == expected, found.stderr
    assert "Traceback" not in found.stderr
