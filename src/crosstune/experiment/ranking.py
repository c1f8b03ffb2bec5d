"""Scoring pretrained backbones for a data set before any fine-tuning: the bound, LEEP, LogME, H-score."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import kendalltau

from crosstune.assembly import build_model, plan_model
from crosstune.backbones import load_backbone
from crosstune.data import split
from crosstune.errors import DataError
from crosstune.experiment.bounding import measure, target_features, trained_source
from crosstune.methods import get_method
from crosstune.metrics import default_metric
from crosstune.nn.devices import resolve_device
from crosstune.records import Dataset, Split
from crosstune.seeding import Streams
from crosstune.stages.align import target_labels
from crosstune.stages.start import start_embedder
from crosstune.stages.state import State


def log_evidence(features: np.ndarray, targets: np.ndarray, *, iterations: int = 50) -> float:
    """LogME: mean log evidence per row of Bayesian linear models of each target column on features (n, d); higher is
    better. Fixed-point iteration on the prior and noise precisions (You et al., ICML 2021, arXiv 2102.11005)."""
    n, d = features.shape
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    sigma = s**2
    total = 0.0
    for y in targets.T:
        projected = (u.T @ y) ** 2
        outside = max(0.0, float(y @ y - projected.sum()))
        alpha, beta = 1.0, 1.0
        for _ in range(iterations):
            gamma = float((beta * sigma / (alpha + beta * sigma)).sum())
            weight = float((beta**2 * sigma * projected / (alpha + beta * sigma) ** 2).sum())
            residual = float((projected * alpha**2 / (alpha + beta * sigma) ** 2).sum()) + outside
            new = gamma / max(weight, 1e-12), (n - gamma) / max(residual, 1e-12)
            if np.allclose(new, (alpha, beta), rtol=1e-4):
                break
            alpha, beta = new
        weight = float((beta**2 * sigma * projected / (alpha + beta * sigma) ** 2).sum())
        residual = float((projected * alpha**2 / (alpha + beta * sigma) ** 2).sum()) + outside
        determinant = float(np.log(alpha + beta * sigma).sum()) + (d - len(sigma)) * np.log(alpha)
        total += 0.5 * (
            d * np.log(alpha)
            + n * np.log(beta)
            - determinant
            - beta * residual
            - alpha * weight
            - n * np.log(2 * np.pi)
        )
    return total / (n * targets.shape[1])


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """tr(cov(f)^-1 cov(E[f|label])): higher is better (Bao et al., ICIP 2019). The covariance is shrunk (Ledoit-Wolf),
    without which the score is meaningless when d is not far below n (Ibrahim et al. 2021)."""
    from sklearn.covariance import LedoitWolf

    centred = features - features.mean(0)
    means = np.zeros_like(centred)
    for label in np.unique(labels):
        means[labels == label] = centred[labels == label].mean(0)
    between = means.T @ means / len(means)
    return float(np.trace(np.linalg.solve(LedoitWolf(assume_centered=True).fit(centred).covariance_, between)))


def default_ranking() -> list[str]:
    """What is ranked when nothing is named: what would be taken by default, the embedded pair, and a random body."""
    from crosstune.backbones.load import default_backbone, named

    names = [default_backbone(), *(name for name in ("tiny-sequence", "tiny-grid") if name in named()), "twin-bert"]
    return list(dict.fromkeys(names))


def rank(
    dataset: Dataset, backbones: list[str], *, errors: dict[str, float] | None = None, seed: int = 0, rows: int = 1000,
    parts: Split | None = None, proxy: str = "auto", device: str = "auto",
) -> dict[str, Any]:  # fmt: skip
    """Score every backbone on the training part of the data (labels needed; the test part is not touched). parts: the
    split of a task, else one is carved. proxy: labelled source data, "auto" (by each body's modality), "none", a name
    or a path. device: where the bodies compute.

    Every body is seen through the embedder that a fit by ``recraft`` would begin with.

    Gives {"backbones": [...], "correlation": {...}}: per backbone the bound with its terms (nats; lower is better),
    -LEEP (lower is better), LogME and H-score (higher is better), sorted by the bound; and, where ``errors`` of
    fine-tuned models are known for at least three of them, Kendall's rank correlation of each score with the error.
    The bound needs a labelled proxy: with "none" it and its terms are None, and LogME sorts.
    Raises DataError without a target, WeightsError for a backbone that is not to be had.
    """
    if dataset.y is None or dataset.kind is None:
        raise DataError("the data have no target", fix="pass --target NAME")
    parts = parts or split(dataset, seed=0)
    train = dataset.take(parts.train)
    some = train.take(np.arange(len(train))[:: max(1, len(train) // rows)][:rows])
    streams = Streams(seed)
    labels = target_labels(train, 10, streams.seed_for("clusters") % 2**31)[:: max(1, len(train) // rows)][:rows]
    entries = [_score(name, train, some, labels, seed, proxy, device) for name in backbones]
    entries.sort(key=lambda e: -e["logme"] if e["bound"] is None else e["bound"])
    return {
        "data": dataset.name,
        "rows": len(some),
        "proxy": proxy,
        "backbones": entries,
        "correlation": _correlations(entries, errors or {}),
    }


BOUND_KEYS = ("bound", "err_s", "alignment", "distortion", "neg_leep", "spread_ratio")


def _score(
    name: str, train: Dataset, some: Dataset, labels: np.ndarray, seed: int, proxy: str, device: str
) -> dict[str, Any]:  # fmt: skip
    streams = Streams(seed)
    backbone = load_backbone(name).to(resolve_device(device))
    config = plan_model(train, backbone.body, linear_part=False, embedder_seed=streams.seed_for("embedder") % 2**31)
    model = build_model(config, backbone.body, train, token_rms=backbone.token_rms())
    model.to(backbone.device)
    assert train.kind is not None
    # the embedder as a fit would begin with it
    state = State(model=model, backbone=backbone, train=train, validation=some, metric=default_metric(train.kind))
    start_embedder(state, get_method("recraft").start)
    bounded: dict[str, Any] = dict.fromkeys(BOUND_KEYS) | {"converged": None, "intervals": {}, "source": None}
    if proxy != "none":
        bank, predictor = trained_source(backbone, proxy, model, train, labels="clusters:40", tau=1.0, seed=seed)
        report = measure(model, backbone.body, bank, predictor, some, labels, with_error=False)
        terms = report.as_dict()["terms"]
        bounded = {key: terms[key]["value"] for key in BOUND_KEYS} | {
            "converged": report.converged, "source": bank.name,
            "intervals": {k: [terms[k]["low"], terms[k]["high"]] for k in ("bound", "neg_leep")},
        }  # fmt: skip
    features = target_features(model, backbone.body, some)
    array = features.double().numpy()
    array = array - array.mean(0)
    onehot = np.eye(int(labels.max()) + 1)[labels]
    return {
        "name": name, "modality": backbone.modality, **bounded, "logme": log_evidence(array, onehot),
        "h_score": h_score(array, labels), "parameters": backbone.info.parameters,
    }  # fmt: skip


def _correlations(entries: list[dict[str, Any]], errors: dict[str, float]) -> dict[str, Any]:
    known = [e for e in entries if e["name"] in errors]
    if len(known) < 3:
        return {}
    truth = [errors[e["name"]] for e in known]
    signs = {"bound": 1, "neg_leep": 1, "logme": -1, "h_score": -1}
    return {
        key: float(kendalltau([s * e[key] for e in known], truth).statistic)
        for key, s in signs.items()
        if all(e[key] is not None for e in known)
    }


def render(result: dict[str, Any]) -> str:
    """The ranking as a plain table."""
    distortion = "H(z'|z)"
    lines = [
        f"{'backbone':24} {'bound':>8} {'err_s':>7} {'tau*W1':>7} {distortion:>7} {'-LEEP':>7} {'LogME':>8} "
        f"{'H-score':>8}"
    ]
    columns = (
        ("bound", 8),
        ("err_s", 7),
        ("alignment", 7),
        ("distortion", 7),
        ("neg_leep", 7),
        ("logme", 8),
        ("h_score", 8),
    )
    for e in result["backbones"]:
        cells = (f"{'-':>{width}}" if e[key] is None else f"{e[key]:{width}.3f}" for key, width in columns)
        lines.append(f"{e['name']:24} " + " ".join(cells))
    lines.append(
        "bound = err_s + tau*W1 + H(z'|z) and -LEEP in nats, lower is better; LogME and H-score: higher is better"
    )
    if any(e["bound"] is None for e in result["backbones"]):
        lines.append(
            "The bound needs a labelled source proxy, and --proxy none gives none: sorted by LogME. Use --proxy auto, "
            "or --proxy PATH with labelled data of the body's own modality."
        )
    for key, value in result["correlation"].items():
        lines.append(f"Kendall rank correlation with the fine-tuned error, {key}: {value:+.2f}")
    return "\n".join(lines)
