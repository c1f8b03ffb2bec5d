"""Steps in pieces, twice-computed layers, precision and compilation: how a step is computed changes no result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from crosstune.assembly import build_model, outputs, plan_model, predict
from crosstune.errors import ConfigError, DataError
from crosstune.nn import devices, memory
from crosstune.records import Dataset
from crosstune.seeding import Streams
from crosstune.stages import fit, precision, selection, stepping
from crosstune.stages.fit import FitConfig
from crosstune.stages.monitor import Limit
from crosstune.stages.precision import Choice, Trial, choose
from crosstune.stages.state import State

from .problems import Recorder, changed, snapshot, state

FAST: dict[str, Any] = {"max_steps": 5, "batch_size": 16, "head_init": "zero", "body_rate": 1e-3,
                        "embedder_rate": 1e-3, "head_rate": 0.3, "warmup_steps": 0}  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting garbage after every failed attempt takes longer than all steps."""
    monkeypatch.setattr(memory.gc, "collect", lambda *unused: 0)


@pytest.fixture
def latest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the last step's model: the selected one may be the first."""

    def keep(self: Any, model: Any, step: int, monitor: Any) -> None:
        self.best, self.best_step, self.best_score = snapshot(model), step, 0.0

    monkeypatch.setattr(selection.Selection, "evaluate", keep)


def run(made: State, **options: Any) -> tuple[State, Any, Recorder]:
    after, report = fit.run(made, FitConfig(**{**FAST, **options}), streams=Streams(0))
    assert isinstance(made.monitor, Recorder)
    return after, report, made.monitor


def losses(recorder: Recorder) -> list[float]:
    return [event["loss"] for event in recorder.of("step")]


def distance(one: State, other: State) -> float:
    a, b = snapshot(one.model), snapshot(other.model)
    return max(float((a[n] - b[n]).abs().max()) for n in a)


# -- memory -------------------------------------------------------------------------------------------------------

TOO_LARGE = {
    "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "allocator": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"
    ),
    "python": MemoryError(),
}


def small_memory(made: State, rows: int, problem: Exception, *, backward: bool = False) -> list[int]:
    """The model's body fails above so many rows; gives the sizes that were tried."""
    body, forward, tried = made.model.body, made.model.body.forward, []

    def limited(tokens: Tensor, *args: Any) -> Any:
        tried.append(len(tokens))

        def fail(grad: Tensor) -> None:
            raise problem

        if len(tokens) > rows and not backward:
            raise problem
        states = forward(tokens, *args)
        if len(tokens) > rows and states[1].requires_grad:
            states[1].register_hook(fail)
        return states

    body.forward = limited
    return tried


@pytest.mark.parametrize("kind", ["classification", "dense"])
@pytest.mark.parametrize("what", list(TOO_LARGE))
@pytest.mark.parametrize("backward", [False, True])
def test_pieces_are_halved_and_the_batch_is_kept(kind: Any, what: str, backward: bool, latest: None) -> None:
    expected, _, whole = run(state(kind))
    made = state(kind)
    tried = small_memory(made, 5, TOO_LARGE[what], backward=backward)
    after, report, pieces = run(made)
    assert losses(pieces) == pytest.approx(losses(whole), rel=1e-5)
    assert distance(expected, after) < 2e-4
    assert report.figures["piece_rows"] == 4
    assert tried[:3] == [16, 8, 4]
    assert set(tried[3:]) == {4}
    words = "16 rows do not fit the memory at once: steps are made of pieces of 8 rows from here on"
    assert words in report.notes
    assert words in [event["text"] for event in pieces.of("message")]


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_pieces_of_ragged_series(kind: Any, latest: None) -> None:
    """Every piece is cut to its own longest series, and maps of classes with it; ignored positions stay uncounted."""

    def ragged() -> State:
        rng = np.random.default_rng(0)
        lengths = rng.integers(9, 25, 60)
        X = rng.normal(size=(60, 1, 24)).astype(np.float32) * (np.arange(24) < lengths[:, None])[:, None]
        y: Any = np.arange(60) % 3
        if kind == "segmentation":
            y = np.where(np.arange(24) < lengths[:, None], (X[:, 0] > 0).astype(np.int64), -1)
            y[:, 3] = -1
        data = Dataset(X=X, y=y, kind=kind, classes=("a", "b", "c")[: int(y.max()) + 1], lengths=lengths)
        made = state()
        model = build_model(plan_model(data, made.backbone.body, tokens=8), made.backbone.body, data, token_rms=0.05)
        made.model, made.train, made.validation = model, data, data
        return made

    expected, _, whole = run(ragged())
    made = ragged()
    small_memory(made, 5, MemoryError())
    after, report, pieces = run(made)
    assert report.figures["piece_rows"] == 4
    assert losses(pieces) == pytest.approx(losses(whole), rel=1e-5)
    assert distance(expected, after) < 5e-4


