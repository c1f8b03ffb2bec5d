"""Several processes fit what one does: shares of every batch, summed gradients, one decision."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crosstune.stages.machine import Machine

SCRIPT = Path(__file__).with_name("two_processes.py")
# batches of 15 rows do not halve evenly; the last evaluation is the best, so that training is what is compared
OPTIONS: dict[str, Any] = {
    "max_steps": 12, "batch_size": 15, "body_rate": 1e-3, "embedder_rate": 1e-3, "head_rate": 0.3, "head_init": "zero",
    "warmup_steps": 0, "schedule": "constant",
}  # fmt: skip


def launch(out: Path, count: int, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Results of all processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(count):
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        if count > 1:
            env |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
        command = [sys.executable, str(SCRIPT), str(out), json.dumps(options)]
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    for process in running:
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said
    return [torch.load(f"{out}.{rank}.pt", weights_only=True) for rank in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"kind": "classification", "class_weights": "balanced"},
        {"kind": "dense", "trainable": "lora", "head_steps": 4, "accumulate": 2},
    ],
    ids=["everything", "adapters"],
)
def test_two_processes_fit_what_one_does(options: dict[str, Any], tmp_path: Path) -> None:
    (one,) = launch(tmp_path / "one", 1, OPTIONS | options)
    two = launch(tmp_path / "two", 2, OPTIONS | options)
    assert [r["processes"] for r in (one, *two)] == [1, 2, 2]
    assert two[0]["losses"] == two[1]["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert two[0]["scores"] == two[1]["scores"] == pytest.approx(one["scores"], rel=1e-3)
    for name, expected in one["model"].items():
        # Adam divides by the size of the gradient: what is noise in it becomes a step
        assert torch.equal(two[0]["model"][name], two[1]["model"][name]), name
        assert torch.allclose(two[0]["model"][name].float(), expected.float(), atol=2e-3, rtol=1e-3), name


@pytest.mark.slow
def test_accelerate_launch_starts_the_same(tmp_path: Path) -> None:
    """--multi_gpu is its word for several processes; with a model on the CPU they talk through gloo."""
    options = OPTIONS | {"kind": "classification"}
    two = launch(tmp_path / "two", 2, options)
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no",
        str(SCRIPT), str(tmp_path / "launched"), json.dumps(options),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        found = torch.load(tmp_path / f"launched.{rank}.pt", weights_only=True)
        assert found["processes"] == 2
        assert found["losses"] == two[rank]["losses"]
        assert all(torch.equal(found["model"][name], value) for name, value in two[rank]["model"].items())


# -- one process, and shares on paper -----------------------------------------------------------------------------


def machine(count: int, index: int) -> Machine:
    made = Machine(torch.device("cpu"))
    made.count, made.index = count, index
    return made


def test_one_process_exchanges_nothing() -> None:
    alone = Machine(torch.device("cpu"))
    assert alone.alone
    rows = np.arange(7)
    assert alone.share(rows) is rows
    assert alone.agree([0.1, 1.0]) == [0.1, 1.0]
    weight = nn.Parameter(torch.ones(2))
    assert alone.add_gradients([weight], 0.25) == 0.25
    assert weight.grad is None


@pytest.mark.parametrize("total", [1, 2, 5, 6, 7])
def test_shares_cover_all_rows_once(total: int) -> None:
    machines = [machine(3, index) for index in range(3)]
    rows = np.random.default_rng(0).permutation(total)
    assert sorted(np.concatenate([m.share(rows) for m in machines])) == list(range(total))
    assert np.concatenate([m.rows_of(total) for m in machines]).tolist() == list(range(total))


@pytest.mark.parametrize("total", [2, 5, 6])
def test_gathered_rows_are_in_order(total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = [machine(3, index) for index in range(3)]
    whole = torch.arange(2.0 * total).view(total, 2)
    sent: list[torch.Tensor] = []
    for m in machines:
        monkeypatch.setattr(m.accelerator, "gather", lambda part: sent.append(part) or part)
        m.gather(whole[torch.from_numpy(m.rows_of(total))], total)
    assert len({len(part) for part in sent}) == 1  # as the exchange demands
    monkeypatch.setattr(machines[0].accelerator, "gather", lambda part: torch.cat(sent))
    assert torch.equal(machines[0].gather(sent[0], total), whole)


def test_summed_gradients_leave_out_what_has_none_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with the same gradients: twice of each, zeros for the one that is missing here only."""
    used, unused, frozen = (nn.Parameter(torch.ones(3)) for _ in range(3))
    frozen.requires_grad_(False)
    used.grad = torch.tensor([1.0, 2.0, 3.0])
    pair = machine(2, 0)
    monkeypatch.setattr(pair.accelerator, "reduce", lambda values, reduction: 2 * values)
    assert pair.add_gradients([used, unused, frozen], 0.5) == 1.0
    assert used.grad.tolist() == [2.0, 4.0, 6.0]
    assert unused.grad is None
    assert frozen.grad is None
    other = torch.tensor([1.0, 1.0])  # the other process has a gradient for both
    answers = iter([other, torch.tensor([1.0, 2.0, 4.0, 6.0, 5.0, 5.0, 5.0])])
    monkeypatch.setattr(pair.accelerator, "reduce", lambda values, reduction: next(answers))
    pair.add_gradients([used, unused], 0.5)
    assert unused.grad is not None
    assert unused.grad.tolist() == [5.0, 5.0, 5.0]
