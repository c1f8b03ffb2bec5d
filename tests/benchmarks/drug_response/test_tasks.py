import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from crosstune.benchmarks import get_task, tasks
from crosstune.errors import DataError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("drug")
    for task in tasks("drug_response").values():
        task.generate(out, n=200)
    return out


@pytest.mark.parametrize("name", ["drug_response/ctrp", "drug_response/gdsc"])
def test_files_are_generated_recognised_verified_and_loaded(name, folder):
    task = get_task(name)
    assert task.recognise(folder)
    found = task.verify(folder)
    assert found.ok
    assert found.checks[0].text.startswith("synthetic stand-in")
    clean, shipped = (task.load(folder, protocol) for protocol in ("clean", "shipped"))
    assert clean.dataset.X.shape == (250, 1, 3840)
    assert clean.dataset.y.shape == (250, 1)
    assert [len(clean.split.rows(part)) for part in ("train", "validation", "test")] == [180, 20, 50]
    assert not set(clean.split.train) & set(clean.split.validation)
    assert shipped.split.validation.tolist() == shipped.split.test.tolist() == list(range(200, 250))
    data = name.partition("/")[2]
    np.testing.assert_array_equal(clean.dataset.X[200:], np.load(folder / "drug_sep" / f"{data}_test_feat.npy"))
    np.testing.assert_array_equal(clean.dataset.y[:200, 0], np.load(folder / "drug_sep" / f"{data}_train_label.npy"))
    again = task.load(folder / "drug_sep" / f"{data}_test_label.npy", "clean", seed=3)
    assert again.split.validation.tolist() == clean.split.validation.tolist()


def test_a_stand_in_can_be_learned(folder):
    data = get_task("drug_response/ctrp").load(folder, "clean")
    x, y = data.dataset.X[:, 0], data.dataset.y[:, 0]
    model = RidgeCV(10.0 ** np.arange(8)).fit(x[data.split.train], y[data.split.train])
    assert 0.5 < r2_score(y[data.split.test], model.predict(x[data.split.test])) < 0.98


def test_stand_ins_repeat(tmp_path):
    task = get_task("drug_response/gdsc")
    for i, seed in enumerate((0, 0, 1)):
        task.generate(tmp_path / str(i), n=16, seed=seed)
    read = [(tmp_path / str(i) / "drug_sep" / "gdsc_train_feat.npy").read_bytes() for i in range(3)]
    assert read[0] == read[1] != read[2]
    with pytest.raises(UsageError, match="at least 16 samples"):
        task.generate(tmp_path, n=3)


def test_what_is_wrong_is_said(tmp_path):
    task = get_task("drug_response/ctrp")
    with pytest.raises(DataError, match="does not hold ctrp_train_feat"):
        task.load(tmp_path, "clean")
    assert len(task.verify(tmp_path).missing) == 4
    task.generate(tmp_path, n=16)
    held = tmp_path / "drug_sep"
    np.save(held / "ctrp_test_label.npy", np.zeros(3))
    with pytest.raises(DataError, match="holds 3 values of type float64 for 4 rows"):
        task.load(tmp_path, "clean")
    np.save(held / "ctrp_test_label.npy", np.array([0, 1, np.nan, 2]))
    with pytest.raises(DataError, match="the label of row 2 is not a number"):
        task.load(tmp_path, "shipped")
    np.save(held / "ctrp_test_feat.npy", np.zeros((4, 3840)))
    with pytest.raises(DataError, match=r"has shape \(4, 3840\), not \(N, 1, 3840\)"):
        task.load(tmp_path, "shipped")
    (held / "ctrp_test_feat.npy").write_text("<!DOCTYPE html>")
    with pytest.raises(DataError, match="is a web page"):
        task.load(tmp_path, "shipped")
    assert not task.verify(tmp_path).ok
