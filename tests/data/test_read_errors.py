"""What cannot be read is refused with the value, the place, the cause and the fix."""

from __future__ import annotations

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crosstune import data
from crosstune.errors import DataError, TaskError, UsageError

from .samples import series


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "d.npz", **arrays)
        return tmp_path / "d.npz"

    return write


def refused(match, *args, **options):
    with pytest.raises(DataError, match=match) as caught:
        data.read(*args, **options)
    assert caught.value.exit_code == 3
    assert caught.value.fix
    return caught.value


def test_missing_file_with_a_close_name(tmp_path, npz):
    npz(X=series())
    refused(r"there is no file .*e\.npz\n.*did you mean d\.npz", tmp_path / "e.npz")
    refused("the folder .* does not exist", tmp_path / "no" / "d.npz")


def test_folder_empty_file_and_unknown_extension(tmp_path, npz):
    npz(X=series())
    refused(r"is a folder\n.*d\.npz", tmp_path)
    (tmp_path / "empty.csv").touch()
    refused("is empty \\(0 bytes\\)", tmp_path / "empty.csv")
    (tmp_path / "d.dat").write_text("1,2\n")
    refused("extension that is not known\n.*\\.parquet", tmp_path / "d.dat")


@pytest.mark.parametrize("name", ["d.csv", "d.npz", "d.parquet", "d.h5"])
def test_web_page_saved_as_data(tmp_path, name):
    (tmp_path / name).write_text("\n<!DOCTYPE html><html><body>404</body></html>")
    refused("is a web page, not data.*\n.*sign-in page", tmp_path / name)


