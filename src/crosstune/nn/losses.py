"""Losses by name, per kind of target. A loss is a total over rows divided by a count that depends on targets alone.

Both add up over rows, so a batch may be cut into pieces of any size: the sum of the pieces' totals over the count of
the whole batch is the loss of the whole batch, and so are the gradients.

    classification  cross-entropy, focal                 weighted by class where asked for
    segmentation    cross-entropy, focal                 the same per position; code -1 is left out
    multilabel      bce, focal                           positive labels weighted where asked for
    regression      mse, mae, huber                      in standardised units
    dense           mse, mae, rmse (standardised units); relative-l2, nrmse (free of units); NaN is left out
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from crosstune.discovery import suggest
from crosstune.errors import ConfigError
from crosstune.nn.normalise import TargetScaler
from crosstune.records import IGNORED, TargetKind

PosWeight = float | Literal["balanced"]
GAMMA = 2.0  # of the focal loss unless told otherwise, as in its paper
BLOCK = 1024  # rows of targets looked at together: they may lie in files


@dataclass(frozen=True)
class Setting:
    """What a loss may need besides outputs and targets. class_weights (K,); pos_weight (K,); gamma: of the focal loss;
    scaler: of values and fields."""

    class_weights: Tensor | None = None
    pos_weight: Tensor | None = None
    gamma: float = GAMMA
    scaler: TargetScaler | None = None


@dataclass(frozen=True)
class Loss:
    """A named loss for the kinds of targets it fits. total(outputs, y, setting) sums over rows, count(y, setting) is
    what that sum is divided by."""

    name: str
    kinds: tuple[TargetKind, ...]
    summary: str
    total: Callable[[Tensor, Tensor, Setting], Tensor]
    count: Callable[[Tensor, Setting], Tensor]


@dataclass(frozen=True)
class Objective:
    """A loss ready for use: ``objective(outputs, y)`` is the batch's loss; ``total`` and ``count`` are its two parts.

    outputs: (B, K) or (B, K, ...) as the model gives them; y: (B,), (B, ...) codes, or (B, K, ...) values.
    """

    loss: Loss
    setting: Setting

    def total(self, outputs: Tensor, y: Tensor) -> Tensor:
        return self.loss.total(outputs, y, self.setting)

    def count(self, y: Tensor) -> Tensor:
        return self.loss.count(y, self.setting)

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mean; 0 for a batch in which nothing counts."""
        total = self.total(outputs, y)
        return total / positive(self.count(y)).to(total.dtype)


def positive(count: Tensor) -> Tensor:
    """A count to divide by: 1 where nothing counts (the total is 0 there)."""
    return torch.where(count > 0, count, torch.ones_like(count))


# -- classes, of rows and of positions --------------------------------------------------------------------------------


