"""Tokens and samples per second through a training step (forward + backward), as ratios within one run.

    python bench/throughput.py              table on stderr, files in bench/results/
    python bench/throughput.py --json       the record on stdout
    python bench/throughput.py --tiny       toy bodies: does it run at all?

The same data through the same model in three settings, in turns: what the public RECRAFT code runs (4 rows at a time,
float32; 512 tokens for RoBERTa, 56 x 56 tokens in windows of 7 x 7 for Swin), our defaults in float32, and our defaults
(batch and tokens per sample of this program, precision "auto"). Bodies: MiniLM, and random weights of the shapes of
RoBERTa-base and Swin-base. Embedder, head and loss are part of the step; the optimiser is not.

Lower precision must not cost training: 30 steps on the handwritten digits, in float32 and in bfloat16, for several
seeds; the difference between the two is put beside the one between seeds. The head starts at zero and rates are high:
behind a closed-form head the loss on training rows is nearly nothing from the start, and no difference would show.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crosstune.assembly import build_model, plan_model
from crosstune.backbones import load_backbone
from crosstune.backbones.contract import Body
from crosstune.backbones.load import families
from crosstune.data import from_arrays
from crosstune.metrics import default_metric
from crosstune.nn.devices import describe_device, resolve_device
from crosstune.nn.losses import make_objective
from crosstune.records import Dataset
from crosstune.seeding import Streams
from crosstune.stages import fit
from crosstune.stages.fit import FitConfig
from crosstune.stages.machine import Machine
from crosstune.stages.monitor import Monitor
from crosstune.stages.precision import Trial, choose
from crosstune.stages.state import State
from crosstune.stages.stepping import Stepper

OUT = Path(__file__).parent / "results"
REFERENCE_ROWS = 4

ROBERTA_BASE = {
    "vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1,
}  # fmt: skip
SWIN_BASE = {
    "embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "window_size": 7, "image_size": 224,
    "patch_size": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A body and data for it. shape: of a sample; tokens: per sample, as the public code has them."""

    name: str
    family: str
    config: dict[str, Any] | None  # None: the pretrained MiniLM
    shape: tuple[int, ...]
    tokens: int

    def body(self) -> Body:
        if self.config is None:
            return load_backbone("minilm").body
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return families()[self.family].build(self.config)


CASES = (
    Case("MiniLM", "bert", None, (1, 2040), 512),
    Case("RoBERTa-base shape", "roberta", ROBERTA_BASE, (1, 2040), 512),
    Case("Swin-base shape", "swin", SWIN_BASE, (3, 224, 224), 56 * 56),
)


def tiny() -> tuple[Case, ...]:
    twins = {name: families()[name].twin() for name in ("bert", "roberta", "swin")}
    return (
        Case("tiny BERT", "bert", twins["bert"], (1, 256), 64),
        Case("tiny RoBERTa", "roberta", twins["roberta"], (1, 256), 64),
        Case("tiny Swin", "swin", twins["swin"], (3, 32, 32), 16 * 16),
    )


def made_up(shape: tuple[int, ...], rows: int) -> Dataset:
    """Smooth enough noise in four classes: only its shape matters."""
    rng = np.random.default_rng(0)
    return from_arrays(rng.normal(size=(rows, *shape)).astype(np.float32), np.arange(rows) % 4, task="classification")


@dataclass
class Setting:
    """One way to run a case: a stepper and the rows it takes at a time."""

    name: str
    stepper: Stepper
    rows: np.ndarray
    tokens: int
    note: str

    def step(self) -> float:
        """Seconds of one forward and backward pass."""
        device = self.stepper.model.device
        began = time.perf_counter()
        self.stepper.gradients(self.rows)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began