def test_contents_of_another_format(tmp_path, npz):
    source = npz(X=series())
    source.rename(tmp_path / "d.csv")
    refused(r"named as csv but its content is npz[\s\S]*mv .*d\.csv .*d\.npz", tmp_path / "d.csv")
    (tmp_path / "t.h5").write_text("a,b\n1,2\n")
    refused("named as hdf5, but does not begin like one", tmp_path / "t.h5")
    (tmp_path / "p.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refused("Git LFS pointer, not the data\n.*git lfs pull", tmp_path / "p.npz")
    (tmp_path / "p.npy").write_bytes(b"\x80\x04\x95abc")
    refused("is a Python pickle", tmp_path / "p.npy")
    (tmp_path / "b.csv").write_bytes(b"a,b\x00\x01\n")
    refused("named as text but holds binary data", tmp_path / "b.csv")


@pytest.mark.parametrize("kind", ["npz", "npy", "h5", "parquet", "csv.gz"])
def test_truncated(tmp_path, kind):
    path = tmp_path / f"d.{kind}"
    X = series(200)
    if kind == "npz":
        np.savez(path, X=X)
    elif kind == "npy":
        np.save(path, X)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["X"] = X
    elif kind == "parquet":
        pq.write_table(pa.table({f"c{i}": X[:, 0, i] for i in range(16)}), path)
    else:
        import gzip

        path.write_bytes(gzip.compress(("a,b\n" + "".join(f"{v},1\n" for v in X.ravel())).encode()))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused("cannot be read as .*\n.*truncated or damaged", path)


def test_missing_keys_and_columns_suggest(tmp_path, npz):
    path = npz(X=series(), labels=np.arange(40) % 2)
    refused(
        "has no key 'label'\n.*did you mean 'labels'\\? known: X, labels. Name it with --target", path, target="label"
    )
    refused("has no key 'X'", npz(inputs=series()))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["g/signal"] = series()
    refused("has no key 'X'\n.*g/signal", tmp_path / "d.h5")
    refused("has no key 'g/signals'\n.*did you mean 'g/signal'", f"{tmp_path}/d.h5::g/signals")
    (tmp_path / "d.csv").write_text("age,sex\n1,2\n2,3\n")
    refused("has no column 'agee'\n.*did you mean 'age'\\? known: age, sex", tmp_path / "d.csv", target="agee")
    refused("has no column 'z'\n.*--groups", tmp_path / "d.csv", groups="z")


def test_objects_need_the_flag(npz):
    path = npz(X=series(), y=np.array(["a", None] * 20, object))
    refused(r"'y' holds Python objects[\s\S]*--allow-pickle[\s\S]*offsets", path)


def test_infinite_values_are_named(tmp_path, npz):
    X = series()
    X[7, 1, 3] = np.inf
    refused(r"X holds inf at row 7, index \[1, 3\] \(1 such values in all\)\n.*division by zero", npz(X=X))
    refused("1e\\+300 at row 0, .*\n.*beyond the float32 range", npz(X=np.full((3, 2), 1e300)))
    (tmp_path / "d.csv").write_text("a,b\n1,2\n2,inf\n")
    refused("column 'b' holds inf at row 1", tmp_path / "d.csv")
    refused("target 'y' holds inf at row 0", npz(X=series(), y=np.r_[np.inf, np.linspace(0, 1, 39)]), task="regression")


def test_lengths_and_types(npz):
    refused("y has 3 rows, but X has 40", npz(X=series(), y=np.zeros(3)))
    refused("groups has 2 rows, but X has 40", npz(X=series(), y=np.arange(40) % 2, groups=np.zeros(2)))
    refused("X has type complex64.*\n.*complex samples\n.*two channels", npz(X=series().astype(np.complex64)))
    refused("`lengths` is 17 at row 0, outside 1..16", npz(X=series(), lengths=np.full(40, 17)))
    refused("`lengths` was given for a table", npz(X=series()[:, 0], lengths=np.full(40, 3)))
    refused("offsets of shape .* do not cut values", npz(values=series()[0], offsets=np.array([0, 4, 9])))
    refused("2 to 5 axes", npz(X=np.zeros((2, 1, 1, 1, 1, 3))))
    refused("X is empty: shape \\(0, 3\\)", npz(X=np.zeros((0, 3))))
    refused("text is read in tables", npz(X=np.full((4, 2, 2), "a")))


def test_missing_target_names_rows_and_flag(tmp_path, npz):
    y = np.linspace(0, 1, 40)
    y[[4, 9]] = np.nan
    refused("missing in 2 of 40 rows: rows 4, 9\n.*--drop-missing-target", npz(X=series(), y=y))
    found = data.read(npz(X=series(), y=y, groups=np.arange(40)), drop_missing_target=True)
    assert len(found) == len(found.groups) == 38
    refused("missing in all 40 rows", npz(X=series(), y=np.full(40, np.nan)), drop_missing_target=True)
    (tmp_path / "d.csv").write_text("a,y\n1,u\n2,\n3,v\n")
    refused("missing in 1 of 3 rows: rows 1", tmp_path / "d.csv")


def test_csv_troubles(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("a,b,c\n1,2,3\n4,5\n")
    refused("lines differ in their number of columns", path)
    path.write_text("a,b\n")
    refused("has a header but no rows", path)
    path.write_text("a,a\n1,2\n")
    refused("several columns named 'a'", path)
    path.write_text("y\n1\n2\n")
    refused("no feature column beside 'y'", path)
    path.write_text("a,y\n" + "".join(f"{i}.5,{i % 2}\n" for i in range(60)) + "n/k,1\n")
    refused("column 'a' holds 'n/k' at row 60 among numbers \\(1 such values\\)", path)


def test_key_on_a_file_without_keys(tmp_path):
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    refused("a key after '::' is for HDF5", f"{tmp_path}/d.csv::a")


def test_groups_and_time_must_be_whole(npz):
    refused(
        "`groups` cannot be used: 1 missing, first at row 2",
        npz(X=series(4), y=np.arange(4) % 2, groups=np.array([1, 2, np.nan, 3])),
    )
    refused(
        "`time` holds 'soon', neither number nor ISO date",
        npz(X=series(2), y=np.arange(2) % 2, time=np.array(["soon", "later"])),
    )


def test_npy_target_and_roles(tmp_path):
    np.save(tmp_path / "x.npy", series())
    np.save(tmp_path / "labels.npy", np.zeros(40))
    refused("no target file 'label.npy'[\\s\\S]*labels.npy", tmp_path / "x.npy", target="label.npy")
    with pytest.raises(UsageError, match="groups cannot be named"):
        data.read(tmp_path / "x.npy", groups="g")


def test_single_class_is_refused(npz):
    with pytest.raises(TaskError, match="single value, '4', in every row"):
        data.read(npz(X=series(), y=np.full(40, 4)))


@pytest.mark.parametrize("kind", ["npz", "npy", "h5", "parquet", "csv.gz"])
def test_flipped_bytes_never_end_in_a_foreign_exception(tmp_path, kind):
    """Whatever a damaged file holds, it is read, or refused with an error of ours."""
    import gzip

    path, X = tmp_path / f"d.{kind}", series(30)
    if kind == "npz":
        np.savez_compressed(path, X=X)
    elif kind == "npy":
        np.save(path, X)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["X"] = X
    elif kind == "parquet":
        pq.write_table(pa.table({"a": X[:, 0, 0], "b": ["u", "v", "w"] * 10}), path)
    else:
        path.write_bytes(gzip.compress(("a,b\n" + "".join(f"{v},u\n" for v in X[:, 0, 0])).encode()))
    sound, rng, refusals = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(40):
        damaged = bytearray(sound)
        for place in rng.integers(0, min(len(sound), 400), 4):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            data.inspect(data.read(path))
        except DataError:
            refusals += 1
    assert refusals > 5
