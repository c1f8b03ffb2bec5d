"""What every task of the suite must do, on small generated files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from crosstune.benchmarks.contract import get_suite, get_task, published_results, tasks
from crosstune.benchmarks.pdebench import EIGHT
from crosstune.benchmarks.pdebench import protocols as machinery
from crosstune.benchmarks.pdebench.locating import fits
from crosstune.benchmarks.pdebench.reading import opened
from crosstune.errors import DataError
from crosstune.metrics import get_metric

SIZES = {"cfd_1d": (12, 32), "cfd_2d": (4, 16), "shallow_water": (24, 16), "darcy": (20, 16)}
NAMES = sorted(tasks("pdebench"))


def problem_of(name):
    return get_task(name).load.args[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder by task name."""
    root = tmp_path_factory.mktemp("pdebench")
    for name in NAMES:
        n, resolution = SIZES.get(name.split("/")[1], (20, 32))
        get_task(name).generate(root / name, n=n, resolution=resolution)
    return {name: root / name for name in NAMES}


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file())


def test_the_suite_is_complete():
    assert set(EIGHT) | {"pdebench/cfd_2d"} == set(NAMES)
    suite = get_suite("pdebench")
    assert set(suite.scales) == {"small", "full"}
    assert set(suite.scales["small"].generate) - {"*"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_generated_files_verify(made, name):
    task = get_task(name)
    for path in files(made[name]):
        verification = task.verify(path)
        assert verification.ok, [c for c in verification.checks if c.ok is False]
        assert len(verification.checks) >= 8
    assert task.verify(made[name]).ok


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_recognised_by_its_task_alone_with_and_without_its_mark(made, name, tmp_path):
    path = files(made[name])[0]
    assert [other for other in NAMES if get_task(other).recognise(path)] == [name]
    bare = tmp_path / problem_of(name).layout.file
    bare.write_bytes(path.read_bytes())
    with h5py.File(bare, "r+") as file:
        for key in ("crosstune_task", "crosstune_variant", "crosstune_recipe"):
            del file.attrs[key]
    assert [other for other in NAMES if get_task(other).recognise(bare)] == [name]
    assert get_task(name).recognise(made[name])
    assert not get_task(name).recognise(tmp_path / "absent.hdf5")


@pytest.mark.parametrize("name", NAMES)
def test_a_generated_file_never_has_the_name_of_a_published_one(made, name):
    published = {problem_of(other).layout.file for other in NAMES}
    for path in files(made[name]):
        assert path.name not in published
        with h5py.File(path) as file:
            assert file.attrs["crosstune_task"] == name
            assert file.attrs["crosstune_variant"] in {v.name for v in problem_of(name).variants}


@pytest.mark.parametrize("name", NAMES)
def test_clean_keeps_parts_apart_and_scores_train_and_test_alike(made, name):
    data = get_task(name).load(made[name], "clean")
    split = data.split
    rows = np.concatenate([split.train, split.validation, split.test])
    assert len(np.unique(rows)) == len(rows) == len(data.dataset)
    assert min(len(split.train), len(split.validation), len(split.test)) >= 1
    variant = problem_of(name).preferred
    path = made[name] / problem_of(name).file_name(variant)
    with opened(path) as file:
        whole = file.read(np.arange(file.samples), [0, variant.clean.frame])
    # every row, whatever its part, is a pair of the first and the target frame of one sample
    for x, y in zip(data.dataset.X, data.dataset.y):
        assert any(np.array_equal(x, pair[0]) and np.array_equal(y, pair[1]) for pair in whole)
    kept = data.dataset.X[split.test]
    for part in (split.train, split.validation):
        assert not (data.dataset.X[part][:, None] == kept[None]).reshape(len(part), len(kept), -1).all(axis=2).any()


@pytest.mark.parametrize("name", NAMES)
def test_shipped_selects_on_the_test_and_holds_out_the_published_tenth(made, name):
    task, problem = get_task(name), problem_of(name)
    data = task.load(made[name], "shipped")
    assert task.terms("shipped").selected_on == "test"
    assert np.array_equal(data.split.validation, data.split.test)
    n = len(data.dataset)
    count = max(1, n // 10)
    expected = np.arange(count) if problem.layout.holdout == "first" else np.arange(n - count, n)
    assert np.array_equal(data.split.test, expected)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("advection", 200, 200), ("burgers", 200, 200), ("diffusion_reaction_1d", 29, 99),
        ("diffusion_sorption", 100, 99), ("shallow_water", 100, 99), ("darcy", 1, 1),
    ],
)  # fmt: skip
def test_target_frames_of_the_shipped_protocol(made, name, train, test):
    name = f"pdebench/{name}"
    problem = problem_of(name)
    data = get_task(name).load(made[name], "shipped")
    with opened(made[name] / problem.file_name(problem.standard)) as file:
        rows = np.arange(file.samples)
        frames = file.read(rows, [0, train, test])
    assert np.array_equal(data.dataset.X, frames[:, 0])
    assert np.array_equal(data.dataset.y[data.split.train], frames[data.split.train, 1])
    assert np.array_equal(data.dataset.y[data.split.test], frames[data.split.test, 2])


