"""Which step's model is kept: the one that scores best on validation rows. Not a stage itself."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosstune.assembly import outputs
from crosstune.nn.losses import Objective
from crosstune.nn.model import CrossModalModel
from crosstune.stages.machine import Machine
from crosstune.stages.state import State

MOST_OUTPUTS = 1 << 26  # 256 MB of float32


class Selection:
    """Scores the model on the validation rows and keeps the best state."""

    def __init__(self, state: State, names: list[str], objective: Objective, machine: Machine) -> None:
        self.state, self.names, self.objective, self.machine = state, names, objective, machine
        rows = np.arange(len(state.validation))
        config = state.model.config
        # the outputs of all rows are held at once: of large fields fewer rows select
        most = min(state.selection_rows, max(64, MOST_OUTPUTS // (config.outputs * math.prod(config.out_size))))
        if len(rows) > most:
            rows = rows[:: math.ceil(len(rows) / most)]
        self.data = state.validation.take(rows)
        self.best: dict[str, Tensor] | None = None
        self.best_key = (math.inf, math.inf)
        self.best_score, self.best_step, self.waiting = math.nan, 0, 0
        self.seconds = 0.0  # what an evaluation costs: the time limit must leave room for the last one

    def evaluate(self, model: CrossModalModel, step: int, monitor: Any) -> None:
        started = time.monotonic()
        out = self._outputs(model)
        y = torch.from_numpy(np.ascontiguousarray(self.data.y))
        loss = float(self.objective(out, y))
        if math.isfinite(loss):
            score = self.state.metric.score(model.canonical(out).numpy(), np.asarray(self.data.y), self.data.units)
            key = (self.state.metric.error(score), loss)
        else:
            score, key = math.nan, (math.inf, math.inf)
        monitor.event("validation", stage="fit", step=step, score=score, loss=loss)
        if self.best is None or key < self.best_key:
            self.best_key, self.best_score, self.best_step, self.waiting = key, score, step, 0
            changing = self._changing(model)
            self.best = {k: v.detach().clone() for k, v in model.state_dict().items() if k in changing}
        else:
            self.waiting += 1
        self.seconds = time.monotonic() - started

    def _outputs(self, model: CrossModalModel) -> Tensor:
        if self.machine.alone:
            return outputs(model, self.data, batch_size=64)
        rows = self.machine.rows_of(len(self.data))
        some = rows if len(rows) else np.zeros(1, dtype=np.int64)
        return self.machine.gather(outputs(model, self.data.take(some), batch_size=64)[: len(rows)], len(self.data))

    def _changing(self, model: CrossModalModel) -> set[str]:
        # buffers of the head are set by the closed form; frozen body weights never change and need no copy
        return set(self.names) | {k for k in model.state_dict() if k.startswith("head.")}

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best, "key": list(self.best_key), "score": self.best_score, "step": self.best_step,
            "waiting": self.waiting,
        }  # fmt: skip

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.best, self.best_key = saved["best"], (saved["key"][0], saved["key"][1])
        self.best_score, self.best_step, self.waiting = saved["score"], saved["step"], saved["waiting"]
