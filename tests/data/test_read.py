"""Every format gives back what was written; scikit-learn's bundled sets are the material."""

from __future__ import annotations

import gzip
import hashlib

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris

from crosstune import data
from crosstune.errors import DataError

from .samples import ragged, series

DIGITS = load_digits()
CANCER = load_breast_cancer()
IMAGES = DIGITS.images[:, None].astype(np.float32)


def check_digits(found):
    assert_array_equal(found.X, IMAGES)
    assert_array_equal(found.y, DIGITS.target)
    assert found.kind == "classification"
    assert found.classes == tuple(str(i) for i in range(10))
    assert (found.X.dtype, found.y.dtype) == (np.float32, np.int64)


def write_csv(path, header, columns, delimiter=","):
    lines = [delimiter.join(header)] if header else []
    lines += [delimiter.join(str(v) for v in row) for row in zip(*columns)]
    path.write_text("\n".join(lines) + "\n")


def test_npz_with_provenance(tmp_path):
    path = tmp_path / "digits.npz"
    np.savez(path, X=DIGITS.images[:, None], y=DIGITS.target)
    found = data.read(path)
    check_digits(found)
    assert found.name == "digits"
    assert found.modality == "grid"
    expected = {
        "path": str(path),
        "format": "npz",
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "key": None,
    }
    assert {k: found.source[k] for k in expected} == expected
    assert "10 distinct values" in found.source["reason"]


def test_npz_names_and_roles(tmp_path):
    path = tmp_path / "d.npz"
    who, when = np.array([f"p{i % 7}" for i in range(40)]), np.arange(40) * 2.0
    np.savez_compressed(path, signal=series(), label=np.arange(40) % 2, who=who, when=when)
    found = data.read(path, features="signal", target="label", groups="who", time="when")
    assert_array_equal(found.X, series())
    assert_array_equal(found.groups, who)
    assert_array_equal(found.time, when)
    assert found.target_names == ("label",)
    assert data.read(f"{path}::signal").y is None
    assert data.read(path, features="signal", target="label").groups is None


def test_npy_with_a_second_file(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "labels.npy", DIGITS.target)
    check_digits(data.read(tmp_path / "x.npy", target="labels.npy"))
    check_digits(data.read(tmp_path / "x.npy", target=str(tmp_path / "labels.npy")))
    assert data.read(tmp_path / "x.npy").y is None


@pytest.mark.parametrize("key", [None, "run/one", "run/one/X"])
def test_hdf5_root_group_and_data_set(tmp_path, key):
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        node = file if key is None else file.create_group("run/one")
        node["X"], node["y"] = IMAGES, DIGITS.target
        node["unused"] = np.zeros(3)
    found = data.read(path if key is None else f"{path}::{key}")
    check_digits(found)
    assert found.source["key"] == key


def test_hdf5_text_labels_and_named_keys(tmp_path):
    path = tmp_path / "d.hdf5"
    with h5py.File(path, "w") as file:
        file["signal"] = series()
        file["a/label"] = np.array(["on", "off"] * 20, dtype=h5py.string_dtype())
    found = data.read(path, features="signal", target="a/label")
    assert found.classes == ("off", "on")
    assert_array_equal(found.y, [1, 0] * 20)


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_any_delimiter(tmp_path, ending, delimiter):
    plain = tmp_path / "plain"
    names = [n.replace(" ", "_") for n in CANCER.feature_names]
    labels = CANCER.target_names[CANCER.target]
    write_csv(plain, [*names, "diagnosis"], [*CANCER.data.T, labels], delimiter)
    path = tmp_path / f"cancer.{ending}"
    path.write_bytes(gzip.compress(plain.read_bytes()) if ending.endswith("gz") else plain.read_bytes())
    found = data.read(path, target="diagnosis")
    assert_array_equal(found.X, CANCER.data.astype(np.float32))
    assert found.columns == tuple(names)
    assert found.classes == ("benign", "malignant")
    assert_array_equal(np.array(found.classes)[found.y], labels)


def test_csv_without_header(tmp_path):
    iris = load_iris()
    write_csv(tmp_path / "iris.csv", None, [*iris.data.T, iris.target])
    found = data.read(tmp_path / "iris.csv", target="x4")
    assert_array_equal(found.X, iris.data.astype(np.float32))
    assert found.columns == ("x0", "x1", "x2", "x3")
    assert any("first line holds numbers" in note for note in found.source["notes"])


