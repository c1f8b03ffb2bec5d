"""What decides a run, and what is refused before any data are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from crosstune.errors import ConfigError, UsageError
from crosstune.experiment import Request, prepare
from crosstune.experiment.request import origins
from crosstune.methods import control
from crosstune.records import Dataset
from crosstune.stages.fit import FitConfig


def test_the_digest_follows_all_that_decides_a_run_and_nothing_else() -> None:
    base = Request()
    digests = {base.digest("d")}
    for change in (
        {"backbone": "twin-bert"}, {"method": "frozen"}, {"budget": "5m"}, {"seeds": (1,)}, {"metric": "accuracy"},
        {"floors": ()}, {"controls": ("frozen",)}, {"tokens": 8}, {"settings": {"fit.patience": 3}},
        {"fractions": (0.5, 0.25, 0.25)}, {"split": "random"}, {"split_seed": 1}, {"accept": ("leak",)}, {"threads": 1},
        {"loss": "focal"}, {"device": "cpu"},
    ):  # fmt: skip
        digests.add(Request(**change).digest("d"))  # type: ignore[arg-type]
    assert len(digests) == 17
    assert base.digest("other data") not in digests
    assert Request(checkpoint_seconds=1.0).digest("d") == base.digest("d")
    assert Request().digest("d") == base.digest("d")


def test_a_request_survives_run_json() -> None:
    request = Request(seeds=(0, 4), controls=("frozen",), settings={"align.fld": "leep"}, fractions=(0.5, 0.3, 0.2))
    assert Request.model_validate(request.model_dump(mode="json")) == request
    assert Request.model_validate(request.model_dump(mode="json")).digest("d") == request.digest("d")


def test_mistakes_are_found_before_the_data_are_read() -> None:
    Request().check()
    for bad, needle in (
        (Request(method="recrft"), "did you mean 'recraft'"), (Request(budget="soon"), "--budget"),
        (Request(metric="acuracy"), "acuracy"), (Request(floors=("linea",)), "linear"),
        (Request(controls=("frozn",)), "frozen"), (Request(proxy="wikipedia"), "documentation"),
        (Request(loss="focl"), "did you mean 'focal'"), (Request(settings={"fit.loss": "msee"}), "did you mean 'mse'"),
        (Request(loss="mse", settings={"fit.loss": "mae"}), "two losses were asked for"),
        (Request(device="cuda:99"), "cuda:99: this torch finds"),
        (Request(settings={"fit.momentum": 0.9}), "momentum = 0.9 is read by nothing"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=needle):
            bad.check()
    with pytest.raises(ConfigError) as caught:
        Request(settings={"align.stepz": 1, "fit.patience": "long", "what": 2}).check()
    for mistake in ("align.stepz", "fit.patience", "what"):
        assert mistake in str(caught.value)
    with pytest.raises(ValidationError):
        Request(checkpoint_seconds=-1)
    with pytest.raises(ValidationError, match="device"):
        Request(device="gpu")
    with pytest.raises(ValidationError):
        Request(unknown=1)  # type: ignore[call-arg]


def test_every_value_has_an_origin() -> None:
    request = Request(method="frozen", settings={"fit.patience": 3, "linear_part": False})
    config = origins(request, {"method": "flag --method"}, metric="error", task="classification")
    assert config["method"] == {"value": "frozen", "origin": "flag --method"}
    assert config["metric"] == {"value": "error", "origin": "inferred"}
    assert config["fit.patience"] == {"value": 3, "origin": "flag --set"}
    assert config["fit.trainable"] == {"value": "norms", "origin": "method frozen"}
    assert config["linear_part"] == {"value": False, "origin": "flag --set"}
    assert config["weights"] == {"value": "pretrained", "origin": "method frozen"}
    assert config["start"] == {"value": "best", "origin": "method frozen"}
    assert config["layers"] == {"value": "all", "origin": "method frozen"}
    assert "settings" not in config
    assert all(entry["origin"] for entry in config.values())


def test_the_loss_is_a_setting_of_fitting_with_its_own_flag() -> None:
    request = Request(loss="focal", settings={"fit.loss_gamma": 1.0})
    assert request.resolved_method().stages[-1].loss == "focal"  # type: ignore[union-attr]
    config = origins(request, {"loss": "flag --loss"})
    assert config["fit.loss"] == {"value": "focal", "origin": "flag --loss"}
    assert config["fit.loss_gamma"] == {"value": 1.0, "origin": "flag --set"}


def test_controls_are_trained_on_the_loss_of_the_method() -> None:
    settings = {"fit.loss_gamma": 1.0, "fit.class_weights": "balanced", "fit.precision": "fp32"}
    method = Request(loss="focal", settings=settings).resolved_method()
    for name in method.controls:
        fit = control(method, name).stages[-1]
        assert isinstance(fit, FitConfig)
        assert (fit.loss, fit.loss_gamma, fit.class_weights, fit.pos_weight) == ("focal", 1.0, "balanced", None)
        assert fit.precision == "fp32"
    assert control(Request().resolved_method(), "scratch") == Request(method="scratch").resolved_method()


def test_a_loss_that_does_not_fit_the_data_leaves_nothing_behind(waves: Dataset, tmp_path: Path) -> None:
    for request, words in (
        (Request(loss="mse"), "'mse' does not fit classification targets"),
        (Request(settings={"fit.pos_weight": "balanced"}), "pos_weight = 'balanced' does not fit"),
    ):
        request.check()
        with pytest.raises(ConfigError, match=words):
            prepare(waves, request, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