def test_a_mean_of_means_would_be_another_step(latest: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest wrong implementation: every piece divided by its own count."""
    _, _, whole = run(state())
    made = state()
    small_memory(made, 6, MemoryError())  # pieces of 4, 4, 4, 4: give them unlike sizes
    monkeypatch.setattr(stepping.Stepper, "_halve", lambda self, rows, problem: setattr(self, "size", 6))
    original = stepping.Stepper._backward

    def wrong(self: Any, x: Any, lengths: Any, y: Tensor, rows: slice, count: Tensor) -> float:
        return original(self, x, lengths, y, rows, 3 * self.objective.count(y[rows]))

    monkeypatch.setattr(stepping.Stepper, "_backward", wrong)
    _, _, other = run(made)
    assert losses(other) != pytest.approx(losses(whole), rel=1e-3)


def test_a_row_that_does_not_fit_at_all_is_an_error_that_helps() -> None:
    made = state()
    run_options = {"head_init": "zero"}
    tried = small_memory(made, 0, MemoryError("Unable to allocate 9 GiB"), backward=True)
    with pytest.raises(DataError, match=r"a single row does not fit the memory \(Unable to allocate 9 GiB\)") as caught:
        run(made, **run_options)
    assert "fit.checkpointing=true" in str(caught.value)
    assert tried[-1] == 1


def test_other_errors_pass() -> None:
    made = state()
    small_memory(made, 5, RuntimeError("mat1 and mat2 shapes cannot be multiplied"), backward=True)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run(made)


def test_predictions_are_made_in_pieces_too() -> None:
    made = state()
    expected, logits = predict(made.model, made.validation), outputs(made.model, made.validation)
    tried = small_memory(made, 7, MemoryError())
    assert np.allclose(predict(made.model, made.validation), expected, atol=1e-6)
    assert tried == [30, 15, 8, 4, 4, 4, 4, 4, 4, 4, 2]
    assert torch.allclose(outputs(made.model, made.validation), logits, atol=1e-6)


def test_the_size_that_fits_survives_a_checkpoint(latest: None) -> None:
    first = Recorder(keep=3)
    made = state(monitor=first)
    small_memory(made, 5, MemoryError())
    whole, _, _ = run(made)
    second = Recorder(saved=first.stored)
    made = state(monitor=second)
    tried = small_memory(made, 5, MemoryError())
    again, report, _ = run(made)
    assert changed(snapshot(whole.model), snapshot(again.model)) == set()
    assert set(tried) == {4}
    assert any("do not fit the memory" in note for note in report.notes)


@pytest.mark.parametrize("body", ["twin-bert", "twin-swin"])
@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_layers_computed_twice_make_the_same_steps(body: str, trainable: str, latest: None) -> None:
    plain, _, one = run(state(body=body), trainable=trainable)
    made = state(body=body)
    calls: list[int] = []
    block = made.model.body.blocks()[0]
    block.register_forward_pre_hook(lambda *unused: calls.append(torch.is_grad_enabled()))
    again, _, other = run(made, trainable=trainable, checkpointing=True)
    assert losses(other) == pytest.approx(losses(one), rel=1e-6)
    assert distance(plain, again) < 1e-6
    assert "forward" not in vars(made.model.body.blocks()[0])
    assert made.model.body.blocks()[0] is block or trainable == "lora"


def test_checkpointing_keeps_less(latest: None) -> None:
    found = []
    for checkpointing in (False, True):
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run(state(), max_steps=1, checkpointing=checkpointing)
        found.append(sum(sizes.values()))
    assert found[1] < 0.7 * found[0]


# -- precision ----------------------------------------------------------------------------------------------------


def multiplies_in() -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def test_bfloat16_is_for_the_body_alone(latest: None) -> None:
    made = state()
    seen: dict[str, set[torch.dtype]] = {"body": set(), "head": set()}
    for name, module in (("body", made.model.body.blocks()[0]), ("head", made.model.head.linear)):
        module.register_forward_hook(lambda *unused, name=name: seen[name].add(multiplies_in()))
    after, report, low = run(made, precision="bf16")
    assert seen["head"] == {torch.float32}
    assert seen["body"] == {torch.bfloat16}
    assert {p.dtype for p in after.model.parameters()} == {torch.float32}
    assert report.figures["precision"] == "bf16"
    assert report.figures["precision_why"] == "asked for"
    _, _, full = run(state(), precision="fp32")
    assert losses(low) == pytest.approx(losses(full), rel=2e-2)
    assert losses(low) != losses(full)


def test_selection_and_closed_form_stay_float32() -> None:
    made = state()
    dtypes: list[bool] = []
    made.model.body.blocks()[0].register_forward_hook(
        lambda *unused: dtypes.append(torch.is_autocast_enabled("cpu")) if not torch.is_grad_enabled() else None
    )
    after, report, _ = run(made, precision="bf16", head_init="ridge")
    assert dtypes
    assert not any(dtypes)
    score = after.metric.score(predict(after.model, after.validation), after.validation.y)  # type: ignore[arg-type]
    assert score == pytest.approx(report.figures["best_score"], abs=1e-9)
    _, first, _ = run(state(), precision="fp32", head_init="ridge")
    assert first.figures["head_first_score"] == report.figures["head_first_score"]


@pytest.mark.parametrize(
    "body",
    ["twin-bert", "twin-vit", "twin-swin", "twin-swinv2", "twin-gpt2", "twin-t5", "twin-wav2vec2", "twin-deberta"],
)
def test_every_family_trains_in_bfloat16(body: str, latest: None) -> None:
    _, _, low = run(state(body=body), precision="bf16", max_steps=3)
    _, _, full = run(state(body=body), precision="fp32", max_steps=3)
    assert losses(low) == pytest.approx(losses(full), rel=5e-2)


def trial(fp32: list[float], bf16: list[float]) -> tuple[Trial, list[torch.dtype | None]]:
    """A trial whose steps take these times in turn, the last one for ever."""
    made, turns = Trial((object(),)), []
    left = {None: iter([*fp32, *[fp32[-1]] * 40]), torch.bfloat16: iter([*bf16, *[bf16[-1]] * 40])}
    while made.choice is None:
        turns.append(made.dtype)
        made.record(next(left[made.dtype]))
    return made, turns


def test_the_first_steps_say_which_is_faster() -> None:
    made, turns = trial([9.0, 0.3], [9.0, 0.2])  # the first of each plans kernels
    assert made.choice == Choice("bf16", "bfloat16 is 1.50 times as fast here")
    assert turns == [None, torch.bfloat16] * (1 + precision.ROUNDS)
    again = Trial(made.key)
    assert again.choice == made.choice  # known, once in a process
    assert trial([0.2], [0.3])[0].choice == Choice("fp32", "bfloat16 is 0.67 times as fast here, less than 1.15")


def test_other_work_on_the_machine_does_not_decide() -> None:
    made, _ = trial([1.0, 0.3, 5.0, 0.3], [1.0, 4.0, 0.2, 6.0, 7.0])
    assert made.choice == Choice("bf16", "bfloat16 is 1.50 times as fast here")


def test_quick_steps_are_repeated_more_often() -> None:
    _, turns = trial([0.001], [0.002])
    assert len(turns) == 2 * (1 + precision.MOST_ROUNDS)


def test_what_needs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "computes_bf16", lambda device: True)
    assert choose("auto", CPU, timed=True) is None
    steps = choose("auto", CPU, timed=False)
    assert steps is not None
    assert (steps.precision, "must repeat" in steps.why) == ("fp32", True)
    assert choose("bf16", CPU, timed=False) == Choice("bf16", "asked for")
    assert choose("auto", torch.device("cuda"), timed=False) == Choice("bf16", "cuda computes it in hardware")
    monkeypatch.setattr(precision, "computes_bf16", lambda device: False)
    assert choose("auto", CPU, timed=True) == Choice("fp32", "cpu has no bfloat16 instructions")


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "computes_bf16", lambda device: True)
    monkeypatch.setattr(precision, "_MEASURED", {})
    monkeypatch.setattr(precision, "MOST_ROUNDS", 2)


def timed(**options: Any) -> Recorder:
    """A stage that ends by the clock, which here never comes."""
    return Recorder({"fit": Limit(seconds=1e6)}, **options)


def used(made: State) -> list[torch.dtype]:
    seen: list[torch.dtype] = []
    made.model.body.blocks()[0].register_forward_hook(
        lambda *unused: seen.append(multiplies_in()) if torch.is_grad_enabled() else None
    )
    return seen


def test_a_timed_stage_tries_both_and_goes_on_with_one(able: None, latest: None) -> None:
    made = state(monitor=timed())
    seen = used(made)
    _, report, _ = run(made, max_steps=9)
    full, low = torch.float32, torch.bfloat16
    assert seen[:6] == [full, low] * 3
    assert seen[6:] == [low if report.figures["precision"] == "bf16" else full] * 3
    assert "times as fast here" in report.figures["precision_why"]
    made = state(monitor=timed())
    seen = used(made)
    run(made, max_steps=3)
    assert len(set(seen)) == 1


def test_a_stage_too_short_to_tell_says_so(able: None, latest: None) -> None:
    _, report, _ = run(state(monitor=timed()), max_steps=3)
    assert report.figures["precision_why"] == "the stage ended before it was clear which is faster"


def test_the_choice_and_its_reason_are_recorded_and_resumed(able: None, monkeypatch: Any, latest: None) -> None:
    picked = Choice("bf16", "a reason")
    monkeypatch.setattr(fit, "choose", lambda *args, **kwargs: picked)
    first = timed(keep=3)
    whole, report, _ = run(state(monitor=first), schedule="constant")
    assert (report.figures["precision"], report.figures["precision_why"]) == ("bf16", "a reason")
    picked = Choice("fp32", "another machine")
    again, report, _ = run(state(monitor=timed(saved=first.stored)), schedule="constant")
    assert report.figures["precision_why"] == "a reason"
    assert changed(snapshot(whole.model), snapshot(again.model)) == set()


def test_what_this_machine_says_of_itself() -> None:
    assert isinstance(devices.computes_bf16(CPU), bool)
    assert devices.computes_bf16(torch.device("mps")) is False


# -- compilation --------------------------------------------------------------------------------------------------


def test_only_steps_are_compiled(monkeypatch: pytest.MonkeyPatch, latest: None) -> None:
    compiled, calls = [], []

    def traced(model: Any, **options: Any) -> Any:
        compiled.append(options)
        return lambda *args: calls.append(model.training) or model(*args)

    monkeypatch.setattr(torch, "compile", traced)
    plain, _, one = run(state())
    assert compiled == []
    again, _, other = run(state(), compile=True)
    assert compiled == [{"dynamic": True}]
    assert calls == [False] * FAST["max_steps"]
    assert losses(other) == losses(one)
    assert changed(snapshot(plain.model), snapshot(again.model)) == set()


@pytest.mark.slow
def test_a_compiled_model_makes_the_same_steps_in_c(latest: None) -> None:
    plain, _, one = run(state())
    again, _, other = run(state(), compile=True)
    assert losses(other) == pytest.approx(losses(one), rel=1e-3)
    assert distance(plain, again) < 2e-3
    assert set(again.model.state_dict()) == set(plain.model.state_dict())


def test_what_cannot_be_compiled_is_an_error_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import Unsupported

    def broken(model: Any, **options: Any) -> Any:
        def call(*args: Any) -> None:
            raise Unsupported("no such operation")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ConfigError, match="the model cannot be compiled") as caught:
        run(state(), compile=True)
    assert "leave fit.compile out" in str(caught.value)
