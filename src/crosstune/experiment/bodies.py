"""Which weights an arm starts from, and the source data seen through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from crosstune.backbones import Backbone
from crosstune.backbones.contract import Weights
from crosstune.experiment.request import Request
from crosstune.experiment.source import Origin, source_bank_and_origin
from crosstune.methods import Method
from crosstune.stages.state import SourceBank


class Load(Protocol):
    """Opens the backbone of a request with the weights of an arm."""

    def __call__(self, request: Request, *, weights: Weights = "pretrained", seed: int = 0) -> Backbone: ...


class Bodies:
    """The pretrained backbone of a run, the ones with random or shuffled weights (of one seed at a time, since they may
    be large), and their source banks: stages 0 and 1 of shuffled weights see the source through shuffled weights.

    found: hears where the source data came from, each time they are seen.
    """

    def __init__(
        self, request: Request, pretrained: Backbone, load: Load, found: Callable[[Origin], None] = lambda origin: None
    ) -> None:
        self.request, self.load, self.found = request, load, found
        self._pretrained = pretrained
        self._others: dict[Weights, tuple[int, Backbone]] = {}
        self._banks: dict[tuple[Weights, bool], tuple[int, SourceBank]] = {}

    def body(self, method: Method, seed: int) -> Backbone:
        """The backbone with the weights that the method starts from."""
        weights = method.weights
        if weights == "pretrained":
            return self._pretrained
        if weights not in self._others or self._others[weights][0] != seed:
            self._others[weights] = (seed, self.load(self.request, weights=weights, seed=seed))
        return self._others[weights][1]

    def bank(self, method: Method, seed: int, *, on_share: Callable[[float], None] | None = None) -> SourceBank | None:
        """The source data through that body; None for a method that has no use for them."""
        if not method.reads_source:
            return None
        key = (method.weights, method.whole_source)
        if key not in self._banks or (method.weights != "pretrained" and self._banks[key][0] != seed):
            body = self.body(method, seed)
            bank, origin = source_bank_and_origin(body, self.request.proxy, on_share=on_share, whole=key[1])
            self.found(origin)
            self._banks[key] = (seed, bank)
        return self._banks[key][1]