def settings_of(case: Case, device: torch.device) -> list[Setting]:
    body, config = case.body(), FitConfig()
    data = made_up(case.shape, config.batch_size)
    found = []
    for name, tokens, rows in (
        ("public code", case.tokens, REFERENCE_ROWS),
        ("ours, float32", None, config.batch_size),
        ("ours", None, config.batch_size),
    ):
        plan = plan_model(data, body, tokens=tokens, linear_part=False)
        model = build_model(plan, body, data, token_rms=0.05).to(device).eval()
        assert data.y is not None
        stepper = Stepper(model, make_objective("classification", data.y, 4), data, rows, Machine(device))
        x = torch.from_numpy(data.X[:1]).to(device)
        count = int(model.tokens(x)[1].sum())
        note = "float32"
        if name == "ours":
            note = ""
        found.append(Setting(name, stepper, np.arange(rows), count, note))
        if name == "ours":
            settle(found[-1], case.name)
    return found


def settle(setting: Setting, key: str) -> None:
    """The precision as ``fit`` finds it: asked of the device, or of the first steps."""
    chosen, trial = choose("auto", setting.stepper.model.device, timed=True), Trial((key,))
    while chosen is None:
        setting.stepper.dtype = trial.dtype
        trial.record(setting.step())
        chosen = trial.choice
    setting.stepper.dtype, setting.note = chosen.dtype, f"{chosen.precision}: {chosen.why}"


def measure(case: Case, repeats: int, device: torch.device) -> dict[str, Any]:
    """Medians over repeats taken in turns, so that a slow minute meets all settings."""
    settings = settings_of(case, device)
    for setting in settings:
        setting.step()  # the first pass plans kernels
    times: dict[str, list[float]] = {setting.name: [] for setting in settings}
    for _ in range(repeats):
        for setting in settings:
            times[setting.name].append(setting.step())
    rows = []
    for setting in settings:
        seconds = statistics.median(times[setting.name])
        rows.append(
            {
                "setting": setting.name, "rows": len(setting.rows), "tokens": setting.tokens, "precision": setting.note,
                "seconds": seconds, "spread": [min(times[setting.name]), max(times[setting.name])],
                "tokens_per_second": len(setting.rows) * setting.tokens / seconds,
                "samples_per_second": len(setting.rows) / seconds,
            }
        )  # fmt: skip
    for row in rows:
        for what in ("tokens_per_second", "samples_per_second"):
            row[f"{what}_ratio"] = row[what] / rows[0][what]
    parameters = sum(p.numel() for p in settings[0].stepper.model.body.parameters())
    return {"case": case.name, "parameters": parameters, "repeats": repeats, "settings": rows}


# -- what lower precision costs -------------------------------------------------------------------------------------


