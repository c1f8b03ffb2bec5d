"""The HTML report: well formed, self-contained, complete, escaped, atomic."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from crosstune import report
from crosstune.report import page
from crosstune.report.figures_kind import prediction_view
from crosstune.report.words import number

from . import problems
from .writer import RunWriter

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "image", "rect"}
SECTIONS = ["verdict", "comparison", "learning", "alignment", "bound", "predictions", "data", "use", "provenance"]
NASTY = "<script>alert('x')</script> & \"q\" $x^2$ \u4e2d\u6587 \u0007 {{ 7*7 }} " + "very long " * 30


class Page(HTMLParser):
    """Collects tags, attributes and text, and refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID or tag in ("path", "use", "image", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def parsed(rendered):
    ready: dict[str, Page] = {}

    def parse(name: str) -> Page:
        if name not in ready:
            ready[name] = Page(rendered(name).read_text(encoding="utf-8"))
        return ready[name]

    return parse


RUNS = ["digits", "revealed", "diabetes", "multilabel", "heat", "plate", "masks", "strips"]


@pytest.mark.parametrize("name", RUNS)
def test_every_section_is_there_verdict_first(parsed, name):
    ids = [a.get("id") for a in parsed(name).all("section")]
    assert ids == SECTIONS
    anchors = {a["href"] for a in parsed(name).all("a")}
    assert anchors == {f"#{s}" for s in SECTIONS[1:]}


@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_loaded_and_nothing_runs(made, parsed, name):
    document = parsed(name)
    assert not document.all("script")
    assert not document.all("iframe")
    for tag, attributes in document.tags:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(key)
            assert value is None or value.startswith(("#", "data:")), (tag, key, value)
        assert not any(key.startswith("on") for key in attributes), (tag, attributes)
    (policy,) = (m["content"] for m in document.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    raw = (made(name) / "report.html").read_text()
    assert not re.search(r"url\((?!#|data:)|@import|https?://", raw)


@pytest.mark.parametrize("name", RUNS)
def test_figures_have_words_captions_and_ids_of_their_own(parsed, name):
    document = parsed(name)
    plots = [a for a in document.all("svg") if a.get("role") == "img"]
    assert len(plots) == len(document.all("svg")) == len(document.all("figure")) == len(document.all("figcaption")) >= 2
    assert all(len(a["aria-label"]) > 20 for a in plots)
    ids = [a["id"] for _, a in document.tags if "id" in a]
    assert len(ids) == len(set(ids))
    used = {a["href"] for a in document.all("use")}
    assert used <= {f"#{i}" for i in ids}
    assert len(document.all("caption")) == len(document.all("table"))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("digits", ["Forest plot", "Validation error by step", "Training loss during source head", "before alignment",
                    "after alignment in", "Bound on the target error", "Confusion matrix over 10 classes"]),
        ("revealed", ["Forest plot of test error", "Forest plot of validation error"]),
        ("diabetes", ["Prediction against truth for disease progression", "Histogram of residuals"]),
        ("multilabel", ["Average precision per label: rain"]),
        ("heat", ["Row 0: input, true field, predicted field and error as lines"]),
        ("masks", ["Row 2: input image, true class map, predicted class map and wrong positions; ",
                   "Confusion matrix over 2 classes: ", "positions on the diagonal"]),
        ("strips", ["Row 0: input series, true and predicted class of every position; "]),
        ("plate", ["Row 2: input, true field, predicted field and error as images"]),
    ],
)  # fmt: skip
def test_each_kind_has_its_figures(parsed, name, labels):
    spoken = " | ".join(a["aria-label"] for a in parsed(name).all("svg"))
    assert [label for label in labels if label not in spoken] == []


def test_colours_follow_the_page(made, parsed):
    parsed("digits")
    raw = (made("digits") / "report.html").read_text()
    assert "prefers-color-scheme: dark" in raw
    assert "var(--method)" in raw
    assert not re.search(r"#0[1-9]0[1-9]0[1-9]\b", raw)  # no stand-in colour is left
    assert not re.search(r"(fill|stroke): #", raw)  # and no figure of this run has a colour of its own


def test_the_numbers_of_the_summary_are_on_the_page(made, parsed):
    summary = report.summarise(made("digits"))
    text = parsed("digits").text
    assert summary.verdict.headline in text
    for arm in summary.arms:
        assert arm.label in text
    for word in ("converged", "self-distance", "spread", "flag --budget", "1110a243", "--accept constant-channels",
                 "crosstune fit digits.npz --target y --budget 4m", "22,713,216", "Python", "crosstune predict",
                 "crosstune evaluate"):  # fmt: skip
        assert word.lower() in text.lower(), word
    assert "a transport problem did not converge" in text


def test_contraction_is_called_out(made, own):
    folder = own("diabetes")
    lines = (made("digits") / "events.jsonl").read_text().splitlines(keepends=True)
    events = "".join(line for line in lines if '"kind": "bound"' in line)
    value = r'("spread_ratio": \{"value": )[0-9.]+'
    (folder / "events.jsonl").write_text(re.sub(value, r"\g<1>0.31", events))
    text = Page(report.write_html(folder).read_text()).text
    assert "is 0.310 before alignment, 0.310 after alignment and 0.310 after fitting. Below 0.5" in text