def test_diffusion_reaction_2d_as_shipped_asks_for_the_other_channel(made):
    name = "pdebench/diffusion_reaction_2d"
    data = get_task(name).load(made[name], "shipped")
    with opened(files(made[name])[0]) as file:
        frames = file.read(np.arange(20), [0, 99, 100])
    assert np.array_equal(data.dataset.X[:, 0], frames[:, 0, 0])
    assert np.array_equal(data.dataset.y[data.split.train, 0], frames[:18, 2, 1])
    assert np.array_equal(data.dataset.y[data.split.test, 0], frames[18:, 1, 1])
    assert get_task(name).load(made[name], "clean").dataset.y.shape[1] == 2


def test_cfd_1d_as_shipped_leaves_test_targets_raw(made):
    name = "pdebench/cfd_1d"
    data = get_task(name).load(made[name], "shipped")
    with opened(files(made[name])[0]) as file:
        frames = file.read(np.arange(12), [0, 100]).reshape(12, 2, -1)
    train, test = data.split.train, data.split.test
    mean, deviation = frames[train, 0].mean(0), frames[train, 0].std(0, ddof=1)
    assert data.dataset.X.shape == (12, 1, 96)
    np.testing.assert_allclose(data.dataset.X[:, 0], (frames[:, 0] - mean) / deviation, atol=2e-3)
    np.testing.assert_allclose(data.dataset.y[train, 0], (frames[train, 1] - mean) / deviation, atol=2e-2)
    assert np.array_equal(data.dataset.y[test, 0], frames[test, 1])
    # a perfect prediction in the units it was trained in is a bad one by this metric
    perfect = ((frames[test, 1] - mean) / deviation)[:, None]
    assert get_metric("nrmse-field").score(perfect, data.dataset.y[test]) > 0.8


def test_cfd_2d_as_shipped_is_normalised_pixel_by_pixel(made):
    data = get_task("pdebench/cfd_2d").load(made["pdebench/cfd_2d"], "shipped")
    train = data.split.train
    np.testing.assert_allclose(data.dataset.y[train].mean(axis=0), 0, atol=1e-2)
    np.testing.assert_allclose(data.dataset.y[train].std(axis=0, ddof=1), 1, atol=0.1)


def test_files_that_are_finer_than_the_protocol_are_thinned(made):
    problem = problem_of("pdebench/advection")
    coarse = replace(problem, shipped=replace(problem.shipped, points=8))
    data = machinery.load(coarse, made["pdebench/advection"], "shipped")
    whole = get_task("pdebench/advection").load(made["pdebench/advection"], "shipped")
    assert np.array_equal(data.dataset.X, whole.dataset.X[..., ::4])


