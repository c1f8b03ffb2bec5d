"""Which of the embedders that stage 1 passes through to keep. Not a stage itself.

Alignment and distortion are two of the bound's four terms; the fourth, the fitting excess, is what they may cost. Its
estimate here is the leave-one-out error, on training rows, of a closed-form head (of the head of ``closed_form``; for
fields of a ridge from tokens to what they paint): an embedder is kept only if the target can be fitted on it at least
as well as on those before it, the untouched one included.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch

from crosstune.nn.heads import FieldHead
from crosstune.stages.closed_form import fit_head, solved_on_cpu
from crosstune.stages.closed_form_fields import token_error
from crosstune.stages.state import State

# training rows on which candidates are compared: a share of those that a head may be fitted on in the arm's time
SHARE, FEWEST, MOST = 0.125, 48, 512


def leave_one_out_error(state: State) -> float:
    """Of a closed-form head on the embedder as it is now, relative to predicting the mean; the head is left as it
    was."""
    model, head = state.model, copy.deepcopy(state.model.head.state_dict())
    most = int(min(MOST, max(FEWEST, SHARE * state.max_head_rows)))
    # the same rows for every candidate, and none of the run's own random numbers
    generator = np.random.Generator(np.random.PCG64(0))
    if isinstance(model.head, FieldHead):
        rows = np.sort(generator.permutation(len(state.train))[:most])
        seed = torch.Generator().manual_seed(0)
        with solved_on_cpu(model):
            error = token_error(model, model.head, state.train, rows, seed)
    else:
        error = fit_head(model, state.train, max_rows=most, generator=generator).relative_press
    model.head.load_state_dict(head)
    return error


class Candidates:
    """The best embedder so far. ``seconds``: of the last judgement, so that a stage can leave time for one."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.best: dict[str, torch.Tensor] | None = None
        self.best_step = 0
        self.judged: dict[int, float] = {}  # step -> leave-one-out error relative to predicting the mean
        self.seconds = 0.0

    def judge(self, step: int) -> float:
        """Measure the embedder as it is now; the head is left as it was."""
        if step in self.judged:
            return self.judged[step]
        started = time.monotonic()
        model = self.state.model
        error = leave_one_out_error(self.state)
        if self.best is None or error < self.judged[self.best_step]:
            self.best_step = step
            self.best = {name: value.detach().clone() for name, value in model.embedder.state_dict().items()}
        self.judged[step] = error
        self.seconds = time.monotonic() - started
        self.state.monitor.event("candidate", stage="align", step=step, relative_press=error)
        return error

    def affordable(self, remaining: float | None, times: int) -> bool:
        """Whether the time left is enough for so many judgements."""
        return remaining is None or remaining > 1.2 * times * self.seconds

    def restore(self) -> str | None:
        """Put the best embedder back; a sentence for the report when it is not the last one."""
        if self.best is None:
            return None
        last = max(self.judged)
        self.state.model.embedder.load_state_dict(self.best)
        if self.best_step == last:
            return None
        return (
            f"kept the embedder of step {self.best_step} of {last}: leave-one-out error of the closed-form head "
            f"{self.judged[self.best_step]:.3f} there, {self.judged[last]:.3f} at the end (1 = predicting the mean)"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "judged": dict(self.judged), "seconds": self.seconds}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.best, self.best_step = saved["best"], int(saved["best_step"])
        self.judged, self.seconds = dict(saved["judged"]), float(saved["seconds"])
