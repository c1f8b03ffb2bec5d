"""The public recipe's hyper-parameters, and that nothing of them is dropped in silence."""

from dataclasses import fields

import pytest
import torch

from crosstune.benchmarks import tasks
from crosstune.benchmarks.recipes import Recipe, recipe, recipes
from crosstune.errors import UsageError
from crosstune.methods import get_method, override

SPOKEN_FOR = {
    "name", "embedder_epochs", "samples", "rate", "weight_decay", "batch", "accumulation", "clip", "optimiser",
    "momentum", "warmup", "decay", "epochs",
}  # fmt: skip


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
    fit.check()
    assert (fit.batch_size, fit.accumulate, fit.clip) == (found.batch, found.accumulation, found.clip)
    assert (fit.epochs, fit.warmup_epochs, fit.decay_epochs) == (found.epochs, found.warmup, found.decay)
    assert (fit.optimiser, fit.momentum) == (found.optimiser.lower(), found.momentum)
    align = next(stage for stage in method.stages if stage.name == "align")
    assert align.steps == 60
    stated = {field.name for field in fields(Recipe) if getattr(found, field.name) is not None}
    assert stated - SPOKEN_FOR == set(found.unmapped) - {"head_rate"}


def summed(kind, rate, decay, accumulation, gradients, **more):
    """Weights after steps on summed gradients, as the recipe takes them."""
    weight = torch.nn.Parameter(torch.tensor([0.7, -1.3], dtype=torch.float64))
    optimiser = kind([weight], lr=rate, weight_decay=decay, **more)
    for step in gradients:
        weight.grad = step.sum(dim=0) if accumulation is None else step.mean(dim=0)
        optimiser.step()
    return weight.detach()


@pytest.mark.parametrize("name", ["CIFAR100", "PSICOV", "SATELLITE", "ECG"])
def test_mean_gradients_take_the_steps_of_summed_ones(name):
    found = recipe(name)
    kind = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[found.optimiser]
    gradients = torch.randn(20, found.accumulation, 2, dtype=torch.float64, generator=torch.manual_seed(0))
    more = {"momentum": found.momentum} if found.momentum else {}
    theirs = summed(kind, found.rate, found.weight_decay, None, gradients, **more)
    rate, decay = found.settings["fit.body_rate"], found.settings["fit.weight_decay"]
    ours = summed(kind, rate, decay, found.accumulation, gradients, **more)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    wrong = summed(kind, found.rate, found.weight_decay, found.accumulation, gradients, **more)
    assert torch.equal(wrong, ours) == (found.optimiser == "AdamW")


def test_the_embedder_learns_ten_times_faster_up_to_a_rate():
    assert recipe("SATELLITE").settings["align.learning_rate"] == 3e-4
    assert recipe("DARCY-FLOW-5").settings["align.learning_rate"] == 1e-2
    faster = Recipe("x", "roberta-base", 1, 1, "Adam", 0.002, 0.0, 1, 1, 1, 1, 1, 1, 0.0)
    assert faster.settings["align.learning_rate"] == 0.002


def test_references_of_all_tasks_are_settings_of_the_method():
    for task in tasks().values():
        override(get_method("recraft-reference"), dict(task.reference))


@pytest.mark.parametrize("name", ["recraft-reference", "finetune"])
def test_what_protocols_prescribe_fits_the_kind_of_target(name):
    for task in tasks().values():
        for terms in task.protocols.values():
            settings = {
                **(task.reference if name == "recraft-reference" else {}),
                **terms.settings,
                "fit.loss": terms.loss,
            }
            method = override(get_method(name), settings)
            next(stage for stage in method.stages if stage.name == "fit").check(task.kind)
