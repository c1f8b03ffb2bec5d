"""Metrics of benchmark tasks: votes, crops, distance maps, masks, and the figures of public code."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from crosstune.errors import DataError
from crosstune.metrics import all_metrics, get_metric
from crosstune.metrics.classification import Error
from crosstune.metrics.multilabel import OneMinusAurocMultilabel
from crosstune.metrics.shipped import ChunkMean

from .cases import case, case_for, one_hot


def test_recordings_are_judged_by_votes_and_ties_go_to_the_first_class():
    codes = [2, 2, 1, 0, 2, 2, 0, 1, 1]
    units = np.array([5, 5, 5, 8, 8, 8, 8, 2, 2])  # votes: 5 -> 2, 8 -> tie of 0 and 2 -> 0, 2 -> 1
    target = np.array([2, 2, 2, 2, 2, 2, 2, 1, 1])
    expected = 1 - sk.f1_score([1, 2, 2], [1, 2, 0], average="macro")
    value = get_metric("1-f1-vote").score(one_hot(np.array(codes), 4), target, units)
    assert value == pytest.approx(expected, abs=1e-12)
    assert value != pytest.approx(get_metric("1-f1").score(one_hot(np.array(codes), 4), target))


def test_votes_are_not_the_mean_probability():
    p = np.array([[0.55, 0.45], [0.55, 0.45], [0.0, 1.0]])  # two weak votes against one certain
    vote = get_metric("1-f1-vote").score(np.vstack([p, [[0.1, 0.9]]]), np.array([0, 0, 0, 1]), np.array([0, 0, 0, 1]))
    assert vote == 0
    assert p.mean(0).argmax() == 1


def test_crops_are_averaged_as_logits():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 6)) * 8
    units = rng.integers(0, 90, 400)
    numbers = np.unique(units)
    truth = (rng.random((90, 6)) < 0.3).astype(float)
    mean = np.stack([logits[units == u].mean(0) for u in numbers])
    expected = 1 - sk.average_precision_score(truth[numbers], mean)
    metric = get_metric("1-map-clips")
    assert metric.score(expit(logits), truth[units], units) == pytest.approx(expected, abs=1e-12)
    of_probabilities = np.stack([expit(logits[units == u]).mean(0) for u in numbers])
    assert expected != pytest.approx(1 - sk.average_precision_score(truth[numbers], of_probabilities), abs=1e-3)


def test_certain_crops_stay_finite():
    p = np.array([[0.0], [1.0], [1.0], [0.2]])
    assert get_metric("1-map-clips").score(p, np.array([[0], [0], [1], [1]]), np.array([0, 0, 1, 1])) == 0


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_area_under_the_curve_of_tables_is_that_of_scikit_learn(classes):
    p, y = case("classification", 90, 3, classes)
    expected = sk.roc_auc_score(y, p[:, 1]) if classes == 2 else sk.roc_auc_score(y, p, multi_class="ovo")
    assert get_metric("1-auc").score(p, y) == pytest.approx(1 - expected, abs=1e-12)


# -- distances between residues --------------------------------------------------------------------------------------


def walks(lengths, size, seed=0, border=5):
    """Distances of tight random walks on a padded canvas, and predictions without symmetry."""
    rng = np.random.default_rng(seed)
    target = np.full((len(lengths), 1, size, size), np.nan)
    for row, length in enumerate(lengths):
        walk = np.cumsum(0.8 * rng.normal(size=(length, 3)), axis=0)
        inside = slice(border, border + length)
        target[row, 0, inside, inside] = np.linalg.norm(walk[:, None] - walk[None], axis=-1) + 1
    prediction = np.nan_to_num(target, nan=7.0) + rng.normal(size=target.shape)
    return prediction, target


def public_mae8(prediction, target, first, border=5):
    """One protein, step by step and in place, as public code goes about it; ``first``: length of the first one."""
    p = prediction[border : border + first, border : border + first].copy()
    y = target[border : border + first, border : border + first]
    for step in range(2):
        for j in range(len(p)):
            for k in range(j + 1, len(p)):
                p[j, k] = (p[j, k] + p[k, j]) / 2
        if step == 0:
            p[p < 0.01] = 0.01
    pairs = [(j, k) for j in range(len(p)) for k in range(j + 24, len(p)) if y[j, k] <= 8]
    return np.mean([abs(p[j, k] - y[j, k]) for j, k in pairs]) if pairs else np.nan


def test_positions_outside_a_protein_do_not_count():
    prediction, target = walks([40, 61, 80], 96)
    wild = np.where(np.isnan(target), 1e6, prediction)
    proteins = []
    for p, y in zip(prediction[:, 0], target[:, 0]):
        j, k = np.nonzero(np.nan_to_num(y, nan=99) <= 8)
        far = k - j >= 24
        j, k = j[far], k[far]
        proteins.append(np.abs((p[j, k] + p[k, j]) / 2 - y[j, k]).mean())
    for name in ("mae8", "mae8-upper", "shipped-mae8"):
        assert get_metric(name).score(wild, target) == get_metric(name).score(prediction, target)
    assert get_metric("mae8").score(prediction, target) == pytest.approx(np.mean(proteins), rel=1e-12)


def test_a_protein_without_far_contacts_is_left_out():
    prediction, target = walks([40, 61], 80)
    target[0] += 8  # NaN stays NaN
    for name in ("mae8", "mae8-upper", "shipped-mae8"):
        alone = get_metric(name).score(prediction[::-1], target[::-1])
        assert alone == pytest.approx(get_metric(name).score(prediction[1:], target[1:]), rel=1e-12)
    with pytest.raises(DataError, match="'mae8' is undefined for these 1 rows"):
        get_metric("mae8").score(prediction[:1], target[:1])


@pytest.mark.parametrize("lengths", [[40, 61, 80], [80, 40, 61]])
def test_public_code_cuts_every_protein_to_the_first(lengths):
    prediction, target = walks(lengths, 96, seed=4)
    prediction[:, :, 10:40, 30:60] -= 9  # some predictions below the floor
    expected = [public_mae8(p[0], y[0], lengths[0]) for p, y in zip(prediction, target)]
    metric = get_metric("shipped-mae8")
    assert metric.score(prediction, target) == pytest.approx(np.nanmean(expected), rel=1e-12)
    one_by_one = metric.start()
    for row in range(3):
        one_by_one.update(prediction[row : row + 1], target[row : row + 1])
    assert one_by_one.compute() == metric.score(prediction, target)
    own = [public_mae8(p[0], y[0], length) for p, y, length in zip(prediction, target, lengths)]
    assert (np.mean(own) == pytest.approx(metric.score(prediction, target), rel=1e-6)) == (lengths[0] == 80)


def test_distance_errors_need_one_square_map():
    with pytest.raises(DataError, match=r"one square map of distances per row, \(n, 1, S, S\), got \(2, 3, 4, 4\)"):
        get_metric("mae8").score(np.ones((2, 3, 4, 4)), np.ones((2, 3, 4, 4)))


# -- masks -----------------------------------------------------------------------------------------------------------


def test_masks_under_three_thresholds():
    logits = np.array([[-1.0, 0.2, 0.4, 0.9, 0.3, 2.0]])
    target = np.array([[0, 0, 1, 1, -1, 1]])
    p = np.stack([1 - expit(logits), expit(logits)], axis=1)
    values = {name: get_metric(name).score(p, target) for name in ("1-auroc-hard", "fnr-mask")}
    assert values == {"1-auroc-hard": 0.25, "fnr-mask": 0}  # one false alarm in two, nothing missed
    official = get_metric("official-1-auroc-hard").score(p, target)
    assert official == pytest.approx((0 + 1 / 3) / 2)  # 0.2 is below one half, and so is 0.4
    shipped = get_metric("shipped-1-auroc-hard").score(p, target)
    assert shipped == pytest.approx((1 / 3 + 0) / 2)  # the ignored position is one more true negative
    soft = get_metric("1-auroc-pixels").score(p, target)
    assert soft == 0  # the order of the scores is right, wherever the threshold is


def test_masks_of_three_classes_are_refused():
    p, y = case("segmentation", 5, outputs=3)
    for name in ("official-1-auroc-hard", "shipped-1-auroc-hard", "fnr-mask"):
        with pytest.raises(DataError, match="is undefined"):
            get_metric(name).score(p, y)


# -- chunks ----------------------------------------------------------------------------------------------------------


def test_chunks_weigh_the_same_however_short():
    target = np.arange(25) % 2
    p = one_hot(np.where(np.arange(25) >= 20, 1 - target, target), 2)  # the last five rows are wrong
    metric = ChunkMean(Error(), 10, "in-tens")
    assert metric.score(p, target) == pytest.approx((0 + 0 + 1) / 3)
    assert Error().score(p, target) == 0.2
    for cuts in ([3], [10, 20], [1, 2, 3, 24]):
        accumulator = metric.start()
        for rows in np.split(np.arange(25), cuts):
            accumulator.update(p[rows], target[rows])
        assert accumulator.compute() == metric.score(p, target)
    assert metric.score(p[::-1], target[::-1]) == pytest.approx((0.5 + 0 + 0) / 3)


def test_labels_without_both_values_are_left_out_of_a_chunk():
    p, y = case("multilabel", 60)
    y[:20, 1] = 0
    value = ChunkMean(OneMinusAurocMultilabel(), 20, "in-twenties").score(p, y)
    first = np.mean([sk.roc_auc_score(y[:20, k], p[:20, k]) for k in (0, 2)])
    others = [sk.roc_auc_score(y[at : at + 20], p[at : at + 20]) for at in (20, 40)]
    assert value == pytest.approx(1 - np.mean([first, *others]), abs=1e-12)


def test_chunks_of_public_code():
    chunks = {name: metric.chunk for name, metric in all_metrics().items() if isinstance(metric, ChunkMean)}
    assert {f"{-(-1000 // batch) * batch}" for batch in (4, 16, 28, 32)} == {str(chunk) for chunk in chunks.values()}
    assert all(name.endswith(str(chunk)) for name, chunk in chunks.items())
    p, y = case("classification", 2500)
    expected = np.mean([1 - (p[at : at + 1008].argmax(1) == y[at : at + 1008]).mean() for at in (0, 1008, 2016)])
    assert get_metric("shipped-error-1008").score(p, y) == pytest.approx(expected, abs=1e-12)


# -- remarks ---------------------------------------------------------------------------------------------------------


def test_what_takes_no_part_is_said():
    p, y = case("multilabel", 30, outputs=12)
    assert get_metric("1-auroc-multilabel").remark(p, y) is None
    y[:, [2, 5]], y[:, 7] = 0, 1
    said = "labels that are the same in every row left out: 2, 5, 7"
    assert get_metric("1-auroc-multilabel").remark(p, y) == f"3 of 12 {said}"
    assert get_metric("shipped-1-auroc-multilabel-1008").remark(p, y) == f"3 of 12 {said}"
    assert get_metric("1-map").remark(p, y) == "2 of 12 labels without a positive row left out: 2, 5"
    assert get_metric("1-map-clips").remark(p, y, np.arange(30)) == get_metric("1-map").remark(p, y)
    y[:] = 0
    assert (
        get_metric("1-map").remark(p, y)
        == "12 of 12 labels without a positive row left out: 0, 1, 2, 3, 4, 5, 6, 7, ..."
    )


def test_absent_classes_and_proteins_without_contacts_are_said():
    p, y = case("classification", 30, outputs=4)
    assert get_metric("1-auc").remark(p, y) is None
    assert get_metric("1-auc").remark(p, np.minimum(y, 1)) == "2 of 4 classes do not occur and were left out"
    prediction, target = walks([40, 61], 80)
    target[0] += 8
    for name in ("mae8", "shipped-mae8"):
        assert get_metric(name).remark(prediction, target) == "1 of 2 proteins have no far contact and were left out"


@pytest.mark.parametrize("name", all_metrics())
def test_most_figures_need_no_remark(name):
    metric = get_metric(name)
    assert metric.remark(*case_for(metric, metric.kinds[0], 40)) is None
