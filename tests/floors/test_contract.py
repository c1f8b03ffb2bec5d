"""Every floor that discovery finds, on every kind and modality that it claims."""

from dataclasses import replace

import numpy as np
import pytest

from crosstune.floors import Allowance, all_floors, default_floors, get_floors
from crosstune.floors.base import ALL_KINDS, ALL_MODALITIES
from crosstune.floors.execute import shares
from crosstune.metrics import default_metric
from crosstune.records import FIELD_KINDS

from .cases import categorical, data, halves, ragged, with_missing

FLOORS = all_floors()
CLAIMS = [
    # Floors from an extra compile for up to half a minute on their first use.
    pytest.param(
        spec, kind, modality, id=f"{name}-{kind}-{modality}", marks=[pytest.mark.slow] if spec.requires else []
    )
    for name, spec in FLOORS.items()
    for kind in spec.kinds
    for modality in spec.modalities
]


def fitting(spec, kind, modality):
    """Data for the claim; skips where the floor says that it needs something else."""
    made = data(kind, modality, rows=80 if spec.name != "boosting" else 60)
    if spec.unavailable():
        pytest.skip(spec.unavailable())
    assert spec.unfit(made) is None
    return made


def answer(spec, train, query, seed=0, seconds=30.0):
    floor = spec.build(Allowance(0.5 if spec.needs_torch else seconds))
    floor.fit(train, seed)
    return floor.predict(replace(query, y=None)), floor.note


@pytest.mark.parametrize(("spec", "kind", "modality"), CLAIMS)
def test_prediction_is_canonical_and_repeatable(spec, kind, modality):
    train, query = halves(fitting(spec, kind, modality))
    before = train.X.copy(), query.X.copy()
    prediction, note = answer(spec, train, query)
    again, same_note = answer(spec, train, query)
    assert prediction.dtype == np.float64
    assert np.isfinite(default_metric(kind).score(prediction, query.y))
    np.testing.assert_array_equal(prediction, again)
    assert note == same_note or "compiling" in note
    np.testing.assert_array_equal(train.X, before[0])
    np.testing.assert_array_equal(query.X, before[1])


@pytest.mark.parametrize(("spec", "kind", "modality"), CLAIMS)
def test_missing_values_are_ordinary(spec, kind, modality):
    train, query = halves(with_missing(fitting(spec, kind, modality)))
    prediction, _ = answer(spec, train, query)
    assert np.isfinite(prediction).all()


@pytest.mark.parametrize(("spec", "kind", "modality"), [c for c in CLAIMS if c.values[2] == "series"])
def test_ragged_series_are_ordinary(spec, kind, modality):
    made = ragged(fitting(spec, kind, modality))
    train, query = halves(made)
    prediction, _ = answer(spec, train, query)
    assert np.isfinite(prediction).all()
    if kind == "dense":
        assert prediction.shape == query.y.shape
        behind = np.arange(query.X.shape[2]) >= query.lengths[:, None]
        assert (np.moveaxis(prediction, 1, 2)[behind] == 0).all()
    if kind == "segmentation":
        assert np.isfinite(default_metric(kind).score(prediction, query.y))


@pytest.mark.parametrize(("spec", "kind", "modality"), [c for c in CLAIMS if c.values[1] in FIELD_KINDS])
def test_what_stands_where_a_target_is_unknown_changes_nothing(spec, kind, modality):
    """Gaps at random places and one position unknown in every row; a floor cannot have read what is not there."""
    made = fitting(spec, kind, modality)
    gaps = np.random.default_rng(3).random(made.y.shape) < 0.2
    gaps[..., 0] = True
    gaps[np.arange(len(gaps)), ..., 1] = False
    if kind == "dense":
        gaps[3] = True  # nothing known in a row to learn from
    train, query = halves(replace(made, y=np.where(gaps, np.nan if kind == "dense" else -1, made.y)))
    prediction, _ = answer(spec, train, query)
    assert np.isfinite(prediction).all()
    error = default_metric(kind).score(prediction, query.y)
    trivial, _ = answer(FLOORS["majority"], train, query)
    assert error <= 1.5 * default_metric(kind).score(trivial, query.y)


