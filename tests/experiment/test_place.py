"""Where a run goes: nothing that is not a run is ever removed, and what fails leaves nothing."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from crosstune.errors import RunError, UsageError
from crosstune.experiment import execute
from crosstune.experiment.place import holds, unwritable, writing
from crosstune.runs import RunFolder


def a_run(path: Path, identity: str) -> RunFolder:
    folder = RunFolder(path)
    folder.write_record({"schema": 1, "identity": identity, "status": "complete"})
    (path / "model").mkdir()
    (path / "model" / "config.json").write_text("{}")
    return folder


def test_only_nothing_and_this_very_run_are_welcome(tmp_path: Path) -> None:
    assert not holds(RunFolder(tmp_path / "new"), "a", overwrite=False)
    (tmp_path / "empty").mkdir()
    assert not holds(RunFolder(tmp_path / "empty"), "a", overwrite=False)
    folder = a_run(tmp_path / "run", "a")
    assert holds(folder, "a", overwrite=False)
    assert not holds(folder, "a", overwrite=True)
    assert not holds(folder, "b", overwrite=True)
    with pytest.raises(RunError, match="--overwrite"):
        holds(folder, "b", overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_are_never_given_up(tmp_path: Path, overwrite: bool) -> None:
    cases = {"split.npz": b"x", "data/train.npz": b"x", ".lock": b"x", "notes.txt": b"x"}
    for name, content in cases.items():
        folder = tmp_path / name.replace("/", "-").replace(".", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
        if name == ".lock":
            (folder / "thesis.tex").write_text("x")
        with pytest.raises(RunError, match="choose another --out"):
            holds(RunFolder(folder), "a", overwrite=overwrite)
    # what looks like a preparation that was killed is one only if it was claimed
    (tmp_path / "killed" / "data").mkdir(parents=True)
    (tmp_path / "killed" / ".lock").write_text("process 1")
    assert not holds(RunFolder(tmp_path / "killed"), "a", overwrite=overwrite)


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: RunFolder, problem: Exception) -> None:
        with writing(folder, "a", overwrite=False):
            (folder.path / "data").mkdir()
            (folder.path / "data" / "half.npz").write_bytes(b"")
            raise problem

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ZeroDivisionError):
        fail(folder, ZeroDivisionError())
    assert not folder.path.exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(RunError, match="a full disk"):
        fail(RunFolder(tmp_path / "mine"), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert list((tmp_path / "mine").iterdir()) == []  # it was there before


def test_overwriting_replaces_the_whole_run(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", "a")
    with writing(folder, "b", overwrite=True):
        assert not (folder.path / "model").exists()
        folder.write_record({"identity": "b"})
    assert json.loads((folder.path / "run.json").read_text()) == {"identity": "b"}
    assert [p.name for p in folder.path.iterdir()] == ["run.json"]


def test_a_run_that_is_being_written_is_not_overwritten(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", "a")
    folder.lock()
    with pytest.raises(RunError, match=f"process {os.getpid()}"), writing(RunFolder(folder.path), "b", overwrite=True):
        raise AssertionError("not reached")
    assert (folder.path / "model" / "config.json").exists()
    folder.unlock()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    folder = a_run(tmp_path / "run", "a")
    (folder.path / "link").symlink_to(tmp_path / "precious")
    with writing(folder, "b", overwrite=True):
        pass
    assert (tmp_path / "precious" / "file").exists()
    assert not (folder.path / "link").exists()


def test_errors_of_another_sort_stay_what_they_are(tmp_path: Path) -> None:
    problem = ChildProcessError(errno.ECHILD, "no child")
    assert unwritable(problem, RunFolder(tmp_path)) is problem
    shown = unwritable(PermissionError(errno.EACCES, "Permission denied"), RunFolder(tmp_path))
    assert isinstance(shown, RunError)
    assert "no permission" in str(shown)


def test_a_run_is_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would write the same files; the refusal comes before the lock, which would speak of another run."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="a run is one process, and 2 were started"):
        execute(RunFolder(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []
