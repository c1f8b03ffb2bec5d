"""Rows of a task under each protocol: which samples, which frames, which part they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crosstune.benchmarks.contract import ProtocolName, TaskData
from crosstune.benchmarks.pdebench.layout import STANDARD
from crosstune.benchmarks.pdebench.locating import fits, locate, variant_of
from crosstune.benchmarks.pdebench.problem import Pair, Problem, Variant
from crosstune.benchmarks.pdebench.reading import Trajectories, opened
from crosstune.errors import DataError
from crosstune.records import Dataset, Split
from crosstune.seeding import derive_seed

Limit = Mapping[str, int] | None
MOST_COMPARED = 1 << 30  # bytes of first frames that are compared in full


def load(
    problem: Problem, path: Path, protocol: ProtocolName, *, limit: Limit = None, seed: int = 0
) -> TaskData:  # fmt: skip
    """Rows under a protocol. ``DataError`` for what is absent, damaged, of another task or of an old revision."""
    prefer = problem.preferred if protocol == "clean" else problem.standard
    where = locate(problem, Path(path), prefer)
    with opened(where) as file:
        reason = fits(problem, file)
        if reason is not None:
            raise DataError(f"{where} is not a file of {problem.task}: {reason}")
        finding = problem.revise(file)
        if finding is not None and finding.ok is False:
            raise DataError(f"{where}: {finding.text}", fix=f"download {problem.layout.url}, the corrected file")
        variant = variant_of(problem, file)
        if protocol == "official":
            from crosstune.benchmarks.pdebench.rollout import load_windows

            return load_windows(problem, file, variant, limit)
        pair = (variant or problem.standard).clean if protocol == "clean" else problem.shipped
        return _load_pair(problem, file, variant, pair, protocol, limit, seed)


def _load_pair(
    problem: Problem, file: Trajectories, variant: Variant | None, pair: Pair, protocol: ProtocolName, limit: Limit,
    seed: int,
) -> TaskData:  # fmt: skip
    need_frames(file, max(pair.frame, pair.test_frame or 0) + 1)
    test, rest = held_out(problem, file.samples)
    stride = thinning(file, pair.points)
    notes = notes_of(problem, file, variant)
    twins = None
    if protocol == "clean":
        twins = equal_rows(file)
        parts, strategy = _clean_parts(file, test, rest, twins, seed, notes)
    else:
        parts, strategy = (rest, test, test), f"the {problem.layout.holdout} tenth is held out and selects"
    cut = limited(parts, limit)
    rows = np.unique(np.concatenate(cut))
    split_rows = [np.searchsorted(rows, part) for part in cut]
    X, y = _read(file, pair, stride, rows, split_rows[2], one_frame=protocol == "clean")
    if protocol == "shipped" and problem.as_shipped is not None:
        X, y = problem.as_shipped(X, y, split_rows)
    dataset = Dataset(
        X=X, y=y, kind="dense", name=problem.task, source=source_of(file, variant, protocol),
        groups=None if twins is None else twins[rows],
    )  # fmt: skip
    train, validation, test = split_rows
    return TaskData(dataset, Split(train, validation, test, strategy, seed), tuple(notes))


def held_out(problem: Problem, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """(test, rest): the first or last tenth of the samples, at least one. ``DataError`` for fewer than three."""
    if samples < 3:
        raise DataError(f"{samples} sample(s) cannot fill three parts", fix="generate at least three, better 100")
    count, rows = max(1, samples // 10), np.arange(samples)
    return (rows[:count], rows[count:]) if problem.layout.holdout == "first" else (rows[-count:], rows[:-count])


def thinning(file: Trajectories, points: int) -> int:
    """Stride that leaves about ``points`` of the file's points per axis, 1 where it has no more."""
    return max(1, file.space[0] // points)


def need_frames(file: Trajectories, frames: int) -> None:
    """``DataError`` where the file has fewer frames than a protocol reads."""
    if file.frames < frames:
        raise DataError(
            f"{file.path} has {file.frames} frames; frame {frames - 1} is needed",
            cause="a truncated copy, or a file of another equation",
        )


def limited(parts: tuple[np.ndarray, np.ndarray, np.ndarray], limit: Limit) -> list[np.ndarray]:
    """The first rows of each part; parts that were the same rows stay the same rows."""
    most = dict(limit or {})
    if parts[1] is parts[2] and "validation" in most:
        most["test"] = most["validation"] = min(most["validation"], most.get("test", most["validation"]))
    elif parts[1] is parts[2] and "test" in most:
        most["validation"] = most["test"]
    return [part[: most.get(name)] for name, part in zip(("train", "validation", "test"), parts)]


def notes_of(problem: Problem, file: Trajectories, variant: Variant | None) -> list[str]:
    """What a reader of the figures must know about the file."""
    notes = []
    if file.generated:
        n, seed = file.recipe.get("n"), file.recipe.get("seed")
        notes.append(f"generated data ({n} samples, seed {seed}), variant {file.variant!r}: not the published file")
    if variant is None:
        notes.append(f"parameters differ from every variant of the task: {file.parameters()}")
    elif variant.caution is not None:
        notes.append(variant.caution)
    return notes


def source_of(file: Trajectories, variant: Variant | None, protocol: str) -> dict[str, object]:
    """Provenance without a checksum: the files are too large to hash at every reading."""
    return {
        "path": str(file.path), "format": "hdf5", "bytes": file.path.stat().st_size, "protocol": protocol,
        "variant": file.variant if file.generated else (STANDARD if variant is None else variant.name),
        "generated": file.generated,
    }  # fmt: skip


def _clean_parts(
    file: Trajectories, test: np.ndarray, rest: np.ndarray, twins: np.ndarray | None, seed: int, notes: list[str]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], str]:
    """Validation out of the training rows, as many as the test has; where test rows have equal twins among them, whole
    groups of equal rows are dealt out instead."""
    rng = np.random.Generator(np.random.PCG64(derive_seed(seed, "pdebench", "validation")))
    if twins is None:
        twins = np.arange(file.samples)
    apart = rest[~np.isin(twins[rest], twins[test])]
    if len(apart) < len(rest) // 2:
        return _dealt(file, twins, rng, notes)
    if len(apart) < len(rest):
        notes.append(f"{len(rest) - len(apart)} training rows equal a test row and were left out")
    validation = np.sort(rng.choice(apart, max(1, min(len(test), len(apart) - 1)), replace=False))
    train = apart[~np.isin(twins[apart], twins[validation])]
    return (train, validation, test), "published hold-out is the test, validation drawn at random from the rest"


