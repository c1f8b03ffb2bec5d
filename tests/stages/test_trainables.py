"""What trains: frozen is frozen to the bit in every choice and family; adapters leave plain weights; rates are kept."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crosstune.assembly import outputs
from crosstune.errors import ConfigError
from crosstune.nn.model import CrossModalModel, part_of
from crosstune.runs.export import load_model, save_model
from crosstune.seeding import Streams
from crosstune.stages import adapters, fit, selection
from crosstune.stages.fit import FitConfig
from crosstune.stages.fit_config import ADAPTERS
from crosstune.stages.state import State
from crosstune.stages.trainables import depths, make_optimiser, make_trainable, parameter_groups

from .problems import Recorder, changed, snapshot, state

FAST: dict[str, Any] = {"max_steps": 3, "batch_size": 16, "head_rate": 1.0, "body_rate": 1e-2, "embedder_rate": 1e-2,
                        "adapter_rate": 1e-2, "warmup_steps": 0}  # fmt: skip
FAMILIES = ["twin-bert", "twin-vit", "twin-swin", "twin-gpt2", "twin-t5", "twin-wav2vec2"]


@pytest.fixture(autouse=True)
def latest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the last step's model: the selected one may be the first."""

    def keep(self: Any, model: Any, step: int, monitor: Any) -> None:
        self.best, self.best_step, self.best_score = snapshot(model), step, 0.0

    monkeypatch.setattr(selection.Selection, "evaluate", keep)


def run(made: State, **options: Any) -> tuple[State, Any, Recorder]:
    after, report = fit.run(made, FitConfig(**{**FAST, **options}), streams=Streams(0))
    assert isinstance(made.monitor, Recorder)
    return after, report, made.monitor


def allowed(made: State, trainable: str) -> set[str]:
    """Names that may change, told apart by what the modules are, not by the code under test."""
    model = made.model
    names = {n for n, _ in model.named_parameters()}
    inside: set[str] = set()
    if trainable == "all":
        inside = {n for n in names if n.startswith("body.")}
    elif trainable == "norms":
        kinds = (nn.LayerNorm, nn.GroupNorm)
        inside = {
            f"body.{where}.{n}" for where, m in model.body.named_modules()
            if isinstance(m, kinds) or "LayerNorm" in type(m).__name__ or "RMSNorm" in type(m).__name__
            for n, _ in m.named_parameters(recurse=False)
        }  # fmt: skip
    elif trainable.startswith("last:"):
        count = int(trainable[5:])
        parts = [m for part in model.body.parts()[-count:] for m in part]
        mine = {id(p) for part in parts for p in part.parameters()}
        mine |= {id(p) for p in final_norm(model.body)}
        inside = {n for n, p in model.named_parameters() if id(p) in mine}
    elif trainable in ADAPTERS:
        inside = {f"body.{n}.weight" for n in adapters.adapted_layers(model.body)}
        if trainable == "ia3":
            inside |= {f"body.{n}.bias" for n in adapters.adapted_layers(model.body)}
    outside = {n for n in names if part_of(n) == "head" or (part_of(n) == "embedder" and trainable != "head")}
    return inside | outside


def final_norm(body: Any) -> list[Tensor]:
    found = {"bert": None, "vit": "layernorm", "swin": "layernorm", "gpt2": "ln_f", "t5": "encoder.final_layer_norm"}
    name = found.get(body.family)
    return [] if name is None else list(body.model.get_submodule(name).parameters())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("trainable", ["all", "head", "embedder+head", "norms", "last:1", "lora", "dora", "ia3"])
def test_what_is_frozen_stays_bit_identical(family: str, trainable: str) -> None:
    made = state(body=family)
    before, may = snapshot(made.model), allowed(made, trainable)
    after, report, _ = run(made, trainable=trainable, adapter_rank=4)
    moved = changed(before, snapshot(after.model))  # also says that the names are the old ones: nothing of peft is left
    parameters = {n for n, _ in after.model.named_parameters()}
    buffers = {name for name in before if name.startswith("head.")} - parameters  # set by the closed form
    assert moved <= may | buffers
    assert {part_of(n) for n in moved & parameters} == {part_of(n) for n in may}
    inside = {n for n in may if n.startswith("body.")}
    assert len(moved & inside) >= len(inside) / 2
    if trainable not in ADAPTERS:
        count = sum(p.numel() for n, p in after.model.named_parameters() if n in may)
        assert report.figures["trained_parameters"] == count


def test_the_last_layer_of_bert_by_name() -> None:
    made = state()
    names = make_trainable(made.model, FitConfig(trainable="last:1"))
    body = {n for n in names if n.startswith("body.")}
    assert body == {n for n, _ in made.model.named_parameters() if n.startswith("body.model.encoder.layer.1.")}


