"""Exit codes and messages: the value, the place, the next step; never a traceback for an error of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import support

USAGE = {
    "unknown flag": (("fit", "{digits}", "--budgt", "3m"), ["--budgt"]),
    "unknown verb": (("fot", "{digits}"), ["fot"]),
    "no data": (("fit",), ["data"]),
    "flag out of range": (("fit", "{digits}", "--threads", "0"), ["--threads"]),
    "unknown method": (("fit", "{digits}", "--method", "recrft"), ["recrft", "did you mean 'recraft'"]),
    "unknown control": (("fit", "{digits}", "--controls", "frozn"), ["frozn", "did you mean 'frozen'"]),
    "unknown floor": (("fit", "{digits}", "--floors", "linea"), ["linea", "did you mean 'linear'"]),
    "unknown metric": (("fit", "{digits}", "--metric", "acuracy"), ["acuracy", "accuracy"]),
    "metric of another kind": (("fit", "{digits}", "--metric", "rmse"), ["rmse", "classification"]),
    "unknown proxy": (("fit", "{digits}", "--proxy", "documentaton"), ["documentaton", "documentation"]),
    "proxy of another modality": (
        ("fit", "{digits}", "--backbone", "twin-vit", "--proxy", "sounds"), ["holds sounds", "shapes-and-textures"],
    ),
    "proxy that is no proxy": (("fit", "{digits}", "--proxy", "{digits}"), ["holds images", "pretrained on texts"]),
    "unknown split": (("fit", "{digits}", "--split", "fair"), ["fair", "stratified"]),
    "unknown task": (("fit", "{digits}", "--task", "classify"), ["classify", "classification"]),
    "unknown loss": (("fit", "{digits}", "--loss", "crossentropy"), ["crossentropy", "did you mean 'cross-entropy'"]),
    "loss of another kind": (("fit", "{digits}", "--loss", "mse"), ["mse", "classification", "cross-entropy, focal"]),
    "unknown trainable": (("fit", "{digits}", "--set", "fit.trainable=lorra"), ["lorra", "did you mean 'lora'"]),
    "a setting that nothing reads": (("fit", "{digits}", "--set", "fit.momentum=0.9"), ["momentum", "optimiser=sgd"]),
    "no such device": (("fit", "{digits}", "--device", "cuda:99"), ["cuda:99", "this torch finds"]),
    "no device at all": (("fit", "{digits}", "--device", "gpu"), ["device", "gpu"]),
    "no budget": (("fit", "{digits}", "--budget", "soon"), ["soon", "--budget 4m"]),
    "budget of nothing": (("fit", "{digits}", "--budget", "0s"), ["0s"]),
    "no interval": (("fit", "{digits}", "--checkpoint-every", "often"), ["often", "--checkpoint-every 15s"]),
    "no seeds": (("fit", "{digits}", "--seeds", "0"), ["--seeds"]),
    "a seed twice": (("fit", "{digits}", "--seeds", "4,4"), ["twice"]),
    "fractions": (("fit", "{digits}", "--fractions", "0.9,0.3,0.2"), ["sum to 1"]),
    "two settings without a value": (
        ("fit", "{digits}", "--set", "align.steps", "--set", "fit.patience"), ["align.steps", "fit.patience"],
    ),
    "three bad settings": (
        ("fit", "{digits}", "--set", "align.stepz=3", "--set", "fit.patience=long", "--set", "nothing=1"),
        ["align.stepz", "did you mean 'steps'", "fit.patience", "nothing"],
    ),
    "unknown list": (("list", "method"), ["method", "did you mean 'methods'"]),
    "no run": (("resume", "{digits}x"), ["not a run folder"]),
    "errors that are no numbers": (
        ("rank", "{digits}", "--errors", "minilm=low", "--errors", "x"), ["minilm=low", "--errors x"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", USAGE)
def test_usage_is_refused_with_2_before_anything_is_written(
    name: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    arguments, needles = USAGE[name]
    monkeypatch.chdir(tmp_path)
    given = [a.format(digits=files / "digits.npz") for a in arguments]
    code, out, err = support.call(capsys, *given)
    assert code == 2, err
    assert out == ""
    for needle in needles:
        assert needle in err
    assert "Traceback" not in err
    code, out, _ = support.call(capsys, *given, "--json")
    assert code == 2
    problem = json.loads(out)
    assert problem["exit_code"] == 2
    for needle in needles:
        assert needle in problem["problem"] + str(problem["fix"])
    assert list(tmp_path.iterdir()) == []


def written(folder: Path, name: str, **arrays: np.ndarray) -> Path:
    np.savez(folder / f"{name}.npz", **arrays)
    return folder / f"{name}.npz"


def test_data_are_refused_with_3_and_the_flag_that_accepts(tmp_path: Path, capsys: Any) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.standard_normal((60, 1, 16)).astype(np.float32)
    twice = X.copy()
    twice[30:] = twice[:30]
    groups = np.repeat([0, 1, 2, 3, 4, 5], 10)
    table = np.column_stack([rng.standard_normal((60, 3)), y]).astype(np.float32)
    cases = {
        "constant": written(tmp_path, "constant", X=np.zeros((60, 1, 16), np.float32), y=y),
        "leak": written(tmp_path, "leak", X=table, y=y),
    }
    for path in cases.values():
        code, out, err = support.call(capsys, "fit", path, *support.TINY, "--out", tmp_path / "run", "--json")
        assert code == 3, err
        problem = json.loads(out)
        assert "accept" in problem["fix"]
        assert "Traceback" not in err
        assert not (tmp_path / "run").exists()
        # inspect says the same, and exits the same
        code, out, _ = support.call(capsys, "inspect", path, "--json")
        assert code == 3
        refused = [f for f in json.loads(out)["findings"] if f["severity"] == "refuse"]
        assert refused
        for finding in refused:
            assert finding["message"] in problem["problem"]
            assert finding["accept"] in problem["fix"]
        flags = [part for f in refused for part in f["accept"].split()]
        code, _, err = support.call(capsys, "inspect", path, *flags)
        assert code == 0, err
    # the same rows in two groups: whatever the split, one of them tells the other
    pairs = written(tmp_path, "pairs", X=twice, y=np.tile(y[:30], 2), groups=groups)
    code, out, err = support.call(capsys, "inspect", pairs, "--groups", "groups", "--json")
    assert code == 3, err
    assert any("duplicate" in f["message"] for f in json.loads(out)["findings"] if f["severity"] == "refuse")


def test_accepted_findings_are_in_the_record(tmp_path: Path, capsys: Any) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = np.column_stack([rng.standard_normal((60, 3)), y]).astype(np.float32)
    path = written(tmp_path, "leak", X=X, y=y)
    code, out, _ = support.call(capsys, "fit", path, *support.TINY, "--out", tmp_path / "run", "--json")
    assert code == 3
    fix = json.loads(out)["fix"]
    flags = fix[fix.index("--accept") :].split()
    code, _, err = support.call(
        capsys, "fit", path, "--backbone", "twin-bert", "--method", "finetune", "--budget", "2steps", "--floors",
        "none", "--controls", "none", *flags, "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    record = support.record(tmp_path / "run")
    assert record["request"]["accept"]
    assert record["config"]["accept"]["origin"] == "flag --accept"
    assert any(f["accept"] for f in record["findings"])


def test_data_that_are_not_there(files: Path, tmp_path: Path, capsys: Any) -> None:
    code, _, err = support.call(capsys, "fit", tmp_path / "nope.npz", *support.TINY)
    assert code == 3
    assert "nope.npz" in err
    code, _, err = support.call(capsys, "fit", files, *support.TINY)
    assert code == 3
    assert "is a folder" in err
    assert "digits.npz" in err
    (tmp_path / "text.npz").write_text("not an archive")
    code, _, err = support.call(capsys, "inspect", tmp_path / "text.npz")
    assert code == 3
    assert "text.npz" in err
    code, _, err = support.call(capsys, "fit", files / "cancer.csv", *support.TINY, "--out", tmp_path / "r")
    assert code == 3
    assert "--target" in err
    code, _, err = support.call(capsys, "fit", files / "cancer.csv", *support.TINY, "--target", "diagnosi")
    assert code == 3
    assert "diagnosis" in err


def test_weights_that_are_not_there(files: Path, tmp_path: Path, capsys: Any) -> None:
    small = [a if a != "twin-bert" else "{backbone}" for a in support.TINY]
    for name in ("twin-brt", str(tmp_path / "no-such-model")):
        run = tmp_path / f"run-{Path(name).name}"
        flags = [name if a == "{backbone}" else a for a in small]
        code, out, err = support.call(capsys, "fit", files / "digits.npz", *flags, "--out", run, "--json")
        assert code == 4, err
        problem = json.loads(out)
        assert problem["error"] == "WeightsError"
        assert Path(name).name in problem["problem"]
        assert problem["fix"]
        assert "Traceback" not in err


def test_a_budget_that_leaves_no_time(files: Path, tmp_path: Path, capsys: Any) -> None:
    flags = [a if a != "6steps" else "1s" for a in support.TINY]
    code, out, err = support.call(capsys, "fit", files / "digits.npz", *flags, "--out", tmp_path / "run", "--json")
    assert code == 5, err
    problem = json.loads(out)
    assert problem["error"] == "BudgetError"
    assert "--budget" in problem["fix"]
    assert support.record(tmp_path / "run")["status"] == "failed"
    code, _, err = support.call(capsys, "predict", tmp_path / "run", files / "digits.npz", "-o", tmp_path / "p.npy")
    assert code == 2
    assert "crosstune resume" in err


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """`crosstune list metrics | true`: the pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        support.command("list", "metrics"), stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 0


def test_ctrl_c_before_a_run_has_begun(capsys: Any, monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    def stop(*unused: Any, **also_unused: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crosstune.cli.common.read_data", stop)
    code, out, err = support.call(capsys, "inspect", files / "digits.npz")
    assert code == 130
    assert out == ""
    assert err == "crosstune: interrupted\n"


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom crosstune.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = [m for m in ('torch', 'numpy', 'transformers', 'scipy', 'sklearn', 'pyarrow') if m in sys.modules]\n"
        "print(code, heavy, file=sys.stderr)\n"
    )
    for arguments in (["--help"], ["fit", "--help"], ["demo", "--help"], ["--version"]):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert done.stderr == "0 []\n"
        assert "crosstune" in done.stdout
