"""crosstune doctor"""

from __future__ import annotations

from typing import Any

import typer

from crosstune.cli import common


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(json: common.Json = False) -> None:
    """What this installation can do, and what is missing for the rest. Exit code 4 without pretrained weights."""
    checks = _checks()
    if json:
        common.emit(checks)
    else:
        for check in checks:
            mark = "ok     " if check["ok"] else "missing"
            print(f"{mark} {check['name']}: {check['detail']}" + ("" if check["ok"] else f"\n        {check['fix']}"))
    if not all(check["ok"] for check in checks if check["required"]):
        raise typer.Exit(4)


def _checks() -> list[dict[str, Any]]:
    import importlib.util
    import os
    import shutil

    import torch

    from crosstune.backbones import load_backbone, named
    from crosstune.errors import WeightsError
    from crosstune.experiment.circumstances import versions
    from crosstune.experiment.source import cache_folder

    rows: list[dict[str, Any]] = []

    def add(name: str, ok: bool, detail: str, fix: str = "", required: bool = False) -> None:
        rows.append({"name": name, "ok": ok, "detail": detail, "fix": fix, "required": required})

    add("versions", True, ", ".join(f"{k} {v}" for k, v in versions().items()))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    add("compute", True, f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    # the embedded pair is enough to work with; MiniLM is what is taken where it is there
    carried = [name for name in ("tiny-sequence", "tiny-grid") if name in named()]
    for name in (*carried, "minilm"):
        needed = name in carried or not carried
        try:
            info = load_backbone(name).info
            add(f"weights {name}", True, f"{info.origin}, sha256 {str(info.sha256)[:16]} verified", required=needed)
        except WeightsError as problem:
            add(f"weights {name}", False, problem.problem, problem.fix or "", required=needed)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    add("cache", writable, str(folder), "set CROSSTUNE_CACHE to a folder you can write to")
    for extra, module, purpose in (
        ("floors", "aeon", "MiniRocket, MultiRocket-Hydra (and, with catboost, CatBoost) floors"),
        ("peft", "peft", "LoRA"),
        ("hub", "datasets", "hub data"),
    ):
        present = importlib.util.find_spec(module) is not None
        add(f"extra {extra}", present, purpose, f"pip install 'crosstune[{extra}]'")
    browser = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    add("browser", browser is not None, browser or "only needed to test reports", "apt-get install chromium")
    return rows
