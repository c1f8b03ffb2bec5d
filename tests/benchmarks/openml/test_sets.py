"""The 42 tables: their settings, files, stand-ins and protocols."""

import gzip
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from crosstune.benchmarks import get_task, tasks
from crosstune.benchmarks.openml.features import FeatureSequence, normalised_again, table
from crosstune.benchmarks.openml.files import find, read_relation
from crosstune.benchmarks.openml.loading import load
from crosstune.benchmarks.openml.real import REAL
from crosstune.benchmarks.openml.settings import settings
from crosstune.data.arff import Arff, Attribute, read_arff, write_arff
from crosstune.errors import DataError, UsageError

SETTINGS = {setting.name: setting for setting in settings()}
TASKS = tasks("openml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("openml")
    for task in TASKS.values():
        task.generate(out, n=None if task.name in ("openml/iris", "openml/tic-tac-toe") else 150)
    return out


def test_the_table_is_complete():
    assert len(TASKS) == len({setting.id for setting in settings()}) == 42
    assert set(TASKS) == {f"openml/{setting.name}" for setting in settings()}
    # as listed by ORCA's configurations
    assert Counter(setting.optimiser for setting in settings()) == {"AdamW": 16, "Adam": 15, "SGD": 11}
    assert {setting.id for setting in settings() if setting.momentum == 0.999} == {28, 40982}
    assert {setting.id for setting in settings() if setting.momentum} == {
        setting.id for setting in settings() if setting.optimiser == "SGD"
    }
    assert {setting.id: setting.samples for setting in settings() if setting.samples != 128} == {23: 64, 1049: 512}


@pytest.mark.parametrize("name", TASKS)
def test_every_set_is_generated_recognised_verified_and_loaded(name, folder):
    task, setting = TASKS[name], SETTINGS[name.partition("/")[2]]
    assert task.recognise(folder)
    assert task.recognise(folder / f"{setting.id}.arff")
    found = task.verify(folder)
    assert found.ok
    assert found.checks[0].ok
    for protocol in ("clean", "shipped"):
        data = task.load(folder, protocol)
        dataset, split = data.dataset, data.split
        assert len(dataset.classes) == len(setting.class_rows)
        assert np.isfinite(dataset.X[~np.isnan(dataset.X)]).all()
        together = [*split.train, *split.test] + ([*split.validation] if protocol == "clean" else [])
        assert sorted(together) == list(range(len(dataset)))
        if protocol == "shipped":
            assert split.validation.tolist() == split.test.tolist()
            assert not np.isnan(dataset.X).any()
            assert np.bincount(dataset.y[split.test], minlength=len(dataset.classes)).all() or len(split.test) < 20
    stand_in = any(note.startswith("stand-in") for note in data.notes)
    assert stand_in == (setting.id not in REAL or name not in ("openml/iris", "openml/tic-tac-toe"))


def test_generated_files_repeat_and_depend_on_the_seed(tmp_path):
    task = get_task("openml/credit-approval")
    texts = [task.generate(tmp_path / str(i), n=60, seed=seed)[0].read_text() for i, seed in enumerate((0, 0, 1))]
    assert texts[0] == texts[1] != texts[2]
    assert task.load(tmp_path / "0", "clean").dataset.X.shape == (60, 15)
    with pytest.raises(UsageError, match="it has no resolution"):
        task.generate(tmp_path, resolution=8)


def test_a_stand_in_can_be_learned(tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    task = get_task("openml/diabetes")
    task.generate(tmp_path)
    data = task.load(tmp_path, "clean")
    x = StandardScaler().fit_transform(data.dataset.X)
    model = LogisticRegression().fit(x[data.split.train], data.dataset.y[data.split.train])
    score = roc_auc_score(data.dataset.y[data.split.test], model.predict_proba(x[data.split.test])[:, 1])
    assert 0.75 < score < 0.99


# -- real rows -------------------------------------------------------------------------------------------------------


def test_iris_is_the_file_that_openml_serves(tmp_path):
    served = Path(sklearn.datasets.__file__).parent / "tests/data/openml/id_61/data-v1-dl-61.arff.gz"
    if not served.exists():
        pytest.skip("this scikit-learn comes without its test data")
    (tmp_path / "served.arff").write_bytes(gzip.decompress(served.read_bytes()))
    theirs = read_arff(tmp_path / "served.arff")
    ours = read_arff(get_task("openml/iris").generate(tmp_path)[0])
    assert ours.attributes == theirs.attributes
    for a, b in zip(ours.columns, theirs.columns):
        np.testing.assert_array_equal(a, b)


def test_boards_at_the_end_of_a_game_are_those_that_games_reach(tmp_path):
    """Played from the empty board, every move tried."""
    lines = [(i, i + 1, i + 2) for i in (0, 3, 6)] + [(i, i + 3, i + 6) for i in range(3)] + [(0, 4, 8), (2, 4, 6)]
    ends = {}

    def play(board, sign):
        for cell in (i for i, held in enumerate(board) if held == "b"):
            after = board[:cell] + sign + board[cell + 1 :]
            won = any(all(after[i] == sign for i in line) for line in lines)
            if won or "b" not in after:
                ends[after] = won and sign == "x"
            elif after not in seen:
                seen.add(after)
                play(after, "o" if sign == "x" else "x")

    seen = set()
    play("b" * 9, "x")
    data = get_task("openml/tic-tac-toe")
    data.generate(tmp_path)
    dataset = data.load(tmp_path, "clean").dataset
    boards = {
        "".join(dataset.categories[i][int(code)] for i, code in enumerate(row)): dataset.classes[y] == "positive"
        for row, y in zip(dataset.X, dataset.y)
    }
    assert boards == ends
    assert np.bincount(dataset.y).tolist() == [332, 626]


def test_complete_and_bundled_sets_have_their_known_sizes(tmp_path):
    known = {"balance-scale": [288, 49, 288], "iris": [50] * 3, "wine": [59, 71, 48], "wdbc": [357, 212]}
    for name, counts in known.items():
        task = get_task(f"openml/{name}")
        task.generate(tmp_path)
        assert np.bincount(task.load(tmp_path, "clean").dataset.y).tolist() == counts
        assert all(check.ok for check in task.verify(tmp_path).checks)
    scale = get_task("openml/balance-scale").load(tmp_path, "clean").dataset
    assert {tuple(row) for row in scale.X.astype(int)} == set(product(range(1, 6), repeat=4))


def test_a_part_of_a_real_set_is_called_a_stand_in(tmp_path):
    task = get_task("openml/wine")
    task.generate(tmp_path, n=60)
    data = task.load(tmp_path, "clean")
    assert len(data.dataset) == 60
    assert "stand-in: OpenML 187, wine: the data that scikit-learn bundles; 60 rows of it" in data.notes


# -- protocols -------------------------------------------------------------------------------------------------------


def credit(tmp_path, changed_rows=(), value=50.0):
    """Credit approval with the numbers of some rows changed."""
    task = get_task("openml/credit-approval")
    (path,) = task.generate(tmp_path, n=150)
    arff = read_arff(path)
    columns = [c.copy() if a.type == "numeric" else c for a, c in zip(arff.attributes, arff.columns)]
    for column, attribute in zip(columns, arff.attributes):
        if attribute.type == "numeric":
            column[list(changed_rows)] += value
    write_arff(path, Arff(arff.relation, arff.attributes, tuple(columns), arff.comments))
    return task


def test_nothing_of_the_test_rows_reaches_the_training_rows_under_clean_but_it_does_under_shipped(tmp_path):
    for protocol, leaks in (("clean", False), ("shipped", True)):
        before = credit(tmp_path / "a").load(tmp_path / "a", protocol)
        after = credit(tmp_path / "b", changed_rows=before.split.test).load(tmp_path / "b", protocol)
        assert before.split.test.tolist() == after.split.test.tolist()
        train = before.split.train
        same = np.array_equal(before.dataset.X[train], after.dataset.X[train], equal_nan=True)
        assert same != leaks
    assert "encoder and scaler were fitted on all rows, test rows included" in after.notes


def test_the_clean_split_is_the_same_for_all_seeds_and_the_shipped_one_is_not(folder):
    task = get_task("openml/credit-g")
    clean = [task.load(folder, "clean", seed=seed).split for seed in (0, 1)]
    assert clean[0].test.tolist() == clean[1].test.tolist()
    shipped = [task.load(folder, "shipped", seed=seed).split for seed in (0, 0, 1)]
    assert shipped[0].test.tolist() == shipped[1].test.tolist() != shipped[2].test.tolist()
    y = task.load(folder, "clean").dataset.y
    for split in (*clean, *shipped):
        assert len(split.test) == pytest.approx(0.1 * len(y), abs=1)
        assert y[split.test].mean() == pytest.approx(y.mean(), abs=1.5 / len(split.test))


def test_limits_are_the_first_rows_of_a_part(folder):
    task = get_task("openml/credit-g")
    whole = task.load(folder, "shipped").split
    few = task.load(folder, "shipped", limit={"train": 20, "test": 7}).split
    assert few.train.tolist() == whole.train[:20].tolist()
    assert few.test.tolist() == whole.test[:7].tolist()


def test_measurements_of_one_mouse_stay_together(folder):
    data = get_task("openml/MiceProtein").load(folder, "clean")
    assert data.dataset.groups is not None
    parts = [set(data.dataset.groups[rows]) for rows in (data.split.train, data.split.validation, data.split.test)]
    assert not (parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2])
    assert "MouseID" not in data.dataset.columns
    shipped = get_task("openml/MiceProtein").load(folder, "shipped")
    assert shipped.dataset.groups is None


def mixed(tmp_path):
    """Two categories, of which one has missing values, and two numbers."""
    rng = np.random.default_rng(0)
    attributes = (
        Attribute("n1", "numeric"), Attribute("colour", "nominal", ("red", "blue", "green", "never")),
        Attribute("n2", "numeric"), Attribute("flag", "nominal", ("t", "f")), Attribute("remark", "string"),
        Attribute("class", "nominal", ("good", "bad")),
    )  # fmt: skip
    columns = (
        rng.normal(5, 3, 50), rng.integers(-1, 3, 50), np.where(rng.random(50) < 0.2, np.nan, rng.normal(size=50)),
        rng.integers(0, 2, 50), np.array([f"note {i}" for i in range(50)], object), np.arange(50) % 2,
    )  # fmt: skip
    arff = Arff("mixed", attributes, columns)
    write_arff(tmp_path / "credit-g.arff", arff)
    return arff, SETTINGS["credit-g"]


def test_features_to_sequence_against_scikit_learn(tmp_path):
    arff, setting = mixed(tmp_path)
    relation = read_relation(tmp_path, setting)
    rows = np.arange(0, 50, 2)
    x = FeatureSequence.fit(relation, rows).transform(relation)
    assert x.shape == (50, 4, 4)  # slots: blue, green, red and NaN; positions: colour, flag, n1, n2
    names = np.array(["red", "blue", "green", "never", "NaN"])[arff.columns[1]][:, None]
    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(names[rows])
    np.testing.assert_array_equal(x[:, :, 0], encoder.transform(names)[:, np.argsort(encoder.categories_[0])])
    np.testing.assert_array_equal(
        x[:, :, 1], np.stack([arff.columns[3] == 1, arff.columns[3] == 0, *[np.zeros(50)] * 2], 1)
    )
    for position, column in ((2, arff.columns[0]), (3, arff.columns[2])):
        scaled = StandardScaler().fit(column[rows, None]).transform(column[:, None])[:, 0]
        np.testing.assert_allclose(x[:, 0, position], np.nan_to_num(scaled), rtol=1e-6, atol=1e-6)
        assert not x[:, 1:, position].any()


def test_numbers_only_are_channels_of_length_one(tmp_path):
    attributes = (*(Attribute(f"n{i}", "numeric") for i in range(3)), Attribute("class", "nominal", ("a", "b")))
    rng = np.random.default_rng(0)
    columns = [*rng.normal(2, 5, (3, 30)), np.arange(30) % 2]
    columns[1][4] = np.nan
    write_arff(tmp_path / "61.arff", Arff("r", attributes, tuple(columns)))
    data = get_task("openml/iris").load(tmp_path, "shipped")
    assert data.dataset.X.shape == (30, 2, 1)
    scaled = StandardScaler().fit_transform(np.column_stack([columns[0], columns[2]]))
    np.testing.assert_allclose(data.dataset.X[:, :, 0], scaled, rtol=1e-5, atol=1e-6)
    clean = get_task("openml/iris").load(tmp_path, "clean").dataset
    np.testing.assert_array_equal(clean.X, np.column_stack(columns[:3]).astype(np.float32))
    for column in columns[:3]:
        column[0] = np.nan
    write_arff(tmp_path / "61.arff", Arff("r", attributes, tuple(columns)))
    with pytest.raises(DataError, match="every column has missing values"):
        get_task("openml/iris").load(tmp_path, "shipped")


def test_particularities_of_single_sets(folder):
    blood = get_task("openml/blood-transfusion")
    few, whole = blood.load(folder, "shipped").dataset.X, blood.load(folder, "clean").dataset.X
    assert few.shape[1:] == (3, 1)
    for channel, column in enumerate((0, 1, 3)):
        assert np.corrcoef(few[:, channel, 0], whole[:, column])[0, 1] == pytest.approx(1, abs=1e-5)
    vehicle = get_task("openml/vehicle").load(folder, "shipped")
    train = vehicle.dataset.X[vehicle.split.train]
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0, ddof=1), 1, atol=1e-4)
    x = np.random.default_rng(0).normal(3, 2, (20, 2, 1))
    np.testing.assert_allclose(
        normalised_again(x, np.arange(20)), (x - x.mean(0)) / (x.std(0, ddof=1) + 1e-5), rtol=1e-6
    )


