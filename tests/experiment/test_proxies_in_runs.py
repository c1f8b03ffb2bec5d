"""Runs with and without labelled source data, from the request to the report."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crosstune import report
from crosstune.errors import RunError, UsageError
from crosstune.experiment import Request, bodies, bound, bounding, execute, prepare
from crosstune.experiment.ranking import rank, render
from crosstune.experiment.source import source_bank, source_bank_and_origin
from crosstune.records import Dataset
from crosstune.report import model_card
from crosstune.runs import RunFolder
from crosstune.runs.export import load_model

SETTINGS = {
    "align.steps": 5, "align.source_points": 48, "align.target_points": 24, "align.distortion_steps": 2,
    "source_head.labels": "classes", "source_head.iterations": 40, "fit.batch_size": 8,
}  # fmt: skip


def request(**options: Any) -> Request:
    base = {"backbone": "twin-bert", "budget": "4steps", "floors": ("majority",), "controls": ("no-align",)}
    return Request(**{**base, "settings": SETTINGS, "threads": 1, **options})


def run(waves: Dataset, path: Path, **options: Any) -> tuple[RunFolder, dict[str, Any]]:
    folder, _ = prepare(waves, request(**options), path)
    execute(folder)
    return folder, folder.record()


def stages(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {s["stage"]: s for s in record["arms"]["recraft"]["stages"]}


@pytest.fixture(scope="module")
def unlabelled(waves: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(
        waves, tmp_path_factory.mktemp("run") / "none", proxy="none", settings=SETTINGS | {"align.keep": "last"}
    )[0]


def test_without_a_proxy_stage_0_is_skipped_and_stage_1_matches_statistics(unlabelled: RunFolder) -> None:
    record = unlabelled.record()
    assert record["status"] == "complete"
    assert record["proxy"] == {"asked": "none", "name": None, "modality": "text", "digest": None, "rows": 0,
                               "classes": 0, "license": None, "notes": []}  # fmt: skip
    found = stages(record)
    assert (found["source_head"]["steps"], found["source_head"]["stopped_by"]) == (0, "no labels")
    assert found["align"]["steps"] == 5
    figures = found["align"]["figures"]
    assert figures["fa_after"] < figures["fa_before"]
    assert not any(key.startswith("fld") for key in figures)
    assert any("matched mean and variance" in note for note in found["align"]["notes"])
    events = [json.loads(line) for line in (unlabelled.path / "events.jsonl").read_text().splitlines()]
    assert not [e for e in events if e["kind"] == "bound"]


def test_the_report_and_the_card_say_so(unlabelled: RunFolder) -> None:
    said = "There was no labelled source data: stage 1 matched mean and variance of the body's own tokens only"
    summary = report.summarise(unlabelled.path)
    assert sum(said in sentence for sentence in summary.verdict.sentences) == 1
    text = Path(report.write_html(unlabelled.path)).read_text()
    assert "The bound needs labelled source data (--proxy auto, or --proxy PATH), and this run had none." in text
    assert "There was no labelled source data" in text
    assert said in model_card(unlabelled.path)


def test_a_vision_body_with_drawn_pictures(waves: Dataset, tmp_path: Path) -> None:
    folder, record = run(waves, tmp_path / "vit", backbone="twin-vit")
    proxy = record["proxy"]
    assert (proxy["asked"], proxy["name"], proxy["modality"], proxy["classes"]) == (
        "auto", "shapes-and-textures", "image", 72,
    )  # fmt: skip
    assert stages(record)["source_head"]["figures"]["classes"] == 72
    assert 0 <= stages(record)["source_head"]["figures"]["holdout_accuracy"] <= 1  # a random body hardly sees
    summary = report.summarise(folder.path)
    assert [b.stage for b in summary.bound] == ["before", "after-align", "after-fit"]
    assert not any("no labelled source data" in s for s in summary.verdict.sentences)
    page = Path(report.write_html(folder.path)).read_text()
    assert "of held-out examples of shapes-and-textures right, in 72 classes (chance 1.4%)" in page.replace(
        "&#39;", "'"
    )


def test_an_audio_body_hears_computed_sounds(
    waves: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Even random convolutions of waves tell sounds apart, through the classes of the proxy and through clusters."""
    monkeypatch.setattr(bodies, "source_bank_and_origin", partial(source_bank_and_origin, rows=420))
    _, record = run(waves, tmp_path / "audio", backbone="twin-wav2vec2", controls=())
    assert (record["proxy"]["name"], record["proxy"]["classes"]) == ("sounds", 42)
    assert stages(record)["source_head"]["figures"]["holdout_accuracy"] > 3 / 42
    _, record = run(waves, tmp_path / "clusters", backbone="twin-wav2vec2", controls=(),
                    settings=SETTINGS | {"source_head.labels": "clusters:12", "source_head.tau": 4.0})  # fmt: skip
    figures = stages(record)["source_head"]["figures"]
    assert figures["classes"] == 12
    assert figures["holdout_accuracy"] > 6 / 12