def test_what_was_recorded_once_is_a_sentence_and_not_a_curve(own):
    folder = own("diabetes")
    events = [
        {"kind": "step", "stage": "align", "step": 1, "loss": 0.5},
        {"kind": "validation", "stage": "fit", "step": 0, "score": 0.7, "loss": 1.0},
        {"kind": "step", "stage": "fit", "step": 1, "loss": float("nan")},
    ]
    (folder / "events.jsonl").write_text("\n".join(json.dumps(e) for e in events))
    text = Page(report.write_html(folder).read_text()).text
    assert "Training loss of alignment was recorded once: 0.500 at step 1." in text
    assert "Validation nrmse was recorded once: 0.700 at step 0." in text


def test_missing_parts_are_said(tmp_path: Path):
    target = np.zeros(20, dtype=int)
    arms = {"recraft": {0: np.tile([0.9, 0.1], (20, 1))}}
    folder = RunWriter(tmp_path, "classification", "error", target, arms).write()
    (folder / "events.jsonl").unlink()
    text = Page(report.write_html(folder).read_text()).text
    for said in ("No training steps were recorded", "No alignment diagnostics recorded", "No bound was recorded",
                 "Nothing was found that needs saying", "no floor finished"):  # fmt: skip
        assert said in text
    assert report.model_card(folder)


def test_a_bare_run_json_is_enough(tmp_path: Path):
    (tmp_path / "run.json").write_text(
        '{"schema": 1, "status": "running", "task": {"kind": "dense", "metric": "mae-field"}}'
    )
    text = Page(report.write_html(tmp_path).read_text()).text
    assert "Undecided: no arm of this run has a validation score." in text
    assert "not complete (status: running)" in text
    assert "Undecided" in report.render_text(report.summarise(tmp_path))
    assert report.model_card(tmp_path).startswith("---\n")


def nasty(folder: Path, kind: str) -> Path:
    """A run in which every free text is hostile."""
    generator = np.random.default_rng(0)
    finding = {"code": NASTY, "severity": NASTY, "message": NASTY, "accept": NASTY}
    more = {"findings": [finding], "name": NASTY}
    if kind == "classification":
        target = generator.integers(0, 3, 30)
        prediction = generator.dirichlet(np.ones(3), 30)
        more["classes"] = [NASTY, NASTY + "2", "c"]
    else:
        target = (generator.random((30, 3)) > 0.5).astype(float)
        prediction = generator.random((30, 3))
        more["target_names"] = [NASTY, NASTY + "2", "c"]
    metric = {"classification": "error", "multilabel": "1-map", "regression": "nrmse"}[kind]
    writer = RunWriter(
        folder, kind, metric, target, {"recraft": {0: prediction}, "floor:linear": {0: prediction}}, **more
    )
    run = writer.run()
    run["arms"]["floor:linear"] |= {"label": NASTY, "note": NASTY}
    run["config"]["x"] = {"value": NASTY, "origin": NASTY}
    writer.overrides = {k: run[k] for k in ("arms", "config")} | {"command": [NASTY], "versions": {NASTY: NASTY}}
    return writer.write()


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_hostile_names_stay_text(tmp_path: Path, kind):
    folder = tmp_path / "a <b> & 'c'"
    nasty(folder, kind)
    raw = report.write_html(folder).read_text(encoding="utf-8")
    document = Page(raw)
    assert not document.all("script")
    assert not document.all("b b")
    assert "<script" not in raw
    assert "alert('x')</script> & \"q\" $x^2$ \u4e2d\u6587" in document.text
    assert "{{ 7*7 }}" in document.text  # a value is never a template
    card = report.model_card(folder)
    assert "<script" not in card
    report.render_text(report.summarise(folder))


