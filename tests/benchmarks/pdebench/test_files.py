"""Files: what is written is what was solved, whatever was killed on the way; what cannot be read is refused."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from crosstune.benchmarks.contract import get_task
from crosstune.benchmarks.pdebench.advection import PROBLEM, TASK
from crosstune.benchmarks.pdebench.reading import opened
from crosstune.errors import DataError, UsageError

DARCY = get_task("pdebench/darcy")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("advection")
    TASK.generate(folder, n=70, resolution=32)
    return folder


# -- generating ------------------------------------------------------------------------------------------------------


def test_layout_of_a_tensor_file(made):
    with h5py.File(made / "1D_Advection_Sols_beta0.4.crosstune.hdf5") as file:
        assert set(file) == {"tensor", "x-coordinate", "t-coordinate"}
        assert file["tensor"].shape == (70, 201, 32)
        assert file["tensor"].dtype == np.float32
        assert file["t-coordinate"].shape == (202,)
        assert file["x-coordinate"][0] == np.float32(0.5 / 1024)
        assert file.attrs["beta"] == 0.4
        assert file.attrs["crosstune_task"] == "pdebench/advection"


def test_layout_of_a_darcy_file(tmp_path):
    DARCY.generate(tmp_path, n=4, resolution=16)
    with h5py.File(tmp_path / "2D_DarcyFlow_beta0.1_Train.crosstune.hdf5") as file:
        assert file["nu"].shape == (4, 16, 16)
        assert file["tensor"].shape == (4, 1, 16, 16)
        assert "t-coordinate" not in file
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "2D_DarcyFlow_beta0.1_Train.crosstune.hdf5",
        "2D_DarcyFlow_steady_beta0.1_Train.crosstune.hdf5",
    ]


def test_workers_do_not_change_the_file(made, tmp_path):
    shares = []
    (path,) = TASK.generate(tmp_path, n=70, resolution=32, workers=2, on_share=shares.append)
    assert digest(path) == digest(made / path.name)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_subsets_and_seeds_are_stable(made, tmp_path):
    (few,) = TASK.generate(tmp_path / "few", n=5, resolution=32)
    (later,) = TASK.generate(tmp_path / "later", n=5, resolution=32, seed=3)
    with opened(few) as a, opened(later) as b, opened(made / few.name) as c:
        assert np.array_equal(a.read(range(5), [0, 200]), c.read(range(5), [0, 200]))
        assert np.array_equal(b.read(range(5), [0, 200]), c.read(range(3, 8), [0, 200]))


KILLED = """
import sys, time
import crosstune.benchmarks.pdebench.producing as producing
from crosstune.benchmarks.contract import get_task
solve = producing.solve_block
def slow(block):
    solve(block)
    print(block.path.name, flush=True)
    time.sleep(0.3)
