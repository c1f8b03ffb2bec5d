"""The script that chooses settings: its variants exist, its log is of validation, the test stays shut."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from . import sweeps

SCRIPT = Path(__file__).parents[2] / "bench" / "choose_defaults.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("choose_defaults", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["choose_defaults"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Verb:
    """Stands for ``bench run``: writes records by formula. factors: variant -> factor of its validation error."""

    def __init__(self, factors: dict[str, float], *, splits: tuple[str, ...] = ("validation",), code: int = 0) -> None:
        self.factors, self.splits, self.code = factors, splits, code
        self.calls: list[list[str]] = []

    def __call__(self, words: Sequence[str]) -> int:
        self.calls.append(list(words))
        out = Path(words[words.index("--out") + 1])
        if out.name not in self.factors:
            return 2
        pairs = [words[i + 1].partition("=") for i, word in enumerate(words) if word == "--set"]
        settings = {key: _plain(value) for key, _, value in pairs}
        factor = self.factors[out.name]
        error = sweeps.by_factor({"recraft": factor, out.name: factor})
        entries = sweeps.lines(
            {"recraft": factor}, splits=self.splits, settings=settings or None,
            error=lambda task, method, seed, split: error(task, out.name, seed, split),
        )  # fmt: skip
        sweeps.write(out, entries)
        return self.code


def _plain(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def rows(log: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(log.with_suffix(".csv").read_text().splitlines()))


FACTORS = {"default": 1.0, "means": 1.3, "leep": 0.8, "no-fld": 1.0}


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: Verb, *more: str) -> int:
    monkeypatch.setattr(script, "run_variant", verb)
    log = ["--log", str(tmp_path / "log" / "settings")]
    return int(script.main([str(tmp_path / "runs"), "--only", "means,leep,no-fld", *log, *more]))


def test_every_variant_is_one_that_its_method_has(script: ModuleType) -> None:
    for method, variants in script.VARIANTS.items():
        script.check(method, variants)
    wanted = {"align.space", "align.schedule", "align.fld", "align.weight", "align.source_points", "fit.trainable",
              "fit.head_init", "fit.body_rate", "linear_part", "layers",
              "start", "source_head.labels"}  # fmt: skip
    assert wanted <= {key for settings in script.VARIANTS["recraft"].values() for key in settings}


def test_settings_that_do_not_exist_are_refused_before_anything_runs(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mine.toml"
    table.write_text('[odd]\n"align.spaces" = "means"\n[bad]\nalign.steps = -3\n')
    verb = Verb(FACTORS)
    monkeypatch.setattr(script, "run_variant", verb)
    assert script.main([str(tmp_path / "runs"), "--table", str(table)]) == 2
    said = capsys.readouterr().err
    assert "odd: unknown setting 'align.spaces': did you mean 'space'?" in said
    assert "bad: align.steps = -3" in said
    assert verb.calls == []
    assert script.main([str(tmp_path / "runs"), "--only", "menas"]) == 2
    assert "no variant menas" in capsys.readouterr().err


def test_the_log_ranks_variants_and_pairs_them_with_the_default(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    verb = Verb(FACTORS)
    assert run(script, monkeypatch, tmp_path, verb, "--tasks", "apple,birch", "--seeds", "3", "--budget", "20s") == 0
    assert [call[call.index("--out") + 1].split("/")[-1] for call in verb.calls] == [
        "default",
        "means",
        "leep",
        "no-fld",
    ]
    for call in verb.calls:
        assert "--no-reveal" in call
        assert call[call.index("--tasks") + 1] == "apple,birch"
    assert "--data" not in verb.calls[0]
    assert verb.calls[1][verb.calls[1].index("--data") + 1] == str(tmp_path / "runs" / "default" / "data")
    log = {row["variant"]: row for row in rows(tmp_path / "log" / "settings")}
    assert next(iter(log)) == "leep"
    assert list(log)[-1] == "means"
    assert log["leep"]["settings"] == "align.fld=leep"
    assert float(log["leep"]["mean_rank"]) == 1.0
    assert float(log["leep"]["relative_difference"]) == pytest.approx(-0.2, abs=0.02)
    assert float(log["leep"]["high"]) < 0
    assert float(log["means"]["low"]) > 0
    assert float(log["leep"]["p_holm"]) == pytest.approx(3 * float(log["leep"]["p"]))
    assert log["default"]["relative_difference"] == ""
    assert (log["leep"]["tasks"], log["leep"]["data_sets"], log["leep"]["failed"]) == ("24", "8", "0")
    text = (tmp_path / "log" / "settings.md").read_text()
    assert "the test was not opened" in text
    assert str(tmp_path) not in text
    before = text
    assert run(script, monkeypatch, tmp_path, verb, "--tasks", "apple,birch", "--seeds", "3", "--budget", "20s",
               "--log-only") == 0  # fmt: skip
    assert len(verb.calls) == 4
    assert (tmp_path / "log" / "settings.md").read_text() == before


@pytest.mark.parametrize("where", ["records", "run"])
def test_an_opened_test_is_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    if where == "records":
        verb = Verb(FACTORS, splits=("validation", "test"))
    else:
        verb = Verb(FACTORS)
        job = tmp_path / "runs" / "leep" / "jobs" / "abc"
        job.mkdir(parents=True)
        (job / "run.json").write_text(json.dumps({"reveals": [{"time": "now"}], "scores": []}))
    assert run(script, monkeypatch, tmp_path, verb) == 2
    assert "choose settings in a folder of their own" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()
    assert len(verb.calls) == (1 if where == "records" else 2)


def test_a_variant_that_does_not_run_is_left_out_and_the_default_must(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = Verb({name: factor for name, factor in FACTORS.items() if name != "means"})
    assert run(script, monkeypatch, tmp_path, verb) == 0
    assert "means: exit code 2, left out" in capsys.readouterr().err
    log = {row["variant"]: row for row in rows(tmp_path / "log" / "settings")}
    assert (log["means"]["tasks"], log["means"]["mean_rank"]) == ("0", "")
    assert run(script, monkeypatch, tmp_path / "none", Verb({})) == 2
    assert "the default did not run (exit code 2)" in capsys.readouterr().err
    assert run(script, monkeypatch, tmp_path / "stop", Verb(FACTORS, code=130)) == 130


def test_a_name_that_stood_for_other_settings_is_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(script, monkeypatch, tmp_path, Verb(FACTORS)) == 0
    table = tmp_path / "mine.toml"
    table.write_text('[means]\n"align.space" = "hidden"\n')
    arguments = [str(tmp_path / "runs"), "--table", str(table), "--log", str(tmp_path / "x"), "--log-only"]
    assert script.main(arguments) == 2
    assert "was run with other settings" in capsys.readouterr().err
