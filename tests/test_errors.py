"""Errors carry the problem, the cause and the next step, and know their exit code."""

from __future__ import annotations

import inspect
import json

import pytest

from crosstune import errors
from crosstune.errors import ConfigError, CrosstuneError, DataError, TaskError, UsageError, WeightsError

TREE = [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, CrosstuneError)]


def test_a_message_has_problem_cause_and_next_step() -> None:
    error = DataError("column 'a' holds text", cause="a header in the middle", fix="--drop a")
    assert str(error) == "column 'a' holds text\nLikely cause: a header in the middle\nNext step: --drop a"


def test_cause_and_fix_may_be_unknown() -> None:
    assert str(CrosstuneError("it broke")) == "it broke"
    assert "Likely cause" not in str(CrosstuneError("it broke", fix="mend it"))


@pytest.mark.parametrize(
    ("name", "code"),
    [("UsageError", 2), ("ConfigError", 2), ("RunError", 2), ("DataError", 3), ("TaskError", 3), ("WeightsError", 4),
     ("BudgetError", 5), ("Interrupted", 130)],
)  # fmt: skip
def test_exit_codes(name: str, code: int) -> None:
    assert getattr(errors, name)("x").exit_code == code


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_is_plain_data_for_json(kind: type[CrosstuneError]) -> None:
    error = kind("p", cause="c", fix="f")
    assert json.loads(json.dumps(error.as_dict())) == {
        "error": kind.__name__, "exit_code": kind.exit_code, "problem": "p", "cause": "c", "fix": "f",
    }  # fmt: skip
    assert kind.exit_code != 0
    assert kind.__doc__


def test_bad_arguments_and_data_are_value_errors_as_well() -> None:
    for kind in (UsageError, ConfigError, DataError, TaskError):
        assert issubclass(kind, ValueError)
    assert not issubclass(WeightsError, ValueError)