def _dealt(
    file: Trajectories, twins: np.ndarray, rng: np.random.Generator, notes: list[str]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], str]:
    """Whole groups of equal rows, a tenth of the groups each to validation and test."""
    groups = rng.permutation(np.unique(twins))
    if len(groups) < 3:
        raise DataError(f"{file.path} holds {len(groups)} distinct samples; three parts need three")
    tenth = max(1, len(groups) // 10)
    share = (groups[2 * tenth :], groups[tenth : 2 * tenth], groups[:tenth])
    notes.append(
        f"only {len(groups)} distinct initial states among {file.samples} samples: equal ones were kept in one part"
    )
    a, b, c = (np.flatnonzero(np.isin(twins, part)) for part in share)
    return (a, b, c), "distinct initial states dealt out at random, a tenth each to validation and test"


def equal_rows(file: Trajectories) -> np.ndarray | None:
    """(samples,) group numbers by equality of the first frames, None where all differ. Files whose first frames have
    more than a gigabyte are compared on fewer points."""
    stride = 1
    while 4 * file.samples * file.channels * np.prod(file.space) / stride ** len(file.space) > MOST_COMPARED:
        stride *= 2
    seen: dict[bytes, int] = {}
    groups = np.empty(file.samples, np.int64)
    step = max(1, (8 << 20) // (4 * file.channels * int(np.prod(file.space))))
    for start in range(0, file.samples, step):
        rows = np.arange(start, min(start + step, file.samples))
        for row, values in zip(rows, file.read(rows, [0], stride)):
            groups[row] = seen.setdefault(hashlib.blake2b(values.tobytes(), digest_size=16).digest(), len(seen))
    return None if len(seen) == file.samples else groups


def _read(
    file: Trajectories, pair: Pair, stride: int, rows: np.ndarray, test: np.ndarray, one_frame: bool
) -> tuple[np.ndarray, np.ndarray]:
    """X, y of samples; test: places of the test rows among them."""
    if pair.inputs == pair.targets and (pair.test_frame is None or one_frame):
        values = file.read(rows, [0, pair.frame], stride, pair.inputs)
        return values[:, 0], values[:, 1]
    X = file.read(rows, [0], stride, pair.inputs)[:, 0]
    y = file.read(rows, [pair.frame], stride, pair.targets)[:, 0]
    if pair.test_frame is not None and not one_frame:
        y[test] = file.read(rows[test], [pair.test_frame], stride, pair.targets)[:, 0]
    return X, y
