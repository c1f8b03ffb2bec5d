"""Same seed, same weights; another seed, others; and a stage that is cut in two ends with the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from crosstune.seeding import Streams
from crosstune.stages import align, fit, selection
from crosstune.stages.align import AlignConfig
from crosstune.stages.fit import FitConfig
from crosstune.stages.monitor import Limit, pack, unpack

from .problems import Recorder, changed, snapshot, state

# the last embedder, whether it is any good or not: the best may well be the untouched one in every run
ALIGN: dict[str, Any] = {
    "steps": 6, "distortion_steps": 4, "source_points": 96, "target_points": 48, "batch_size": 16, "keep": "last",
}  # fmt: skip
FIT: dict[str, Any] = {"max_steps": 24, "batch_size": 16, "body_rate": 1e-3, "embedder_rate": 1e-3, "head_rate": 0.5,
                       "dropout": True}  # fmt: skip


def aligned(seed: int, monitor: Recorder, **options: Any) -> dict[str, Tensor]:
    made = state(predictor=True, monitor=monitor)
    after, _ = align.run(made, AlignConfig(**{**ALIGN, **options}), streams=Streams(seed))
    return snapshot(after.model)


def fitted(seed: int, monitor: Recorder, kind: str = "classification", **options: Any) -> dict[str, Tensor]:
    made = state(kind, monitor=monitor)  # type: ignore[arg-type]
    after, _ = fit.run(made, FitConfig(**{**FIT, **options}), streams=Streams(seed))
    return snapshot(after.model)


def steps(recorder: Recorder) -> list[tuple[int, float]]:
    return [(event["step"], event["loss"]) for event in recorder.of("step")]


@pytest.mark.parametrize("schedule", ["sequential", "joint"])
def test_align_repeats_bit_by_bit(schedule: str) -> None:
    torch.manual_seed(1)
    first = aligned(0, Recorder(), schedule=schedule)
    torch.manual_seed(2)  # whatever the rest of the program drew
    assert changed(first, aligned(0, Recorder(), schedule=schedule)) == set()
    assert changed(first, aligned(1, Recorder(), schedule=schedule)) != set()


@pytest.mark.parametrize("kind", ["classification", "dense", "segmentation"])
def test_fit_repeats_bit_by_bit(kind: str, latest: None) -> None:
    torch.manual_seed(1)
    first = fitted(0, Recorder(), kind)
    torch.manual_seed(2)
    assert changed(first, fitted(0, Recorder(), kind)) == set()
    assert changed(first, fitted(1, Recorder(), kind)) != set()


@pytest.fixture
def latest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the last step's weights: selection may well hand back the first candidate in every run."""
    original = selection.Selection.evaluate

    def evaluate(self: Any, model: Any, step: int, monitor: Any) -> None:
        self.best_key = (np.inf, np.inf)
        original(self, model, step, monitor)

    monkeypatch.setattr(selection.Selection, "evaluate", evaluate)


@pytest.mark.parametrize("schedule", ["sequential", "joint", "constrained", "alternating"])
@pytest.mark.parametrize("at", [1, 4])
def test_align_resumes_bit_by_bit(schedule: str, at: int) -> None:
    first = Recorder(keep=at)
    whole = aligned(0, first, schedule=schedule)
    assert first.stored is not None
    second = Recorder(saved=first.stored)
    torch.manual_seed(99)
    assert changed(whole, aligned(0, second, schedule=schedule)) == set()
    assert steps(second) == steps(first)[at:]


@pytest.mark.parametrize("at", [4, 8])
def test_a_candidate_from_before_the_interruption_can_still_be_kept(at: int) -> None:
    # with this rate and seed the lowest error comes in the third step, and later ones are worse
    first = Recorder(keep=at)
    whole = aligned(2, first, learning_rate=1.0, keep="best")
    judged = {event["step"]: event["relative_press"] for event in first.of("candidate")}
    assert 0 < min(judged, key=lambda step: judged[step]) < at
    second = Recorder(saved=first.stored)
    assert changed(whole, aligned(2, second, learning_rate=1.0, keep="best")) == set()


