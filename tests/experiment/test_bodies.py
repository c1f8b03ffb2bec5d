"""Every arm has the body of its method, and the source as that body sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from crosstune.backbones import Backbone, load_backbone
from crosstune.experiment import Request, execute, prepare
from crosstune.experiment.arms import label
from crosstune.experiment.bodies import Bodies
from crosstune.experiment.source import source_bank
from crosstune.methods import get_method
from crosstune.records import Dataset


class Opener:
    """Opens twins and remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, request: Request, *, weights: Any = "pretrained", seed: int = 0) -> Backbone:
        self.asked.append((weights, seed))
        return load_backbone(request.backbone, weights=weights, seed=seed)


def made(opener: Opener) -> Bodies:
    request = Request(backbone="twin-bert")
    return Bodies(request, opener(request), opener)


def test_shuffled_weights_see_the_source_through_themselves() -> None:
    bodies = made(Opener())
    for seed in (1, 2):
        bank = bodies.bank(get_method("shuffled"), seed)
        assert bank is not None
        expected = source_bank(load_backbone("twin-bert", weights="shuffled", seed=seed))
        assert torch.equal(bank.hidden, expected.hidden)
        assert torch.equal(bank.tokens, expected.tokens)
        ours = bodies.bank(get_method("recraft"), seed)
        assert ours is not None
        assert not torch.equal(bank.hidden, ours.hidden)
        assert not torch.equal(bank.tokens, ours.tokens)


def test_bodies_are_opened_once_per_seed_and_no_bank_is_made_in_vain() -> None:
    opener = Opener()
    bodies = made(opener)
    plain, shuffled, scratch = (get_method(name) for name in ("no-align", "shuffled", "scratch"))
    for seed in (4, 5):
        for method in (plain, shuffled, scratch, shuffled):
            bodies.body(method, seed)
        assert bodies.bank(scratch, seed) is None
        assert bodies.bank(plain, seed) is None
    assert opener.asked == [("pretrained", 0), ("shuffled", 4), ("random", 4), ("shuffled", 5), ("random", 5)]


@pytest.mark.parametrize(
    ("name", "method", "steps", "text"),
    [
        ("no-align", "recraft", False, "no alignment (equal time)"),
        ("no-align", "orca", True, "no alignment (equal steps)"),
        ("no-align", "lora", False, "everything trained from pretrained weights (equal time)"),
        ("no-align", "no-align", False, "no alignment"), ("frozen", "recraft", False, "frozen body"),
        ("finetune", "finetune", False, "plain fine-tuning"), ("recraft", "recraft", False, "recraft"),
    ],
)  # fmt: skip
def test_labels_say_what_was_kept_equal(name: str, method: str, steps: bool, text: str) -> None:
    assert label(name, get_method(method), steps) == text


def test_a_run_of_shuffled_weights(waves: Dataset, tmp_path: Path) -> None:
    """The body in the saved model is the shuffled one, trained; its source head was trained on its own features."""
    request = Request(
        backbone="twin-bert", method="shuffled", budget="2steps", seeds=(3,), floors=(), controls=("no-align",),
        settings={"align.steps": 1, "align.distortion_steps": 1, "fit.body_rate": 0.0},
    )  # fmt: skip
    folder = prepare(waves, request, tmp_path / "run")[0]
    execute(folder)
    record = folder.record()
    assert record["arms"]["shuffled"]["method"] == "shuffled"
    body = dict(load_backbone("twin-bert", weights="shuffled", seed=3).body.named_parameters())
    from crosstune.runs.export import load_model

    for arm in ("shuffled", "no-align"):
        saved = dict(load_model(folder.path / "arms" / f"{arm}.s3").model.body.named_parameters())
        assert all(torch.equal(saved[name].detach(), body[name].detach()) for name in body)