def _cross_entropy(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """Sum of -w_c log p_c."""
    return F.cross_entropy(out, y.long(), weight=_as(setting.class_weights, out), ignore_index=IGNORED, reduction="sum")


def _focal(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """Sum of -w_c (1 - p_c)^gamma log p_c (Lin et al., Focal Loss for Dense Object Detection, ICCV 2017)."""
    y = y.long()
    seen = y != IGNORED
    log_p = out.log_softmax(1).gather(1, y.clamp_min(0).unsqueeze(1)).squeeze(1)
    weight = seen.to(out.dtype)
    if setting.class_weights is not None:
        weight = weight * setting.class_weights.to(out)[y.clamp_min(0)]
    return -(weight * _remainder(log_p, setting.gamma) * log_p).sum()


def _remainder(log_p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma. A power below one has no finite slope where p is one: kept off it by a rounding error."""
    rest = -torch.expm1(log_p)
    return (rest.clamp_min(torch.finfo(rest.dtype).tiny) if gamma < 1 else rest) ** gamma


def _class_count(y: Tensor, setting: Setting) -> Tensor:
    """Rows or positions with a class; the sum of their weights where classes are weighted, as in torch."""
    seen = y != IGNORED
    if setting.class_weights is None:
        return seen.sum()
    # Apple's GPUs have no float64
    precise = torch.float32 if y.device.type == "mps" else torch.float64
    return (setting.class_weights.to(y.device, precise)[y.long().clamp_min(0)] * seen).sum()


# -- several labels ---------------------------------------------------------------------------------------------------


def _bce(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """Sum of -w y log p - (1 - y) log(1 - p)."""
    weight = _as(setting.pos_weight, out)
    return F.binary_cross_entropy_with_logits(out, y.to(out.dtype), pos_weight=weight, reduction="sum")


def _focal_bce(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """Sum of -w y (1 - p)^gamma log p - (1 - y) p^gamma log(1 - p)."""
    y = y.to(out.dtype)
    yes, no = F.logsigmoid(out), F.logsigmoid(-out)
    weight = setting.pos_weight.to(out) if setting.pos_weight is not None else 1.0
    gamma = setting.gamma
    return -(weight * y * _remainder(yes, gamma) * yes + (1 - y) * _remainder(no, gamma) * no).sum()


def _entries(y: Tensor, setting: Setting) -> Tensor:
    return torch.tensor(y.numel(), device=y.device)


# -- values and fields ------------------------------------------------------------------------------------------------


def _scaled(out: Tensor, y: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Outputs and targets in standardised units; both 0 where the target is missing, so that nothing flows there."""
    assert setting.scaler is not None
    return _masked(out, setting.scaler(y.to(out.dtype)))


def _masked(out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    lost = target.isnan()
    if not bool(lost.any()):
        return out, target
    return out.masked_fill(lost, 0.0), target.masked_fill(lost, 0.0)


def _mse(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
    return F.mse_loss(*_scaled(out, y, setting), reduction="sum")


def _mae(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
    return F.l1_loss(*_scaled(out, y, setting), reduction="sum")


def _huber(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """Half the square up to one standard deviation, the absolute value less a half beyond it."""
    return F.huber_loss(*_scaled(out, y, setting), reduction="sum")


def _known(y: Tensor, setting: Setting) -> Tensor:
    """Entries that are not NaN."""
    return (~y.isnan()).sum()


def _own_units(out: Tensor, y: Tensor, setting: Setting, axes_from: int) -> tuple[Tensor, Tensor, Tensor]:
    """Error norms and target norms over the last axes from ``axes_from``, in the target's units, and which of them
    count: a target that is zero everywhere, or missing, has no relative error."""
    assert setting.scaler is not None
    out, y = _masked(setting.scaler.inverse(out), y.to(out.dtype))
    error = torch.linalg.vector_norm((out - y).flatten(axes_from), dim=-1)
    norm = torch.linalg.vector_norm(y.flatten(axes_from), dim=-1)
    return error, norm, norm > 0


def _relative(axes_from: int) -> Callable[[Tensor, Tensor, Setting], Tensor]:
    def total(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
        error, norm, counts = _own_units(out, y, setting, axes_from)
        return (error[counts] / norm[counts]).sum()

    return total


def _relative_count(axes_from: int) -> Callable[[Tensor, Setting], Tensor]:
    return lambda y, setting: (y.nan_to_num(0.0).flatten(axes_from) != 0).any(-1).sum()


def _rmse(out: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """Sum over samples and channels of the root mean squared error over positions, in standardised units."""
    out, target = _scaled(out, y, setting)
    known = (~y.isnan()).flatten(2).sum(-1)
    error = torch.linalg.vector_norm((out - target).flatten(2), dim=-1)
    return (error / known.clamp_min(1).to(error.dtype).sqrt()).sum()


def _rmse_count(y: Tensor, setting: Setting) -> Tensor:
    return (~y.isnan()).flatten(2).any(-1).sum()


def _as(weight: Tensor | None, out: Tensor) -> Tensor | None:
    """Weights on the outputs' device and in their dtype."""
    return None if weight is None else weight.to(out)


LOSSES: tuple[Loss, ...] = (
    Loss("cross-entropy", ("classification", "segmentation"), "-log p of the class", _cross_entropy, _class_count),
    Loss("focal", ("classification", "segmentation"), "-(1 - p)^gamma log p of the class", _focal, _class_count),
    Loss("bce", ("multilabel",), "binary cross-entropy of every label", _bce, _entries),
    Loss("focal", ("multilabel",), "binary cross-entropy, certain labels faded out", _focal_bce, _entries),
    Loss("mse", ("regression", "dense"), "mean squared error, standardised units", _mse, _known),
    Loss("mae", ("regression", "dense"), "mean absolute error, standardised units", _mae, _known),
    Loss("huber", ("regression",), "squared up to one standard deviation, then absolute", _huber, _known),
    Loss("rmse", ("dense",), "root mean squared error per sample and channel, standardised units", _rmse, _rmse_count),
    Loss("relative-l2", ("dense",), "||p - y|| / ||y|| per sample", _relative(1), _relative_count(1)),
    Loss("nrmse", ("dense",), "||p - y|| / ||y|| per sample and channel", _relative(2), _relative_count(2)),
)


# -- by name ----------------------------------------------------------------------------------------------------------


def loss_names(kind: TargetKind | None = None) -> list[str]:
    """Names that fit a kind of target, its default first; all names without a kind."""
    return list(dict.fromkeys(loss.name for loss in LOSSES if kind is None or kind in loss.kinds))


def find_loss(name: str | None, kind: TargetKind) -> Loss:
    """The loss of that name for a kind of target, None meaning the default; ConfigError for one that does not fit."""
    fitting = [loss for loss in LOSSES if kind in loss.kinds]
    for loss in fitting:
        if name is None or loss.name == name:
            return loss
    if name not in loss_names():
        raise ConfigError(f"unknown loss {name!r}", fix=suggest(str(name), loss_names(kind)))
    raise ConfigError(
        f"the loss {name!r} does not fit {kind} targets",
        cause="losses belong to kinds of targets",
        fix=f"one of {', '.join(loss_names(kind))}; or leave it out for {fitting[0].name}",
    )


def check_loss(
    kind: TargetKind, name: str | None = None, *, gamma: float | None = None,
    class_weights: Literal["balanced"] | None = None, pos_weight: PosWeight | None = None,
) -> Loss:  # fmt: skip
    """The loss that these settings name; ConfigError, with what fits, for settings that nothing would read."""
    loss = find_loss(name, kind)
    if gamma is not None and loss.name != "focal":
        raise ConfigError(
            f"loss_gamma = {gamma} says nothing to the loss {loss.name!r}",
            fix="take loss=focal with it, or leave it out" if "focal" in loss_names(kind) else "leave it out",
        )
    if class_weights is not None and kind not in ("classification", "segmentation"):
        raise ConfigError(
            f"class_weights = {class_weights!r} does not fit {kind} targets",
            cause="only targets of one class per row or position have class weights",
            fix="pos_weight=balanced weighs positive labels" if kind == "multilabel" else "leave it out",
        )
    if pos_weight is not None and kind != "multilabel":
        raise ConfigError(
            f"pos_weight = {pos_weight!r} does not fit {kind} targets",
            cause="only targets of several labels have positives to weigh",
            fix="class_weights=balanced" if kind in ("classification", "segmentation") else "leave it out",
        )
    return loss


def make_objective(
    kind: TargetKind, y: np.ndarray, outputs: int, *, name: str | None = None, gamma: float | None = None,
    class_weights: Literal["balanced"] | None = None, pos_weight: PosWeight | None = None,
    scaler: TargetScaler | None = None,
) -> Objective:  # fmt: skip
    """A loss with its weights taken from the training targets ``y``. outputs: K, classes or labels. Raises ConfigError
    as ``check_loss``."""
    loss = check_loss(kind, name, gamma=gamma, class_weights=class_weights, pos_weight=pos_weight)
    setting = Setting(
        class_weights=balanced_classes(y, outputs) if class_weights == "balanced" else None,
        pos_weight=None if pos_weight is None else positive_weights(y, outputs, pos_weight),
        gamma=GAMMA if gamma is None else gamma, scaler=scaler,
    )  # fmt: skip
    return Objective(loss, setting)


def balanced_classes(y: np.ndarray, classes: int) -> Tensor:
    """N / (K n_c) per class (King & Zeng 2001; scikit-learn's "balanced"), (classes,) float64: every class weighs the
    same in all, and the mean weight over rows is one. K counts the classes that occur; one that does not weighs 0."""
    counts = np.zeros(classes, dtype=np.int64)
    for start in range(0, len(y), BLOCK):
        codes = np.asarray(y[start : start + BLOCK]).ravel()
        counts += np.bincount(codes[codes != IGNORED].astype(np.int64), minlength=classes)
    present = counts > 0
    weights = np.zeros(classes)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.from_numpy(weights)


def positive_weights(y: np.ndarray, labels: int, spec: PosWeight) -> Tensor:
    """Weight of positives per label, (labels,) float64: a number for all, or "balanced" = negatives / positives of the
    training rows (1 for a label without either)."""
    if spec != "balanced":
        return torch.full((labels,), float(cast(float, spec)), dtype=torch.float64)
    positives = np.zeros(labels)
    for start in range(0, len(y), BLOCK):
        positives += np.asarray(y[start : start + BLOCK], dtype=np.float64).sum(0)
    negatives = len(y) - positives
    both = (positives > 0) & (negatives > 0)
    return torch.from_numpy(np.where(both, negatives / np.maximum(positives, 1), 1.0))
