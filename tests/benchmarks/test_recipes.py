"""The public recipe's hyper-parameters, and that nothing of them is dropped in silence."""

from dataclasses import fields

import pytest

from crosstune.benchmarks import tasks
from crosstune.benchmarks.recipes import Recipe, recipe, recipes
from crosstune.errors import UsageError
from crosstune.methods import get_method, override

SPOKEN_FOR = {"name", "embedder_epochs", "samples", "rate", "weight_decay", "batch"}


def test_the_table_is_complete():
    assert len(recipes()) == 22
    psicov = recipe("PSICOV")
    assert (psicov.rate, psicov.batch, psicov.accumulation, psicov.chunk, psicov.label_rows) == (5e-6, 1, 32, 1, 750)
    ecg = recipe("ECG")
    assert (ecg.optimiser, ecg.momentum, ecg.clip, ecg.target_seq_len, ecg.stack, ecg.tokens) == (
        "SGD",
        0.99,
        None,
        64,
        20,
        50,
    )
    with pytest.raises(UsageError, match="did you mean 'PSICOV'"):
        recipe("PSIKOV")


@pytest.mark.parametrize("found", recipes().values(), ids=lambda found: found.name)
def test_settings_are_those_of_the_method_and_the_rest_is_listed(found):
    method = override(get_method("recraft-reference"), found.settings)
    fit = next(stage for stage in method.stages if stage.name == "fit")
    assert (fit.body_rate, fit.batch_size) == (found.rate, found.batch)
    align = next(stage for stage in method.stages if stage.name == "align")
    assert align.steps == 60
    stated = {field.name for field in fields(Recipe) if getattr(found, field.name) is not None}
    spoken = SPOKEN_FOR | ({"clip"} if "fit.clip" in found.settings else set())
    assert stated - spoken == set(found.unmapped) - {"clip"}
    assert ("fit.clip" in found.settings) != (found.unmapped.get("clip") == "off")


def test_the_embedder_learns_ten_times_faster_up_to_a_rate():
    assert recipe("SATELLITE").settings["align.learning_rate"] == 3e-4
    assert recipe("DARCY-FLOW-5").settings["align.learning_rate"] == 1e-2
    faster = Recipe("x", "roberta-base", 1, 1, "Adam", 0.002, 0.0, 1, 1, 1, 1, 1, 1, 0.0)
    assert faster.settings["align.learning_rate"] == 0.002


def test_references_of_all_tasks_are_settings_of_the_method():
    for task in tasks().values():
        override(get_method("recraft-reference"), dict(task.reference))


def test_what_protocols_prescribe_are_settings_of_every_method():
    for task in tasks().values():
        for terms in task.protocols.values():
            for method in ("recraft-reference", "finetune"):
                override(get_method(method), dict(terms.settings))