def test_own_texts_by_a_relative_path_and_a_resume_that_finds_them_changed(
    waves: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    words = {"sea": ["water", "wave", "salt", "tide", "ship"], "sky": ["cloud", "bird", "wind", "star", "moon"]}
    lines = [json.dumps({"text": " ".join(rng.choice(words[k], 9)), "label": k}) for k in ("sea", "sky") * 30]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    asked = request(proxy="own.jsonl")
    assert asked.proxy == str(tmp_path / "own.jsonl")
    assert request(proxy="own.jsonl::text,label").proxy == f"{tmp_path / 'own.jsonl'}::text,label"
    folder, _ = prepare(waves, asked, tmp_path / "run")
    monkeypatch.chdir("/")
    execute(folder)
    record = folder.record()
    assert (record["proxy"]["rows"], record["proxy"]["classes"]) == (60, 2)
    assert record["proxy"]["notes"][0] == "column 'text' was taken as the text and 'label' as the label"
    assert stages(record)["source_head"]["figures"]["holdout_accuracy"] > 0.6
    (tmp_path / "own.jsonl").write_text("\n".join(lines[::-1]))
    with pytest.raises(RunError, match="is not what it was when the run began"):
        execute(folder)


def test_a_request_refuses_a_proxy_that_does_not_fit_its_body(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds sounds, but the body was pretrained on images"):
        request(backbone="twin-vit", proxy="sounds").check()
    with pytest.raises(UsageError, match="unknown source proxy"):
        request(proxy="soundz").check()
    request(backbone="twin-vit", proxy="none").check()
    request(backbone="someone/unknown", proxy="sounds").check()  # its modality shows when it is there


def test_a_ranking_without_a_proxy_says_that_the_bound_needs_one(waves: Dataset) -> None:
    result = rank(waves, ["twin-bert", "twin-vit"], proxy="none")
    assert [e["bound"] for e in result["backbones"]] == [None, None]
    scores = [e["logme"] for e in result["backbones"]]
    assert scores == sorted(scores, reverse=True)
    assert "The bound needs a labelled source proxy" in render(result)
    json.dumps(result)


def test_a_ranking_takes_the_proxy_of_each_modality(waves: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounding, "source_bank", partial(source_bank, rows=160))
    result = rank(waves, ["twin-bert", "twin-vit"])
    assert {e["name"]: e["source"] for e in result["backbones"]} == {
        "twin-bert": "documentation", "twin-vit": "shapes-and-textures"
    }  # fmt: skip
    assert "labelled source proxy" not in render(result)


def test_the_bound_of_a_model_needs_a_proxy(unlabelled: RunFolder, waves: Dataset) -> None:
    model = load_model(unlabelled.path / "model")
    with pytest.raises(UsageError, match="the bound needs a labelled source proxy"):
        bound(model, "none", waves)
    assert bound(model, "auto", waves, bootstrap=5).bound.value > 0
