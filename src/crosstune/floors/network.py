"""What the floors that are neural networks share: planning by the allowance, carving, normalising, training, answering.

torch is imported inside functions: listing floors must not load it, and the child process loads it for these floors
only (see ``FloorSpec.imports``).
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosstune.floors.base import Allowance
from crosstune.floors.common import joined, require_target
from crosstune.floors.fields import coarsened_field, has_ragged_fields, shrink, stretch
from crosstune.records import Dataset
from crosstune.seeding import Streams, derive_seed

_BATCH = 16
_HELD_OUT = 0.1  # of the training rows, for the choice of the weights
_MOST_PASSES, _MOST_STEPS = 300, 20_000
_FEWEST_STEPS = 150  # below that a coarser grid brings more than finer fields,
_SMALL, _FEWEST_SMALL = 16, 20  # but a grid of that many points is made coarser only below so many steps
_WORTHWHILE = 0.7  # of the cost of a step on the full grid: a coarser one must come below
_CHOICES = 20  # times that the held-out rows are looked at
_HELD_OUT_MOST = 256
_MARGIN = 0.6  # of the allowance is planned for: machines differ from the one the costs were measured on
_ANSWERING = 0.15  # of the allowance, kept free for the answers where the clock ends training
_MAX_VALUES = 100_000_000  # of inputs and targets together in float32: 0.4 GB
_RELATIVE_FLOOR = 0.05  # of the size of the training fields, below which errors are no longer relative
_WARM_UP = 0.05  # of the steps


@dataclass(frozen=True)
class Shape:
    """What a network is made for. inputs, outputs: channels; sizes: grid points per axis; periodic: see ``wraps``."""

    inputs: int
    outputs: int
    sizes: tuple[int, ...]
    periodic: bool

    @property
    def points(self) -> int:
        return math.prod(self.sizes)


@dataclass(frozen=True)
class Plan:
    """block: grid points averaged into one; rows: training rows; steps: of ``batch`` rows; fine: answer on the full
    grid rather than interpolate; note: what was cut."""

    block: int
    rows: int
    batch: int
    steps: int
    fine: bool
    note: str


class NetworkFloor(ABC):
    """A network from fields to fields on one grid, trained from nothing.

    Channels are standardised by the training rows; missing inputs become their mean, missing targets do not count.
    The loss is the relative L2 error per sample and channel, ||p - y|| / (||y|| + 5 % of the size of that channel in
    training). AdamW with a warm-up and a cosine schedule; a tenth of the training rows (whole groups, where there are
    groups) is held out and chooses among the weights of 20 moments.

    The number of steps is planned from an estimate of operations per step and constants measured on one core, not from
    a clock, so that the seed and the allowance decide the result. Only on a machine so slow that the answers would come
    too late does the clock end the training, and the note says so. When the time is short, fields are averaged over
    blocks of 2, 3, ... points first.
    """

    any_resolution = False  # whether the network answers on another grid than the one it was trained on
    rate = 2e-3

    def __init__(self, allowance: Allowance) -> None:
        self.note = ""
        self._allowance = allowance

    @abstractmethod
    def build(self, shape: Shape) -> Any:
        """The untrained network; draws from torch's global generator, which is seeded."""

    @abstractmethod
    def seconds_per_step(self, shape: Shape, batch: int) -> float:
        """Estimated seconds on one core for a step on ``batch`` rows, forward, backward and update."""

    def fit(self, train: Dataset, seed: int) -> None:
        y = require_target(train)
        self._target_shape = y.shape[1:]
        self._ragged = has_ragged_fields(train, y.shape[1:])
        streams = Streams(seed)
        full = Shape(train.X.shape[1], y.shape[1], tuple(y.shape[2:]), False)
        plan = self.plan(full, len(train))
        self._block, self._fine = plan.block, plan.fine
        if plan.rows < len(train):
            train = train.take(np.sort(streams["rows"].permutation(len(train))[: plan.rows]))
        x, y = self._fields(train)
        shape = replace(full, sizes=tuple(y.shape[2:]), periodic=wraps(x) and wraps(y))
        self._standards = Standards.of(x, y)
        x, y = self._standards.inputs(x), self._standards.targets(y)
        held_out = held_out_rows(train, streams["held-out"])
        self._net, done, chosen = self.train(shape, x, y, held_out, plan, derive_seed(seed, "network"))
        self.note = self.told(plan, done, chosen, len(x) - len(held_out))

    def loss(self) -> Callable[[Any, Any], Any]:
        """What is minimised: of the network's answers (B, ...) and the targets, both in standardised units."""
        return _relative_loss(self._standards)

    def told(self, plan: Plan, done: int, chosen: int, rows: int) -> str:
        """What was trained, for how long, and what was cut. rows: that were learned from."""
        size, passes = sum(p.numel() for p in self._net.parameters()), done * plan.batch / max(1, rows)
        return joined(
            f"{size:,} weights, {done:,} steps ({passes:.1f} passes), those after step {chosen:,} are kept",
            f"the clock ended training, {plan.steps:,} steps were planned" if done < plan.steps else "",
            plan.note,
        )

    def predict(self, data: Dataset) -> np.ndarray:
        import torch

        if not len(data):
            return np.empty((0, *self._target_shape))
        parts = []
        coarse = self._block > 1 and not self._fine
        with torch_threads(self._allowance.threads), torch.inference_mode():
            for part in pieces(data):
                x = self._inputs(part) if coarse else self._inputs(part, block=1)
                answer = self._net(torch.from_numpy(self._standards.inputs(x)))
                fields = self._standards.back(answer.double().numpy())
                parts.append(_refined(fields, part.X.shape[2:]) if coarse else fields)
        fields = np.concatenate(parts)
        return shrink(fields, data.lengths) if self._ragged and data.lengths is not None else fields

    def plan(self, shape: Shape, rows: int) -> Plan:
        """How the allowance is used for ``rows`` rows; reads no clock."""
        batch = min(_BATCH, max(1, rows - held_out_count(rows)))
        useful = min(_MOST_STEPS, max(1, _MOST_PASSES * (rows - held_out_count(rows)) // batch))
        block, coarse, each = 1, shape, self.seconds_per_step(shape, batch)
        while (steps := self._steps(each, rows, batch)) < min(useful, _FEWEST_STEPS):
            sizes = tuple(-(-n // (block + 1)) for n in shape.sizes)
            if min(sizes) < 4 or (min(sizes) < _SMALL and steps >= _FEWEST_SMALL):
                break
            cheaper = self.seconds_per_step(replace(shape, sizes=sizes), batch)
            if block == 1 and cheaper > _WORTHWHILE * each:
                break  # what a step costs beside its points would remain
            block, coarse, each = block + 1, replace(shape, sizes=sizes), cheaper
        steps = max(1, min(useful, steps))
        finest = rows * self.seconds_per_step(shape, batch) / batch / 3
        fine = self.any_resolution and block > 1 and finest < 0.3 * _MARGIN * self._allowance.seconds
        values = shape.inputs * coarse.points + shape.outputs * coarse.points
        kept = min(rows, max(_BATCH, _MAX_VALUES // values))
        notes = joined(
            f"trained on means over blocks of {block} points to keep the time limit" if block > 1 else "",
            f"trained on {kept:,} of {rows:,} rows to keep in memory" if kept < rows else "",
        )
        return Plan(block, kept, batch, steps, fine, notes)

    def _steps(self, each: float, rows: int, batch: int) -> int:
        """Steps of ``each`` seconds that the allowance pays for, less the choice of the weights and as many answers as
        there are training rows; an answer costs a third of a row of a step."""
        choosing = _CHOICES * min(held_out_count(rows), _HELD_OUT_MOST) * each / batch / 3
        return int((_MARGIN * self._allowance.seconds - choosing - rows * each / batch / 3) / each)

    def train(
        self, shape: Shape, x: np.ndarray, y: np.ndarray, held_out: np.ndarray, plan: Plan, seed: int
    ) -> tuple[Any, int, int]:
        """The trained network, the steps that were done, and the one whose weights were kept."""
        import torch

        rows = np.setdiff1d(np.arange(len(x)), held_out)
        with torch_threads(self._allowance.threads), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = self.build(shape)
            loss = self.loss()
            optimiser = torch.optim.AdamW(net.parameters(), lr=self.rate, weight_decay=1e-4)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _cosine(plan.steps))
            order = _batches(rows, plan.batch, np.random.default_rng(seed))
            moments = {math.ceil(plan.steps * (i + 1) / _CHOICES) for i in range(_CHOICES)}
            judged = held_out[:_HELD_OUT_MOST]
            last_call = self._allowance.until - _ANSWERING * self._allowance.seconds
            best, chosen, kept = math.inf, 0, None
            for step in range(1, plan.steps + 1):
                net.train()
                batch = next(order)
                optimiser.zero_grad()
                loss(net(torch.from_numpy(x[batch])), torch.from_numpy(y[batch])).backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                late = time.monotonic() > last_call
                if (step in moments or late) and len(judged):
                    self._allowance.phase(f"step {step:,} of {plan.steps:,}")
                    error = _mean_loss(net, loss, x, y, judged)
                    if error < best:
                        best, chosen = error, step
                        kept = {name: value.clone() for name, value in net.state_dict().items()}
                if late:
                    break
            if kept is not None:
                net.load_state_dict(kept)
            return net.eval(), step, chosen or step

    def _fields(self, train: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets in float32 on the grid of the plan, read in blocks of rows."""
        inputs, targets = [], []
        for part in pieces(train):
            y = np.asarray(part.y)
            if self._ragged and part.lengths is not None:
                y = stretch(y, part.lengths)
            inputs.append(self._inputs(part))
            targets.append(coarsened_field(y, self._block).astype(np.float32))
        return np.concatenate(inputs), np.concatenate(targets)

    def _inputs(self, part: Dataset, block: int | None = None) -> np.ndarray:
        x = np.asarray(part.X)
        if self._ragged and part.lengths is not None:
            x = stretch(x, part.lengths)
        return coarsened_field(x, self._block if block is None else block).astype(np.float32)


@dataclass(frozen=True)
class Standards:
    """Mean and deviation of every channel over the training rows and all points, known values only: (1, C, 1, ...).

    size: (C,) root mean square of the targets.
    """

    x_mean: np.ndarray
    x_scale: np.ndarray
    y_mean: np.ndarray
    y_scale: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Standards:
        y_mean, y_scale = moments(y)
        return cls(*moments(x), y_mean, y_scale, np.array([_mean_square(c) for c in y.swapaxes(0, 1)]) ** 0.5)

    def relative_to(self, share: float) -> np.ndarray:
        """(C,) that share of the size of the targets, in units of their deviation."""
        return np.asarray(share * self.size / self.y_scale.reshape(-1), dtype=np.float32)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        return np.nan_to_num((x - self.x_mean) / self.x_scale, copy=False).astype(np.float32)

    def targets(self, y: np.ndarray) -> np.ndarray:
        return ((y - self.y_mean) / self.y_scale).astype(np.float32)

    def back(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(y * self.y_scale.astype(np.float64) + self.y_mean.astype(np.float64))


def wraps(fields: np.ndarray) -> bool:
    """Whether fields (n, C, ...) go on at the other end of every axis: the step from the last point to the first is
    then like the steps between neighbours, in root mean square at most twice as large."""
    for axis in range(2, fields.ndim):
        if fields.shape[axis] < 4:
            return False
        across = _mean_square(fields.take(0, axis) - fields.take(-1, axis))
        if not across <= 4 * _mean_square(np.diff(fields, axis=axis)):
            return False
    return True


def _mean_square(values: np.ndarray) -> float:
    """Over known values; 0 without any."""
    known = values[np.isfinite(values)].astype(np.float64)
    return float(np.mean(known**2)) if known.size else 0.0


def held_out_count(rows: int) -> int:
    """Rows held out of that many for the choice of the weights; none below ten, where every row is needed."""
    return round(_HELD_OUT * rows) if rows >= 10 else 0


def held_out_rows(train: Dataset, generator: np.random.Generator) -> np.ndarray:
    """Row numbers, in random order."""
    count = held_out_count(len(train))
    if train.groups is None:
        return generator.permutation(len(train))[:count]
    codes = np.unique(train.groups, return_inverse=True)[1].reshape(-1)
    order = generator.permutation(int(codes.max()) + 1)
    within = np.cumsum(np.bincount(codes)[order]) <= count  # whole groups, as many as fit
    return generator.permutation(np.flatnonzero(np.isin(codes, order[within])))


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = (0, *range(2, values.ndim))
    known = np.isfinite(values)
    count = np.maximum(1, known.sum(axis=axes, keepdims=True))
    mean = np.where(known, values, 0).sum(axis=axes, keepdims=True, dtype=np.float64) / count
    square = np.where(known, (values - mean) ** 2, 0).sum(axis=axes, keepdims=True, dtype=np.float64) / count
    deviation = np.sqrt(square)
    tiny = deviation <= 1e-7 * np.abs(mean)  # rounding of a constant
    return mean.astype(np.float32), np.where(tiny | (deviation == 0), 1.0, deviation).astype(np.float32)


def _relative_loss(standards: Standards) -> Callable[[Any, Any], Any]:
    """Mean over samples and channels of ||p - y|| / (||y|| + floor), in the units of the data up to a factor per
    channel, over known targets."""
    import torch

    offset = torch.from_numpy(standards.y_mean / standards.y_scale)
    floor = torch.from_numpy(standards.relative_to(_RELATIVE_FLOOR))

    def loss(prediction: Any, target: Any) -> Any:
        known = torch.isfinite(target)
        axes = tuple(range(2, target.ndim))
        count = known.sum(dim=axes).clamp(min=1)
        target = torch.where(known, target, 0.0)
        error = torch.where(known, prediction - target, 0.0).square().sum(dim=axes) / count
        size = torch.where(known, target + offset, 0.0).square().sum(dim=axes) / count
        return ((error + 1e-12).sqrt() / (size.sqrt() + floor)).mean()

    return loss


def _mean_loss(net: Any, loss: Callable[[Any, Any], Any], x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> float:
    import torch

    net.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            total += len(part) * float(loss(net(torch.from_numpy(x[part])), torch.from_numpy(y[part])))
    return total / len(rows)


def _cosine(steps: int) -> Callable[[int], float]:
    warm = max(1, round(_WARM_UP * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return factor


def _batches(rows: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of one size for ever: each pass is shuffled, what is left at its end starts the next."""
    left = np.empty(0, dtype=np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, generator.permutation(rows)])
        yield left[:size]
        left = left[size:]


def pieces(data: Dataset) -> Iterator[Dataset]:
    """The rows in order, a batch at a time or more where fields are small."""
    values = math.prod(data.X.shape[1:])
    size = max(1, min(256, 4_000_000 // max(1, values)))
    for start in range(0, len(data), size):
        yield data.take(np.arange(start, min(start + size, len(data))))


def _refined(fields: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Fields on blocks back on the full grid, linearly between the centres of the blocks."""
    import torch

    mode = "linear" if fields.ndim == 3 else "bilinear"
    return torch.nn.functional.interpolate(torch.from_numpy(fields), size=sizes, mode=mode).numpy()


class torch_threads:
    """torch on as many threads as allowed, and back."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        import torch

        self._before = torch.get_num_threads()
        torch.set_num_threads(self._count)

    def __exit__(self, *problem: object) -> None:
        import torch

        torch.set_num_threads(self._before)
