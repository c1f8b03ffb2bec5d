import math

import numpy as np

from crosstune.experiment.scoring import scores_of
from crosstune.records import Dataset


def test_labels_left_out_of_a_figure_are_said_and_undefined_figures_say_why():
    rng = np.random.default_rng(0)
    y = (rng.random((40, 3)) < 0.5).astype(np.float32)
    y[:, 1] = 0
    data = Dataset(X=np.zeros((40, 2), np.float32), y=y, kind="multilabel")
    record = {"task": {"metric": "1-auroc-multilabel", "also": ["hamming-error"], "protocol": "official"}}
    first, second = scores_of(record, rng.random((40, 3)), data, "test", "a", 3, "validation")
    assert first["note"] == "1 of 3 labels that are the same in every row left out: 1"
    assert first["low"] < first["value"] < first["high"]
    assert (first["protocol"], first["rows"], first["seed"]) == ("official", 40, 3)
    assert "note" not in second
    y[:] = 0
    first, _ = scores_of(record, rng.random((40, 3)), data, "test", "a", 3, "validation")
    assert math.isnan(first["value"])
    assert "is undefined for these 40 rows" in first["note"]