producing.solve_block = slow
get_task("pdebench/advection").generate(sys.argv[1], n=700, resolution=32)
"""


def test_a_killed_generation_goes_on_and_gives_the_same_bytes(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder,) = (tmp_path / "a").iterdir()  # no file of the final name
    kept = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.npy")}
    assert kept
    (folder / "000009.12345.tmp").write_bytes(b"half")
    (path,) = TASK.generate(tmp_path / "a", n=700, resolution=32, on_share=(shares := []).append)
    assert len(shares) == 11 - len(kept) + 1
    (whole,) = TASK.generate(tmp_path / "b", n=700, resolution=32)
    assert digest(path) == digest(whole)
    assert [p.name for p in (tmp_path / "a").iterdir()] == [path.name]


def test_killed_workers_do_not_stay(tmp_path):
    """Processes end when the one that started them was killed and could not tell them."""
    code = "from crosstune.benchmarks.contract import get_task\nimport sys\nif __name__ == '__main__':\n"
    code += "    get_task('pdebench/darcy').generate(sys.argv[1], n=10000, resolution=64, workers=2)\n"
    script = tmp_path / "run.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "out")], start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/.*.parts/*.npy")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while alive_in(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive_in(process.pid) == []


def test_a_worker_that_ends_is_said(tmp_path):
    """A script without a main guard starts itself again in every worker."""
    script = tmp_path / "run.py"
    script.write_text(
        "from crosstune.benchmarks.contract import get_task\n"
        f"get_task('pdebench/advection').generate({str(tmp_path / 'out')!r}, n=200, resolution=32, workers=2)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "a process that was generating samples ended" in done.stderr
    assert "workers=1 goes on" in done.stderr


def alive_in(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def test_the_same_recipe_is_kept_another_one_refused(made):
    path = made / "1D_Advection_Sols_beta0.4.crosstune.hdf5"
    before = path.stat().st_mtime_ns
    assert TASK.generate(made, n=70, resolution=32) == (path,)
    assert path.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"exists and was made otherwise \(n, seed\)"):
        TASK.generate(made, n=71, resolution=32, seed=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n = 0"),
        ({"resolution": 100}, "resolution 100\n.*a divisor of 1024"),
        ({"resolution": 8}, "16 or more"),
        ({"seed": -1}, "seeds at 0"),
        ({"variant": "other"}, "no variant 'other'\n.*standard"),
    ],
)
def test_impossible_sizes_leave_nothing_behind(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        TASK.generate(tmp_path / "out", **{"n": 5, "resolution": 32, **options})
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1_000_000))
    with pytest.raises(DataError, match=r"0\.0 GB free.*takes 16\.5 GB"):
        TASK.generate(tmp_path)


def test_a_sample_that_diverges_is_named(tmp_path, monkeypatch):
    import dataclasses

    from crosstune.benchmarks.pdebench.assembling import generate

    def broken(samples, resolution, seed, options):
        values = PROBLEM.solve(samples, resolution, seed, options)
        values[1, 3] = np.nan
        return values

    with pytest.raises(DataError, match=r"sample 1 .*diverged"):
        generate(dataclasses.replace(PROBLEM, solve=broken), tmp_path, n=3, resolution=32)
    assert not list(tmp_path.glob("*.hdf5"))


# -- reading ---------------------------------------------------------------------------------------------------------


def published_size(path: Path, samples: int = 10_000) -> None:
    """A sparse file as large as the published one (8.2 GB), of which a few rows hold values."""
    with h5py.File(path, "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((samples, 201, 1024))
        h5py.h5d.create(file.id, b"tensor", h5py.h5t.NATIVE_FLOAT, space, settings)
        file.attrs["beta"] = 0.4
        file["x-coordinate"] = ((np.arange(1024) + 0.5) / 1024).astype(np.float32)
        file["t-coordinate"] = (0.01 * np.arange(202)).astype(np.float32)
        x = (np.arange(1024) + 0.5) / 1024
        for row in range(20):
            for frame in (0, 25, 200):
                file["tensor"][row, frame] = 1 + np.sin(2 * np.pi * (x - 0.004 * frame)) + 0.01 * row


def test_eight_gigabytes_cost_megabytes(tmp_path):
    path = tmp_path / PROBLEM.layout.file
    published_size(path)
    assert path.stat().st_size > 8.2e9
    if path.stat().st_blocks * 512 > 1e9:
        pytest.skip("this file system stores sparse files in full")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    data = TASK.load(path, "shipped", limit={"train": 500, "test": 10})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.dataset.X.shape == (510, 1, 256)
    assert data.dataset.X[3, 0, 5] == pytest.approx(1 + np.sin(2 * np.pi * 20.5 / 1024) + 0.03, abs=1e-6)
    assert peak < 30e6
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 200e6


def test_official_windows_of_a_large_file_stay_in_it(tmp_path):
    path = tmp_path / PROBLEM.layout.file
    published_size(path)
    tracemalloc.start()
    data = TASK.load(path, "official")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.dataset.X.shape == (310_000, 10, 256)
    assert data.dataset.X.is_lazy
    assert peak < 60e6
    assert data.dataset.X[0].shape == (10, 256)


def test_whole_frames_and_thinned_frames_agree(made):
    with opened(made / "1D_Advection_Sols_beta0.4.crosstune.hdf5") as file:
        rows = np.array([3, 4, 5, 60, 2])
        whole = file.read(rows, [7, 0])
        assert whole.shape == (5, 2, 1, 32)
        assert np.array_equal(file.read(rows, [7, 0], 4), whole[..., ::4])
        assert np.array_equal(file.file["tensor"][60, 7], whole[3, 0, 0])


def refused(path, match):
    with pytest.raises(DataError, match=match) as caught:
        TASK.load(path, "clean")
    assert caught.value.exit_code == 3
    verification = TASK.verify(path)
    assert not verification.ok
    assert not TASK.recognise(path)


def test_web_page_truncated_file_and_other_formats(made, tmp_path):
    page = tmp_path / "1D_Advection_Sols_beta0.4.hdf5"
    page.write_text("<!DOCTYPE html><html>sign in</html>")
    refused(page, "is a web page, not data")
    whole = (made / "1D_Advection_Sols_beta0.4.crosstune.hdf5").read_bytes()
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(whole[: len(whole) // 2])
    refused(cut, "cannot be read as HDF5: .*truncated")
    np.savez(tmp_path / "a.npz", X=np.zeros(3))
    refused(tmp_path / "a.npz", "is npz, not HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = np.zeros(4)
    refused(tmp_path / "other.h5", "another layout; it holds images")


def test_absent_file_and_empty_folder_say_where_the_data_are(tmp_path):
    with pytest.raises(DataError, match=r"holds no file of pdebench/advection.*\n.*255674.*\n?.*data generate"):
        TASK.load(tmp_path, "clean")
    verification = TASK.verify(tmp_path)
    assert not verification.ok
    assert "255674" in verification.missing[0]
    with pytest.raises(DataError, match="there is no file"):
        TASK.load(tmp_path / "a.hdf5", "clean")


def test_another_tasks_file_is_refused(tmp_path, made):
    DARCY.generate(tmp_path, n=4, resolution=16, variant="steady")
    with pytest.raises(DataError, match=r"is not a file of pdebench/advection: it was generated for pdebench/darcy"):
        TASK.load(tmp_path / "2D_DarcyFlow_steady_beta0.1_Train.crosstune.hdf5", "clean")
    with pytest.raises(DataError, match="is not a file of pdebench/darcy"):
        DARCY.load(made / "1D_Advection_Sols_beta0.4.crosstune.hdf5", "clean")


def test_checksum_is_compared_where_asked(made):
    path = made / "1D_Advection_Sols_beta0.4.crosstune.hdf5"
    check = next(c for c in TASK.verify(path).checks if c.name == "md5")
    assert check.ok is None
    check = next(c for c in TASK.verify(path, md5=True).checks if c.name == "md5")
    assert check.ok is False
    assert PROBLEM.layout.md5 in check.text


def test_a_file_of_the_published_name_and_size_is_compared_by_itself(tmp_path, monkeypatch):
    path = tmp_path / PROBLEM.layout.file
    TASK.generate(tmp_path, n=20, resolution=32)[0].rename(path)
    with h5py.File(path, "r+") as file:
        for name in ("crosstune_task", "crosstune_variant", "crosstune_recipe"):
            del file.attrs[name]
    import dataclasses

    from crosstune.benchmarks.pdebench.verification import verify

    layout = dataclasses.replace(PROBLEM.layout, samples=20, resolution=32)
    problem = dataclasses.replace(PROBLEM, layout=layout)
    assert next(c for c in verify(problem, path).checks if c.name == "md5").ok is False
    right = dataclasses.replace(layout, md5=hashlib.md5(path.read_bytes()).hexdigest())
    problem = dataclasses.replace(problem, layout=right)
    assert next(c for c in verify(problem, path).checks if c.name == "md5").ok is True
    assert os.path.getsize(path) > 0