def test_a_failed_write_keeps_the_good_report(own, monkeypatch):
    folder = own("diabetes")
    good = report.write_html(folder).read_bytes()
    monkeypatch.setattr(page.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        report.write_html(folder)
    assert (folder / "report.html").read_bytes() == good
    assert [p.name for p in folder.iterdir() if p.name.endswith(".part")] == []


def test_the_report_is_the_same_twice(own):
    folder = own("diabetes")
    assert report.write_html(folder).read_bytes() == report.write_html(folder).read_bytes()


def test_many_classes_become_pairs(tmp_path: Path):
    generator = np.random.default_rng(0)
    target = np.repeat(np.arange(25), 4)
    prediction = np.eye(25)[np.where(generator.random(100) < 0.3, (target + 1) % 25, target)]
    names = [f"class <{i}>" for i in range(25)]
    writer = RunWriter(tmp_path, "classification", "error", target, {"recraft": {0: prediction}}, classes=names)
    document = Page(report.write_html(writer.write()).read_text())
    assert "Confusion matrix" not in " ".join(a["aria-label"] for a in document.all("svg"))
    assert "25 classes: the most confused pairs" in document.text


def test_the_confusion_matrix_counts_what_it_says(made):
    from sklearn.metrics import confusion_matrix

    from crosstune.report.figures_kind import confusion_counts

    one = report.read_run(made("digits")).predictions("validation")["recraft"][0]
    expected = confusion_matrix(one.target, one.prediction.argmax(1), labels=range(10))
    assert (confusion_counts(one, 10) == expected).all()


def test_positions_are_counted_where_they_count(made, parsed):
    from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

    from crosstune.report.figures_maps import class_rows, position_counts

    one = report.read_run(made("masks")).predictions("validation")["recraft"][0]
    known = one.target >= 0
    truth, said = one.target[known], one.prediction.argmax(1)[known]
    np.testing.assert_array_equal(position_counts(one), confusion_matrix(truth, said))
    rows = class_rows(position_counts(one), ["sky", "disc"])
    scores = [f(truth, said) for f in (precision_score, recall_score, f1_score, jaccard_score)]
    assert rows[1] == ("disc", f"{(truth == 1).sum():,}", *map(number, scores))
    assert report.summarise(made("masks")).arm("recraft").value == pytest.approx((truth != said).mean())
    assert "intersection over union" in parsed("masks").text


def test_unknown_points_of_a_field_are_told_and_left_white(tmp_path: Path):
    writer = problems.heat(tmp_path)
    gaps = np.random.default_rng(0).random(writer.target.shape) < 0.3
    writer.target = np.where(gaps, np.nan, writer.target)
    writer.fields["target"] = writer.target[:3]
    record = report.read_run(writer.write())
    one = record.predictions("validation")["recraft"][0]
    np.testing.assert_array_equal(np.isnan(one.target), gaps)
    expected = [np.linalg.norm((p - t)[~g]) / np.linalg.norm(t[~g])
                for p, t, g in zip(one.prediction, one.target, gaps)]  # fmt: skip
    assert report.summarise(tmp_path).arm("recraft").value == pytest.approx(np.mean(expected))
    view = prediction_view(record, "validation")
    assert len(view.drawings) == 3
    assert f"{gaps[0].sum()} of 64 points of the truth are unknown" in view.drawings[0].caption
    assert not any("not numbers" in remark for remark in view.remarks)


def test_volumes_and_channels_are_drawn_as_slices(tmp_path: Path):
    generator = np.random.default_rng(0)
    target = generator.normal(size=(8, 2, 5, 6, 7)).astype(np.float32)
    arms = {"recraft": {0: target + 0.1}, "floor:mean": {0: target * 0}}
    document = Page(report.write_html(RunWriter(tmp_path, "dense", "rmse-field", target, arms).write()).read_text())
    assert "middle slice" in document.text
    assert "No field diagnostics recorded" in document.text
    assert sum("as images" in a["aria-label"] for a in document.all("svg")) == 6  # three rows of two channels


@pytest.mark.parametrize("dimensions", [1, 2])
def test_every_channel_of_a_field_is_drawn_beside_its_own_input(tmp_path: Path, dimensions, monkeypatch):
    from crosstune.report import figures_fields

    drawn = []
    name = "_lines" if dimensions == 1 else "_images"
    inner = getattr(figures_fields, name)
    monkeypatch.setattr(figures_fields, name, lambda picture: drawn.append(picture) or inner(picture))
    names = ["density", "pressure", "speed"]
    writer = problems.heat(tmp_path, dimensions=dimensions, channels=3, target_names=names)
    view = prediction_view(report.read_run(writer.write()), "validation")
    spoken = [one.alt for one in view.drawings]
    fields = writer.fields
    assert len(drawn) == 9
    for picture, (row, c) in zip(drawn, np.ndindex(3, 3)):
        target, guess = fields["target"][row, c].astype(float), fields["prediction"][row, c].astype(float)
        np.testing.assert_array_equal(picture.given, fields["input"][row, c])
        np.testing.assert_array_equal(picture.truth, target)
        np.testing.assert_array_equal(picture.guess, guess)
        error = np.linalg.norm(guess - target) / np.linalg.norm(target)
        text = f"Row {row}, {names[c]}: input, true field, predicted field and error as "
        (alt,) = [one for one in spoken if one.startswith(text)]
        assert float(alt.split("relative error ")[1]) == pytest.approx(error, rel=0.03)
    assert "smallest, with the largest" in view.remarks[0]


def test_many_channels_and_inputs_of_another_number_are_said(tmp_path: Path):
    generator = np.random.default_rng(0)
    target = generator.normal(size=(8, 6, 20)).astype(np.float32)
    fields = {"input": generator.normal(size=(4, 2, 20)), "target": target[:4], "prediction": target[:4] + 0.1}
    writer = RunWriter(tmp_path, "dense", "rmse-field", target, {"recraft": {0: target + 0.1}}, fields=fields)
    view = prediction_view(report.read_run(writer.write()), "validation")
    assert "The first 4 of 6 channels are shown." in view.remarks
    assert "Of 2 input channels the first is shown." in view.remarks
    assert [one.alt.split(":")[0] for one in view.drawings] == [
        f"Row {r}, channel {c}" for r in (0, 3) for c in range(4)
    ]
