"""Handwritten digits, 8 x 8 pixels, by a transformer that was pretrained on text; is that worth it?

    python examples/digits_classifier.py [BACKBONE] [BUDGET] [METHOD]

Floors (what one would use otherwise) and controls (the same model without alignment, frozen, from scratch) run inside
the same budget, and the verdict compares them on validation. The test rows are ours: the estimator never sees them.
"""

import sys
import tempfile

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import crosstune

BACKBONE, BUDGET, METHOD = [*sys.argv[1:4], *["minilm", "2m", "recraft"][len(sys.argv[1:4]) :]]


def main() -> None:
    digits = load_digits()
    images = digits.images[:, None]  # channel-first: (1797, 1, 8, 8)
    X_train, X_test, y_train, y_test = train_test_split(images, digits.target, stratify=digits.target, random_state=0)

    model = crosstune.CrossModalClassifier(
        backbone=BACKBONE, budget=BUDGET, method=METHOD, random_state=0, verbose=True
    )
    model.fit(X_train, y_train)

    print(f"accuracy on our test rows: {model.score(X_test, y_test):.3f}")
    for arm in model.report_["arms"]:
        if arm["value"] is not None:
            print(f"  {arm['label']:32} {model.report_['metric']} on validation {arm['value']:.3f}")
    print(model.report_["verdict"]["headline"])

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)  # config.json, model.safetensors, estimator.json, README.md
        again = crosstune.load(folder)
        assert np.array_equal(again.predict_proba(X_test), model.predict_proba(X_test))


if __name__ == "__main__":
    main()
