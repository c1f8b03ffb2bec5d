"""Scoring pretrained backbones for a data set before any fine-tuning: the bound, LEEP, LogME, H-score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from crosstune.assembly import batch, build_model, chunks, plan_model
from crosstune.backbones import load_backbone
from crosstune.bound import bound_report
from crosstune.data import split
from crosstune.errors import DataError
from crosstune.experiment.arms import _token_rms
from crosstune.experiment.source import source_bank
from crosstune.metrics import default_metric
from crosstune.records import Dataset
from crosstune.seeding import Streams
from crosstune.stages import source_head
from crosstune.stages.align import target_labels, token_means
from crosstune.stages.source_head import SourceHeadConfig
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


@torch.no_grad()
def _target_features(model: Any, body: Any, part: Dataset) -> torch.Tensor:
    out = []
    for some in chunks(len(part), 64):
        x, lengths, _ = batch(part, some)
        tokens, mask = model.tokens(x, lengths)
        out.append(token_means(body.eval()(tokens, mask)[-1], mask))
    return torch.cat(out)


def rank(
    dataset: Dataset, backbones: list[str], *, errors: dict[str, float] | None = None, seed: int = 0, rows: int = 1000
) -> dict[str, Any]:
    """Score every backbone on the training part of the data (labels needed; the test part is not touched).

    Gives {"backbones": [...], "correlation": {...}}: per backbone the bound with its terms (nats; lower is better),
    -LEEP (lower is better), LogME and H-score (higher is better), sorted by the bound; and, where ``errors`` of
    fine-tuned models are known for at least three of them, Kendall's rank correlation of each score with the error.
    Raises DataError without a target, WeightsError for a backbone that is not to be had.
    """
    if dataset.y is None or dataset.kind is None:
        raise DataError("the data have no target", fix="pass --target NAME")
    parts = split(dataset, seed=0)
    train = dataset.take(parts.train)
    some = train.take(np.arange(len(train))[:: max(1, len(train) // rows)][:rows])
    streams = Streams(seed)
    labels = target_labels(train, 10, streams.seed_for("clusters") % 2**31)[:: max(1, len(train) // rows)][:rows]
    entries = [_score(name, train, some, labels, seed) for name in backbones]
    entries.sort(key=lambda e: e["bound"])
    return {
        "data": dataset.name,
        "rows": len(some),
        "backbones": entries,
        "correlation": _correlations(entries, errors or {}),
    }


def _score(name: str, train: Dataset, some: Dataset, labels: np.ndarray, seed: int) -> dict[str, Any]:
    streams = Streams(seed)
    backbone = load_backbone(name)
    bank = source_bank(backbone, "documentation")
    config = plan_model(train, backbone.body, linear_part=False, embedder_seed=streams.seed_for("embedder") % 2**31)
    model = build_model(config, backbone.body, train, token_rms=_token_rms(backbone, bank))
    state = State(model, backbone, train, train, default_metric(train.kind), source=bank)  # type: ignore[arg-type]
    state, _ = source_head.run(state, SourceHeadConfig(labels="clusters:40"), streams=streams)
    assert state.source is not None
    assert state.predictor is not None
    features = _target_features(model, backbone.body, some)
    held = state.source.holdout
    report = bound_report(
        source_features=state.source.hidden[held], source_labels=state.source.labels[held], target_features=features,
        target_labels=torch.from_numpy(labels), head_weight=state.predictor.weight, head_bias=state.predictor.bias,
        bootstrap=100,
    )  # fmt: skip
    terms = report.as_dict()
    terms = terms.get("terms", terms)
    array = features.double().numpy()
    array = array - array.mean(0)
    onehot = np.eye(int(labels.max()) + 1)[labels]
    value = lambda key: terms[key]["value"]  # noqa: E731
    return {
        "name": name, "bound": value("bound"), "err_s": value("err_s"), "alignment": value("alignment"),
        "distortion": value("distortion"), "neg_leep": value("neg_leep"), "logme": log_evidence(array, onehot),
        "h_score": h_score(array, labels), "spread_ratio": value("spread_ratio"), "converged": report.converged,
        "intervals": {k: [terms[k]["low"], terms[k]["high"]] for k in ("bound", "neg_leep")},
        "parameters": replace(backbone.info).parameters,
    }  # fmt: skip


def _correlations(entries: list[dict[str, Any]], errors: dict[str, float]) -> dict[str, Any]:
    known = [e for e in entries if e["name"] in errors]
    if len(known) < 3:
        return {}
    truth = [errors[e["name"]] for e in known]
    signs = {"bound": 1, "neg_leep": 1, "logme": -1, "h_score": -1}
    return {key: float(kendalltau([s * e[key] for e in known], truth).statistic) for key, s in signs.items()}


def render(result: dict[str, Any]) -> str:
    """The ranking as a plain table."""
    distortion = "H(z'|z)"
    lines = [
        f"{'backbone':24} {'bound':>8} {'err_s':>7} {'tau*W1':>7} {distortion:>7} {'-LEEP':>7} {'LogME':>8} "
        f"{'H-score':>8}"
    ]
    for e in result["backbones"]:
        lines.append(
            f"{e['name']:24} {e['bound']:8.3f} {e['err_s']:7.3f} {e['alignment']:7.3f} {e['distortion']:7.3f} "
            f"{e['neg_leep']:7.3f} {e['logme']:8.3f} {e['h_score']:8.3f}"
        )
    lines.append(
        "bound = err_s + tau*W1 + H(z'|z) and -LEEP in nats, lower is better; LogME and H-score: higher is better"
    )
    for key, value in result["correlation"].items():
        lines.append(f"Kendall rank correlation with the fine-tuned error, {key}: {value:+.2f}")
    return "\n".join(lines)
