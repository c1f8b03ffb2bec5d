"""What a file holds, judged by cheap readings: layout, types, coordinates, finite values, revision, invariants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crosstune.benchmarks.contract import Check, Verification
from crosstune.benchmarks.pdebench.layout import STANDARD, Layout
from crosstune.benchmarks.pdebench.locating import candidates, fits, variant_of
from crosstune.benchmarks.pdebench.problem import Problem
from crosstune.benchmarks.pdebench.reading import Trajectories, opened
from crosstune.errors import DataError

LOOKED_AT = 24  # samples whose values are read; spread over the file


def verify(problem: Problem, path: Path, *, md5: bool | None = None) -> Verification:
    """Findings about a file, or about every file of the task in a folder.

    md5: compare with the published checksum. None: where the file has the published name and size; True: always.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        checks = tuple(_checks(problem, path, md5))
        return Verification(problem.task, str(path), checks)
    files = [file for found in candidates(problem, path).values() for file in found]
    if not files:
        missing = (f"{problem.layout.file}: {problem.layout.url}",)
        return Verification(problem.task, str(path), (), missing)
    named = len(files) > 1
    checks = tuple(
        Check(f"{file.name}: {c.name}" if named else c.name, c.ok, c.text)
        for file in files
        for c in _checks(problem, file, md5)
    )
    return Verification(problem.task, str(path), checks)


def _checks(problem: Problem, path: Path, md5: bool | None) -> Iterator[Check]:
    try:
        with opened(path) as file:
            reason = fits(problem, file)
            if reason is not None:
                yield Check("layout", False, reason)
                return
            yield from _layout(problem, file)
            yield _checksum(problem, file, md5)
            revision = problem.revise(file)
            if revision is not None:
                yield revision
            rows = np.unique(np.linspace(0, file.samples - 1, LOOKED_AT).astype(int))
            yield _finite(file, rows)
            yield from problem.inspect(file, rows)
    except DataError as error:
        yield Check("readable", False, str(error))


def _layout(problem: Problem, file: Trajectories) -> Iterator[Check]:
    layout = problem.layout
    made = f"generated, variant {file.variant!r}" if file.generated else "no mark of a generated file"
    shape = " x ".join(map(str, (file.samples, file.frames, *file.space)))
    yield Check("layout", True, f"{shape} values of {file.channels} channel(s); {made}")
    frames = 2 if layout.family == "darcy" else layout.frames
    yield Check("frames", file.frames == frames, f"{file.frames} frames, published {frames}")
    yield Check("dtype", file.dtype() == np.float32, f"{file.dtype()}, published float32")
    if not file.generated:
        complete = file.samples == layout.samples and file.space == layout.shape
        yield Check("size", complete or None, f"published are {layout.samples} samples on {layout.shape}")
    yield _parameters(problem, file)
    for axis in "xy"[: layout.axes]:
        yield _axis(file, layout, axis)
    if layout.family != "darcy":
        yield _times(file, layout)


def _parameters(problem: Problem, file: Trajectories) -> Check:
    variant = variant_of(problem, file)
    shown = ", ".join(f"{k} = {v:g}" for k, v in file.parameters().items()) or "none in the file"
    if variant is None:
        return Check("parameters", False, f"{shown}; not those of {problem.layout.file}")
    if variant.name != STANDARD:
        return Check("parameters", True, f"{shown}; the sibling {variant.name!r}: {variant.text}")
    return Check("parameters", True if file.parameters() else None, shown)


def _axis(file: Trajectories, layout: Layout, axis: str) -> Check:
    name = f"{axis}-coordinate"
    values = file.coordinate(axis)
    points = file.space["xy".index(axis)]
    if values is None:
        return Check(name, None, "absent")
    if len(values) != points:
        return Check(name, False, f"{len(values)} coordinates for {points} points")
    step = layout.length / points
    uniform = bool(np.allclose(np.diff(values), step, rtol=1e-3, atol=1e-6))
    inside = layout.start < values[0] and values[-1] < layout.start + layout.length
    text = f"{values[0]:.5g} to {values[-1]:.5g} in steps of {np.diff(values).mean():.5g}"
    wanted = f"cell centres of ({layout.start:g}, {layout.start + layout.length:g})"
    return Check(name, bool(uniform and inside), text if uniform and inside else f"{text}; published are {wanted}")


def _times(file: Trajectories, layout: Layout) -> Check:
    values, expected = file.coordinate("t"), file.frames + (1 if layout.family == "tensor" else 0)
    if values is None:
        return Check("t-coordinate", None, "absent")
    right = len(values) == expected and np.allclose(np.diff(values), layout.dt, rtol=1e-3)
    text = f"{len(values)} times from {values[0]:g} in steps of {np.diff(values).mean():.4g}"
    return Check("t-coordinate", bool(right), text if right else f"{text}; published are {expected} of {layout.dt:g}")


def _checksum(problem: Problem, file: Trajectories, md5: bool | None) -> Check:
    layout = problem.layout
    published = file.path.name == layout.file and file.samples == layout.samples and file.space == layout.shape
    if md5 is False or (md5 is None and (file.generated or not published)):
        why = "a generated file" if file.generated else "not the published name and size, or not asked for"
        return Check("md5", None, f"not compared: {why}")
    with file.path.open("rb") as raw:
        found = hashlib.file_digest(raw, "md5").hexdigest()
    same = found == layout.md5
    return Check("md5", same, found if same else f"{found}; published is {layout.md5}: another revision or damaged")


def _finite(file: Trajectories, rows: np.ndarray) -> Check:
    frames = sorted({0, file.frames // 2, file.frames - 1})
    bad = [int(row) for row in rows if not np.isfinite(file.read([row], frames)).all()]
    if bad:
        return Check("finite", False, f"NaN or infinite values in sample(s) {', '.join(map(str, bad[:5]))}")
    return Check("finite", True, f"{len(rows)} samples at {len(frames)} frames")


def bound_check(name: str, worst: float, allowed: float, what: str) -> Check:
    """A check that a measured deviation stays below what float32 storage and the published solver explain."""
    return Check(name, bool(worst <= allowed), f"{what}: at most {max(worst, 0.0):.2g} (allowed {allowed:.2g})")
