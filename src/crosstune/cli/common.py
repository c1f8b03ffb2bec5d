"""Options that several verbs share, and the small amount of glue between them and the library."""

from __future__ import annotations

import json
import re
import sys
from typing import Annotated, Any

import typer

from crosstune.errors import UsageError

Data = Annotated[
    str,
    typer.Argument(
        help="A file: .npz, .npy, CSV, Parquet, HDF5 (file.h5 or file.h5::key); or a task, suite/name, with --data."
    ),
]
Run = Annotated[str, typer.Argument(help="A run folder.")]
Target = Annotated[str | None, typer.Option(help="Key or column of the target (several columns: a,b,c).")]
Groups = Annotated[str | None, typer.Option(help="Key or column of the groups that must not straddle a split.")]
Time = Annotated[str | None, typer.Option("--time", help="Key or column to order rows by, for a temporal split.")]
Lengths = Annotated[str | None, typer.Option(help="Key of the lengths of ragged series.")]
Features = Annotated[str | None, typer.Option(help="Key of X, or the columns to use (a,b,c).")]
Task = Annotated[
    str | None, typer.Option(help="classification, multilabel, regression, dense or segmentation; inferred otherwise.")
]
Accept = Annotated[list[str] | None, typer.Option(help="Accept a finding that would refuse the data; repeatable.")]
AllowPickle = Annotated[bool, typer.Option("--allow-pickle", help="Allow unpickling of files you trust.")]
DropMissing = Annotated[bool, typer.Option("--drop-missing-target", help="Leave out rows without a target.")]
Proxy = Annotated[
    str,
    typer.Option(
        help="Labelled source data of the body's own modality, for stages 0 and 1: auto (drawn or read offline), none, "
        "a name (`crosstune list proxies`), or a PATH of your own: a folder with one sub-folder per class of images, "
        ".wav or .txt files; .npz with X and y; .csv, .jsonl or .parquet with text and label (PATH::TEXT,LABEL)."
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1 or mps.")]
Processes = Annotated[
    int, typer.Option(min=1, help="Processes that fit one model together, each on a device of its own.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Path = Annotated[str | None, typer.Option("--data", help="Where the files of a benchmark task lie.")]
Protocol = Annotated[
    str | None, typer.Option(help="Of a task: clean (the default), shipped or official (`crosstune list tasks`).")
]
LimitRows = Annotated[
    str | None, typer.Option("--limit", help="Of a task: at most so many rows of a part: train=200,test=50.")
]
Part = Annotated[str | None, typer.Option(help="Of a task: train, validation, test or all.")]
KINDS = ("classification", "multilabel", "regression", "dense", "segmentation")


def read_data(
    source: str, *, target: Any = None, groups: str | None = None, time: str | None = None, lengths: str | None = None,
    features: str | list[str] | None = None, task: str | None = None, allow_pickle: bool = False,
    drop_missing: bool = False, classes: Any = None,
) -> Any:  # fmt: skip
    """The data set behind a command's arguments."""
    from crosstune.data import read

    if task is not None and task not in KINDS:
        from crosstune.discovery import suggest

        raise UsageError(f"--task {task}: there is no such task", fix=suggest(task, KINDS))
    return read(
        source, target=target, groups=groups, time=time, lengths=lengths, features=features, task=task,  # type: ignore[arg-type]
        allow_pickle=allow_pickle, drop_missing_target=drop_missing, classes=classes,
    )  # fmt: skip


def check_proxy(proxy: str, backbones: list[str]) -> None:
    """Refuse a source proxy that does not exist or does not fit a backbone, before any data are read."""
    from crosstune.backbones.load import modality_of, own_proxy
    from crosstune.data.proxies import choose

    for name in backbones:
        choose(proxy, modality_of(name), own_proxy(name))


def emit(value: Any) -> None:
    """JSON on stdout; NaN and infinities become null, as the standard has none."""
    print(json.dumps(_finite(value), indent=1, default=_plain, allow_nan=False))


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays as plain ones, anything else as text."""
    return _finite(value.tolist()) if hasattr(value, "tolist") else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def say(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def parse_settings(pairs: list[str] | None) -> dict[str, Any]:
    """``key=value`` pairs; values are JSON where they parse as such, text otherwise. All mistakes at once."""
    bad = [pair for pair in pairs or [] if not pair.partition("=")[0] or "=" not in pair]
    if bad:
        lines = [f"--set {pair}: expected key=value" for pair in bad]
        raise UsageError("\n".join(lines), fix="for instance --set align.steps=30")
    out: dict[str, Any] = {}
    for pair in pairs or []:
        key, _, value = pair.partition("=")
        try:
            out[key] = json.loads(value)
        except ValueError:
            out[key] = value
    return out


def parse_errors(pairs: list[str] | None) -> dict[str, float]:
    """``name=value`` pairs with numbers."""
    out: dict[str, float] = {}
    bad = []
    for pair in pairs or []:
        name, _, value = pair.rpartition("=")
        try:
            out[name] = float(value)
        except ValueError:
            bad.append(pair)
        if not name:
            bad.append(pair)
    if bad:
        raise UsageError(
            "\n".join(f"--errors {pair}: expected name=number" for pair in dict.fromkeys(bad)),
            fix="for instance --errors minilm=0.12",
        )
    return out


def parse_interval(text: str) -> float:
    """Seconds of an interval: "15s", "0.2s", "1m"; 0 means whenever possible."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h)?", text.strip().lower())
    if match is None:
        raise UsageError(f"--checkpoint-every {text!r} is not a duration", fix="for instance --checkpoint-every 15s")
    return float(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}[match[2]]


def parse_seeds(text: str) -> tuple[int, ...]:
    """ "3" means seeds 0, 1, 2; "4,7" means those two."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--seeds {text!r} is not a number or a list of numbers", fix="--seeds 3 or --seeds 0,1,5"
        ) from None
    if "," in text:
        if len(set(numbers)) != len(numbers):
            raise UsageError(f"--seeds {text!r} names a seed twice", fix="give each seed once")
        return tuple(numbers)
    if numbers[0] < 1:
        raise UsageError(f"--seeds {text!r}: at least one seed is needed", fix="--seeds 1")
    return tuple(range(numbers[0]))


def parse_fractions(text: str) -> tuple[float, float, float]:
    """Three numbers that sum to one."""
    try:
        parts = tuple(float(p) for p in text.replace("/", ",").split(","))
    except ValueError:
        parts = ()
    if len(parts) != 3 or abs(sum(parts) - 1) > 1e-6 or min(parts) < 0:
        raise UsageError(
            f"--fractions {text!r}: expected train,validation,test that sum to 1", fix="--fractions 0.6,0.2,0.2"
        )
    return parts  # type: ignore[return-value]


def parse_names(text: str | None) -> Any:
    """ "auto", "none" or a comma-separated list."""
    if text is None or text == "auto":
        return "auto"
    return () if text == "none" else tuple(part.strip() for part in text.split(",") if part.strip())


def parse_limit(text: str | None) -> dict[str, int]:
    """ "train=200,test=50": at most so many rows of each part."""
    out: dict[str, int] = {}
    for pair in (text or "").split(","):
        if not text:
            break
        name, _, value = pair.strip().partition("=")
        if name not in ("train", "validation", "test") or not value.isdigit() or int(value) < 1:
            raise UsageError(
                f"--limit {text!r}: {pair.strip()!r} is not part=rows",
                fix="for instance --limit train=200,validation=50,test=50",
            )
        out[name] = int(value)
    return out


def chosen_task(
    context: typer.Context, data: str, path: str | None, protocol: str | None, limit: str | None, *,
    taboo: tuple[str, ...] = (),
) -> Any:  # fmt: skip
    """The task that DATA names, or None for a file. taboo: options that a task decides itself. UsageError for
    options that belong to the other of the two."""
    from crosstune.experiment.binding import choose, names_task

    parse_limit(limit)
    if path is None and not names_task(data):
        stray = [f"--{name}" for name, value in (("protocol", protocol), ("limit", limit)) if value is not None]
        if stray:
            raise UsageError(
                f"{' and '.join(stray)} belong{'s' * (len(stray) == 1)} to a task, and {data!r} is none",
                fix="name a task as suite/name (`crosstune list tasks`) and its files with --data PATH",
            )
        return None
    given = [f"--{name.replace('_', '-')}" for name in taboo if _was_given(context, name)]
    if given:
        raise UsageError(
            f"{', '.join(given)}: task {data!r} decides that itself",
            fix=f"leave {'it' if len(given) == 1 else 'them'} out, or fit the file alone, without the task",
        )
    return choose(data, path, protocol=protocol or "clean", limit=parse_limit(limit))


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def task_part(chosen: Any, part: str | None, *, sealed_by: str | None = None) -> Any:
    """The rows of one part of a task, the test part unless asked otherwise. sealed_by: a run whose own sealed test
    rows are not to be scored by a back door; RunError then."""
    from crosstune.experiment.binding import load_task, part_of, refuse_sealed

    loaded = load_task(chosen)
    if sealed_by is not None and (part or "test") in ("test", "all"):
        refuse_sealed(sealed_by, loaded)
    return part_of(loaded, part or "test")
