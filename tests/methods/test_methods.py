"""Methods are data: every file validates, a new file is a new method, and overriding lists all mistakes at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import crosstune.methods
from crosstune.discovery import discover
from crosstune.errors import ConfigError, UsageError
from crosstune.methods import Method, get_method, methods, override
from crosstune.stages.align import AlignConfig
from crosstune.stages.fit import FitConfig
from crosstune.stages.source_head import SourceHeadConfig

ORDER = ["source_head", "align", "mix", "meta", "fit"]


@pytest.mark.parametrize("name", list(methods()))
class TestEveryMethod:
    def test_validates_from_plain_data(self, name: str) -> None:
        method = get_method(name)
        assert method.name == name
        assert Method.model_validate_json(method.model_dump_json()) == method

    def test_stages_come_in_order_and_end_with_fitting(self, name: str) -> None:
        names = [stage.name for stage in get_method(name).stages]
        assert names == sorted(names, key=ORDER.index)
        assert len(set(names)) == len(names)
        assert names[-1] == "fit"

    def test_distortion_has_a_source_predictor(self, name: str) -> None:
        names = [stage.name for stage in get_method(name).stages]
        for stage in get_method(name).stages:
            if isinstance(stage, AlignConfig) and stage.fld is not None:
                assert "source_head" in names

    def test_controls_exist_and_are_others(self, name: str) -> None:
        method = get_method(name)
        assert set(method.controls) <= {*methods(), "no-alignment"} - {name}
        if method.aligns:
            assert {"no-alignment", "frozen", "scratch"} <= set(method.controls)
        else:
            assert "no-alignment" not in method.controls

    def test_says_what_it_is(self, name: str) -> None:
        assert 10 < len(get_method(name).summary) < 120

    def test_lives_in_a_file_of_its_own_name(self, name: str) -> None:
        folder = Path(crosstune.methods.__path__[0])
        assert (folder / f"{name.replace('-', '_')}.py").exists()


def test_the_two_presets_of_the_recipe() -> None:
    ours, reference = get_method("recraft"), get_method("recraft-reference")
    assert [s.name for s in ours.stages] == [s.name for s in reference.stages] == ["source_head", "align", "fit"]
    align = reference.stages[1]
    assert isinstance(align, AlignConfig)
    assert (align.space, align.fld, align.schedule, align.steps, align.batch_size) == (
        "means", "conditional", "sequential", 60, 128,
    )  # fmt: skip
    assert isinstance(ours.stages[1], AlignConfig)
    assert ours.stages[1].space == "tokens"
    assert not reference.linear_part


def test_recipes_differ_in_what_they_test() -> None:
    assert get_method("scratch").weights == "random"
    frozen = get_method("frozen").stages[-1]
    assert isinstance(frozen, FitConfig)
    assert frozen.trainable == "norms"
    assert not get_method("finetune").aligns


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'recraft'") as caught:
        get_method("recarft")
    assert caught.value.exit_code == 2


# -- a new file is a new method -----------------------------------------------------------------------------------

NEW = """
from crosstune.methods.contract import Method
from crosstune.stages.fit import FitConfig

METHOD = Method(name="{name}", summary="head only, nothing else", stages=(FitConfig(trainable="head"),))
"""


@pytest.fixture
def extra_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(crosstune.methods, "__path__", [*crosstune.methods.__path__, str(tmp_path)])
    discover.cache_clear()
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("crosstune.methods.probe")]:
        del sys.modules[name]
    discover.cache_clear()


def test_one_file_is_all_a_new_method_needs(extra_folder: Path) -> None:
    (extra_folder / "probe_new.py").write_text(NEW.format(name="probe-new"))
    assert "probe-new" in methods()
    assert get_method("probe-new").stages[0].name == "fit"
    assert "recraft" in methods()


def test_two_methods_of_one_name_are_our_mistake(extra_folder: Path) -> None:
    (extra_folder / "probe_twice.py").write_text(NEW.format(name="recraft"))
    with pytest.raises(RuntimeError, match="'recraft'"):
        methods()


# -- overriding ---------------------------------------------------------------------------------------------------


def stage(method: Method, name: str) -> Any:
    return next(s for s in method.stages if s.name == name)


def test_settings_are_changed_and_the_original_is_not() -> None:
    original = get_method("recraft")
    before = original.model_dump()
    changed = override(
        original, {"align.steps": "7", "fit.trainable": "head", "align.fld": "none", "linear_part": "false"}
    )
    assert stage(changed, "align").steps == 7
    assert stage(changed, "align").fld is None
    assert stage(changed, "fit").trainable == "head"
    assert changed.linear_part is False
    assert original.model_dump() == before


def test_no_change_is_no_change() -> None:
    assert override(get_method("recraft"), {}) == get_method("recraft")


def test_all_mistakes_are_reported_at_once_with_suggestions() -> None:
    mistakes = {
        "align.stepz": 5,
        "aligne.steps": 5,
        "fit.trainable": "evrything",
        "align.learning_rate": -1,
        "fit.batch_size": 0,
        "source_head.labels": "cluster:9",
        "align.name": "fit",
    }
    with pytest.raises(ConfigError) as caught:
        override(get_method("recraft"), mistakes)
    text = str(caught.value)
    for words in (
        "unknown setting 'align.stepz'", "did you mean 'steps'", "unknown setting 'aligne.steps'",
        "did you mean 'align.steps'", "fit.trainable = 'evrything'", "align.learning_rate = -1", "fit.batch_size = 0",
        "source_head.labels = 'cluster:9'", "unknown setting 'align.name'",
    ):  # fmt: skip
        assert words in text
    assert caught.value.exit_code == 2
    assert "crosstune list methods" in text


def test_mistakes_of_the_method_itself_are_refused() -> None:
    with pytest.raises(ConfigError, match="weights = 'pretraind'"):
        override(get_method("recraft"), {"weights": "pretraind"})


@pytest.mark.parametrize("config", [SourceHeadConfig, AlignConfig, FitConfig, Method])
def test_configurations_refuse_unknown_keys_and_changes(config: Any) -> None:
    with pytest.raises(ValidationError, match="extra"):
        config(colour="red")
    if config is not Method:
        with pytest.raises(ValidationError, match="frozen"):
            config().name = "other"


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (AlignConfig, {"steps": -1}),
        (AlignConfig, {"weight": -0.1}),
        (AlignConfig, {"weight": float("nan")}),
        (AlignConfig, {"share": 1.5}),
        (AlignConfig, {"source_points": 0}),
        (FitConfig, {"warmup": 0.0}),
        (FitConfig, {"patience": 0}),
        (FitConfig, {"clip": 0.0}),
        (FitConfig, {"body_rate": -1e-5}),
        (SourceHeadConfig, {"holdout": 1.0}),
        (SourceHeadConfig, {"tau": 0.0}),
    ],
)
def test_values_out_of_range_are_refused(config: Any, options: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        config(**options)