def test_align_resumes_within_the_constrained_part() -> None:
    """Behind the reference distance: it must come from the checkpoint."""
    first = Recorder(keep=8)
    whole = aligned(0, first, schedule="constrained")
    second = Recorder(saved=first.stored)
    assert changed(whole, aligned(0, second, schedule="constrained")) == set()
    for name in ("before", "after"):
        assert np.array_equal(first.arrays["alignment"][name], second.arrays["alignment"][name])


@pytest.mark.parametrize("at", [0, 5, 10, 17])
@pytest.mark.parametrize(
    "options",
    [
        {"trainable": "all"},
        {"trainable": "norms"},
        {"trainable": "lora", "adapter_rate": 1e-2},
        {"trainable": "pissa", "adapter_rate": 1e-2},  # which moves part of the weights into the adapter
        {"head_steps": 7, "layer_decay": 0.7, "optimiser": "sgd", "accumulate": 2, "schedule": "linear"},
    ],
    ids=lambda options: str(next(iter(options.values()))),
)
def test_fit_resumes_bit_by_bit(at: int, options: dict[str, Any], latest: None) -> None:
    first = Recorder(keep=at)
    whole = fitted(0, first, **options)
    assert first.stored is not None
    second = Recorder(saved=first.stored)
    torch.manual_seed(99)
    again = fitted(0, second, **options)
    assert changed(whole, again) == set()
    assert steps(second) == steps(first)[at:]


@pytest.mark.parametrize("kind", ["classification", "regression", "dense"])
def test_fit_resumes_with_the_same_selection(kind: str) -> None:
    first = Recorder(keep=15)
    whole = fitted(0, first, kind)
    second = Recorder(saved=first.stored)
    assert changed(whole, fitted(0, second, kind)) == set()
    tail = [event for event in first.of("validation") if event["step"] > 15]
    assert second.of("validation") == tail


def test_the_dropout_generator_is_part_of_the_checkpoint(latest: None) -> None:
    """The smallest wrong checkpoint: everything but torch's generator. The weights must come out differently."""
    first = Recorder(keep=5)
    whole = fitted(0, first)
    assert first.stored is not None
    torch.manual_seed(99)
    broken = {**first.stored, "torch_rng": torch.random.get_rng_state()}
    assert changed(whole, fitted(0, Recorder(saved=broken))) != set()


def test_extra_draws_in_one_stream_do_not_move_a_stage() -> None:
    streams = Streams(0)
    streams["alignment"].random(1000)
    streams["something else"].random(1000)
    made = state(monitor=Recorder())
    after, _ = fit.run(made, FitConfig(**FIT), streams=streams)
    assert changed(fitted(0, Recorder()), snapshot(after.model)) == set()


# -- the monitor --------------------------------------------------------------------------------------------------


def test_progress_follows_whichever_limit_is_further() -> None:
    recorder = Recorder({"fit": Limit(seconds=1e9, steps=10)})
    recorder.begin("fit")
    assert recorder.progress(5) == pytest.approx(0.5)
    recorder = Recorder({"fit": Limit(seconds=1e-9)})
    recorder.begin("fit", steps=1000)
    assert recorder.progress(1) > 1
    recorder = Recorder()
    recorder.begin("fit")
    assert recorder.progress(10**9) == 0
    assert recorder.remaining() is None


def test_the_smaller_number_of_steps_counts() -> None:
    recorder = Recorder({"fit": Limit(steps=10)})
    recorder.begin("fit", steps=4)
    assert recorder.progress(4) == 1


def test_time_of_earlier_sittings_counts() -> None:
    recorder = Recorder({"fit": Limit(seconds=100)}, saved={"elapsed": 50.0})
    recorder.begin("fit")
    assert recorder.elapsed() >= 50
    assert recorder.progress(0) >= 0.5
    remaining = recorder.remaining()
    assert remaining is not None
    assert remaining <= 50


def test_pack_and_unpack_restore_every_generator() -> None:
    streams = Streams(3)
    streams["a"].random(7)
    saved = pack(4, 1.5, streams, thing=[1, 2])
    expected = streams["a"].random(3), torch.rand(3)
    step, parts = unpack(saved, other := Streams(0))
    assert (step, parts) == (4, {"thing": [1, 2]})
    assert np.array_equal(other["a"].random(3), expected[0])
    assert torch.equal(torch.rand(3), expected[1])