def test_norms_are_found_by_what_they_are() -> None:
    made = state(body="twin-gpt2")  # whose norms are called ln_1, ln_2 and ln_f
    names = {n for n in make_trainable(made.model, FitConfig(trainable="norms")) if n.startswith("body.")}
    assert names == {n for n, _ in made.model.named_parameters() if n.startswith("body.") and ".ln_" in n}
    assert len(names) == 10


# -- adapters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["twin-bert", "twin-swin", "twin-gpt2"])
@pytest.mark.parametrize("kind", ADAPTERS)
def test_merging_changes_no_prediction(family: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if (family, kind) in {("twin-gpt2", "loha"), ("twin-gpt2", "lokr")}:
        with pytest.raises(ConfigError, match=f"'{kind}' does not fit the gpt2 body"):
            run(state(body=family), trainable=kind, adapter_rank=4)
        return
    found: dict[str, Tensor] = {}
    merge = adapters.merge

    def watched(body: Any) -> None:
        found["before"] = outputs(made.model, made.validation)
        merge(body)
        found["after"] = outputs(made.model, made.validation)

    monkeypatch.setattr(fit, "merge", watched)
    made = state(body=family)
    with torch.no_grad():  # biases of fresh bodies are zero: no place to be wrong
        for name, parameter in made.model.body.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    start = outputs(made.model, made.validation)
    keys = set(made.model.state_dict())
    run(made, trainable=kind, adapter_rank=4, head_init="zero")
    scale = float(found["before"].abs().max())
    assert float((found["before"] - found["after"]).abs().max()) < 1e-5 * max(1.0, scale)
    assert float((found["before"] - start).abs().max()) > 1e-3
    assert set(made.model.state_dict()) == keys


@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapters_start_from_what_the_body_computes(kind: str) -> None:
    made = state()
    x = torch.randn(3, 5, made.model.body.width)
    mask = torch.ones(3, 5, dtype=torch.bool)
    made.model.eval()
    with torch.no_grad():
        before = made.model.body(x, mask)[-1]
        rng = torch.random.get_rng_state()
        adapters.inject(made.model.body, FitConfig(trainable=kind, adapter_rank=4), seed=1)
        assert torch.equal(rng, torch.random.get_rng_state())
        assert torch.allclose(made.model.body(x, mask)[-1], before, atol=2e-6)
        adapters.merge(made.model.body)
        assert torch.allclose(made.model.body(x, mask)[-1], before, atol=2e-6)


def test_lora_is_its_formula() -> None:
    """The merged weight is W + alpha / rank * B A; rslora divides by the root of the rank."""
    for kind, scale in (("lora", 6.0 / 4), ("rslora", 6.0 / 2)):
        made = state()
        name = "model.encoder.layer.0.attention.self.query"
        weight = made.model.body.get_submodule(name).weight.detach().clone()
        adapters.inject(made.model.body, FitConfig(trainable=kind, adapter_rank=4, adapter_alpha=6.0), seed=0)
        layer = made.model.body.get_submodule(name)
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        with torch.no_grad():
            b.normal_()
        expected = weight + scale * b @ a
        adapters.merge(made.model.body)
        assert torch.allclose(made.model.body.get_submodule(name).weight, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_saved_model_needs_no_peft(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = state()
    before = snapshot(made.model)
    after, _, _ = run(made, trainable=kind)
    expected, weights = outputs(after.model, after.validation), snapshot(after.model)
    task = {"kind": "classification", "shape": list(made.train.X.shape[1:]), "classes": list(made.train.classes or ())}
    save_model(tmp_path, after.model, backbone=after.backbone, task=task, provenance={})
    for name in [name for name in sys.modules if name.split(".")[0] == "peft"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "peft", None)
    loaded = load_model(tmp_path).model
    assert changed(weights, snapshot(loaded)) == set()
    assert torch.equal(outputs(loaded, after.validation), expected)
    # head and embedder came through, trained
    moved = changed(before, snapshot(loaded))
    assert {part_of(n) for n in moved} == {"head", "embedder", "body"}


def test_without_peft_adapters_are_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "peft" else find(name, *a))
    with pytest.raises(ConfigError, match=r"pip install 'crosstune\[peft\]'"):
        FitConfig(trainable="lora").check()
    FitConfig(trainable="last:2").check()


def test_a_rank_above_every_width_is_refused() -> None:
    made = state()
    with pytest.raises(ConfigError, match="no linear map of width 4096"):
        run(made, trainable="lora", adapter_rank=4096)


def test_fewer_parameters_train_at_a_lower_rank() -> None:
    counts = [run(state(), trainable="lora", adapter_rank=r)[1].figures["trained_parameters"] for r in (2, 4)]
    everything = run(state(), trainable="all")[1].figures["trained_parameters"]
    head = run(state(), trainable="embedder+head")[1].figures["trained_parameters"]
    assert head < counts[0] < counts[1] < everything
    assert counts[1] - head == 2 * (counts[0] - head)


# -- rates ---------------------------------------------------------------------------------------------------------


def one_step(**options: Any) -> tuple[CrossModalModel, dict[str, Tensor], dict[str, Tensor]]:
    """Model after one step, parameters before, and what was added to each."""
    made = state()
    before = snapshot(made.model)
    settings = {"max_steps": 1, "head_init": "zero", "schedule": "constant", "clip": None, "weight_decay": 0.0}
    # a head of zeros passes no gradient on
    with torch.no_grad():
        made.model.head.linear.weight.normal_(std=0.02, generator=torch.Generator().manual_seed(0))
    before = snapshot(made.model)
    after, _, _ = run(made, **{**settings, **options})
    now = snapshot(after.model)
    return after.model, before, {n: now[n] - before[n] for n, _ in after.model.named_parameters()}


SGD: dict[str, Any] = {"optimiser": "sgd", "momentum": 0.0}


def test_layer_decay_shrinks_steps_from_the_output_down() -> None:
    model, _, full = one_step(**SGD)
    _, _, less = one_step(**SGD, layer_decay=0.5)
    below = depths(model.body)
    assert {below[n] for n in below} >= {1, 2, 3}
    seen = set()
    for name, step in full.items():
        depth = below[name.removeprefix("body.")] if part_of(name) == "body" else 0
        size = float(step.abs().max())
        if size < 1e-4:
            continue
        seen.add(depth)
        # differences of weights around one are rounded to 1e-7
        assert torch.allclose(less[name], step * 0.5**depth, atol=3e-7, rtol=1e-3), name
    assert seen == {0, 1, 2, 3}
    assert below["model.encoder.layer.1.output.dense.weight"] == 1
    assert below["model.encoder.layer.0.output.dense.weight"] == 2
    assert below["model.embeddings.LayerNorm.weight"] == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_has_a_depth(family: str) -> None:
    body = state(body=family).model.body
    assert set(depths(body)) == {n for n, _ in body.named_parameters()}


def test_rates_of_adapters_are_their_own_and_decay_too() -> None:
    made = state()
    config = FitConfig(trainable="lora", adapter_rate=1.0, body_rate=7.0, layer_decay=0.5)
    names = make_trainable(made.model, config)
    groups = parameter_groups(made.model, config, names)
    owner = {id(p): n for n, p in made.model.named_parameters()}
    rates = {owner[id(p)]: g["base"] for g in groups for p in g["params"]}
    inside = {n: r for n, r in rates.items() if part_of(n) == "body"}
    assert all("lora_" in n for n in inside)
    assert all(r == (0.5 if ".layer.1." in n else 0.25) for n, r in inside.items())
    assert {rates[n] for n in rates if part_of(n) == "embedder"} == {config.embedder_rate}


def test_sgd_adam_and_adamw_take_their_first_steps() -> None:
    """sgd: rate x gradient; adam: rate x sign of gradient and decay together; adamw: sign of gradient, decay apart."""
    rate, decay = 1e-3, 0.5
    name = "body.model.encoder.layer.0.output.dense.weight"
    common: dict[str, Any] = {"body_rate": rate}
    _, before, sgd = one_step(**common, **SGD)
    gradient = -sgd[name] / rate
    _, _, decayed = one_step(**common, **SGD, weight_decay=decay)
    assert torch.allclose(decayed[name], -rate * (gradient + decay * before[name]), atol=3e-7)
    clear = (gradient.abs() > 1e-3) & ((gradient + decay * before[name]).abs() > 1e-3)
    assert int(clear.sum()) > 100
    _, _, adam = one_step(**common, optimiser="adam", weight_decay=decay)
    assert torch.allclose(adam[name][clear], -rate * (gradient + decay * before[name])[clear].sign(), atol=1e-6)
    _, _, adamw = one_step(**common, weight_decay=decay)
    assert torch.allclose(adamw[name][clear], -rate * (gradient.sign() + decay * before[name])[clear], atol=1e-6)


def test_momentum_is_that_of_the_optimiser() -> None:
    made = state()
    names = make_trainable(made.model, FitConfig())
    for given, expected in ((None, 0.9), (0.99, 0.99), (0.0, 0.0)):
        config = FitConfig(optimiser="sgd", momentum=given)
        optimiser = make_optimiser(config, parameter_groups(made.model, config, names))
        assert isinstance(optimiser, torch.optim.SGD)
        assert {group["momentum"] for group in optimiser.param_groups} == {expected}


def test_the_gradient_is_clipped_where_asked_for() -> None:
    _, _, free = one_step(**SGD, body_rate=1.0, embedder_rate=0.0, head_rate=0.0)
    _, _, clipped = one_step(**SGD, body_rate=1.0, embedder_rate=0.0, head_rate=0.0, clip=1e-3)
    length = lambda steps: float(torch.cat([s.flatten() for s in steps.values()]).norm())  # noqa: E731
    assert length(free) > 0.01
    assert length(clipped) < 1.05e-3


def test_only_the_head_trains_at_first() -> None:
    for steps, parts in ((4, {"head"}), (5, {"head", "embedder", "body"})):
        made = state()
        before = snapshot(made.model)
        after, _, _ = run(made, head_steps=4, max_steps=steps)
        moved = changed(before, snapshot(after.model))
        assert {part_of(n) for n in moved} == parts
        assert after.model.training is False


def test_the_others_warm_up_when_their_turn_comes() -> None:
    made = state()
    config = FitConfig(head_steps=4, warmup_steps=10)
    optimiser = make_optimiser(config, parameter_groups(made.model, config, make_trainable(made.model, config)))
    from crosstune.stages.trainables import set_rates

    shares = []
    for step in range(20):
        set_rates(optimiser, 1.0, step, 10)
        shares.append(sorted({round(g["lr"] / g["base"], 6) for g in optimiser.param_groups}))
    assert shares[3] == [0.0, 0.4]
    assert shares[4] == [0.1, 0.5]
    assert shares[13] == [1.0]


# -- schedules and steps -------------------------------------------------------------------------------------------


def factors(recorder: Recorder) -> list[float]:
    return [event["lr"] for event in recorder.of("step")]


def test_schedules_are_their_formulas() -> None:
    n = 12
    t = np.arange(n)
    warm = np.minimum(1, (t + 1) / 4)
    for schedule, fall in (
        ("linear", 1 - t / n), ("cosine", (1 + np.cos(np.pi * t / n)) / 2), ("constant", np.ones(n)),
    ):  # fmt: skip
        _, _, recorder = run(state(), trainable="head", max_steps=n, warmup_steps=4, schedule=schedule)
        assert factors(recorder) == pytest.approx((warm * fall).tolist(), abs=1e-12)


def test_epochs_count_passes_over_the_rows() -> None:
    """60 rows in batches of 16 are three steps: the rest of a pass is left to the next."""
    _, report, recorder = run(
        state(), trainable="head", max_steps=None, epochs=4, warmup_epochs=2, schedule="linear", decay_epochs=8
    )
    assert report.steps == 12
    t = np.arange(12)
    assert factors(recorder) == pytest.approx((np.minimum(1, (t + 1) / 6) * (1 - t / 24)).tolist())
    _, report, _ = run(state(), trainable="head", max_steps=5, epochs=4)
    assert report.steps == 5


@pytest.mark.parametrize("kind", ["classification", "dense"])
def test_accumulated_batches_are_one_batch(kind: str) -> None:
    options: dict[str, Any] = {"head_init": "zero", "body_rate": 1e-3, "embedder_rate": 1e-3, "head_rate": 0.1}
    whole, _, one = run(state(kind), batch_size=24, **options)  # type: ignore[arg-type]
    parts, _, many = run(state(kind), batch_size=8, accumulate=3, **options)  # type: ignore[arg-type]
    losses = [[e["loss"] for e in r.of("step")] for r in (one, many)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    a, b = snapshot(whole.model), snapshot(parts.model)
    assert max(float((a[n] - b[n]).abs().max()) for n in a) < 1e-4
    _, _, few = run(state(kind), batch_size=8, **options)  # type: ignore[arg-type]
    assert [e["loss"] for e in few.of("step")] != pytest.approx(losses[0], rel=1e-3)


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"momentum": 0.5}, "momentum = 0.5 is read by nothing here"),
        ({"adapter_alpha": 8.0}, "adapter_alpha = 8.0 is read by nothing here"),
        ({"adapter_alpha": 8.0, "trainable": "ia3"}, "adapter_alpha = 8.0"),
        ({"decay_epochs": 8.0, "schedule": "constant"}, "decay_epochs = 8.0"),
        ({"trainable": "last:3"}, "the bert body has 2 layers"),
    ],
)
def test_settings_that_nothing_reads_are_refused_before_anything_is_trained(options: Any, words: str) -> None:
    made = state()
    before = snapshot(made.model)
    with pytest.raises(ConfigError, match=words):
        run(made, **options)
    assert changed(before, snapshot(made.model)) == set()


@pytest.mark.parametrize("name", ["last:0", "last:", "lorra", "last:x"])
def test_unknown_names_get_a_suggestion(name: str) -> None:
    with pytest.raises(ValueError, match=r"nothing trainable is called so; .*known"):
        FitConfig(trainable=name)