def test_a_table_keeps_categories_and_gaps(tmp_path):
    arff, setting = mixed(tmp_path)
    x, categories = table(read_relation(tmp_path, setting))
    assert categories == {1: ("red", "blue", "green", "never"), 3: ("t", "f")}
    np.testing.assert_array_equal(np.isnan(x[:, 1]), arff.columns[1] < 0)
    np.testing.assert_array_equal(x[:, 0], arff.columns[0].astype(np.float32))
    notes = load(setting, tmp_path, "clean").notes
    assert "text attributes are no features: remark" in notes


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["31.arff", "credit-g.arff", "Credit-G.ARFF", "dataset_31_credit-g.arff"])
def test_names_of_files(tmp_path, name):
    _, setting = mixed(tmp_path)
    (tmp_path / "credit-g.arff").rename(tmp_path / name)
    assert find(tmp_path, setting) == tmp_path / name
    assert find(tmp_path, SETTINGS["iris"]) is None
    assert find(tmp_path / name, SETTINGS["iris"]) is None


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_of_the_same_columns_are_the_same_data(tmp_path, ending):
    import pyarrow as pa
    from pyarrow import csv, parquet

    arff, setting = mixed(tmp_path)
    expected = load(setting, tmp_path, "shipped")
    columns = {}
    for attribute, column in zip(arff.attributes, arff.columns):
        if attribute.type == "nominal":
            column = [None if code < 0 else attribute.values[code] for code in column]
        columns[attribute.name] = pa.array(column, from_pandas=True)
    (tmp_path / "credit-g.arff").unlink()
    arrow = pa.table(columns)
    if ending == "csv":
        csv.write_csv(arrow, tmp_path / "31.csv")
    else:
        parquet.write_table(arrow, tmp_path / "31.parquet")
    found = load(setting, tmp_path, "shipped")
    assert found.dataset.classes == ("bad", "good")  # sorted: a table of text has no order of its own
    np.testing.assert_array_equal(found.dataset.y, 1 - expected.dataset.y)
    np.testing.assert_allclose(found.dataset.X, expected.dataset.X, atol=1e-6)


