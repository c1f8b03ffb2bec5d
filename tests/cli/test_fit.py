"""`crosstune fit`: what it prints, what it writes, what it refuses, and that nothing is done twice."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from crosstune.metrics import get_metric
from crosstune.runs import load_model

from . import support

CASES = {
    # maker, further flags, kind, sample shape
    "cancer": (support.cancer, ("--target", "diagnosis"), "classification", [9]),
    "ragged": (support.ragged, (), "classification", [3, 48]),
    "operator": (support.operator, (), "dense", [1, 32]),
    "field": (support.field, (), "dense", [1, 8, 8]),
    "motifs": (support.motifs, (), "segmentation", [1, 40]),
    "diabetes": (support.diabetes, (), "regression", [10]),
    "multilabel": (support.multilabel, (), "multilabel", [1, 30]),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_data_becomes_a_model(name: str, tmp_path: Path, capsys: Any) -> None:
    make, flags, kind, shape = CASES[name]
    path, run = make(tmp_path), tmp_path / "run"
    code, out, err = support.call(
        capsys, "fit", path, *support.TINY, *flags, "--controls", "no-align", "--out", run, "--json"
    )
    assert code == 0, err
    result = json.loads(out)  # stdout holds JSON and nothing else
    assert "data " in err
    record = support.record(run)
    assert record["task"]["kind"] == result["kind"] == kind
    assert record["task"]["shape"] == shape
    arms = {arm["arm"]: arm for arm in result["arms"]}
    assert set(arms) >= {"recraft", "no-align", "floor:majority", "floor:nearest"}
    for arm in ("recraft", "no-align", "floor:majority"):
        assert arms[arm]["low"] <= arms[arm]["value"] <= arms[arm]["high"]
    assert result["verdict"]
    assert {b["stage"] for b in result["bound"]} == {"before", "after-align", "after-fit"}
    assert "Traceback" not in err
    # the scores are those of the stored predictions
    check_scores(run, arms, record)
    # and the model makes these predictions again from its folder alone
    stored = table(run, "recraft")
    model = load_model(run)
    from crosstune.runs import RunFolder

    again = model.predict_canonical(RunFolder(run).part("validation"))
    np.testing.assert_allclose(again.reshape(len(again), -1), stored["prediction"], rtol=2e-5, atol=2e-5)


def table(run: Path, arm: str, split: str = "validation", seed: int = 0) -> dict[str, np.ndarray]:
    """Target and prediction of a stored file, flat per row."""
    read = pq.read_table(run / "predictions" / f"{split}.{arm.replace(':', '-')}.s{seed}.parquet")
    columns = read.column_names
    if "prediction" in columns:
        stack = {c: np.stack([np.asarray(v) for v in read[c].to_pylist()]) for c in ("target", "prediction")}
        return {**stack, "row": read["row"].to_numpy()}
    names = [c for c in columns if c[0] == "p" and c.lstrip("pred").isdigit()]
    targets = [c for c in columns if c.startswith("target")]
    target = np.column_stack([read[c].to_numpy() for c in targets])
    return {
        "row": read["row"].to_numpy(),
        "target": target[:, 0] if targets == ["target"] else target,
        "prediction": np.column_stack([read[c].to_numpy() for c in names]),
    }


def check_scores(run: Path, arms: dict[str, Any], record: dict[str, Any]) -> None:
    metric = get_metric(record["task"]["metric"])
    for arm in ("recraft", "floor:majority"):
        stored = table(run, arm)
        target, prediction = stored["target"], stored["prediction"]
        shape = record["task"]["shape"]
        if record["task"]["kind"] == "dense":
            target, prediction = (a.reshape(len(a), *shape).astype(float) for a in (target, prediction))
        elif record["task"]["kind"] == "segmentation":
            target = target.reshape(len(target), *shape[1:])
            prediction = prediction.reshape(len(target), len(record["task"]["classes"]), *shape[1:])
        assert metric.score(prediction.astype(float), target) == pytest.approx(arms[arm]["value"], rel=1e-6)


def test_several_seeds_give_several_predictions_and_one_model(finished: Path) -> None:
    record = support.record(finished)
    assert record["seeds"] == [0, 1]
    metric = get_metric(record["task"]["metric"])
    errors = {}
    for seed in (0, 1):
        stored = table(finished, "recraft", seed=seed)
        errors[seed] = metric.error(metric.score(stored["prediction"], stored["target"].astype(int)))
    assert not np.array_equal(table(finished, "recraft", seed=0)["prediction"],
                              table(finished, "recraft", seed=1)["prediction"])  # fmt: skip
    assert record["arms"]["recraft"]["done_seeds"] == [0, 1]
    best = min(errors, key=lambda s: (errors[s], s))
    assert record["exported"] == {"arm": "recraft", "seed": best, "error": pytest.approx(errors[best])}
    config = json.loads((finished / "model" / "config.json").read_text())
    assert config["provenance"]["seed"] == best
    exported = (finished / "model" / "model.safetensors").read_bytes()
    assert exported == (finished / "arms" / f"recraft.s{best}" / "model.safetensors").read_bytes()
    assert exported != (finished / "arms" / f"recraft.s{1 - best}" / "model.safetensors").read_bytes()


def test_the_record_and_the_events_follow_the_schema(finished: Path) -> None:
    record = support.record(finished)
    assert record["schema"] == 1
    assert record["status"] == "complete"
    assert record["finished"] >= record["created"]
    assert record["command"]
    assert set(record["task"]) >= {"name", "kind", "metric", "direction", "classes", "shape", "modality", "rows",
                                   "split", "protocol", "target_names", "columns"}  # fmt: skip
    assert record["task"]["rows"] == {"train": 144, "validation": 48, "test": 48}
    assert set(record["data"]) >= {"path", "format", "sha256", "bytes", "key"}
    assert len(record["data"]["sha256"]) == 64
    assert record["backbone"]["name"] == "twin-bert"
    assert [s["name"] for s in record["method"]["stages"]] == ["source_head", "align", "fit"]
    assert record["budget"]["steps"] == 6
    assert set(record["budget"]["parts"]) == {"recraft", "no-align", "frozen", "scratch", "total"}
    assert record["reveals"] == []
    assert set(record["versions"]) >= {"python", "torch", "numpy"}
    assert set(record["hardware"]) >= {"platform", "cpu", "cores", "threads", "device"}
    roles = {name: arm["role"] for name, arm in record["arms"].items()}
    assert roles == {"recraft": "method", "no-align": "control", "frozen": "control", "scratch": "control",
                     "floor:majority": "floor", "floor:nearest": "floor"}  # fmt: skip
    for name, arm in record["arms"].items():
        assert arm["seconds"] >= 0
        if roles[name] == "floor":
            assert arm["status"] == "ok"
        else:
            assert arm["steps"] == 6
            assert 0 < arm["parameters"]["trained"] <= arm["parameters"]["total"]
    assert record["arms"]["frozen"]["parameters"]["trained"] < record["arms"]["scratch"]["parameters"]["trained"]

    found = support.events(finished)
    assert [json.loads(line) for line in (finished / "events.jsonl").read_text().splitlines()] == found
    assert all(e["t"] >= 0 and e["kind"] for e in found)
    for arm in ("recraft", "no-align", "frozen", "scratch"):
        for seed in (0, 1):
            own = [e for e in found if e.get("arm") == arm and e.get("seed") == seed]
            fitting = [e["step"] for e in own if e["kind"] == "step" and e["stage"] == "fit"]
            assert fitting == [1, 2, 3, 4, 5, 6]
            aligned = any(e["kind"] == "step" and e["stage"] == "align" for e in own)
            assert aligned == (arm == "recraft")
            assert sum(e["kind"] == "arm" for e in own) == 1
    for bound in (e for e in found if e["kind"] == "bound"):
        terms = bound["terms"]
        assert set(terms) >= {"err_s", "tau", "w1", "alignment", "distortion", "neg_leep", "bound", "spread_ratio"}
        assert ("err_t" in terms and terms["err_t"] is not None) == (bound["stage"] == "after-fit")
        parts = sum(terms[k]["value"] for k in ("err_s", "alignment", "distortion"))
        assert terms["bound"]["value"] == pytest.approx(parts, rel=1e-6)
    assert not list(finished.glob("predictions/test.*"))
    split = np.load(finished / "split.npz")
    rows = np.concatenate([split[p] for p in ("train", "validation", "test")])
    assert sorted(rows) == list(range(240))
    np.testing.assert_array_equal(table(finished, "frozen")["row"], split["validation"])
    for name in ("report.html", "model/config.json", "model/README.md", "diagnostics/alignment.recraft.s0.npz"):
        assert (finished / name).exists()
    assert not (finished / "checkpoints").exists()
    assert not list(finished.rglob(".*"))


def test_the_config_says_where_every_value_comes_from(files: Path, finished: Path) -> None:
    config = support.record(finished)["config"]
    origin = {key: entry["origin"] for key, entry in config.items()}
    assert origin["backbone"] == "flag --backbone"
    assert origin["budget"] == "flag --budget"
    assert origin["seeds"] == "flag --seeds"
    assert origin["threads"] == "flag --threads"
    assert origin["align.steps"] == "flag --set"
    assert origin["align.learning_rate"] == "method recraft"
    assert origin["method"] == origin["proxy"] == "default"
    assert config["metric"] == {"value": "error", "origin": "inferred"}
    assert config["task"] == {"value": "classification", "origin": "inferred"}
    assert config["align.steps"]["value"] == 3


def test_the_same_command_does_nothing_twice(files: Path, finished: Path, capsys: Any) -> None:
    before = support.stamps(finished)
    first = ("fit", files / "digits.npz", *support.TINY, "--seeds", "2", "--out", finished)
    code, out, err = support.call(capsys, *first, "--json")
    assert code == 0
    assert "nothing to do" in err
    assert json.loads(out)["status"] == "complete"
    code, out, _ = support.call(capsys, "resume", finished)
    assert code == 0
    assert "report.html" in out
    # how often the state is kept decides nothing
    assert support.call(capsys, *first, "--checkpoint-every", "1m")[0] == 0
    assert support.stamps(finished) == before


def test_a_report_that_a_kill_prevented_is_made_by_the_next_command(run: Path, capsys: Any) -> None:
    (run / "report.html").unlink()
    (run / "model" / "README.md").unlink()
    assert support.call(capsys, "resume", run)[0] == 0
    assert (run / "report.html").exists()
    assert (run / "model" / "README.md").exists()


def test_other_settings_need_overwrite(files: Path, run: Path, capsys: Any) -> None:
    before = support.stamps(run)
    other = ("fit", files / "digits.npz", *support.TINY, "--controls", "none", "--split-seed", "1", "--out", run)
    code, out, err = support.call(capsys, *other, "--json")
    assert code == 2
    problem = json.loads(out)
    assert problem["error"] == "RunError"
    assert "--overwrite" in problem["fix"]
    assert "holds another run" in err
    assert support.stamps(run) == before
    # data that are refused do not cost the old run either
    bad = run.parent / "bad.npz"
    np.savez(bad, X=np.zeros((40, 1, 8), np.float32), y=np.arange(40) % 2)
    code, _, err = support.call(capsys, "fit", bad, *support.TINY, "--out", run, "--overwrite")
    assert code == 3, err
    assert support.stamps(run) == before
    assert support.call(capsys, *other, "--overwrite")[0] == 0
    assert support.record(run)["task"]["split"]["seed"] == 1
    assert not (run / "predictions" / "validation.scratch.s0.parquet").exists()


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_folder_that_is_no_run_is_left_alone(
    files: Path, tmp_path: Path, capsys: Any, overwrite: tuple[str, ...]
) -> None:
    precious = tmp_path / "thesis"
    (precious / "data").mkdir(parents=True)
    (precious / "data" / "chapter.txt").write_text("irreplaceable")
    before = support.stamps(precious)
    code, _, err = support.call(
        capsys, "fit", files / "digits.npz", *support.TINY, "--out", precious, *overwrite
    )  # fmt: skip
    assert code == 2
    assert str(precious) in err
    assert "choose another --out" in err
    assert support.stamps(precious) == before


def test_out_may_not_lead_to_or_through_a_file(files: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("here")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        code, _, err = support.call(capsys, "fit", files / "digits.npz", *support.TINY, "--out", out)
        assert code == 2
        assert "Traceback" not in err
        assert "--out" in err
    assert (tmp_path / "file").read_text() == "here"


def test_an_out_that_cannot_be_written(files: Path, tmp_path: Path, capsys: Any) -> None:
    # a file system that takes no folders, whoever asks; permissions do not bind every user who runs the tests
    out = "/proc/crosstune/run"
    code, stdout, _ = support.call(capsys, "fit", files / "digits.npz", *support.TINY, "--out", out, "--json")
    assert code == 2
    assert json.loads(stdout)["problem"].startswith(f"cannot write the run folder '{out}'")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_parent_without_permission(files: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    code, _, err = support.call(capsys, "fit", files / "digits.npz", *support.TINY, "--out", tmp_path / "locked" / "r")
    assert code == 2
    assert "no permission" in err
    assert list((tmp_path / "locked").iterdir()) == []


def limited(nbytes: int) -> Any:
    """In the child: no file may grow beyond this, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, nbytes))


