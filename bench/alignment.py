"""Speed of the alignment loss (forward + backward), as ratios within one run.

    python bench/alignment.py               table on stderr, files in bench/results/
    python bench/alignment.py --json        the record on stdout
    python bench/alignment.py --device cuda

Workload: source 5,000 x 768 standard normal, target 128 x 768 = 0.5 N(0, I) + 0.3 with gradient. Competitors:
geomloss 0.2.6 (debiased Sinkhorn, tensorized, p = 2, blur = sqrt(0.1): what the public RECRAFT code runs) and POT's
emd2. The floor is the cost matrix's product and its backward pass: no method that reads all costs can be faster.

geomloss is not a dependency of crosstune: ``pip install --no-deps geomloss==0.2.6`` (its release 0.3 has another
interface). Without it that row is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ot as pot
from crosstune import ot

OUT = Path(__file__).parent / "results"
INSTALL = "pip install --no-deps geomloss==0.2.6"


def workload(n: int, m: int, d: int, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    y = 0.5 * torch.randn(m, d, generator=generator) + 0.3
    return x.to(device), y.to(device)


def loss_and_gradient(loss: Callable[[Tensor], Tensor], y: Tensor) -> tuple[float, Tensor]:
    leaf = y.detach().clone().requires_grad_()
    value = loss(leaf)
    value.backward()
    if y.is_cuda:
        torch.cuda.synchronize()
    assert leaf.grad is not None
    return float(value.detach()), leaf.grad


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def squared_costs(x: Tensor, y: Tensor) -> Tensor:
    return (x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2.0 * x @ y.T


def by_pot(x: Tensor) -> Callable[[Tensor], Tensor]:
    """emd2 as its documentation shows it for torch: float64 cost, gradient through the cost matrix."""

    def loss(y: Tensor) -> Tensor:
        costs = squared_costs(x, y).double()
        a = torch.full((x.shape[0],), 1.0 / x.shape[0], dtype=torch.float64, device=x.device)
        b = torch.full((y.shape[0],), 1.0 / y.shape[0], dtype=torch.float64, device=x.device)
        return pot.emd2(a, b, costs, numItermax=10_000_000)

    return loss


def by_geomloss(x: Tensor) -> Callable[[Tensor], Tensor] | None:
    try:
        from geomloss import SamplesLoss
    except ImportError:
        print(f"geomloss is missing, its row is left out; to include it: {INSTALL}", file=sys.stderr)
        return None
    sinkhorn = SamplesLoss("sinkhorn", p=2, blur=math.sqrt(0.1), debias=True, backend="tensorized")
    return lambda y: 2.0 * sinkhorn(y, x)  # geomloss halves the squared distance


def floor(x: Tensor, norms: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda y: torch.addmm(norms[:, None], x, y.T, alpha=-2.0).sum()


def reference_gradient(x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the float64 linear program."""
    x64, y64 = x.double().cpu(), y.double().cpu()
    costs = torch.cdist(x64, y64).square().numpy()
    plan = torch.from_numpy(pot.emd(np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), costs, 10_000_000))
    return 2.0 * (plan.sum(0)[:, None] * y64 - plan.T @ x64)


def cosine(a: Tensor, b: Tensor) -> float:
    a, b = a.double().cpu().flatten(), b.double().cpu().flatten()
    return float(a @ b / (a.norm() * b.norm()))


def static(args: argparse.Namespace) -> list[dict[str, Any]]:
    x, y = workload(5000, 128, 768, args.device)
    source = ot.prepare(x, projections=128)
    exact_gradient = reference_gradient(x, y)
    losses: dict[str, Callable[[Tensor], Tensor] | None] = {
        "floor: cost product + backward": floor(x, source.norms),
        "POT emd2": by_pot(x),
        "geomloss 0.2.6 debiased": None if args.no_geomloss else by_geomloss(x),
        "crosstune alignment (default)": lambda y: ot.alignment(source, y).value,
        "crosstune exact, source not prepared": lambda y: ot.exact(x, y).value,
        "crosstune exact, euclidean (W1)": _euclidean(x),
        "crosstune sinkhorn (0.002 mean cost)": lambda y: ot.alignment(source, y, method="sinkhorn").value,
        "crosstune sliced (128 directions)": lambda y: ot.alignment(source, y, method="sliced").value,
        "crosstune mmd (energy)": lambda y: ot.alignment(source, y, method="mmd").value,
    }
    rows = []
    for name, loss in losses.items():
        if loss is None:
            continue
        repeats = args.repeats if name.startswith("geomloss") else max(args.repeats, 11)
        seconds = median_seconds(lambda loss=loss: loss_and_gradient(loss, y), repeats)  # type: ignore[misc]
        value, gradient = loss_and_gradient(loss, y)
        rows.append({"name": name, "seconds": seconds, "value": value, "cosine": cosine(gradient, exact_gradient)})
        print(f"{name:40s} {seconds * 1e3:10.1f} ms", file=sys.stderr)
    return rows


