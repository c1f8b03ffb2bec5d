"""fit, load, rank, read: the verbs as functions; and what importing the package costs."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from tests.estimators.common import QUICK, blobs

import crosstune
from crosstune.errors import ConfigError, DataError

LIGHT = """
import sys, crosstune
heavy = {"torch", "numpy", "sklearn", "transformers", "pandas"} & set(sys.modules)
assert not heavy, heavy
assert crosstune.__version__ and set(crosstune.__all__) <= set(dir(crosstune))
try:
    crosstune.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise SystemExit("no error")
"""


def test_importing_is_light():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


def test_public_names():
    assert crosstune.__all__ == [
        "CrossModalClassifier", "CrossModalOperator", "CrossModalRegressor", "CrossModalSegmenter", "DataWarning",
        "__version__", "bound", "fit", "load", "rank", "read",
    ]  # fmt: skip
    for name in crosstune.__all__:
        assert getattr(crosstune, name) is not None


def test_fit_reads_a_file_and_keeps_a_run(tmp_path):
    X, y = blobs(60)
    np.savez(tmp_path / "data.npz", X=X, label=np.array(["no", "yes"])[y])
    model = crosstune.fit(tmp_path / "data.npz", "label", out=tmp_path / "run", **QUICK)
    assert model.run_ == str(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "model" / "README.md").exists()
    assert model.report_["rows"] == {"train": 36, "validation": 12, "test": 12}
    assert set(model.predict(X)) == {"no", "yes"}
    accuracy = (model.predict(X) == np.array(["no", "yes"])[y]).mean()
    (score,) = [s for s in model.evaluate(tmp_path / "data.npz", "label") if s.metric == "error"]
    assert score.value == pytest.approx(1 - accuracy)
    # the estimator of the same folder
    estimator = crosstune.load(tmp_path / "run")
    assert np.array_equal(estimator.predict(X), model.predict(X))
    assert estimator.report_ == model.report_
    assert estimator.get_params()["backbone"] == "twin-bert"
    # a copy keeps its report
    again = pickle.loads(pickle.dumps(model))
    assert again.report_ == model.report_
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    # nothing is done twice
    before = (tmp_path / "run" / "events.jsonl").stat().st_size
    crosstune.fit(tmp_path / "data.npz", "label", out=tmp_path / "run", **QUICK)
    assert (tmp_path / "run" / "events.jsonl").stat().st_size == before


def test_fit_takes_arrays_mappings_and_frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = blobs(60)
    kept = crosstune.fit(X, y, **QUICK)
    assert kept.run_.startswith("runs/data-no-align-")
    expected = kept.predict_proba(X)
    mapped = crosstune.fit({"X": X, "y": y}, out="mapped", **QUICK)
    np.testing.assert_array_equal(mapped.predict_proba(X), expected)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(ill=y)
    framed = crosstune.fit(frame, "ill", out="framed", **QUICK)
    np.testing.assert_array_equal(framed.predict_proba(frame[list("abcd")]), expected)
    # other columns of a table are passed over; a file of arrays has none
    np.savez("new.npz", X=X, y=y)
    values = {framed.evaluate(*source)[0].value for source in ((frame.assign(note="x"), "ill"), (X, y), ("new.npz",))}
    assert len(values) == 1


def test_refusals_speak_python(tmp_path):
    X, y = blobs(60)
    with pytest.raises(DataError, match=r"pass accept=\('leakage',\)"):
        crosstune.fit(np.column_stack([X, y]), y, out=tmp_path / "a", **QUICK)
    model = crosstune.fit(np.column_stack([X, y]), y, out=tmp_path / "b", accept=("leakage",), **QUICK)
    assert [f["code"] for f in model.report_["findings"] if f["severity"] == "refuse"] == ["leakage"]
    with pytest.raises(DataError, match="no target was given with the arrays"):
        crosstune.fit(X, out=tmp_path / "c", **QUICK)
    with pytest.raises(ConfigError, match="fractions"):
        crosstune.fit(X, y, out=tmp_path / "d", fractions=(0.5, 0.5), **QUICK)


def test_rank_takes_arrays():
    X, y = blobs(80)
    result = crosstune.rank(X, y, backbones=("twin-bert",), rows=40)
    (entry,) = result["backbones"]
    assert entry["name"] == "twin-bert"
    assert entry["bound"] == pytest.approx(entry["err_s"] + entry["alignment"] + entry["distortion"])


def test_bound_takes_estimators_and_folders(tmp_path):
    X, y = blobs(80)
    labels = np.array(["no", "yes"])[y]
    model = crosstune.CrossModalClassifier(**QUICK, out=tmp_path / "run").fit(X[:60], labels[:60])
    options = {"labels": "clusters:5", "bootstrap": 10, "rows": 20}
    found = crosstune.bound(model, "documentation", X[60:], labels[60:], **options)
    assert found.bound.value == pytest.approx(found.err_s.value + found.alignment.value + found.distortion.value)
    # the model's own log-loss on these rows, by hand
    by_hand = -np.log(model.predict_proba(X[60:])[np.arange(20), y[60:]]).mean()
    assert found.err_t.value == pytest.approx(by_hand, rel=1e-4)
    np.savez(tmp_path / "data.npz", X=X[60:], y=labels[60:])
    again = crosstune.bound(tmp_path / "run", "documentation", tmp_path / "data.npz", **options)
    assert again.err_t.value == found.err_t.value
    # rows of one class only keep the model's codes
    some = y == 1
    one = crosstune.bound(model, "documentation", X[some], labels[some], **options)
    assert one.err_t.value < 1.0
    with pytest.raises(DataError, match="which the model was not trained on"):
        crosstune.bound(model, "documentation", X, np.where(some, "maybe", "no"), **options)


def test_read_is_the_reader():
    X, y = blobs()
    assert crosstune.read({"X": X, "y": y}).kind == "classification"
