"""What a user asked for, with the origin of every value; the resolved form goes into run.json."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from crosstune.discovery import discover
from crosstune.errors import ConfigError
from crosstune.experiment.budget import Budget
from crosstune.methods import Method, control, get_method, override
from crosstune.methods.contract import PLAIN_SETTINGS
from crosstune.nn.devices import PATTERN, check_processes, resolve_device
from crosstune.records import Dataset
from crosstune.stages.fit import FitConfig


class TaskChoice(BaseModel):
    """A benchmark task under one of its protocols. name: "suite/task". data: where its files lie; not part of a run's
    identity, which follows the rows themselves. limit: at most so many rows of a part. settings: what the task
    prescribes for the method (filled in by ``bind``), below what the user sets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    data: str
    protocol: Literal["clean", "shipped", "official"] = "clean"
    limit: dict[str, int] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class Request(BaseModel):
    """Everything that decides a run, apart from the data itself.

    backbone: a name, a folder, a hub id, or one that ``settled`` replaces: "auto" (``default_backbone``), "tiny"
    (of the embedded pair, the one for the data). task: the benchmark task the data are of, None for a user's own
    file. floors, controls: names, or "auto". tokens: per sample, None = chosen from the shape. loss: of fitting,
    None = the usual one (the same as ``fit.loss`` in settings). settings: overrides of the method, keys like
    ``align.steps``. fractions: train, validation, test. proxy: labelled source data: "auto" (by the body's
    modality), "none", a name, or a path, which is kept absolute so that a run can be resumed from anywhere.
    threads: of the CPU, None = torch's choice. device: "auto", "cpu", "cuda", "cuda:1" or "mps". processes: that
    fit one model together, one per device. attention: of decoders, None = the body's own. checkpoint_seconds: how
    often the state within an arm is kept. only_floors: no model at all, the floors alone in the whole budget.
    bound: measure the bound beside the method.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "auto"
    method: str = "recraft"
    budget: str = "4m"
    seeds: tuple[int, ...] = (0,)
    metric: str | None = None
    floors: tuple[str, ...] | Literal["auto"] = "auto"
    controls: tuple[str, ...] | Literal["auto"] = "auto"
    tokens: int | None = None
    loss: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    split: Literal["auto", "stratified", "grouped", "temporal", "random"] = "auto"
    split_seed: int = 0
    accept: tuple[str, ...] = ()
    proxy: str = "auto"
    threads: int | None = None
    allow_pickle: bool = False
    device: Annotated[str, Field(pattern=PATTERN)] = "auto"
    attention: Literal["causal", "bidirectional"] | None = None
    checkpoint_seconds: float = Field(default=15.0, ge=0)
    task: TaskChoice | None = None
    only_floors: bool = False
    processes: int = Field(default=1, ge=1)
    bound: bool = True

    @field_validator("proxy")
    @classmethod
    def _absolute(cls, value: str) -> str:
        place, mark, columns = value.partition("::")
        path = Path(place).expanduser()
        named = value in ("auto", "none") or value in discover("crosstune.data.proxies", "PROXY")
        return value if named or not path.exists() else f"{path.resolve()}{mark}{columns}"

    def resolved_method(self) -> Method:
        prescribed = self.task.settings if self.task else {}
        chosen = self.settings.get("fit.loss")
        if self.loss is not None and chosen not in (None, self.loss):
            raise ConfigError(
                f"two losses were asked for: {self.loss!r} and fit.loss = {chosen!r}", fix="leave one of them out"
            )
        asked = self.settings if self.loss is None else self.settings | {"fit.loss": self.loss}
        return override(get_method(self.method), prescribed | asked)

    def parsed_budget(self) -> Budget:
        return Budget.parse(self.budget)

    def check(self) -> None:
        """Refuse what can be refused before any data are read: unknown names and settings, a budget that is none."""
        from crosstune.backbones.load import modality_of, own_proxy
        from crosstune.data.proxies import choose
        from crosstune.floors import get_floors
        from crosstune.metrics import get_metric

        method = self.resolved_method()
        for stage in method.stages:
            if isinstance(stage, FitConfig):
                stage.check()
        self.parsed_budget()
        check_processes(self.processes, resolve_device(self.device), self.device)
        choose(self.proxy, modality_of(self.backbone), own_proxy(self.backbone))
        if self.metric:
            get_metric(self.metric)
        if self.floors != "auto":
            get_floors(self.floors)
        for name in () if self.controls == "auto" else self.controls:
            control(method, name)

    def settled(self, dataset: Dataset) -> Request:
        """The same with a backbone where "auto" or "tiny" was asked for: MiniLM, or one of the embedded pair by the
        data. What of ``check`` depends on the backbone is checked now."""
        from crosstune.backbones.load import default_backbone, embedded_backbone

        choices = {"auto": default_backbone, "tiny": embedded_backbone}
        if self.backbone not in choices:
            return self
        found = self.model_copy(update={"backbone": choices[self.backbone](dataset.modality)})
        found.check()
        return found

    def digest(self, data_digest: str) -> str:
        """Hash of the resolved configuration and the data: equal digests mean the same run."""
        # how often to save and where the files lie decide nothing
        request = self.model_dump(mode="json", exclude={"checkpoint_seconds": True, "task": {"data"}})
        for later in ("task", "only_floors", "processes", "bound"):  # runs of before have the digest they had
            if request[later] == type(self).model_fields[later].default:
                del request[later]
        content = {"request": request, "method": self.resolved_method().model_dump(mode="json")}
        text = json.dumps(content, sort_keys=True) + data_digest
        return hashlib.sha256(text.encode()).hexdigest()


def origins(request: Request, given: dict[str, str], **resolved: Any) -> dict[str, dict[str, Any]]:
    """Dotted key -> value and where it came from. ``given`` maps keys the user set to the flag they used; ``resolved``
    holds what became of values that were left to the data."""
    method = request.resolved_method()
    prescribed = request.task.settings if request.task else {}
    out: dict[str, dict[str, Any]] = {}
    for key, value in request.model_dump(mode="json").items():
        if key not in ("settings", "task"):
            out[key] = {"value": value, "origin": given.get(key, "default")}
    for key, value in resolved.items():
        out[key] = {"value": value, "origin": given.get(key, "inferred")}
    for stage in method.stages:
        for key, value in stage.model_dump(mode="json").items():
            dotted = f"{stage.name}.{key}"
            origin = f"method {method.name}"
            if dotted == "fit.loss" and request.loss is not None:
                origin = given.get("loss", "argument loss")
            elif dotted in request.settings:
                origin = given.get(dotted, "flag --set")
            elif request.task and dotted in prescribed:
                origin = f"task {request.task.name}"
            out[dotted] = {"value": value, "origin": origin}
    for key in PLAIN_SETTINGS:
        origin = "flag --set" if key in request.settings else f"method {method.name}"
        out[key] = {"value": getattr(method, key), "origin": origin}
    return out
