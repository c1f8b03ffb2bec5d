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
from crosstune.methods import Method, control, fit_of, get_method, methods, override, variants
from crosstune.methods.contract import PLAIN_SETTINGS
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
        assert set(method.controls) <= {*methods()} - {name}
        if method.aligns:
            assert {"no-align", "frozen", "scratch"} <= set(method.controls)
        for other in method.controls:
            made = control(method, other)
            assert made.name == other
            assert (made.stages, made.weights) != (method.stages, method.weights)

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


def test_plain_fine_tuning_has_nothing_of_ours() -> None:
    plain = get_method("finetune")
    assert [s.name for s in plain.stages] == ["fit"]
    assert (fit_of(plain).head_init, fit_of(plain).trainable, fit_of(plain).head_steps) == ("zero", "all", 0)
    assert (plain.linear_part, plain.weights) == (False, "pretrained")


def test_methods_of_other_papers_stand_on_plain_fine_tuning() -> None:
    orca, plain = get_method("orca"), get_method("finetune")
    assert fit_of(orca) == fit_of(plain)
    assert not orca.linear_part
    align = stage(orca, "align")
    assert (align.fa, align.space, align.fld) == ("otdd", "means", None)
    assert control(orca, "no-align").stages == plain.stages


# -- one part taken out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(variants()))
def test_a_method_without_a_part_and_the_control_are_one_definition(name: str) -> None:
    assert control(get_method("recraft"), name) == get_method(name)


@pytest.mark.parametrize("name", list(variants()))
def test_variants_follow_every_other_setting_of_the_method(name: str) -> None:
    changes = {
        "align.steps": 7, "align.learning_rate": 1e-2, "fit.batch_size": 8, "fit.embedder_rate": 3e-3,
        "fit.loss": "focal", "linear_part": False,
    }  # fmt: skip
    made = control(override(get_method("recraft"), changes), name)
    known = {s.name for s in made.stages}
    same = {key: value for key, value in changes.items() if "." not in key or key.split(".")[0] in known}
    assert made == override(get_method(name), same)
    assert {"fit.batch_size", "linear_part"} <= set(same)


def test_what_each_variant_changes() -> None:
    ours = get_method("recraft")
    taken = {name: _differences(ours, get_method(name)) for name in variants()}
    assert taken == {
        "no-align": {"stages": ["fit"]},
        "no-distortion": {"align.fld": None},
        "mean-match": {"align.fa": "moments", "align.fld": None, "stages": ["align", "fit"]},
        "shuffled": {"weights": "shuffled"},
        "frozen": {"stages": ["fit"], "fit.trainable": "norms"},
        "scratch": {
            "stages": ["fit"],
            "weights": "random",
            "start": "random",
            "fit.body_rate": 5 * fit_of(ours).body_rate,
        },
    }


def _differences(a: Method, b: Method) -> dict[str, Any]:
    """What b has otherwise, apart from what it is called."""
    found: dict[str, Any] = {}
    names = [s.name for s in b.stages]
    if names != [s.name for s in a.stages]:
        found["stages"] = names
    for name in names:
        before, after = stage(a, name).model_dump(), stage(b, name).model_dump()
        found |= {f"{name}.{key}": after[key] for key in after if after[key] != before[key]}
    return found | {key: getattr(b, key) for key in PLAIN_SETTINGS if getattr(a, key) != getattr(b, key)}


@pytest.mark.parametrize("name", ["lora", "linear-probe", "frozen", "scratch"])
def test_a_method_without_stage_1_is_compared_with_everything_trained(name: str) -> None:
    if name == "lora":
        pytest.importorskip("peft")
    settings = {"fit.adapter_alpha": 4.0} if name == "lora" else {}
    method = override(get_method(name), {"fit.batch_size": 8, **settings})
    made = control(method, "no-align")
    fit_of(made).check("classification")
    assert made == override(get_method("no-align"), {"fit.batch_size": 8})


def test_a_control_that_is_another_method_keeps_its_recipe_and_takes_the_loss() -> None:
    method = override(get_method("recraft"), {"fit.loss": "focal", "fit.batch_size": 8})
    made = control(method, "finetune")
    assert made == override(get_method("finetune"), {"fit.loss": "focal"})


@pytest.mark.parametrize("name", ["no-distortion", "mean-match"])
def test_a_part_that_is_not_there_cannot_be_taken_out(name: str) -> None:
    with pytest.raises(UsageError, match="'lora' has no") as caught:
        control(get_method("lora"), name)
    assert "leave that control out" in str(caught.value)


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