def _euclidean(x: Tensor) -> Callable[[Tensor], Tensor]:
    source = ot.prepare(x, cost="euclidean")
    return lambda y: ot.alignment(source, y, cost="euclidean").value


def descent(args: argparse.Namespace) -> dict[str, Any]:
    """60 Adam steps of a linear embedder of the digits (64 to 768) towards the source; 128 new digits per step."""
    from sklearn.datasets import load_digits

    digits = torch.from_numpy(load_digits().data).float() / 16
    x, _ = workload(5000, 128, 768, args.device)
    source = ot.prepare(x)
    generator = torch.Generator().manual_seed(1)
    weight = (torch.randn(64, 768, generator=generator) / 8).to(args.device).requires_grad_()
    optimiser = torch.optim.Adam([weight], lr=1e-2)
    times: dict[str, list[float]] = {"default": [], "default, warm start": [], "POT emd2": []}
    cosines, program, values = [], [], []
    warm = None
    pot_loss = by_pot(x)
    for _ in range(args.steps):
        batch = digits[torch.randperm(len(digits), generator=generator)[:128]].to(args.device)
        features = (batch @ weight).detach()
        _timed(times["POT emd2"], lambda: loss_and_gradient(pot_loss, features))  # noqa: B023
        _timed(times["default, warm start"], lambda: loss_and_gradient(_warm(source, warm), features))  # noqa: B023
        found: dict[str, Any] = {}

        def loss(y: Tensor) -> Tensor:
            found["coupling"] = ot.alignment(source, y)  # noqa: B023
            return found["coupling"].value  # noqa: B023

        value, gradient = _timed(times["default"], lambda: loss_and_gradient(loss, features))  # noqa: B023
        warm = found["coupling"].potentials
        program.append(found["coupling"].details["program_rows"])
        cosines.append(cosine(gradient, reference_gradient(x, features)))
        values.append(value)
        optimiser.zero_grad()
        (batch @ weight).backward(gradient)
        optimiser.step()
    return {
        "steps": args.steps,
        "median_seconds": {name: statistics.median(t) for name, t in times.items()},
        "worst_cosine": min(cosines),
        "median_program_rows": statistics.median(program),
        "first_value": values[0],
        "last_value": values[-1],
    }


def _warm(source: ot.PreparedSource, warm: tuple[Tensor, Tensor] | None) -> Callable[[Tensor], Tensor]:
    return lambda y: ot.alignment(source, y, warm=warm).value


def _timed(into: list[float], run: Callable[[], tuple[float, Tensor]]) -> tuple[float, Tensor]:
    start = time.perf_counter()
    out = run()
    into.append(time.perf_counter() - start)
    return out


def scaling(args: argparse.Namespace) -> list[dict[str, Any]]:
    sizes = [("n", n, 128, 768) for n in (2500, 5000, 10000, 20000)]
    sizes += [("m", 5000, m, 768) for m in (64, 128, 256, 512)]
    sizes += [("d", 5000, 128, d) for d in (128, 512, 1024, 2048, 4096)]
    rows = []
    for axis, n, m, d in sizes:
        x, y = workload(n, m, d, args.device)
        source = ot.prepare(x)
        loss: Callable[[Tensor], Tensor] = lambda y, s=source: ot.alignment(s, y).value  # type: ignore[misc] # noqa: E731
        seconds = median_seconds(lambda: loss_and_gradient(loss, y), 5)  # noqa: B023
        pot_seconds = median_seconds(lambda: loss_and_gradient(by_pot(x), y), 3)  # noqa: B023
        base = median_seconds(lambda: loss_and_gradient(floor(x, source.norms), y), 5)  # noqa: B023
        rows.append({"axis": axis, "n": n, "m": m, "d": d, "default": seconds, "pot": pot_seconds, "floor": base})
        print(f"n={n} m={m} d={d}: {seconds * 1e3:.1f} ms, POT {pot_seconds * 1e3:.1f} ms", file=sys.stderr)
    return rows


