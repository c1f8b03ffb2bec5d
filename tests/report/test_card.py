"""The model card: front matter that the hub accepts, and the protocol of every figure."""

from __future__ import annotations

import pytest
import yaml

from crosstune import report

from .test_html import nasty


def front(card: str) -> dict:
    _, matter, _ = card.split("---\n", 2)
    return yaml.safe_load(matter)


def test_front_matter_names_licence_base_and_protocol(made):
    matter = front(report.model_card(made("revealed")))
    assert matter["license"] == "apache-2.0"
    assert matter["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    results = {m["args"]["split"]: m for m in matter["model-index"][0]["results"][0]["metrics"]}
    assert set(results) == {"validation", "test"}
    for split, result in results.items():
        score = report.summarise(made("revealed"), split=split).arm("recraft")
        assert result["value"] == pytest.approx(score.value, rel=1e-5)
        assert result["args"]["selected_on"] == "validation"
        assert result["args"]["interval"] == pytest.approx([score.low, score.high], rel=1e-5)


def test_the_body_says_use_data_scores_verdict_and_limits(made):
    card = report.model_card(made("digits"))
    for said in ("## Intended use", "## Limits", "## Training data", "## Verdict", "test split is still sealed",
                 'crosstune.load("digits")', "| nearest neighbour | floor | validation |", "sha256"):  # fmt: skip
        assert said in card
    assert report.summarise(made("digits")).verdict.headline in card
    assert str(made("digits")) not in card  # no path of the machine it was written on


def test_hostile_names_keep_the_front_matter_valid(tmp_path):
    folder = nasty(tmp_path / "run", "classification")
    card = report.model_card(folder)
    assert front(card)["model-index"][0]["name"].startswith("<script>")  # as data, inside quotes
    assert "<script" not in card
    body = card.split("---\n", 2)[2]
    rows = [line for line in body.splitlines() if line.startswith("|") and "| floor |" in line]
    assert rows
    assert all(len(line.replace("\\|", "").split("|")) == 9 for line in rows)


def test_a_backbone_without_hub_id_names_no_base_model(own):
    import json

    folder = own("diabetes")
    run = json.loads((folder / "run.json").read_text())
    run["backbone"] |= {"origin": "/models/mine", "name": "mine", "license": None}
    (folder / "run.json").write_text(json.dumps(run))
    matter = front(report.model_card(folder))
    assert "base_model" not in matter
    assert "license" not in matter