@pytest.mark.parametrize("name", NAMES)
def test_limits_take_the_first_rows_of_a_part(made, name):
    task = get_task(name)
    whole, few = (task.load(made[name], "shipped", limit=m) for m in (None, {"train": 2, "test": 1, "validation": 1}))
    assert [len(few.split.rows(p)) for p in ("train", "validation", "test")] == [2, 1, 1]
    if not name.split("/")[1].startswith("cfd"):  # whose normalisation depends on the training rows
        assert np.array_equal(few.dataset.y[few.split.train], whole.dataset.y[whole.split.train[:2]])
        assert np.array_equal(few.dataset.X[few.split.test], whole.dataset.X[whole.split.test[:1]])


def test_the_seed_moves_the_validation_rows_and_nothing_else(made):
    task, folder = get_task("pdebench/advection"), made["pdebench/advection"]
    a, b, again = (task.load(folder, "clean", seed=seed).split for seed in (0, 1, 0))
    assert np.array_equal(a.test, b.test)
    assert not np.array_equal(a.validation, b.validation)
    assert np.array_equal(a.validation, again.validation)


def test_equal_samples_of_the_published_shallow_water_stay_in_one_part(made):
    """16 x 16 cells leave a handful of different columns: as shipped the test has twins in training, clean none."""
    task, folder = get_task("pdebench/shallow_water"), made["pdebench/shallow_water"]
    path = folder / problem_of(task.name).file_name(problem_of(task.name).standard)
    parts = {}
    for protocol in ("clean", "shipped"):
        data = task.load(path, protocol)
        parts[protocol] = [{x.tobytes() for x in data.dataset.X[data.split.rows(p)]} for p in ("train", "test")]
        if protocol == "clean":
            assert data.dataset.groups is not None
            assert any("distinct initial states" in note for note in data.notes)
    assert parts["shipped"][0] & parts["shipped"][1]
    assert not parts["clean"][0] & parts["clean"][1]


def test_columns_are_compared_in_full_up_to_a_gigabyte(made, monkeypatch):
    """Two radii that differ in one ring of cells may agree on some of the points."""
    water = problem_of("pdebench/shallow_water")
    with opened(made[water.task] / water.file_name(water.standard)) as file:
        whole = machinery.equal_rows(file)
        first = file.read(np.arange(24), [0]).reshape(24, -1)
        assert len(np.unique(whole)) == len(np.unique(first, axis=0))
        monkeypatch.setattr(machinery, "MOST_COMPARED", 400)
        thinned = machinery.equal_rows(file)
    assert len(np.unique(thinned)) < len(np.unique(whole))


def test_a_few_equal_training_rows_are_left_out(made, tmp_path):
    source = files(made["pdebench/advection"])[0]
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        file["tensor"][10] = file["tensor"][0]  # sample 0 is in the test
    data = get_task("pdebench/advection").load(path, "clean")
    assert len(data.dataset) == 19
    assert any("1 training rows equal a test row" in note for note in data.notes)


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_files_say_so(made, name):
    problem = problem_of(name)
    data = get_task(name).load(made[name], "shipped")
    assert any("not the published file" in note for note in data.notes)
    if problem.standard.caution:
        assert problem.standard.caution in data.notes
        assert problem.standard.caution not in get_task(name).load(made[name], "clean").notes


@pytest.mark.parametrize("name", NAMES)
def test_terms_name_metrics_that_exist_and_published_rows_too(name):
    task = get_task(name)
    for protocol in ("clean", "shipped", "official"):
        terms = task.terms(protocol)
        for metric in (terms.metric, *terms.also):
            get_metric(metric, "dense")
    known = {row.task for row in published_results() if row.benchmark == "PDEBench"}
    assert task.published is None or task.published in known


@pytest.mark.parametrize("name", NAMES)
def test_reference_settings_are_settings_of_the_reference_method(name):
    from crosstune.methods import get_method
    from crosstune.methods.contract import override

    override(get_method("recraft-reference"), dict(get_task(name).reference))