def table(record: dict[str, Any]) -> str:
    by_name = {row["name"]: row["seconds"] for row in record["static"]}
    base, emd = by_name["floor: cost product + backward"], by_name["POT emd2"]
    lines = [
        "# Alignment loss: forward + backward",
        "",
        f"{record['hardware']}; torch {record['versions']['torch']}, POT {record['versions']['POT']}, "
        f"{record['threads']} threads, load {record['load']:.1f}. Written by `python bench/alignment.py`.",
        "",
        "Source 5,000 x 768, target 128 x 768. Cosine: gradient against the float64 linear program (squared cost).",
        "",
        "| | ms | times the floor | POT / this | 1 - cosine |",
        "|---|---|---|---|---|",
    ]
    for row in record["static"]:
        s = row["seconds"]
        lines.append(f"| {row['name']} | {s * 1e3:.1f} | {s / base:.1f} | {emd / s:.2f} | {1 - row['cosine']:.1e} |")
    if "descent" in record:
        d = record["descent"]
        times = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in d["median_seconds"].items())
        lines += [
            "",
            f"Along {d['steps']} descent steps of a linear embedder of the digits, medians: {times}; worst gradient "
            f"cosine 1 - {1 - d['worst_cosine']:.1e}; program rows {d['median_program_rows']:.0f} of 5,000; "
            f"the loss fell from {d['first_value']:.0f} to {d['last_value']:.0f}.",
        ]
    if "scaling" in record:
        lines += ["", "| n | m | d | default ms | POT ms | floor ms | POT / default |", "|---|---|---|---|---|---|---|"]
        lines += [
            f"| {r['n']} | {r['m']} | {r['d']} | {r['default'] * 1e3:.1f} | {r['pot'] * 1e3:.1f} | "
            f"{r['floor'] * 1e3:.1f} | {r['pot'] / r['default']:.1f} |"
            for r in record["scaling"]
        ]
    return "\n".join(lines) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
    titles = {
        "n": "source points n (m=128, d=768)",
        "m": "target points m (n=5000, d=768)",
        "d": "features d (n=5000, m=128)",
    }
    for ax, axis in zip(axes, "nmd", strict=True):
        mine = [r for r in rows if r["axis"] == axis]
        for key, label, marker in (("pot", "POT emd2", "s"), ("default", "crosstune", "o"), ("floor", "floor", "^")):
            ax.loglog([r[axis] for r in mine], [r[key] * 1e3 for r in mine], marker=marker, label=label)
        ax.set_xticks([r[axis] for r in mine], [str(r[axis]) for r in mine])
        ax.minorticks_off()
        ax.set_xlabel(titles[axis])
        ax.grid(True, which="both", alpha=0.3)
    axes[0].set_ylabel("forward + backward, ms")
    axes[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the record on stdout")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of the slowest row (others: at least 11)")
    parser.add_argument("--steps", type=int, default=60, help="descent steps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-geomloss", action="store_true", help="leave out the slowest row")
    parser.add_argument("--only", choices=("static", "descent", "scaling"), help="run one part")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for alignment.json, .md and .png")
    args = parser.parse_args()
    hardware = platform.processor() or platform.machine()
    if args.device != "cpu":
        hardware = torch.cuda.get_device_name(args.device)
    record: dict[str, Any] = {
        "hardware": hardware,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "versions": {"torch": torch.__version__, "POT": version("POT"), "python": platform.python_version()},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    parts = {"static": static, "descent": descent, "scaling": scaling}
    for name, part in parts.items():
        if args.only in (None, name):
            record[name] = part(args)
    if args.only is None:
        args.out.mkdir(parents=True, exist_ok=True)
        suffix = "" if args.device == "cpu" else f"-{args.device}"
        (args.out / f"alignment{suffix}.json").write_text(json.dumps(record, indent=1) + "\n")
        (args.out / f"alignment{suffix}.md").write_text(table(record))
        plot(record["scaling"], args.out / f"alignment{suffix}.png")
    if args.json:
        print(json.dumps(record))
    elif "static" in record:
        print(table(record), file=sys.stderr)
    else:
        print(json.dumps(record, indent=1), file=sys.stderr)


if __name__ == "__main__":
    main()