class Curve(Monitor):
    """Keeps the losses of the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def event(self, kind: str, **values: Any) -> None:
        if kind == "step":
            self.losses.append(float(values["loss"]))


def digits(rows: int) -> tuple[Dataset, Dataset]:
    from sklearn.datasets import load_digits

    images, target = load_digits(return_X_y=True)
    data = from_arrays(images.reshape(-1, 1, 8, 8).astype(np.float32), target, task="classification")
    order = np.random.default_rng(0).permutation(len(data))
    return data.take(order[:rows]), data.take(order[rows : rows + 200])


def curve(precision: str, seed: int, *, name: str, rows: int, steps: int, device: torch.device) -> list[float]:
    train, validation = digits(rows)
    backbone = load_backbone(name).to(device)
    model = build_model(
        plan_model(train, backbone.body, embedder_seed=seed, linear_part=False),
        backbone.body,
        train,
        token_rms=backbone.token_rms(),
    ).to(device)
    monitor = Curve()
    state = State(model, backbone, train, validation, default_metric("classification"), monitor)
    config = FitConfig(
        max_steps=steps, precision=precision, patience=100, head_init="zero", body_rate=1e-4, embedder_rate=1e-3,  # type: ignore[arg-type]
        head_rate=2.0, warmup_steps=5,
    )  # fmt: skip
    fit.run(state, config, streams=Streams(seed))
    return monitor.losses


def curves(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Losses of every step in both precisions; the mean of the last third, by seed."""
    name, rows, steps = ("twin-bert", 100, 9) if args.tiny else ("minilm", 600, 30)
    found = {
        precision: [
            curve(precision, seed, name=name, rows=rows, steps=steps, device=device) for seed in range(args.seeds)
        ]
        for precision in ("fp32", "bf16")
    }
    ends = {p: [statistics.fmean(losses[-(steps // 3) :]) for losses in found[p]] for p in found}
    gaps = [low - full for low, full in zip(ends["bf16"], ends["fp32"], strict=True)]
    return {
        "body": name, "rows": rows, "steps": steps, "losses": found, "last_third": ends,
        "difference": statistics.fmean(gaps), "largest_difference": max(abs(gap) for gap in gaps),
        "spread_of_seeds": statistics.stdev(ends["fp32"]) if args.seeds > 1 else None,
    }  # fmt: skip


# -- the record -----------------------------------------------------------------------------------------------------


def table(record: dict[str, Any]) -> str:
    lines = [
        "# Training steps: forward + backward",
        "",
        f"{record['hardware']}; torch {record['versions']['torch']}, {record['threads']} threads, load "
        f"{record['load']:.1f}. Written by `python bench/throughput.py`.",
        "",
        "| body | setting | rows x tokens | precision | s (range) | tokens/s | ratio | samples/s | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in record.get("cases", []):
        for row in case["settings"]:
            low, high = row["spread"]
            lines.append(
                f"| {case['case']} | {row['setting']} | {row['rows']} x {row['tokens']:,} | {row['precision']} | "
                f"{row['seconds']:.3f} ({low:.3f} to {high:.3f}) | {row['tokens_per_second']:,.0f} | "
                f"{row['tokens_per_second_ratio']:.2f} | {row['samples_per_second']:.2f} | "
                f"{row['samples_per_second_ratio']:.2f} |"
            )
    if "curves" in record:
        found = record["curves"]
        spread = found["spread_of_seeds"]
        lines += [
            "",
            f"Loss over the last third of {found['steps']} steps on {found['rows']:,} digits ({found['body']}), "
            f"{len(found['last_third']['fp32'])} seeds: float32 {statistics.fmean(found['last_third']['fp32']):.4f}, "
            f"bfloat16 {statistics.fmean(found['last_third']['bf16']):.4f}; "
            f"mean difference {found['difference']:+.4f}, largest {found['largest_difference']:.4f}"
            + ("." if spread is None else f"; standard deviation between float32 seeds {spread:.4f}."),
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the record on stdout")
    parser.add_argument("--tiny", action="store_true", help="toy bodies; nothing is written unless --out is given")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps per setting")
    parser.add_argument("--seeds", type=int, default=3, help="of the loss curves; 0 leaves them out")
    parser.add_argument("--only", help="run the cases whose name holds this text")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help=f"folder for throughput.json and .md ({OUT.name})")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = resolve_device(args.device)
    record: dict[str, Any] = {
        "hardware": (platform.processor() or platform.machine()) if device.type == "cpu" else describe_device(device),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cases": [],
    }
    for case in tiny() if args.tiny else CASES:
        if args.only is None or args.only.lower() in case.name.lower():
            print(f"{case.name} ...", file=sys.stderr)
            record["cases"].append(measure(case, args.repeats, device))
    if args.seeds:
        print("loss curves ...", file=sys.stderr)
        record["curves"] = curves(args, device)
    out = args.out or (None if args.tiny or args.only else OUT)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        suffix = "" if device.type == "cpu" else f"-{device.type}"
        (out / f"throughput{suffix}.json").write_text(json.dumps(record, indent=1) + "\n")
        (out / f"throughput{suffix}.md").write_text(table(record))
    print(json.dumps(record) if args.json else table(record), file=sys.stdout if args.json else sys.stderr)


if __name__ == "__main__":
    main()