def test_a_renamed_target_is_found_and_said(tmp_path):
    arff, setting = mixed(tmp_path)
    attributes = tuple(replace(a, name="outcome") if a.name == "class" else a for a in arff.attributes)
    write_arff(tmp_path / "credit-g.arff", replace(arff, attributes=attributes))
    relation = read_relation(tmp_path, setting)
    assert relation.target == "outcome"
    assert "no attribute 'class': the last nominal one, 'outcome', is the target" in relation.notes
    numbers = replace(arff, attributes=arff.attributes[:1], columns=arff.columns[:1])
    write_arff(tmp_path / "credit-g.arff", numbers)
    with pytest.raises(DataError, match="no attribute 'class' and no nominal one"):
        read_relation(tmp_path, setting)


def test_rows_without_a_target_are_left_out_and_absent_classes_have_no_code(tmp_path):
    arff, setting = mixed(tmp_path)
    target = arff.columns[-1].copy()
    target[:3] = -1
    columns = (*arff.columns[:-1], np.where(target == 1, 2, target))
    attributes = (*arff.attributes[:-1], Attribute("class", "nominal", ("good", "never", "bad")))
    write_arff(tmp_path / "credit-g.arff", replace(arff, attributes=attributes, columns=columns))
    relation = read_relation(tmp_path, setting)
    assert (len(relation), relation.classes) == (47, ("good", "bad"))
    np.testing.assert_array_equal(relation.y, arff.columns[-1][3:])
    assert "3 rows without a target were left out" in relation.notes


def test_what_is_missing_is_said_with_its_address(tmp_path):
    found = get_task("openml/credit-g").verify(tmp_path)
    assert not found.ok
    assert found.missing == ("31.arff: https://www.openml.org/d/31",)
    with pytest.raises(
        DataError, match=r"no file of credit-g \(OpenML 31\)[\s\S]*crosstune data generate openml/credit-g"
    ):
        get_task("openml/credit-g").load(tmp_path, "clean")
    (tmp_path / "31.arff").write_text("<!doctype html>")
    found = get_task("openml/credit-g").verify(tmp_path)
    assert (found.ok, found.checks[0].ok) == (False, False)
    assert "web page" in found.checks[0].text
