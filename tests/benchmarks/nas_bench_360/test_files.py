"""Each task's own traps: what its files look like, and what must be refused."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crosstune.benchmarks import get_task
from crosstune.benchmarks.nas_bench_360 import cifar100, ecg
from crosstune.errors import DataError, UsageError


def load(short: str, folders: dict[str, Path], protocol: str = "clean", **keywords):
    name = f"nas_bench_360/{short}"
    return get_task(name).load(folders[name], protocol, **keywords)


@pytest.fixture
def copy(folders, tmp_path):
    def of(short: str) -> Path:
        shutil.copytree(folders[f"nas_bench_360/{short}"], tmp_path / short)
        return tmp_path / short

    return of


# -- CIFAR-100 --------------------------------------------------------------------------------------------------------


def test_cifar_is_what_python_reads(folders):
    folder = folders["nas_bench_360/cifar100"] / "cifar-100-python"
    held = pickle.loads((folder / "train").read_bytes(), encoding="bytes")
    assert set(held) == {b"filenames", b"batch_label", b"fine_labels", b"coarse_labels", b"data"}
    loaded = load("cifar100", folders, "shipped")
    rows = loaded.split.train
    assert_array_equal(loaded.dataset.y[rows], held[b"fine_labels"])
    image = held[b"data"][7].reshape(3, 32, 32) / 255
    wanted = (image - np.reshape(cifar100.MEAN, (3, 1, 1))) / np.reshape(cifar100.SPREAD, (3, 1, 1))
    assert_allclose(loaded.dataset.X[rows[7]], wanted, atol=1e-5)


def test_cifar_python_2_writer_agrees_with_pickle():
    held = {b"data": np.arange(600, dtype=np.uint8).reshape(2, 300) % 251, b"x": [b"a" * 300, b"b"], b"y": [1, -5]}
    found = pickle.loads(cifar100.python_2_pickle(held), encoding="bytes")
    assert_array_equal(found[b"data"], held[b"data"])
    assert (found[b"x"], found[b"y"]) == (held[b"x"], held[b"y"])
    with pytest.raises(UnicodeDecodeError):  # bytes of Python 2, as in the official files
        pickle.loads(cifar100.python_2_pickle({b"x": [b"\xff"]}))


def test_cifar_clean_validation_is_the_end_of_the_training_file(folders):
    clean, shipped = load("cifar100", folders).split, load("cifar100", folders, "shipped").split
    assert_array_equal(clean.validation, shipped.train[-len(shipped.train) // 5 :])


def test_cifar_of_another_shape(copy):
    folder = copy("cifar100") / "cifar-100-python"
    held = pickle.loads((folder / "train").read_bytes(), encoding="bytes")
    held[b"data"] = held[b"data"][:, :1024]
    (folder / "train").write_bytes(pickle.dumps(held, 2))
    with pytest.raises(DataError, match=r"expected \(N, 3072\)"):
        get_task("nas_bench_360/cifar100").load(folder, "clean")
    (folder / "train").rename(folder / "train.pkl")
    with pytest.raises(DataError, match="does not hold train"):
        get_task("nas_bench_360/cifar100").load(folder, "clean")


def test_cifar_archive_that_was_not_unpacked(tmp_path):
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"\x1f\x8b")
    task = get_task("nas_bench_360/cifar100")
    with pytest.raises(DataError, match="not unpacked: tar xf cifar"):
        task.load(tmp_path, "clean")
    assert any("not unpacked" in check.text for check in task.verify(tmp_path).checks)


# -- Spherical --------------------------------------------------------------------------------------------------------


def test_no_protocol_trains_on_test_images_of_the_sphere(folders):
    for protocol in ("clean", "official", "shipped"):
        loaded = load("spherical", folders, protocol)
        assert not set(loaded.split.train) & set(loaded.split.test)
    assert "no test image is trained on" in " ".join(load("spherical", folders, "shipped").notes)


def test_the_leak_has_a_name_and_says_what_it_does(folders):
    task = get_task("nas_bench_360/spherical")
    folder = folders[task.name]
    leaking = task.load(folder, "shipped", leak_test_into_train=True)
    plain = task.load(folder, "shipped")
    shared = set(leaking.split.train) & set(leaking.split.test)
    assert len(shared) == len(leaking.split.test) // 4
    assert shared == set(leaking.split.test[: len(shared)])
    assert len(leaking.split.train) == len(plain.split.train) + len(shared)
    assert any(note.startswith("TRAINED ON THE TEST") for note in leaking.notes)
    assert leaking.dataset.source["task"]["options"] == {"leak_test_into_train": True}
    for protocol in ("clean", "official"):
        with pytest.raises(UsageError, match="goes with protocol 'shipped'"):
            task.load(folder, protocol, leak_test_into_train=True)


def test_scaling_of_the_sphere_by_protocol(folders):
    raw, scaled = load("spherical", folders, "official").dataset, load("spherical", folders).dataset
    assert raw.X[5].max() > 1
    assert_allclose(raw.X[5] / 255, scaled.X[5], atol=1e-6)


# -- NinaPro ----------------------------------------------------------------------------------------------------------


def test_ninapro_is_transposed(folders):
    windows = np.load(folders["nas_bench_360/ninapro"] / "ninaPro" / "ninapro_val.npy")
    loaded = load("ninapro", folders)
    assert_allclose(loaded.dataset.X[loaded.split.validation[3]][0, 5, 40], windows[3, 40, 5], rtol=1e-6)


def test_ninapro_that_was_transposed_before_is_refused(copy):
    folder = copy("ninapro") / "ninaPro"
    windows = np.load(folder / "ninapro_val.npy")
    np.save(folder / "ninapro_val.npy", windows.transpose(0, 2, 1))
    with pytest.raises(DataError, match=r"(?s)has shape .*a transposed copy"):
        get_task("nas_bench_360/ninapro").load(folder, "clean")


# -- Satellite --------------------------------------------------------------------------------------------------------


def test_satellite_normalisation_by_protocol(folders):
    held = np.load(folders["nas_bench_360/satellite"] / "satellite_train.npy", allow_pickle=True)[()]
    clean, shipped = load("satellite", folders), load("satellite", folders, "shipped")
    assert_array_equal(shipped.dataset.y[shipped.split.train], held["label"] - 1)
    assert_allclose(shipped.dataset.X[9][0], held["data"][9], rtol=1e-6)
    series = held["data"][9]
    assert_allclose(clean.dataset.X[9][0], (series - series.mean()) / series.std(), atol=1e-5)


def test_satellite_labels_from_zero_are_refused(copy):
    folder = copy("satellite")
    held = np.load(folder / "satellite_train.npy", allow_pickle=True)[()]
    np.save(folder / "satellite_train.npy", np.array({**held, "label": held["label"] - 1}, object), allow_pickle=True)
    with pytest.raises(DataError, match="labels 0 to 23; the official ones are 1 to 24"):
        get_task("nas_bench_360/satellite").load(folder, "clean")


# -- ECG --------------------------------------------------------------------------------------------------------------


def test_ecg_windows_by_hand(folders):
    folder = folders["nas_bench_360/ecg"]
    held = pickle.loads((folder / "challenge2017.pkl").read_bytes())
    lengths = [len(signal) for signal in held["data"]]
    assert min(lengths) == 1000
    labels = np.array(["NAO~".index(letter) for letter in held["label"]])
    table = ecg.window_table(lengths, labels, None)
    wanted = [(k, s) for k, n in enumerate(lengths) for s in range(0, n - 1000, {"N": 500, "A": 83, "O": 250, "~": 25}[held["label"][k]])]  # fmt: skip  # noqa: E501
    assert_array_equal(table, wanted)
    assert lengths.index(1000) not in table[:, 0]
    loaded = load("ecg", folders, "official")
    row = 11
    number, start = table[row]
    signal = held["data"][number].astype(np.float64)
    window = ((signal - signal.mean()) / signal.std())[start : start + 1000]
    assert_allclose(loaded.dataset.X[row][0], window, atol=1e-5)
    assert loaded.dataset.units[row] == number


def test_ecg_clean_windows_do_not_depend_on_held_out_labels(folders):
    folder = folders["nas_bench_360/ecg"]
    held = pickle.loads((folder / "challenge2017.pkl").read_bytes())
    lengths = [len(signal) for signal in held["data"]]
    out = ecg.held_out(len(lengths))
    labels = np.array(["NAO~".index(letter) for letter in held["label"]])
    other = np.where(out, 3, labels)
    assert_array_equal(ecg.window_table(lengths, labels, out), ecg.window_table(lengths, other, out))
    assert len(ecg.window_table(lengths, labels, None)) != len(ecg.window_table(lengths, other, None))


def test_ecg_splits_are_scikit_learns(folders):
    from sklearn.model_selection import train_test_split

    signals = np.array([f"recording {k}" for k in range(40)])
    train, held = train_test_split(signals, test_size=0.2, random_state=0)
    _, test = train_test_split(held, test_size=0.5, random_state=0)
    parts = ecg.recording_parts(40)
    assert_array_equal(signals[parts["train"]], train)
    assert_array_equal(signals[parts["test"]], test)
    loaded = load("ecg", folders)
    assert set(loaded.dataset.units[loaded.split.test]) <= set(parts["test"])


def test_ecg_shipped_test_rows_are_shuffled_by_the_seed(folders):
    a, b, c = (load("ecg", folders, "shipped", seed=seed).split.test for seed in (0, 0, 1))
    assert_array_equal(a, b)
    assert_array_equal(np.sort(a), np.sort(c))
    assert (a != c).any()
    assert (np.diff(a) < 0).any()


def test_ecg_with_letters_of_its_own(copy):
    file = copy("ecg") / "challenge2017.pkl"
    held = pickle.loads(file.read_bytes())
    held["label"][3] = "Z"
    file.write_bytes(pickle.dumps(held, 4))
    with pytest.raises(DataError, match="labels 'Z'; the official ones are N, A, O and ~"):
        get_task("nas_bench_360/ecg").load(file, "clean")


# -- DeepSEA ----------------------------------------------------------------------------------------------------------


def test_deepsea_letters_are_channels_and_an_idle_label_is_told(folders):
    held = np.load(folders["nas_bench_360/deepsea"] / "deepsea_filtered.npz")
    loaded = load("deepsea", folders)
    assert_array_equal(loaded.dataset.X[loaded.split.test[2]], held["x_test"][2].T)
    assert_array_equal(loaded.dataset.y[loaded.split.validation], held["y_val"])
    assert not held["y_test"][:, 35].any()
    assert any("labels 35 are the same" in note for note in loaded.notes)
    assert len(load("deepsea", folders, "shipped").split.train) == len(held["x_train"]) + len(held["x_val"])


def test_deepsea_compressed_copies_read_the_same(folders, tmp_path):
    source = np.load(folders["nas_bench_360/deepsea"] / "deepsea_filtered.npz")
    np.savez_compressed(tmp_path / "deepsea_filtered.npz", **{key: source[key] for key in source.files})
    loaded = get_task("nas_bench_360/deepsea").load(tmp_path, "clean")
    assert_array_equal(loaded.dataset.X[:], load("deepsea", folders).dataset.X[:])


def test_deepsea_transposed_is_refused(folders, tmp_path):
    source = np.load(folders["nas_bench_360/deepsea"] / "deepsea_filtered.npz")
    held = {key: source[key] for key in source.files} | {"x_val": source["x_val"].transpose(0, 2, 1)}
    np.savez(tmp_path / "deepsea_filtered.npz", **held)
    with pytest.raises(DataError, match="a transposed copy"):
        get_task("nas_bench_360/deepsea").load(tmp_path, "clean")
