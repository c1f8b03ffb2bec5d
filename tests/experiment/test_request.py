"""What decides a run, and what is refused before any data are read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from crosstune.errors import ConfigError, UsageError
from crosstune.experiment import Request
from crosstune.experiment.request import origins


def test_the_digest_follows_all_that_decides_a_run_and_nothing_else() -> None:
    base = Request()
    digests = {base.digest("d")}
    for change in (
        {"backbone": "twin-bert"}, {"method": "frozen"}, {"budget": "5m"}, {"seeds": (1,)}, {"metric": "accuracy"},
        {"floors": ()}, {"controls": ("frozen",)}, {"tokens": 8}, {"settings": {"fit.patience": 3}},
        {"fractions": (0.5, 0.25, 0.25)}, {"split": "random"}, {"split_seed": 1}, {"accept": ("leak",)}, {"threads": 1},
    ):  # fmt: skip
        digests.add(Request(**change).digest("d"))  # type: ignore[arg-type]
    assert len(digests) == 15
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
    ):  # fmt: skip
        with pytest.raises(UsageError, match=needle):
            bad.check()
    with pytest.raises(ConfigError) as caught:
        Request(settings={"align.stepz": 1, "fit.patience": "long", "what": 2}).check()
    for mistake in ("align.stepz", "fit.patience", "what"):
        assert mistake in str(caught.value)
    with pytest.raises(ValidationError):
        Request(checkpoint_seconds=-1)
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
    assert "settings" not in config
    assert all(entry["origin"] for entry in config.values())