def test_wrong_parameters_are_found(made, tmp_path):
    source = files(made["pdebench/burgers"])[-1]
    path = tmp_path / "1D_Burgers_Sols_Nu1.0.hdf5"
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        for key in ("crosstune_task", "crosstune_variant", "crosstune_recipe"):
            del file.attrs[key]
        file.attrs["Nu"] = 0.3
    check = next(c for c in get_task("pdebench/burgers").verify(path).checks if c.name == "parameters")
    assert check.ok is False
    assert "Nu = 0.3" in check.text
    notes = get_task("pdebench/burgers").load(path, "clean").notes
    assert any("parameters differ" in note for note in notes)


def test_the_old_burgers_revision_is_refused_by_its_coordinate(made, tmp_path):
    source = files(made["pdebench/burgers"])[-1]
    path = tmp_path / "1D_Burgers_Sols_Nu1.0.hdf5"
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        file["x-coordinate"][...] = 2 * file["x-coordinate"][...] - 1
    verification = get_task("pdebench/burgers").verify(path)
    assert {c.name for c in verification.checks if c.ok is False} == {"revision", "x-coordinate"}
    with pytest.raises(DataError, match=r"old revision on \(-1, 1\)\n.*281365"):
        get_task("pdebench/burgers").load(path, "shipped")


@pytest.mark.parametrize("name", ["pdebench/advection", "pdebench/cfd_1d"])
def test_files_with_too_few_frames_are_refused(made, name, tmp_path):
    source = files(made[name])[0]
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        for key in problem_of(name).layout.keys:
            values = file[key][:, :60]
            del file[key]
            file[key] = values
    with pytest.raises(DataError, match="has 60 frames; frame"):
        get_task(name).load(path, "clean")
    assert next(c for c in get_task(name).verify(path).checks if c.name == "frames").ok is False


def test_values_that_are_not_finite_are_found(made, tmp_path):
    source = files(made["pdebench/diffusion_reaction_1d"])[0]
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        file["tensor"][7, -1, 3] = np.nan
    check = next(c for c in get_task("pdebench/diffusion_reaction_1d").verify(path).checks if c.name == "finite")
    assert check.ok is False
    assert "sample(s) 7" in check.text


def test_layout_of_a_seeds_file(made):
    with h5py.File(files(made["pdebench/diffusion_reaction_2d"])[0]) as file:
        assert list(file)[:2] == ["0000", "0001"]
        assert file["0001/data"].shape == (101, 32, 32, 2)
        assert file["0001/data"].dtype == np.float32
        assert file["0001/data"].compression == "lzf"
        assert file["0001/grid/t"].shape == (101,)
        assert file["0001/grid/x"].shape == (32,)
        assert "seed: 1" in file["0001"].attrs["config"]
    water = problem_of("pdebench/shallow_water")
    with h5py.File(made["pdebench/shallow_water"] / water.file_name(water.standard)) as file:
        assert file["0003/data"].compression is None


def test_a_sample_of_another_shape_is_refused(made, tmp_path):
    source = files(made["pdebench/diffusion_sorption"])[0]
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["0004/data"]
        file["0004/data"] = np.zeros((101, 16, 1), np.float32)
    with pytest.raises(DataError, match="sample 0004 has shape"):
        get_task("pdebench/diffusion_sorption").load(path, "clean")


def test_why_a_file_does_not_fit_is_said(made):
    with opened(files(made["pdebench/cfd_1d"])[0]) as file:
        file.task = None
        assert "3 channel(s) on 1 axes" in fits(problem_of("pdebench/advection"), file)
    with opened(files(made["pdebench/burgers"])[0]) as file:
        file.task = None
        assert "its parameters are nu; those of pdebench/advection are beta" in fits(
            problem_of("pdebench/advection"), file
        )
        assert "not laid out as" in fits(problem_of("pdebench/diffusion_sorption"), file)
