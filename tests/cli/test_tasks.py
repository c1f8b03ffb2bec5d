"""Benchmark tasks through the command line: fit, evaluate, predict, inspect, rank, list, and data of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosstune import benchmarks, discovery
from crosstune.cli import main

from . import support

SUITES = Path(__file__).parents[1] / "suites"


@pytest.fixture(scope="module", autouse=True)
def suites() -> Iterator[None]:
    """The tiny suite beside the shipped ones, as CROSSTUNE_SUITES would put it there."""
    benchmarks.__path__.append(str(SUITES))
    discovery.discover.cache_clear()
    yield
    benchmarks.__path__.remove(str(SUITES))
    discovery.discover.cache_clear()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    for task in ("waves", "shift"):
        assert main(["data", "generate", f"tiny/{task}", "-o", str(folder), "--n", "60"]) == 0
    return folder


@pytest.fixture(scope="module")
def waves(tiny: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    run = tmp_path_factory.mktemp("runs") / "waves"
    fit = ["fit", "tiny/waves", "--data", str(tiny), *support.TINY, "--controls", "none", "--out", str(run)]
    assert main(fit) == 0
    return run


def test_a_task_brings_its_split_metric_and_protocol(waves: Path, tiny: Path) -> None:
    record = support.record(waves)
    task = record["task"]
    assert (task["name"], task["protocol"], task["selected_on"]) == ("tiny/waves", "clean", "validation")
    assert (task["path"], task["limit"], task["metric"]) == (str(tiny), None, "error")
    assert task["rows"] == {"train": 36, "validation": 12, "test": 12}
    with np.load(waves / "split.npz") as saved:
        assert saved["test"].tolist() == list(range(48, 60))
    assert record["config"]["metric"]["origin"] == "task tiny/waves, protocol clean"
    assert {e["metric"] for e in record["scores"]} == {"error", "macro-f1"}
    assert {(e["split"], e["protocol"]) for e in record["scores"]} == {("validation", "clean")}
    assert {e["arm"] for e in record["scores"]} == {"recraft", "floor:majority", "floor:nearest"}


def test_the_report_names_the_protocol_and_the_further_metrics(waves: Path, capsys: Any) -> None:
    code, out, _ = support.call(capsys, "report", waves, "--json")
    assert code == 0
    said = json.loads(out)
    assert (said["protocol"], said["selected_on"]) == ("clean", "validation")
    assert {f["metric"] for f in said["further"]} == {"macro-f1"}
    html = (waves / "report.html").read_text()
    assert "Further figures on validation" in html
    assert "waves made by a formula" in html


def test_the_same_command_is_the_same_run_and_a_limit_makes_another(waves: Path, tiny: Path, capsys: Any) -> None:
    fit = ("fit", "tiny/waves", "--data", tiny, *support.TINY, "--controls", "none", "--out", waves)
    code, _, err = support.call(capsys, *fit)
    assert code == 0
    assert "holds this very run already" in err
    code, _, err = support.call(capsys, *fit, "--protocol", "shipped")
    assert code == 2
    assert "already holds another run" in err
    code, _, err = support.call(capsys, *fit, "--limit", "train=20")
    assert code == 2


def test_the_identity_follows_the_rows_and_not_their_place(
    waves: Path, tiny: Path, tmp_path: Path, capsys: Any
) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "waves.npz").write_bytes((tiny / "waves.npz").read_bytes())
    code, _, err = support.call(
        capsys, "fit", "tiny/waves", "--data", moved, *support.TINY, "--controls", "none", "--out", waves
    )
    assert code == 0, err
    assert "holds this very run already" in err


def test_a_shipped_protocol_says_that_it_selects_on_the_test_rows(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    code, out, err = support.call(
        capsys, "fit", "tiny/waves", "--data", tiny, "--protocol", "shipped", "--limit", "train=24", *support.TINY,
        "--controls", "none", "--out", run,
    )  # fmt: skip
    assert code == 0, err
    record = support.record(run)
    assert record["task"]["rows"] == {"train": 24, "validation": 12, "test": 12}
    assert record["task"]["limit"] == {"train": 24}
    assert {e["selected_on"] for e in record["scores"] if e["arm"] == "recraft"} == {"test"}
    assert {e["protocol"] for e in record["scores"]} == {"shipped"}
    assert any(f["code"] == "selected-on-test" for f in record["findings"])
    assert "selects the checkpoint on the test rows" in " ".join(out.split())
    assert "the validation rows themselves" in err
    assert "selects the checkpoint on the test rows" in (run / "report.html").read_text()
    from crosstune.report import read_run

    predictions = read_run(run).predictions("validation")
    assert {(p.protocol, p.selected_on) for p in predictions["recraft"].values()} == {("shipped", "test")}


def test_the_reference_method_takes_the_task_s_settings_unless_the_user_says_otherwise() -> None:
    from crosstune.experiment import Request
    from crosstune.experiment.binding import bind
    from crosstune.experiment.request import TaskChoice, origins

    choice = TaskChoice(name="tiny/waves", data=".")
    stages = lambda request: {s.name: s for s in bind(request, choice).resolved_method().stages}  # noqa: E731
    assert stages(Request(method="recraft-reference"))["align"].steps == 7
    assert stages(Request(method="recraft"))["align"].steps != 7
    mine = bind(Request(method="recraft-reference", settings={"align.steps": 9}), choice)
    assert stages(mine)["align"].steps == 9
    assert stages(mine)["fit"].batch_size == 4
    found = origins(mine, {})
    assert found["align.steps"]["origin"] == "flag --set"
    assert found["fit.batch_size"]["origin"] == "task tiny/waves"


@pytest.fixture(scope="module")
def shift(tiny: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    run = tmp_path_factory.mktemp("runs") / "shift"
    fit = ["fit", "tiny/shift", "--data", str(tiny), *support.TINY, "--floors", "auto", "--controls", "frozen"]
    assert main([*fit, "--out", str(run)]) == 0
    return run


def test_a_rollout_is_scored_for_every_model_before_and_after_the_seal(
    shift: Path, tiny: Path, tmp_path: Path, capsys: Any
) -> None:
    import shutil

    from crosstune.runs import load_model

    record = support.record(shift)
    assert [n for n in record["arms"] if n.startswith("floor")] == ["floor:copy-input", "floor:nearest"]
    rollouts = [e for e in record["scores"] if e["metric"] == "rollout rmse"]
    assert {(e["arm"], e["metric"], e["split"]) for e in rollouts} == {
        ("recraft", "rollout rmse", "validation"), ("frozen", "rollout rmse", "validation")
    }  # fmt: skip
    with np.load(tiny / "shift.npz") as saved:
        X = saved["X"][36:48]
    model = load_model(shift / "arms" / "recraft.s0")
    twice = model.predict(model.predict(X).astype("float32"))
    mine = next(e for e in rollouts if e["arm"] == "recraft")
    assert mine["value"] == pytest.approx(np.sqrt(np.mean((twice - np.roll(X, 2, axis=-1)) ** 2)), rel=1e-5)
    run = Path(shutil.copytree(shift, tmp_path / "run"))
    code, out, err = support.call(capsys, "reveal", run, "--json")
    assert code == 0, err
    assert {f["metric"] for f in json.loads(out)["further"]} == {"rollout rmse"}
    again = [e for e in support.record(run)["scores"] if e["metric"] == "rollout rmse"]
    assert {(e["arm"], e["split"]) for e in again} == {
        (arm, split) for arm in ("recraft", "frozen") for split in ("validation", "test")
    }


def test_a_rollout_without_its_files_says_so_and_ends_the_seal_all_the_same(
    shift: Path, tmp_path: Path, capsys: Any
) -> None:
    import shutil

    run = Path(shutil.copytree(shift, tmp_path / "run"))
    record = support.record(run)
    record["request"]["task"]["data"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(record))
    code, _, err = support.call(capsys, "reveal", run, "--json")
    assert code == 0, err
    assert "the task's own figures cannot be computed" in err
    entry = next(e for e in support.record(run)["scores"] if (e["split"], e["metric"]) == ("test", "own figures"))
    assert entry["value"] is None
    assert "shift.npz" in entry["note"]


def test_evaluate_and_predict_take_a_part_of_a_task(waves: Path, tiny: Path, tmp_path: Path, capsys: Any) -> None:
    code, out, _ = support.call(
        capsys, "evaluate", waves, "tiny/waves", "--data", tiny, "--part", "validation", "--json"
    )
    assert code == 0
    assert json.loads(out)["rows"] == 12
    code, _, err = support.call(capsys, "evaluate", waves, "tiny/waves", "--data", tiny)
    assert code == 2
    assert "sealed test rows" in err
    assert "crosstune reveal" in err
    code, _, err = support.call(capsys, "evaluate", waves, "tiny/waves", "--data", tiny, "--part", "tst")
    assert code == 2
    assert "did you mean 'test'" in err
    file = tmp_path / "p.npy"
    code, out, _ = support.call(capsys, "predict", waves, "tiny/waves", "--data", tiny, "-o", file, "--json")
    assert code == 0
    assert np.load(file).shape == (12, 2)


def test_inspect_shows_terms_traps_and_notes(tiny: Path, capsys: Any) -> None:
    code, out, _ = support.call(capsys, "inspect", "tiny/waves", "--data", tiny, "--protocol", "shipped")
    assert code == 0
    for words in (
        "48 train, 12 validation, 12 test",
        "protocol shipped",
        "the phase says nothing",
        "made by a formula",
    ):
        assert words in out
    code, out, _ = support.call(capsys, "inspect", "tiny/waves", "--data", tiny, "--json")
    said = json.loads(out)
    assert (code, said["metric"], said["parts"]["train"]) == (0, "error", 36)


def test_list_tasks(capsys: Any) -> None:
    code, out, _ = support.call(capsys, "list", "tasks", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["tiny/waves"]["generated"] == "synthetic"
    assert rows["tiny/shift"]["generated"] == "physics"
    assert rows["tiny/waves"]["protocols"]["shipped"]["selected_on"] == "test"


def test_rank_uses_the_training_part_of_a_task(tiny: Path, capsys: Any) -> None:
    code, out, err = support.call(capsys, "rank", "tiny/waves", "--data", tiny, "--backbones", "twin-bert", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"] == 36


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("fit", "tiny/wave", "--data", "DATA"), 2, "did you mean 'tiny/waves'"),
        (("fit", "tiny/waves"), 2, "--data was not given"),
        (("fit", "tiny/waves"), 2, "crosstune data generate tiny/waves -o PATH"),
        (("fit", "tiny/waves", "--data", "DATA", "--protocol", "shiped"), 2, "use one of: clean, shipped"),
        (("fit", "tiny/waves", "--data", "DATA", "--limit", "train=0"), 2, "--limit train=200"),
        (("fit", "tiny/waves", "--data", "DATA", "--target", "y", "--split", "random"), 2, "--target, --split"),
        (("fit", "tiny/waves", "--data", "NOWHERE"), 3, "there is nothing at"),
        (("fit", "tiny/waves", "--data", "EMPTY"), 3, "holds no waves.npz"),
        (("fit", "file.npz", "--protocol", "clean"), 2, "--protocol belongs to a task"),
        (("fit", "unknown/waves", "--data", "DATA"), 2, "unknown task"),
        (("inspect", "tiny/waves"), 2, "--data was not given"),
        (("data", "generate", "tiny/wavs", "-o", "EMPTY"), 2, "did you mean 'tiny/waves'"),
        (("data", "generate", "tiny/waves", "-o", "FILE"), 2, "is a file"),
        (("data", "verify", "EMPTY"), 3, "no task recognises"),
        (("data", "verify", "NOWHERE"), 3, "there is nothing at"),
    ],
)
def test_refusals(arguments: tuple[str, ...], code: int, words: str, tiny: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    places = {"DATA": tiny, "NOWHERE": tmp_path / "nowhere", "EMPTY": tmp_path / "empty", "FILE": tiny / "waves.npz"}
    before = sorted(tmp_path.rglob("*"))
    got, _, err = support.call(capsys, *(places.get(a, a) for a in arguments))
    assert got == code, err
    assert words in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_real_task_with_its_rollout(tmp_path: Path, capsys: Any) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    make = ("data", "generate", "pdebench/advection", "-o", data, "--n", "20", "--resolution", "64")
    assert support.call(capsys, *make)[0] == 0
    assert support.call(capsys, "data", "verify", data)[0] == 0
    code, out, err = support.call(
        capsys, "fit", "pdebench/advection", "--data", data, "--protocol", "official", "--limit", "train=64",
        "--method", "finetune", "--backbone", "twin-bert", "--budget", "1steps", "--floors", "none", "--controls",
        "none", "--threads", "1", "--out", run, "--json",
    )  # fmt: skip
    assert code == 0, err
    further = {f["metric"]: f["value"] for f in json.loads(out)["further"]}
    assert 0 < further["nRMSE"] < 10
    record = support.record(run)
    assert (record["task"]["protocol"], record["task"]["selected_on"]) == ("official", "test")
    assert record["task"]["rows"]["train"] == 64


def test_verify_says_what_is_missing_and_where_it_is(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    code, out, _ = support.call(capsys, "data", "verify", tiny)
    assert code == 0
    assert "tiny/waves  whole" in out
    assert "tiny/shift  whole" in out
    assert "?      origin: cannot be judged" in out
    (tmp_path / "half").mkdir()
    code, out, _ = support.call(capsys, "data", "verify", tmp_path / "half", "--task", "tiny/waves")
    assert code == 3
    assert "missing waves.npz, published nowhere" in out
    with np.load(tiny / "waves.npz") as saved:
        np.savez(tmp_path / "half" / "waves.npz", X=saved["X"], y=saved["y"][:-1])
    code, out, _ = support.call(capsys, "data", "verify", tmp_path / "half", "--json")
    said = json.loads(out)
    assert (code, said["ok"], said["tasks"][0]["checks"][0]["ok"]) == (3, False, False)


def test_generate_says_what_it_wrote_and_can_be_interrupted(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = support.call(
        capsys, "data", "generate", "tiny/waves", "-o", tmp_path, "--n", "10", "--seed", "3", "--json"
    )
    assert code == 0
    assert json.loads(out)["files"][0]["path"] == str(tmp_path / "waves.npz")
    with np.load(tmp_path / "waves.npz") as saved:
        assert len(saved["X"]) == 10
    monkeypatch.setenv("TINY_STOP", "1")
    code, _, err = support.call(capsys, "data", "generate", "tiny/waves", "-o", tmp_path)
    assert code == 130
    assert "the same command goes on" in err
