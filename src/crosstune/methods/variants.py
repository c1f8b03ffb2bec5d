"""One part of a method taken out, all else left as it is: what controls are, and the methods that take RECRAFT apart.

A file that defines ``CONTROL`` offers it to every method; its ``METHOD`` is the same change made to RECRAFT. So a
control of RECRAFT and the method of that name are one definition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crosstune.discovery import discover
from crosstune.errors import UsageError
from crosstune.methods.contract import Method, fit_of, get_method, override

# settings of fitting in which two methods must not differ, or they would decide the comparison
SHARED = ("loss", "loss_gamma", "class_weights", "pos_weight", "precision", "checkpointing", "compile")

# a random body's rate over a pretrained one's (trials: 2-3e-4 through MiniLM, 3e-4 to 1e-3 through the embedded pair)
FASTER = 5.0


@dataclass(frozen=True)
class Variant:
    """name, label: as a control; summary, paper, controls: of the method it makes of RECRAFT; change: takes the part
    out, UsageError for a method that has no such part."""

    name: str
    label: str
    summary: str
    change: Callable[[Method], Method]
    paper: str | None = None
    controls: tuple[str, ...] = ()

    def of(self, method: Method) -> Method:
        """The method without the part."""
        own: dict[str, Any] = {
            "name": self.name, "summary": self.summary, "paper": self.paper, "controls": self.controls,
        }  # fmt: skip
        return self.change(method).model_copy(update=own)


def variants() -> dict[str, Variant]:
    """All changes by name."""
    return discover("crosstune.methods", "CONTROL")


def control(method: Method, name: str) -> Method:
    """What a method is compared with: itself with a part taken out, or the other method of that name on the same loss.

    Raises UsageError for an unknown name, or for a part that the method does not have.
    """
    found = variants().get(name)
    if found is not None:
        return found.of(method)
    fit = fit_of(method)
    return override(get_method(name), {f"fit.{key}": getattr(fit, key) for key in SHARED})


def without_alignment(method: Method) -> Method:
    """Stage 2 alone. Of a method that has nothing else: everything trained from pretrained weights."""
    if method.reads_source:
        return _fitting_only(method)
    everything = _trained(method, "all")
    if method.weights != "random":
        return everything
    slower = _times(fit_of(method).body_rate, 1 / FASTER)
    return override(everything, {"fit.body_rate": slower, "weights": "pretrained", "start": "best"})


def body_frozen(method: Method) -> Method:
    """Stage 2 alone, in which the body's normalisations, but nothing else of the body, train."""
    return _trained(_fitting_only(method), "norms")


def from_scratch(method: Method) -> Method:
    """Stage 2 alone, everything trained from random weights, the body faster; the embedder is random too, for theta is
    pretrained."""
    plain = _trained(_fitting_only(method), "all")
    faster = _times(fit_of(method).body_rate, FASTER)
    return override(plain, {"fit.body_rate": faster, "weights": "random", "start": "random"})


def weights_shuffled(method: Method) -> Method:
    """The same from pretrained weights permuted within each tensor: their statistics without their knowledge."""
    return override(method, {"weights": "shuffled"})


def without_distortion(method: Method) -> Method:
    """Stage 1 without FLD."""
    return override(_aligning(method, "distortion"), {"align.fld": None})


def moments_alone(method: Method) -> Method:
    """Stage 1 matches means and variances of tokens, and nothing else."""
    changed = override(
        _aligning(method, "alignment"), {"align.fa": "moments", "align.space": "tokens", "align.fld": None}
    )
    stages = tuple(stage for stage in changed.stages if stage.name != "source_head")  # nothing is left that reads it
    return changed.model_copy(update={"stages": stages})


def _times(rate: float, factor: float) -> float:
    """The product without the noise of binary fractions."""
    return float(f"{rate * factor:.12g}")


def _fitting_only(method: Method) -> Method:
    return method.model_copy(update={"stages": (fit_of(method),)})


def _trained(method: Method, what: str) -> Method:
    """Another choice of what trains; settings of adapters, which nothing would read then, are left out."""
    return override(method, {"fit.trainable": what, "fit.adapter_alpha": None})


def _aligning(method: Method, part: str) -> Method:
    if not method.aligns:
        raise UsageError(
            f"method {method.name!r} has no {part} that could be taken out",
            cause="it has no stage align", fix="leave that control out, or use a method that aligns, such as recraft",
        )  # fmt: skip
    return method
