"""From a path that a user gave to one file, with the reason where there is none."""

from __future__ import annotations

from pathlib import Path

from crosstune.benchmarks.pdebench.problem import Problem, Variant
from crosstune.benchmarks.pdebench.reading import Trajectories, opened
from crosstune.errors import DataError


def candidates(problem: Problem, folder: Path) -> dict[str, list[Path]]:
    """Files of this task in a folder by variant, published before generated ones."""
    found: dict[str, list[Path]] = {}
    for variant in problem.variants:
        names = [f"{variant.stem}{Path(problem.layout.file).suffix}" if variant.stem else problem.layout.file]
        names.append(problem.file_name(variant))
        found[variant.name] = [folder / name for name in names if (folder / name).is_file()]
    return found


def locate(problem: Problem, path: Path, prefer: Variant) -> Path:
    """The file itself, or the one in the folder that a protocol prefers: ``prefer``, else the standard one, else any.

    ``DataError`` with the expected names where there is none.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return path
    found = candidates(problem, path)
    for variant in (prefer, problem.standard, *problem.variants):
        if found[variant.name]:
            return found[variant.name][0]
    raise DataError(
        f"{path} holds no file of {problem.task}; expected {problem.layout.file} or {problem.file_name(prefer)}",
        fix=f"download {problem.layout.url} as {problem.layout.file}, "
        f"or: crosstune data generate {problem.task} --out {path}",
    )


def fits(problem: Problem, file: Trajectories) -> str | None:
    """Why an opened file is not of this task, None where it is."""
    layout = problem.layout
    if file.task is not None:
        return None if file.task == problem.task else f"it was generated for {file.task}"
    if len(file.space) != layout.axes or file.channels != len(layout.channels):
        return (
            f"it has {file.channels} channel(s) on {len(file.space)} axes of space; "
            f"{problem.task} has {len(layout.channels)} on {layout.axes}"
        )
    if type(file).__name__ != {"tensor": "TensorFile", "seeds": "SeedsFile", "darcy": "DarcyFile"}[layout.family]:
        return f"it is not laid out as {layout.file} is"
    return _wrong_equation(problem, file)


def _wrong_equation(problem: Problem, file: Trajectories) -> str | None:
    """Tensor files of one shape are told apart by the names of their parameters, which are compared without case."""
    wanted = {name.lower() for name in problem.layout.attributes}
    present = {name.lower() for name in file.parameters()}
    known = {"beta", "nu", "rho", "eta", "zeta", "m"}
    if problem.layout.family == "seeds" or not present & known:
        return None
    if present & known != wanted & known:
        have, want = ", ".join(sorted(present & known)), ", ".join(sorted(wanted & known))
        return f"its parameters are {have}; those of {problem.task} are {want}"
    return None


def variant_of(problem: Problem, file: Trajectories) -> Variant | None:
    """Which parameter set an opened file holds: as it says, or by its parameters. None for another set."""
    if file.generated:
        return problem.variant(file.variant)
    present = {name.lower(): value for name, value in file.parameters().items()}
    if problem.layout.family == "seeds" or not present:
        by_stem = (v for v in problem.variants if v.stem is not None and file.path.name.startswith(v.stem))
        return next(by_stem, problem.standard)
    for variant in problem.variants:
        wanted = {name.lower(): value for name, value in variant.attributes.items()}
        if all(abs(present.get(k, v) - v) <= 1e-6 * max(1.0, abs(v)) for k, v in wanted.items()):
            return variant
    return None


def looks_like(problem: Problem, path: Path) -> bool:
    """Whether a file or folder holds data of this task; never raises."""
    path = Path(path)
    if path.is_dir():
        return any(candidates(problem, path).values())
    try:
        with opened(path) as file:
            if fits(problem, file) is not None:
                return False
            if file.generated or problem.layout.family == "darcy":
                return True
            return _named_alike(problem, file)
    except (DataError, OSError):
        return False


def _named_alike(problem: Problem, file: Trajectories) -> bool:
    """Seeds files differ by shape alone, tensor files by parameters, else by what their name begins with."""
    if problem.layout.family == "seeds" or {"beta", "nu", "eta"} & {k.lower() for k in file.parameters()}:
        return True
    return file.path.name.lower().startswith(problem.layout.file.lower().split("_nu")[0].split("_sols")[0])
