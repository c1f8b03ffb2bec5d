"""Estimators that travel: folders, pickles, other processes; and temporary folders that go."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.estimators.common import QUICK, blobs

import crosstune
from crosstune import CrossModalClassifier, CrossModalOperator, CrossModalRegressor
from crosstune.errors import RunError, TaskError

FRESH = """
import sys, pickle, numpy as np, crosstune
folder, pickled, X, expected = sys.argv[1:]
X, expected = np.load(X), np.load(expected)
for model in (crosstune.load(folder), pickle.load(open(pickled, "rb"))):
    assert np.array_equal(model.predict_proba(X), expected)
    assert list(model.classes_) == ["no", "yes"] and model.report_["verdict"]["headline"]
print(type(crosstune.load(folder)).__name__)
"""


@pytest.fixture(scope="module")
def fitted() -> CrossModalClassifier:
    X, y = blobs()
    return CrossModalClassifier(**QUICK, random_state=3).fit(X, np.array(["no", "yes"])[y])


def test_saved_and_pickled_models_predict_the_same_in_a_fresh_process(fitted, tmp_path):
    X, _ = blobs(seed=1)
    fitted.save_pretrained(tmp_path / "model")
    shutil.move(tmp_path / "model", tmp_path / "moved")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(fitted))
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "expected.npy", fitted.predict_proba(X))
    arguments = [str(tmp_path / name) for name in ("moved", "model.pkl", "X.npy", "expected.npy")]
    done = subprocess.run([sys.executable, "-c", FRESH, *arguments], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "CrossModalClassifier"


def test_a_saved_estimator_is_the_whole_estimator(fitted, tmp_path):
    folder = fitted.save_pretrained(tmp_path / "oscillations")
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors", "estimator.json", "README.md"}
    again = crosstune.load(folder)
    assert again.get_params() == fitted.get_params()
    assert (again.n_features_in_, again.report_) == (fitted.n_features_in_, fitted.report_)
    assert again.run_ is None
    # and can be saved again, card included
    card = (folder / "README.md").read_text()
    assert "crosstune.load('oscillations')" in card.replace('"', "'")
    assert "/tmp" not in card
    assert (again.save_pretrained(tmp_path / "twice") / "README.md").read_text() == card


def test_a_pickle_holds_weights_and_no_code_of_the_body(fitted):
    content = pickle.dumps(fitted)
    assert b"transformers" not in content
    assert b"torch.nn" not in content
    assert len(content) > sum(4 * p.numel() for p in fitted.model_.model.parameters())


def test_every_kind_of_target_comes_back(tmp_path):
    X, y = blobs()
    flat = CrossModalRegressor(**QUICK).fit(X, X[:, 0] + 0.1 * y)
    fields = CrossModalOperator(**QUICK).fit(np.tile(X, 5), np.tile(X, 5)[:, ::-1])
    several = CrossModalClassifier(**QUICK).fit(X, np.column_stack([y, 1 - y, X[:, 0] > 1]))
    for name, model, data in (("flat", flat, X), ("fields", fields, np.tile(X, 5)), ("several", several, X)):
        again = crosstune.load(model.save_pretrained(tmp_path / name))
        assert type(again) is type(model)
        assert np.array_equal(again.predict(data), model.predict(data))
        assert np.array_equal(copy.deepcopy(model).predict(data), model.predict(data))


def test_a_kept_run_is_a_run_and_a_model(tmp_path):
    X, y = blobs()
    model = CrossModalClassifier(**QUICK, out=tmp_path / "run").fit(X, np.array([5, 9])[y])
    assert model.run_ == str(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["backbone"] == {"value": "twin-bert", "origin": "argument backbone"}
    assert record["config"]["tokens"]["origin"] == "default"
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        again = crosstune.load(folder)
        assert np.array_equal(again.predict(X), model.predict(X))
        assert again.report_ == model.report_
    events = (tmp_path / "run" / "events.jsonl").stat().st_size
    model.fit(X, np.array([5, 9])[y])  # the same run: nothing is done twice
    assert (tmp_path / "run" / "events.jsonl").stat().st_size == events
    with pytest.raises(RunError, match="already holds"):
        model.fit(X + 1, y)


def test_class_methods_and_damage(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "a")
    assert isinstance(CrossModalClassifier.load(tmp_path / "a"), CrossModalClassifier)
    with pytest.raises(TaskError, match="holds a model for a CrossModalClassifier, not a CrossModalRegressor"):
        CrossModalRegressor.load(tmp_path / "a")
    with pytest.raises(RunError, match="no model in"):
        crosstune.load(tmp_path / "nothing")
    (tmp_path / "a" / "estimator.json").write_text("{")
    with pytest.raises(RunError, match=r"estimator\.json is damaged"):
        crosstune.load(tmp_path / "a")
    (tmp_path / "a" / "estimator.json").unlink()
    assert list(crosstune.load(tmp_path / "a").classes_) == ["no", "yes"]


def test_temporary_runs_go_with_the_estimator():
    X, y = blobs()
    model = CrossModalClassifier(**QUICK).fit(X, y)
    first = Path(model.run_)
    assert (first / "run.json").exists()
    copied, cloned = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert copied.run_ is None
    assert cloned.run_ is None
    del copied, cloned
    gc.collect()
    assert first.exists()  # copies own nothing
    model.fit(X, y)
    second = Path(model.run_)
    gc.collect()
    assert not first.exists()
    expected = model.predict(X)
    keeper = pickle.loads(pickle.dumps(model))
    del model
    gc.collect()
    assert not second.exists()
    assert np.array_equal(keeper.predict(X), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_leaves_the_folder_to_its_parent():
    from crosstune.estimators.workspace import Workspace

    workspace = Workspace()
    child = os.fork()
    if child == 0:
        workspace.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert workspace.path.exists()
    workspace.close()
    assert not workspace.path.exists()
