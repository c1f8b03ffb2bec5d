"""What a finished run is good for, from its folder alone: moved elsewhere, the data it was made from gone."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from crosstune.data import load_dataset
from crosstune.metrics import get_metric
from crosstune.runs import load_model

from . import support
from .test_fit import table


@pytest.fixture
def rows(run: Path, tmp_path: Path) -> Path:
    """The validation rows as a file of a user's."""
    part = load_dataset(run / "data" / "validation.npz")
    names = np.asarray(part.classes)[part.y]
    np.savez(tmp_path / "rows.npz", X=part.X, y=names)
    return tmp_path / "rows.npz"


def test_a_moved_run_predicts_in_a_new_process_without_its_data(
    finished: Path, run: Path, rows: Path, tmp_path: Path
) -> None:
    shutil.rmtree(run / "data")
    out = tmp_path / "new" / "p.parquet"
    done = support.process("predict", run, rows, "-o", out, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["rows"] == 48
    assert result["kind"] == "classification"
    exported = support.record(run)["exported"]["seed"]
    stored = table(finished, "recraft", seed=exported)
    got = pq.read_table(out)
    assert got.column_names == ["row", *(f"p{k}" for k in range(10))]
    probabilities = np.column_stack([got[f"p{k}"].to_numpy() for k in range(10)])
    np.testing.assert_array_equal(got["row"].to_numpy(), np.arange(48))
    np.testing.assert_allclose(probabilities, stored["prediction"], atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    # the same model folder by itself
    alone = Path(shutil.copytree(run / "model", tmp_path / "alone"))
    np.testing.assert_allclose(load_model(alone).predict_proba(np.load(rows)["X"]), probabilities, atol=1e-9)


def test_every_format_holds_the_same_predictions(run: Path, rows: Path, tmp_path: Path, capsys: Any) -> None:
    for ending in ("parquet", "csv", "npy", "npz"):
        code, out, err = support.call(capsys, "predict", run, rows, "-o", tmp_path / f"p.{ending}")
        assert code == 0, err
        assert out == f"48 predictions (classification) in {tmp_path / f'p.{ending}'}\n"
    got = pq.read_table(tmp_path / "p.parquet")
    expected = np.column_stack([got[f"p{k}"].to_numpy() for k in range(10)])
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), expected)
    with np.load(tmp_path / "p.npz") as stored:
        np.testing.assert_array_equal(stored["prediction"], expected)
        labels = stored["label"]
    with open(tmp_path / "p.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    classes = load_model(run).classes
    assert classes is not None
    assert list(lines[0]) == ["row", "prediction", *(f"p_{c}" for c in classes)]
    np.testing.assert_array_equal([[float(line[f"p_{c}"]) for c in classes] for line in lines], expected)
    chosen = np.asarray(classes)[expected.argmax(1)]
    np.testing.assert_array_equal([line["prediction"] for line in lines], chosen)
    np.testing.assert_array_equal(labels, chosen)
    code, _, err = support.call(capsys, "predict", run, rows, "-o", tmp_path / "p.xlsx")
    assert code == 3
    assert ".parquet, .csv, .npy or .npz" in err
    assert not (tmp_path / "p.xlsx").exists()
    assert not list(tmp_path.rglob(".*"))


def test_evaluate_is_the_metric_of_what_predict_writes(run: Path, rows: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.rmtree(run / "data")
    code, out, err = support.call(capsys, "evaluate", run, rows, "--json")
    assert code == 0, err
    result = json.loads(out)
    support.call(capsys, "predict", run, rows, "-o", tmp_path / "p.npy")
    prediction = np.load(tmp_path / "p.npy")
    classes = np.asarray(load_model(run).classes)
    target = np.searchsorted(classes, np.load(rows)["y"])
    np.testing.assert_array_equal(classes[target], np.load(rows)["y"])
    assert result["rows"] == 48
    assert result["scores"][0]["metric"] == "error"
    assert len(result["scores"]) > 2
    for score in result["scores"]:
        assert score["value"] == pytest.approx(get_metric(score["metric"]).score(prediction, target), abs=1e-9)
        assert score["low"] <= score["value"] <= score["high"]
        assert score["split"] == "given"
        assert score["selected_on"] == "validation"
    # from first principles: the share of rows whose most probable class is another one
    assert result["scores"][0]["value"] == pytest.approx(np.mean(prediction.argmax(1) != target))
    code, out, _ = support.call(capsys, "evaluate", run, rows)
    assert code == 0
    assert out.startswith("error")


def test_what_does_not_fit_the_model_is_refused(run: Path, tmp_path: Path, capsys: Any) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "wide.npz", X=rng.random((4, 1, 9, 9)))
    np.savez(tmp_path / "channels.npz", X=rng.random((4, 2, 8, 8)))
    np.savez(tmp_path / "unknown.npz", X=rng.random((4, 1, 8, 8)), y=np.array(["1", "2", "eleven", "3"]))
    np.savez(tmp_path / "unlabelled.npz", X=rng.random((4, 1, 8, 8)))
    out = tmp_path / "p.csv"
    for name, shape in (("wide", "(1, 9, 9)"), ("channels", "(2, 8, 8)")):
        code, stdout, err = support.call(capsys, "predict", run, tmp_path / f"{name}.npz", "-o", out, "--json")
        assert code == 3, err
        problem = json.loads(stdout)
        assert shape in problem["problem"]
        assert "(1, 8, 8)" in problem["problem"]
        assert problem["exit_code"] == 3
    code, _, err = support.call(capsys, "evaluate", run, tmp_path / "unknown.npz")
    assert code == 3
    assert "eleven" in err
    code, _, err = support.call(capsys, "evaluate", run, tmp_path / "unlabelled.npz")
    assert code == 3
    assert "--target" in err
    assert not out.exists()
    code, _, err = support.call(capsys, "predict", tmp_path, tmp_path / "wide.npz", "-o", out)
    assert code == 2
    assert "no model in" in err


@pytest.fixture(scope="module")
def table_run(files: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    run = tmp_path_factory.mktemp("table") / "run"
    fit = ["fit", str(files / "cancer.csv"), *support.TINY, "--target", "diagnosis", "--controls", "none"]
    from crosstune.cli import main

    assert main([*fit, "--out", str(run)]) == 0
    return run


def test_tables_are_matched_by_the_names_of_columns_and_categories(
    files: Path, table_run: Path, tmp_path: Path, capsys: Any
) -> None:
    with open(files / "cancer.csv", newline="") as file:
        lines = list(csv.DictReader(file))[:40]
    names = list(lines[0])

    def write(name: str, columns: list[str], **fixed: str) -> Path:
        path = tmp_path / name
        with open(path, "w", newline="") as file:
            out = csv.DictWriter(file, columns, extrasaction="ignore")
            out.writeheader()
            out.writerows({**line, **fixed} for line in lines)
        return path

    plain = write("plain.csv", names)
    assert support.call(capsys, "predict", table_run, plain, "-o", tmp_path / "a.npy")[0] == 0
    # another order, no target, a column more
    turned = write("turned.csv", [*reversed(names[:-1]), "comment"], comment="x")
    code, _, err = support.call(capsys, "predict", table_run, turned, "-o", tmp_path / "b.npy")
    assert code == 0, err
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), atol=1e-7)
    code, out, err = support.call(capsys, "evaluate", table_run, plain, "--target", "diagnosis", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"] == 40
    short = write("short.csv", names[1:])
    code, out, err = support.call(capsys, "predict", table_run, short, "-o", tmp_path / "c.npy", "--json")
    assert code == 3
    assert names[0] in json.loads(out)["problem"]
    assert not (tmp_path / "c.npy").exists()


def test_a_table_of_arrays_predicts_as_well(tmp_path: Path, capsys: Any) -> None:
    data, run = support.diabetes(tmp_path), tmp_path / "run"
    assert (
        support.call(capsys, "fit", data, *support.TINY, "--controls", "none", "--floors", "none", "--out", run)[0] == 0
    )
    code, _, err = support.call(capsys, "predict", run, data, "-o", tmp_path / "p.csv")
    assert code == 0, err
    code, out, err = support.call(capsys, "evaluate", run, data, "--json")
    assert code == 0, err
    with open(tmp_path / "p.csv", newline="") as file:
        values = np.array([[float(line["y"])] for line in csv.DictReader(file)])
    scores = {s["metric"]: s["value"] for s in json.loads(out)["scores"]}
    residual = values - np.load(data)["y"][:, None]
    assert scores["rmse"] == pytest.approx(float(np.sqrt(np.mean(residual**2))), rel=1e-6)


def test_report_is_made_again_from_the_folder(run: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.rmtree(run / "data")
    (run / "report.html").unlink()
    (run / "model" / "README.md").unlink()
    code, out, err = support.call(capsys, "report", run, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["report"] == str(run / "report.html")
    assert result["split"] == "validation"
    assert (run / "report.html").read_text().lstrip().lower().startswith("<!doctype html")
    assert (run / "model" / "README.md").exists()
    code, _, err = support.call(capsys, "report", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere" in err


def test_the_test_rows_are_read_by_nothing_but_reveal(
    files: Path, run: Path, rows: Path, tmp_path: Path, capsys: Any
) -> None:
    test = run / "data" / "test.npz"
    test.unlink()
    fit = ("fit", files / "digits.npz", *support.TINY, "--seeds", "2", "--out", run)
    for arguments in (fit, ("resume", run), ("report", run), ("predict", run, rows, "-o", tmp_path / "p.npy"),
                      ("evaluate", run, rows)):  # fmt: skip
        code, _, err = support.call(capsys, *arguments)
        assert code == 0, err
    code, _, err = support.call(capsys, "reveal", run)
    assert code == 2
    assert "holds no test rows" in err
    assert support.record(run)["reveals"] == []  # nothing was looked at
    assert not list(run.glob("predictions/test.*"))


def test_a_run_is_made_without_reading_the_test_rows(files: Path, tmp_path: Path, capsys: Any) -> None:
    """From the moment they are put away: with the file gone, the interrupted run goes on to its end."""
    from crosstune.cli.fit import make_request
    from crosstune.data import read
    from crosstune.experiment import execute, prepare

    request = make_request(
        backbone="twin-bert", method="finetune", budget="3steps", seeds="1", metric=None, floors="majority",
        controls="none", tokens=None, settings=None, split="auto", fractions="0.6,0.2,0.2", split_seed=0, accept=None,
        threads=1, allow_pickle=False, proxy="documentation", checkpoint_every="15s",
    )  # fmt: skip
    folder, existed = prepare(read(str(files / "digits.npz")), request, tmp_path / "run")
    assert not existed
    (folder.path / "data" / "test.npz").unlink()
    execute(folder)
    assert folder.record()["status"] == "complete"


def test_the_seal_is_opened_once(finished: Path, run: Path, capsys: Any) -> None:
    code, out, err = support.call(capsys, "reveal", run, "--json")
    assert code == 0, err
    assert json.loads(out)["split"] == "test"
    first = support.record(run)["reveals"]
    assert len(first) == 1
    arms = ("recraft", "no-align", "frozen", "scratch")
    expected = {f"test.{a}.s{s}.parquet" for a in arms for s in (0, 1)}
    expected |= {"test.floor-majority.s0.parquet", "test.floor-nearest.s0.parquet"}
    assert {p.name for p in run.glob("predictions/test.*")} == expected
    split = np.load(run / "split.npz")
    data = np.load(run / "data" / "test.npz")
    for arm in (*arms, "floor:nearest"):
        stored = table(run, arm, "test")
        np.testing.assert_array_equal(stored["row"], split["test"])
        np.testing.assert_array_equal(stored["target"], data["y"])
    meta = json.loads(pq.read_schema(run / "predictions" / "test.recraft.s0.parquet").metadata[b"crosstune"])
    assert (meta["split"], meta["selected_on"], meta["seed"]) == ("test", "validation", 0)
    # the exported model, on the test rows, says what was scored
    seed = support.record(run)["exported"]["seed"]
    np.testing.assert_allclose(
        load_model(run).predict_proba(data["X"]), table(run, "recraft", "test", seed)["prediction"], atol=1e-6
    )
    # a floor that is fitted again is the same floor: one nearest neighbour, by hand
    train = np.load(run / "data" / "train.npz")
    assert (table(run, "floor:nearest", "test")["prediction"].argmax(1) == data["y"]).mean() > 0.8
    assert train["X"].shape[0] == 144

    before = support.stamps(run)
    code, out, err = support.call(capsys, "reveal", run, "--json")
    assert code == 2
    assert "already opened" in json.loads(out)["problem"]
    assert "--again" in err
    assert support.stamps(run) == before
    assert support.call(capsys, "reveal", run, "--again")[0] == 0
    again = support.record(run)["reveals"]
    assert len(again) == 2
    assert again[0] == first[0]
    # from now on the report shows the test
    code, out, _ = support.call(capsys, "report", run, "--json")
    assert json.loads(out)["split"] == "test"


def test_an_unfinished_run_is_not_revealed(run: Path, capsys: Any) -> None:
    record = support.record(run) | {"status": "interrupted"}
    (run / "run.json").write_text(json.dumps(record))
    code, _, err = support.call(capsys, "reveal", run)
    assert code == 2
    assert f"crosstune resume {run}" in err
    assert support.record(run)["reveals"] == []