def test_a_disk_that_is_full_at_the_start_leaves_nothing(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "r"
    done = subprocess.run(
        support.command("fit", files / "digits.npz", *support.TINY, "--out", out), env=support.environment(),
        capture_output=True, text=True, check=False, preexec_fn=limited(20_000),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "full disk" in done.stderr
    assert not out.exists()


def test_a_disk_that_fills_up_costs_nothing_that_was_kept(
    files: Path, finished: Path, tmp_path: Path, capsys: Any
) -> None:
    """The data fit, a checkpoint does not: the run fails with the way on, and goes on when there is room."""
    out = tmp_path / "r"
    fit = ("fit", files / "digits.npz", *support.TINY, "--controls", "none", "--out", out)
    done = subprocess.run(
        support.command(*fit, "--json"), env=support.environment(), capture_output=True, text=True, check=False,
        preexec_fn=limited(90_000),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert f"crosstune resume {out}" in json.loads(done.stdout)["fix"]
    assert support.record(out)["status"] == "failed"
    assert not list(out.rglob(".*"))
    code, _, err = support.call(capsys, "resume", out, "--json")
    assert code == 0, err
    assert (
        support.contents(out)["arms/recraft.s0/model.safetensors"]
        == (support.contents(finished)["arms/recraft.s0/model.safetensors"])
    )


def test_a_preparation_that_was_killed_is_begun_again(files: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "r"
    (out / "data").mkdir(parents=True)
    (out / "data" / "train.npz").write_bytes(b"half")
    (out / ".split.npz.x1y2.tmp").write_bytes(b"half")
    (out / ".lock").write_text("process 1 on elsewhere")
    code, said, err = support.call(
        capsys, "fit", files / "digits.npz", *support.TINY, "--controls", "none", "--out", out
    )  # fmt: skip
    assert code == 0, err
    assert not list(out.rglob(".*"))
    # progress goes to stderr, the summary to stdout
    assert "floor    most frequent class" in err
    assert "bound    before" in err
    assert "split  144 train, 48 validation, 48 test (sealed)" in err
    assert "recraft" in said
    assert f"report  {out / 'report.html'}" in said
    assert "loading backbone" not in said


def test_without_out_the_folder_is_named_after_data_method_and_content(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    fit = ("fit", files / "digits.npz", *support.TINY, "--controls", "none", "--method", "finetune")
    fit = tuple(f for f in fit if "align." not in str(f) and "source_head." not in str(f) and f != "--set")
    assert support.call(capsys, *fit)[0] == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name.startswith("digits-finetune-")
    before = support.stamps(made)
    assert support.call(capsys, *fit)[0] == 0
    assert support.stamps(made) == before
    # no stage 1: no bound, no alignment, and nothing says otherwise
    assert not [e for e in support.events(made) if e["kind"] == "bound"]
