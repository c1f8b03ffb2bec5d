"""What the estimators take, beyond scikit-learn's checks: signals, ragged series, data frames, labels, groups."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.estimators.common import QUICK, blobs

from crosstune import CrossModalClassifier, CrossModalRegressor, DataWarning
from crosstune.errors import ConfigError, DataError, TaskError, UsageError


@pytest.mark.parametrize("shape", [(2, 24), (1, 8, 8), (1, 6, 6, 6)])
def test_signals_images_volumes(shape):
    rng = np.random.default_rng(0)
    y = np.array(["low", "high"])[np.arange(40) % 2]
    X = rng.normal(size=(40, *shape)) + 3.0 * (y == "high").reshape(-1, *[1] * len(shape))
    model = CrossModalClassifier(**QUICK).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.n_features_in_ == shape[0]
    with pytest.raises(ValueError, match="do not fit a model made for"):
        model.predict(X[:, :, :-1])


def test_one_row_at_a_time():
    X, y = blobs()
    model = CrossModalClassifier(**QUICK).fit(X, y)
    alone = np.concatenate([model.predict_proba(row[None]) for row in X])
    np.testing.assert_allclose(model.predict_proba(X), alone, atol=1e-5)


def ragged(n: int = 40) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    return [rng.normal(size=(2, int(length))) + 2 * k for k, length in zip(y, rng.integers(10, 40, n))], y


def test_ragged_series_in_every_form():
    X, y = ragged()
    model = CrossModalClassifier(**QUICK).fit(X, y)
    expected = model.predict_proba(X)
    assert model.score(X, y) > 0.9
    # objects, padding with lengths, padding with NaN: one and the same series
    objects = np.empty(len(X), dtype=object)
    objects[:] = X
    padded = np.full((len(X), 2, 50), np.nan)
    for row, series in enumerate(X):
        padded[row, :, : series.shape[1]] = series
    lengths = np.array([s.shape[1] for s in X])
    np.testing.assert_allclose(model.predict_proba(objects), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(padded), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(np.nan_to_num(padded), lengths=lengths), expected, atol=1e-6)
    # one alone, which is an ordinary array to NumPy
    np.testing.assert_allclose(model.predict_proba([X[3]]), expected[3:4], atol=1e-5)
    with pytest.raises(DataError, match="X has 3 channels, but CrossModalClassifier is expecting 2"):
        model.predict([np.zeros((3, 12)), np.zeros((3, 15))])


def test_ragged_lists_travel_through_cross_validation():
    X, y = ragged(30)
    assert cross_val_score(CrossModalClassifier(**QUICK), X, y, cv=2).mean() > 0.8


def test_data_frame_with_text_and_gaps():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    colour = np.where(rng.random(60) < 0.9, np.array(["red", "blue"])[y], "green")
    size = np.where(rng.random(60) < 0.2, np.nan, rng.normal(size=60))
    frame = pandas.DataFrame({"size": size, "colour": colour, "weight": rng.normal(size=60)})
    before = frame.copy()
    model = CrossModalClassifier(**QUICK).fit(frame, y)
    assert model.score(frame, y) > 0.8
    assert list(model.feature_names_in_) == ["size", "colour", "weight"]
    assert model.predict(frame[:1]).shape == (1,)
    pandas.testing.assert_frame_equal(frame, before)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["colour", "size", "weight"]])
    # a category that was not there in training is a missing value, not an error
    assert model.predict(frame.assign(colour="violet")).shape == (60,)


def test_labels_come_back_as_they_were():
    X, y = blobs()
    for labels in (np.array([7, -3])[y], np.array(["no", "yes"])[y], y.astype(bool), np.array(["a", "b"], object)[y]):
        model = CrossModalClassifier(**QUICK).fit(X, labels)
        assert model.classes_.dtype == labels.dtype
        assert set(model.classes_) == set(labels)
        assert model.predict(X).dtype == labels.dtype
        assert model.score(X, labels) > 0.9


def test_several_labels_at_once():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, size=(60, 3))
    X = y + 0.1 * rng.normal(size=(60, 3))
    model = CrossModalClassifier(**QUICK).fit(X, y)
    assert model.predict(X).shape == (60, 3)
    assert (model.predict(X) == y).mean() > 0.95
    assert model.predict_proba(X).shape == (60, 3)


def test_several_outputs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = np.column_stack([X[:, 0] + X[:, 2] + 1000.0, 1e-3 * (X[:, 1] - X[:, 2])])
    model = CrossModalRegressor(**QUICK).fit(X, y)
    assert model.predict(X).shape == (80, 2)
    assert model.score(X, y) > 0.95
    assert CrossModalRegressor(**QUICK).fit(X, y[:, 0]).predict(X).shape == (80,)


def test_cross_validation_on_digits_beats_chance():
    X, y = load_digits(return_X_y=True)
    scores = cross_val_score(CrossModalClassifier(**QUICK), X[:400], y[:400], cv=3)
    assert scores.min() > 0.6  # chance: 0.1


def test_search_in_a_pipeline():
    X, y = blobs()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), CrossModalClassifier(**QUICK)),
        {"crossmodalclassifier__settings": [{"fit.trainable": "head"}, {"fit.trainable": "all"}]},
        cv=2, error_score="raise",
    ).fit(X, y)  # fmt: skip
    assert search.best_score_ > 0.8
    assert search.best_estimator_[-1].report_["verdict"]["headline"]


def test_clone_and_parameters():
    model = CrossModalClassifier(**QUICK, settings={"fit.patience": 3})
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert twin.set_params(budget="9steps").budget == "9steps"
    assert model.budget == "3steps"
    with pytest.raises(NotFittedError):
        twin.predict(blobs()[0])


def test_seeds():
    X, y = blobs()
    results = [CrossModalClassifier(**QUICK, random_state=s).fit(X, y).predict_proba(X) for s in (0, 0, 1)]
    assert np.array_equal(results[0], results[1])
    assert not np.allclose(results[0], results[2])
    from_generator = [
        CrossModalClassifier(**QUICK, random_state=np.random.RandomState(5)).fit(X, y).predict_proba(X)
        for _ in range(2)
    ]
    assert np.array_equal(*from_generator)


def test_the_callers_generators_are_left_alone():
    import torch

    X, y = blobs()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = float(torch.rand(1)), np.random.rand()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    CrossModalClassifier(**QUICK).fit(X, y)
    assert (float(torch.rand(1)), np.random.rand()) == expected  # noqa: NPY002


def inner_split(out, groups):
    with np.load(out / "split.npz") as parts:
        assert len(parts["test"]) == 0
        assert sorted(np.concatenate([parts["train"], parts["validation"]])) == list(range(len(groups)))
        return set(groups[parts["train"]]), set(groups[parts["validation"]])


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_stops_the_search_and_not_only_the_fit():
    X, y = blobs()
    endless = CrossModalClassifier(**{**QUICK, "budget": "1000000steps"}, settings={"fit.patience": 10**9})
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt, match="fit was interrupted"):
            cross_val_score(endless, X, y, cv=2)  # which swallows ordinary errors of a fit
    finally:
        timer.cancel()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_groups_do_not_straddle_the_inner_split(tmp_path):
    X, y = blobs(60)
    groups = np.arange(60) // 4
    CrossModalClassifier(**QUICK, out=tmp_path / "with").fit(X, y, groups=groups)
    train, validation = inner_split(tmp_path / "with", groups)
    assert train
    assert validation
    assert not train & validation
    # the check can fail: without groups they do straddle
    CrossModalClassifier(**QUICK, out=tmp_path / "without").fit(X, y)
    train, validation = inner_split(tmp_path / "without", groups)
    assert train & validation


def test_groups_reach_fit_through_cross_validation():
    X, y = blobs(60)
    groups = np.arange(60) // 4
    scores = cross_val_score(CrossModalClassifier(**QUICK), X, y, cv=2, params={"groups": groups}, error_score="raise")
    assert scores.mean() > 0.8


def test_one_class_is_refused_with_advice():
    X, _ = blobs()
    with pytest.raises(TaskError, match="y holds one class only, '3', in all 40 rows"):
        CrossModalClassifier(**QUICK).fit(X, np.full(40, 3))


def test_too_few_rows():
    with pytest.raises(ValueError, match="2 sample"):
        CrossModalClassifier(**QUICK).fit(np.eye(2), [0, 1])
    with pytest.raises(DataError, match="found 2 sample"):
        CrossModalClassifier(**QUICK).fit([np.zeros((1, 4)), np.zeros((1, 5))], [0, 1])


def test_leakage_is_a_warning_and_in_the_report():
    X, y = blobs()
    X = np.column_stack([X, y])
    with pytest.warns(DataWarning, match="leakage: the target can be read off column 4"):
        model = CrossModalClassifier(**QUICK).fit(X, y)
    assert "leakage" in [f["code"] for f in model.report_["findings"]]


def test_mistakes_in_parameters():
    X, y = blobs()
    for wrong, error, said in [
        ({"budget": "soon"}, UsageError, "budget 'soon' is neither a duration nor a number of steps"),
        ({"method": "recaft"}, UsageError, "did you mean 'recraft'"),
        ({"floors": ("liner",)}, UsageError, "did you mean 'linear'"),
        ({"settings": {"fit.patienc": 3}}, ConfigError, "did you mean 'patience'"),
        ({"validation_fraction": 1.0}, ConfigError, "is not between 0 and 1"),
        ({"tokens": "many"}, ConfigError, "tokens = 'many'"),
        ({"loss": "mse"}, ConfigError, "'mse' does not fit classification targets"),
        ({"device": "cuda:99"}, UsageError, "cuda:99: this torch finds"),
        ({"device": "gpu"}, ConfigError, "device = 'gpu'"),
    ]:
        with pytest.raises(error, match=said):
            CrossModalClassifier(**{**QUICK, **wrong}).fit(X, y)


def test_adapters_a_loss_and_a_device_by_name(tmp_path):
    X, y = blobs()
    wanted = {"method": "lora", "loss": "focal", "device": "cpu", "out": str(tmp_path / "run")}
    model = CrossModalClassifier(**{**QUICK, **wanted}).fit(X, y)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["fit.loss"] == {"value": "focal", "origin": "argument loss"}
    assert record["config"]["fit.trainable"] == {"value": "lora", "origin": "method lora"}
    assert record["hardware"]["device"] == "cpu"
    figures = record["arms"]["lora"]["stages"][-1]["figures"]
    assert (figures["device"], figures["precision"], figures["processes"]) == ("cpu", "fp32", 1)
    assert not any("lora" in name for name in model.model_.model.state_dict())
    assert model.score(X, y) > 0.8


def test_report_holds_verdict_and_figures():
    X, y = load_digits(return_X_y=True)
    model = CrossModalClassifier(**{**QUICK, "floors": ("majority", "nearest"), "controls": ("frozen",)})
    model.fit(X[:200].reshape(-1, 1, 8, 8), y[:200])
    report = model.report_
    arms = {arm["arm"]: arm for arm in report["arms"]}
    assert list(arms) == ["no-align", "frozen", "floor:majority", "floor:nearest"]
    for arm in arms.values():
        assert arm["low"] <= arm["value"] <= arm["high"]
    assert arms["floor:majority"]["value"] > 0.7
    assert report["verdict"]["answer"] in ("use", "use-other", "undecided")
    assert report["verdict"]["headline"]
    assert "score the model on them" in report["verdict"]["sentences"][-1]  # there is no sealed test to open
    assert (report["rows"], report["split"]) == ({"train": 160, "validation": 40, "test": 0}, "validation")


def test_verbose_speaks_on_stderr(capfd):
    X, y = blobs()
    CrossModalClassifier(**QUICK, verbose=True).fit(X, y)
    out, err = capfd.readouterr()
    assert "no alignment" in err
    assert not out
    CrossModalClassifier(**QUICK).fit(X, y)
    assert capfd.readouterr() == ("", "")
