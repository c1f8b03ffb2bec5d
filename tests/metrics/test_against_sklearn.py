"""The same figures from scikit-learn, to 1e-12; closed forms where it has none."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from crosstune.metrics import all_metrics, get_metric

from .cases import case, case_for

CLASSIFICATION = {
    "error": lambda p, y: sk.zero_one_loss(y, p.argmax(1)),
    "accuracy": lambda p, y: sk.accuracy_score(y, p.argmax(1)),
    "balanced-error": lambda p, y: 1 - sk.balanced_accuracy_score(y, p.argmax(1)),
    "log-loss": lambda p, y: sk.log_loss(y, p, labels=range(p.shape[1])),
    "macro-f1": lambda p, y: sk.f1_score(y, p.argmax(1), average="macro"),
    "1-f1": lambda p, y: 1 - sk.f1_score(y, p.argmax(1), average="macro"),
    "kappa": lambda p, y: sk.cohen_kappa_score(y, p.argmax(1)),
    "1-auroc": lambda p, y: 1 - sk.roc_auc_score(y, p, multi_class="ovr"),
    "1-auroc-ovo": lambda p, y: 1 - sk.roc_auc_score(y, p, multi_class="ovo"),
    "1-auc": lambda p, y: 1 - sk.roc_auc_score(y, p, multi_class="ovo"),
    # each row a recording of one window, and a single chunk; both are tested elsewhere with more
    "1-f1-vote": lambda p, y: 1 - sk.f1_score(y, p.argmax(1), average="macro"),
    "shipped-1-f1-1000": lambda p, y: 1 - sk.f1_score(y, p.argmax(1), average="macro"),
    "shipped-error-1008": lambda p, y: sk.zero_one_loss(y, p.argmax(1)),
    "shipped-error-1024": lambda p, y: sk.zero_one_loss(y, p.argmax(1)),
}
OTHERS = {
    "multilabel": {
        "1-map": lambda p, y: 1 - sk.average_precision_score(y, p, average="macro"),
        "1-map-clips": lambda p, y: 1 - sk.average_precision_score(y, p, average="macro"),
        "1-auroc-multilabel": lambda p, y: 1 - sk.roc_auc_score(y, p, average="macro"),
        "shipped-1-auroc-multilabel-1008": lambda p, y: 1 - sk.roc_auc_score(y, p, average="macro"),
        "micro-f1": lambda p, y: sk.f1_score(y, p > 0.5, average="micro"),
        "hamming-error": lambda p, y: sk.hamming_loss(y, p > 0.5),
    },
    "regression": {
        "rmse": lambda p, y: sk.root_mean_squared_error(y, p),
        "nrmse": lambda p, y: np.mean(sk.root_mean_squared_error(y, p, multioutput="raw_values") / y.std(0)),
        "mae": lambda p, y: sk.mean_absolute_error(y, p),
        "r2": lambda p, y: sk.r2_score(y, p),
        "1-r2": lambda p, y: 1 - sk.r2_score(y, p),
        "shipped-1-r2-1008": lambda p, y: 1 - sk.r2_score(y, p),
    },
    "dense": {
        "nrmse-field": lambda p, y: np.mean([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(p, y)]),
        "relative-l2": lambda p, y: np.mean([np.sqrt(np.sum((a - b) ** 2) / np.sum(b**2)) for a, b in zip(p, y)]),
        "nrmse-channel": lambda p, y: np.mean(
            [
                sk.root_mean_squared_error(b.ravel(), a.ravel()) / np.sqrt(np.mean(b**2))
                for one, other in zip(p, y)
                for a, b in zip(one, other)
            ]
        ),
        "rmse-field": lambda p, y: np.sqrt(sk.mean_squared_error(y.ravel(), p.ravel())),
        "mae-field": lambda p, y: sk.mean_absolute_error(y.ravel(), p.ravel()),
        "mae8": lambda p, y: mae8(p, y, lambda upper, lower: (upper + lower) / 2),
        "mae8-upper": lambda p, y: mae8(p, y, lambda upper, lower: upper),
        "shipped-mae8": lambda p, y: mae8(p, y, lambda upper, lower: upper / 4 + 3 * lower / 4),
    },
}


def mae8(p, y, combine):
    """Pair by pair, in plain Python; proteins without a pair that counts are left out."""
    proteins = []
    for prediction, truth in zip(p[:, 0], y[:, 0]):
        pairs = [(j, k) for k in range(len(truth)) for j in range(k - 23) if truth[j, k] <= 8]
        errors = [abs(combine(prediction[j, k], prediction[k, j]) - truth[j, k]) for j, k in pairs]
        proteins += [np.mean(errors)] if errors else []
    return np.mean(proteins)


def counted(p, y):
    """Probabilities (m, K) and codes (m,) of the positions that count."""
    flat = np.concatenate([row.reshape(p.shape[1], -1).T for row in p])
    return flat[y.ravel() >= 0], y.ravel()[y.ravel() >= 0]


def on_positions(figure):
    return lambda p, y: figure(*counted(p, y))


OTHERS["segmentation"] = {
    "pixel-error": on_positions(lambda p, y: 1 - sk.accuracy_score(y, p.argmax(1))),
    "pixel-macro-f1": on_positions(lambda p, y: sk.f1_score(y, p.argmax(1), average="macro")),
    "mean-iou": on_positions(lambda p, y: sk.jaccard_score(y, p.argmax(1), average="macro")),
    "1-auroc-hard": on_positions(lambda p, y: 1 - sk.roc_auc_score(y, p[:, 1] > 0.5)),
    "official-1-auroc-hard": on_positions(lambda p, y: 1 - sk.roc_auc_score(y, p[:, 1] > expit(0.5))),
    "shipped-1-auroc-hard": lambda p, y: 1 - sk.roc_auc_score(y.ravel() == 1, ((p[:, 1] > 0.5) & (y >= 0)).ravel()),
    "fnr-mask": on_positions(lambda p, y: 1 - sk.recall_score(y, p[:, 1] > 0.5)),
    "1-auroc-pixels": on_positions(lambda p, y: 1 - sk.roc_auc_score(y, p[:, 1])),
}
WITNESSES = {"classification": CLASSIFICATION, **OTHERS}


def test_every_metric_has_a_witness():
    assert {name for table in WITNESSES.values() for name in table} == set(all_metrics())


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in WITNESSES.items() for name in table])
@pytest.mark.parametrize("rows", [20, 333])
def test_equal_to_the_witness(kind, name, rows):
    prediction, target = case_for(get_metric(name), kind, rows)
    expected = WITNESSES[kind][name](prediction, target)
    assert get_metric(name, kind).score(prediction, target) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_two_classes_use_the_second_as_positive():
    p, y = case("classification", 50, outputs=2)
    p[:, 1] = np.round(p[:, 1] * 64) / 64  # exact complements, so that both columns have the same ties
    p[:, 0] = 1 - p[:, 1]
    expected = 1 - sk.roc_auc_score(y, p[:, 1])
    assert get_metric("1-auroc").score(p, y) == pytest.approx(expected, abs=1e-12)
    assert get_metric("1-auroc-ovo").score(p, y) == pytest.approx(expected, abs=1e-12)


def test_labels_without_a_positive_are_left_out_of_mean_average_precision():
    p, y = case("multilabel", 40)
    y[:, 1] = 0
    kept = [0, 2]
    expected = 1 - sk.average_precision_score(y[:, kept], p[:, kept])
    assert get_metric("1-map").score(p, y) == pytest.approx(expected, abs=1e-12)
    assert "labels without one are left out" in get_metric("1-map").summary


def test_absent_classes_are_left_out_of_area_under_the_curve():
    p, y = case("classification", 60, outputs=4)
    p, y = p[y != 3], y[y != 3]
    expected = 1 - np.mean([sk.roc_auc_score(y == k, p[:, k]) for k in range(3)])
    assert get_metric("1-auroc").score(p, y) == pytest.approx(expected, abs=1e-12)


def test_constant_outputs():
    p, y = case("regression", 30)
    y[:, 0] = 7
    assert get_metric("r2").score(p, y) == pytest.approx(sk.r2_score(y, p), abs=1e-12)
    perfect = np.full((30, 1), 7.1)  # whose mean rounds to another number
    assert get_metric("r2").score(perfect, perfect) == 1
    assert get_metric("r2").score(perfect + 1, perfect) == 0
    expected = np.mean([np.sqrt(np.mean((p[:, k] - y[:, k]) ** 2)) / y[:, k].std() for k in (1, 2)])
    assert get_metric("nrmse").score(p, y) == pytest.approx(expected, rel=1e-12)


def test_positions_of_fields_that_are_unknown_do_not_count():
    p, y = case("dense", 40)
    y[np.random.default_rng(1).random(y.shape) < 0.3] = np.nan
    known = ~np.isnan(y)
    relative = [np.linalg.norm((a - b)[k]) / np.linalg.norm(b[k]) for a, b, k in zip(p, y, known)]
    assert get_metric("nrmse-field").score(p, y) == pytest.approx(np.mean(relative), rel=1e-12)
    assert get_metric("rmse-field").score(p, y) == pytest.approx(
        sk.root_mean_squared_error(y[known], p[known]), rel=1e-12
    )
    assert get_metric("mae-field").score(p, y) == pytest.approx(sk.mean_absolute_error(y[known], p[known]), rel=1e-12)
    p[~known] += 100
    assert get_metric("rmse-field").score(p, y) == pytest.approx(
        sk.root_mean_squared_error(y[known], p[known]), rel=1e-12
    )
