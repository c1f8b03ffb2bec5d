"""A process that fits with the leader of a ``Team``: ``python -m crosstune.experiment.helper DEVICE THREADS``.

Says "ready" when everything is loaded, reads one path per line from stdin, and fits what lies there. Ends when stdin
ends, whatever it is doing. Nothing it computes is kept but by the leader.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import Any

EXIT_ABANDONED = 3


def _read(inbox: queue.Queue[str]) -> None:
    for line in sys.stdin:
        inbox.put(line.rstrip("\n"))
    os._exit(EXIT_ABANDONED)


def main(arguments: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    inbox: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(inbox,), daemon=True).start()

    import torch

    from crosstune.stages.machine import Machine

    device = torch.device(arguments[0])
    torch.set_num_threads(int(arguments[1]))
    answers.write("ready\n")
    answers.flush()
    Machine(device)
    torch.set_num_threads(int(arguments[1]))  # Accelerate has an opinion, too
    while True:
        # our own leader wrote it, in a folder of this user's
        follow(torch.load(inbox.get(), map_location="cpu", weights_only=False), device)


def follow(order: dict[str, Any], device: Any) -> None:
    """Fit what the leader fits."""
    import copy

    from crosstune.metrics import get_metric
    from crosstune.nn.model import CrossModalModel
    from crosstune.runs.folder import RunFolder
    from crosstune.seeding import Streams
    from crosstune.stages import fit
    from crosstune.stages.state import State

    folder = RunFolder(order["folder"])
    backbone = _backbone(folder.record()["request"] | {"device": str(device)})
    model = CrossModalModel(order["model"], copy.deepcopy(backbone.body))
    model.load_state_dict(order["weights"])
    validation = folder.part("validation")
    if len(order["rows"]) < len(validation):
        validation = validation.take(order["rows"])
    streams = Streams(order["streams"]["seed"], order["streams"]["prefix"])
    streams.load_state_dict(order["streams"]["state"])
    state = State(
        model=model.to(device), backbone=backbone, train=folder.part("train"), validation=validation,
        metric=get_metric(order["metric"], order["kind"]), monitor=_follower(order),
        max_head_rows=order["max_head_rows"], head_seconds=order["head_seconds"],
        selection_rows=order["selection_rows"],
    )  # fmt: skip
    fit.run(state, order["config"], streams=streams)


_BACKBONES: list[Any] = []  # of this run: one is loaded once


def _backbone(record: dict[str, Any]) -> Any:
    from crosstune.experiment.conduct import open_backbone
    from crosstune.experiment.request import Request

    if not _BACKBONES:
        _BACKBONES.append(open_backbone(Request.model_validate(record | {"processes": 1})))
    return _BACKBONES[0]


def _follower(order: dict[str, Any]) -> Any:
    from crosstune.stages.monitor import Monitor

    class Follower(Monitor):
        """The leader's limits and its checkpoint; it alone writes."""

        def resume(self, stage: str) -> dict[str, Any] | None:
            return order["saved"]

    return Follower(order["limits"])


if __name__ == "__main__":
    main(sys.argv[1:])
