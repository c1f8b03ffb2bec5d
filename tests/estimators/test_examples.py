"""The examples run: as a user would start them, with a small body and few steps."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
SAID = {
    "digits_classifier": "accuracy on our test rows: 0.9",
    "heat_operator": "relative L2 error on new initial states: 0.00",
    "ragged_series": "split: grouped",
}


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} == set(SAID)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "twin-bert", "5steps", "no-align"])
    runpy.run_path(str(path), run_name="__main__")
    assert SAID[path.stem] in capsys.readouterr().out


def test_the_code_in_the_documentation_runs(tmp_path, monkeypatch):
    """Word for word, but for the backbone and the time."""
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    quick = 'budget="3steps", floors="none", controls="none"'
    for ours, theirs in (('budget="4m"', quick), ('"minilm"', '"twin-bert"'), ('method="recraft", ', "")):
        assert ours in code
        code = code.replace(ours, theirs)
    code = code.replace(quick, quick + ', method="no-align"')
    monkeypatch.chdir(tmp_path)
    np.savez("digits.npz", X=np.eye(20), y=np.arange(20) % 2)
    names: dict[str, Any] = {}
    exec(compile(code, "python.md", "exec"), names)
    assert names["model"].score(names["X_test"], names["y_test"]) > 0.8