@pytest.mark.parametrize(("spec", "kind", "modality"), [c for c in CLAIMS if c.values[2] == "table"])
def test_categories_unseen_in_training_are_ordinary(spec, kind, modality):
    train, query = halves(categorical(fitting(spec, kind, modality)))
    prediction, _ = answer(spec, train, query)
    assert np.isfinite(prediction).all()


@pytest.mark.parametrize(("spec", "kind", "modality"), [c for c in CLAIMS if c.values[1] == "classification"])
def test_classes_rare_or_absent_in_training_keep_their_column(spec, kind, modality):
    made = fitting(spec, kind, modality)
    y = np.where(made.y == 2, 0, made.y)
    y[0] = 3
    made = replace(made, y=y, classes=("a", "b", "never", "once"))
    train, query = halves(made)
    prediction, _ = answer(spec, train, query)
    assert prediction.shape == (len(query), 4)
    np.testing.assert_allclose(prediction.sum(axis=1), 1)
    assert (prediction.argmax(axis=1) != 2).all()


@pytest.mark.parametrize(("spec", "kind", "modality"), [c for c in CLAIMS if c.values[1] != "dense"])
def test_constant_targets_are_predicted(spec, kind, modality):
    made = fitting(spec, kind, modality)
    made = replace(made, y=np.ones_like(made.y))
    train, query = halves(made)
    prediction, _ = answer(spec, train, query)
    guess = prediction.argmax(axis=1) if kind in ("classification", "segmentation") else np.round(prediction, 1)
    np.testing.assert_array_equal(guess, query.y)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("modality", ALL_MODALITIES)
def test_defaults_are_what_fits(kind, modality):
    made = data(kind, modality, rows=8)
    names = default_floors(made)
    assert names[:1] == ("majority",)
    assert "nearest" in names
    assert ("linear" in names) == (kind != "segmentation")
    assert ({"window", "window-boosting"} <= set(names)) == (kind == "segmentation" and modality != "table")
    assert ("boosting" in names) == (kind not in FIELD_KINDS)
    for name in ("copy-input", "input-mean"):
        assert (name in names) == (made.y.shape[2:] == made.X.shape[2:] and kind == "dense" and modality != "table")
    for name, spec in FLOORS.items():
        assert (name in names) == (spec.unfit(made) is None and not spec.least)


def test_networks_are_defaults_where_their_share_of_the_time_is_enough():
    made = data("dense", "series", rows=8)
    every = ("majority", "copy-input", "input-mean", "nearest", "linear", "fno", "unet")
    assert default_floors(made, seconds=60) == every
    for seconds in range(3, 70):
        names = default_floors(made, seconds=seconds)
        planned = shares(get_floors(names), seconds)
        assert all(planned[name] >= FLOORS[name].least for name in names)
        assert names == every[: len(names)]  # the dearest are left out first
    assert default_floors(made, seconds=45) == every[:-1]
    assert default_floors(made, seconds=20) == default_floors(made) == every[:-2]
    assert FLOORS["fno"].unfit(data("dense", "volume", 8)) == "not offered for data of modality volume"


def test_the_input_is_a_floor_where_grids_agree():
    made = data("dense", "grid", rows=8)
    assert "copy-input" in default_floors(made)
    for name in ("copy-input", "input-mean", "fno", "unet"):
        reason = FLOORS[name].unfit(replace(made, y=made.y[..., :4]))
        assert reason == "input grid (6, 6) and target grid (6, 4) are different"


def test_reasons_for_not_being_offered():
    assert FLOORS["boosting"].unfit(data("dense", "grid", 8)) == "not offered for dense targets"
    assert FLOORS["minirocket"].unfit(data("regression", "table", 8)) == "not offered for data of modality table"
    absent = replace(FLOORS["minirocket"], requires="no_such_package")
    assert absent.unfit(data("regression", "series", 8)) == "needs no_such_package: pip install 'crosstune[floors]'"


@pytest.mark.parametrize("name", FLOORS)
def test_descriptions(name):
    spec = FLOORS[name]
    assert spec.summary
    assert set(spec.labels) <= set(spec.kinds)
    assert spec.label_for("no such kind") == spec.label


def test_cheapest_first():
    efforts = [spec.effort for spec in FLOORS.values()]
    assert efforts == sorted(efforts)
    assert next(iter(FLOORS)) == "majority"
