"""A method is data: a tuple of stage configurations and the weights its body starts from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from crosstune.backbones.contract import Weights
from crosstune.discovery import discover, pick, suggest
from crosstune.errors import ConfigError
from crosstune.nn.model import Layers
from crosstune.stages.align import AlignConfig
from crosstune.stages.fit import FitConfig
from crosstune.stages.meta import MetaConfig
from crosstune.stages.mix import MixConfig
from crosstune.stages.source_head import SourceHeadConfig
from crosstune.stages.start import Start

PLAIN_SETTINGS = ("linear_part", "layers", "start", "weights")  # of the method itself, not of a stage
AnyStage = SourceHeadConfig | AlignConfig | MixConfig | MetaConfig | FitConfig


class Method(BaseModel):
    """name, one-line summary, the paper it comes from; controls: methods that answer "was it the alignment?", "was
    it the body's training?", "was it the pretraining?" at equal time; weights the body starts from; linear_part: a
    linear map of the raw signal inside the model; layers: whose hidden states the head sees; start: where the embedder
    begins (``crosstune.stages.start``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    paper: str | None = None
    stages: tuple[AnyStage, ...]
    weights: Weights = "pretrained"
    linear_part: bool = True
    layers: Layers = "all"
    start: Start = "random"
    role: Literal["method", "control"] = "method"
    controls: tuple[str, ...] = ()

    @property
    def aligns(self) -> bool:
        return any(stage.name == "align" for stage in self.stages)

    @property
    def reads_source(self) -> bool:
        """Whether any stage looks at source data."""
        return any(stage.name != "fit" for stage in self.stages)

    @property
    def whole_source(self) -> bool:
        """Whether a stage shows the body source samples: rows are then kept whole."""
        return any(stage.name in ("mix", "meta") for stage in self.stages)


def fit_of(method: Method) -> FitConfig:
    """The settings of its stage 2."""
    return next(stage for stage in method.stages if isinstance(stage, FitConfig))


def methods() -> dict[str, Method]:
    """All methods by name."""
    return discover("crosstune.methods", "METHOD")


def get_method(name: str) -> Method:
    """UsageError with a suggestion for an unknown name."""
    return pick("crosstune.methods", "METHOD", name, "method")


def override(method: Method, changes: dict[str, Any]) -> Method:
    """A method with some settings changed: keys like ``align.steps`` or ``fit.trainable``, values of any type that
    the setting's type accepts. All mistakes are reported at once (ConfigError)."""
    stages = {stage.name: stage.model_dump() for stage in method.stages}
    top: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in changes.items():
        head, _, tail = key.partition(".")
        if not tail and head in PLAIN_SETTINGS:
            top[head] = value
        elif head not in stages:
            known = [f"{s}.{k}" for s, d in stages.items() for k in d if k != "name"] + [*PLAIN_SETTINGS]
            problems.append(f"unknown setting {key!r}: {suggest(key, known)}")
        elif tail not in stages[head] or tail == "name":
            problems.append(f"unknown setting {key!r}: {suggest(tail, [k for k in stages[head] if k != 'name'])}")
        else:
            stages[head][tail] = None if value == "none" else value
    built: list[AnyStage] = []
    for stage in method.stages:
        try:
            built.append(type(stage).model_validate(stages[stage.name]))
        except ValidationError as problem:
            for entry in problem.errors():
                where = ".".join(str(p) for p in entry["loc"])
                problems.append(f"{stage.name}.{where} = {entry['input']!r}: {entry['msg']}")
    if problems:
        raise ConfigError("\n".join(problems), fix="`crosstune list methods --json` prints every setting and its value")
    try:
        return Method.model_validate({**method.model_dump(exclude={"stages"}), **top, "stages": tuple(built)})
    except ValidationError as problem:
        entry = problem.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, entry['loc']))} = {entry['input']!r}: {entry['msg']}") from None