def test_csv_with_counted_header_is_a_header(tmp_path):
    write_csv(tmp_path / "d.csv", ["0", "1"], [[5.5, 6.5, 7.5], [1.5, 0.5, 1.25]])
    assert data.read(tmp_path / "d.csv").X.shape == (3, 2)


def test_csv_decimal_comma_bom_blank_lines_and_latin(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes("\ufeff\n\nwert;größe;y\n1,5;2,25;a\n-3,0;4,5;b\n1,0;0,5;a\n".encode())
    found = data.read(path, target="y")
    assert_array_equal(found.X, np.float32([[1.5, 2.25], [-3, 4.5], [1, 0.5]]))
    assert found.columns == ("wert", "größe")
    path.write_bytes("größe,y\n1,ä\n2,b\n".encode("latin-1"))
    found = data.read(path, target="y")
    assert found.classes == ("b", "ä")
    assert "the text is not UTF-8: read as latin-1" in found.source["notes"]


def test_csv_column_types(tmp_path):
    path = tmp_path / "d.csv"
    lines = ["id,when,flag,site,dose,empty,y"]
    lines += [
        f"patient {i},2024-01-{i + 1:02d},{'true' if i % 2 else 'false'},{'ABC'[i % 3]},{i}.5,,{i % 2}"
        for i in range(25)
    ]
    lines[3] = "patient 2,2024-01-03,,,?,,0"
    path.write_text("\n".join(lines))
    found = data.read(path, target="y")
    assert found.columns == ("when", "flag", "site", "dose", "empty")
    assert found.categories == {2: ("A", "B", "C")}
    assert_array_equal(found.X[:2], np.float32([[19723, 0, 0, 0.5, np.nan], [19724, 1, 1, 1.5, np.nan]]))
    assert_array_equal(np.isnan(found.X[2]), [False, True, True, True, True])
    assert "column 'id' dropped: text with 25 distinct values in 25 rows" in found.source["notes"]
    assert "id" in (data.read(path, target="y", features="id,dose").columns or ())


def test_csv_type_decided_by_all_rows(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("a,b\n" + "1,2\n" * 400_000 + "x,3\n")
    assert data.read(path).categories == {0: ("1", "x")}


def test_csv_index_column_left_out(tmp_path):
    pd = pytest.importorskip("pandas")
    pd.DataFrame({"a": [1.5, 2.5, 3.5], "y": ["u", "v", "u"]}).to_csv(tmp_path / "d.csv")
    found = data.read(tmp_path / "d.csv")
    assert found.columns == ("a",)
    assert any("counts the rows" in note for note in found.source["notes"])


def test_target_by_name_several_or_none(tmp_path):
    path = tmp_path / "d.csv"
    rng = np.random.default_rng(0)
    write_csv(path, ["a", "u", "v", "Label"], [*rng.normal(size=(3, 20)), np.arange(20) % 2])
    assert data.read(path).columns == ("a", "u", "v")
    assert "column 'Label' was taken as the target, by its name" in data.read(path).source["notes"]
    assert data.read(path, target=False).y is None
    both = data.read(path, target="u,v", features=["a"])
    assert both.y.shape == (20, 2)
    assert (both.kind, both.target_names, both.columns) == ("regression", ("u", "v"), ("a",))


def test_parquet(tmp_path):
    diabetes = load_diabetes()
    columns = dict(zip(diabetes.feature_names, diabetes.data.T))
    n = len(diabetes.data)
    extra = {
        "clinic": pa.array(["north", None, "south"] * (n // 3) + ["north"] * (n % 3)).dictionary_encode(),
        "visit": pa.array(np.arange(n) % 5),
        "progression": diabetes.target,
    }
    pq.write_table(pa.table({**columns, **extra}), tmp_path / "d.parquet")
    found = data.read(tmp_path / "d.parquet", target="progression", groups="visit")
    assert_array_equal(found.X[:, :10], diabetes.data.astype(np.float32))
    assert_array_equal(found.y[:, 0], diabetes.target.astype(np.float32))
    assert found.categories == {10: ("north", "south")}
    assert np.isnan(found.X[1, 10])
    assert_array_equal(found.groups, np.arange(n) % 5)
    assert found.kind == "regression"


def test_parquet_lists_are_ragged_channels(tmp_path):
    samples = ragged()
    table = pa.table(
        {"c0": [s[0].tolist() for s in samples], "c1": [s[1].tolist() for s in samples], "y": ["a", "b", "c"] * 10}
    )
    pq.write_table(table, tmp_path / "r.parquet")
    found = data.read(tmp_path / "r.parquet")
    assert_array_equal(found.lengths, [s.shape[1] for s in samples])
    assert_array_equal(found.X[3, :, : samples[3].shape[1]], samples[3])


@pytest.mark.parametrize("layout", ["padded", "rows", "columns", "nan"])
def test_ragged_npz_layouts(tmp_path, layout):
    samples = ragged()
    lengths = np.array([s.shape[1] for s in samples])
    path = tmp_path / "r.npz"
    padded = np.full((len(samples), 2, lengths.max()), np.nan if layout == "nan" else 7.0)
    for row, sample in enumerate(samples):
        padded[row, :, : sample.shape[1]] = sample
    flat = np.concatenate(samples, axis=1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    content = {
        "padded": {"X": padded, "lengths": lengths},
        "nan": {"X": padded},
        "rows": {"values": flat.T, "offsets": offsets},
        "columns": {"values": flat, "offsets": offsets},
    }[layout]
    np.savez(path, y=np.arange(30) % 3, **content)
    found = data.read(path)
    assert_array_equal(found.lengths, lengths)
    for row, sample in enumerate(samples):
        assert_array_equal(found.X[row, :, : lengths[row]], sample)
        assert not found.X[row, :, lengths[row] :].any()


def test_pickled_npz_with_the_flag(tmp_path):
    samples = ragged()
    objects = np.empty(len(samples), object)
    objects[:] = samples
    np.savez(tmp_path / "o.npz", X=objects, y=np.array(["a", "b", None] * 10, object))
    found = data.read(tmp_path / "o.npz", allow_pickle=True, drop_missing_target=True)
    assert len(found) == 20
    assert found.lengths is not None
    assert "10 rows without a target were dropped" in found.source["notes"]


def test_mapping():
    found = data.read({"X": series(), "y": np.arange(40) % 2, "groups": np.arange(40) // 4})
    assert found.modality == "series"
    assert len(np.unique(found.groups)) == 10
    found = data.read({"a": np.arange(30.0), "b": ["u", "v"] * 15, "y": np.arange(30) % 2})
    assert found.columns == ("a", "b")
    assert found.kind == "classification"


def test_conform_brings_new_tables_to_the_trained_form(tmp_path):
    train = data.from_arrays({"a": np.arange(6.0), "b": ["u", "v", "w"] * 2}, np.arange(6) % 2)
    new = data.from_arrays({"b": ["w", "x", "u"], "extra": np.zeros(3), "a": np.ones(3)})
    found = data.conform(new, train.columns, train.categories)
    assert_array_equal(found.X, np.float32([[1, 2], [1, np.nan], [1, 0]]))
    assert found.columns == train.columns
    with pytest.raises(DataError, match=r"lack 1 of the model's 2 columns: a\n.*did you mean 'aa'"):
        data.conform(data.from_arrays({"b": ["w"] * 3, "aa": np.ones(3)}), train.columns, train.categories)
    with pytest.raises(DataError, match="column 'a' holds text here but held numbers"):
        data.conform(data.from_arrays({"b": ["w"] * 3, "a": ["q"] * 3}), train.columns, train.categories)


def test_few_new_rows_keep_their_text_columns():
    names = [f"s{i}" for i in range(30)]
    train = data.from_arrays({"site": names * 4, "a": np.arange(120.0)})
    new = {"site": names, "a": np.arange(30.0)}
    with pytest.raises(DataError, match=r"'site' dropped[\s\S]*named as features"):
        data.conform(data.from_arrays(new), train.columns, train.categories)
    found = data.conform(data.from_arrays(new, keep=train.columns), train.columns, train.categories)
    assert_array_equal(found.X, train.X[:30])
    assert_array_equal(data.read(new, features=list(train.columns)).X, train.X[:30])


def test_known_classes_are_kept_for_data_that_lack_some(tmp_path):
    np.savez(tmp_path / "d.npz", X=series(4), y=np.array(["b", "b", "b", "b"]))
    found = data.read(tmp_path / "d.npz", classes=("a", "b", "c"))
    assert_array_equal(found.y, [1] * 4)
    with pytest.raises(DataError, match="holds 'b', which the model was not trained on"):
        data.read(tmp_path / "d.npz", classes=("a", "c"))
