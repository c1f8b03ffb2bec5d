"""Series of different lengths, several channels, and gaps: two kinds of oscillation.

    python examples/ragged_series.py [BACKBONE] [BUDGET] [METHOD]

Each sample is an array (channels, its own length); NaN marks what was not measured. Recordings come in groups (one
person gives several), and no group is in both parts of the inner split.
"""

import sys

import numpy as np

from crosstune import CrossModalClassifier

BACKBONE, BUDGET, METHOD = [*sys.argv[1:4], *["minilm", "90s", "recraft"][len(sys.argv[1:4]) :]]


def recordings(people: int, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Four recordings per person: X, y ("steady" or "chirp"), person."""
    X, y, person = [], [], []
    for who in range(people):
        offset = rng.normal()
        for _ in range(4):
            length = int(rng.integers(60, 160))
            t = np.arange(length) / 50
            kind = "chirp" if rng.random() < 0.5 else "steady"
            phase = 2 * np.pi * (2 * t + (1.5 * t**2 if kind == "chirp" else 0)) + rng.uniform(0, 2 * np.pi)
            sample = np.stack([np.sin(phase), np.cos(phase)]) + 0.3 * rng.normal(size=(2, length)) + offset
            sample[0, rng.random(length) < 0.05] = np.nan
            X.append(sample)
            y.append(kind)
            person.append(who)
    return X, np.array(y), np.array(person)


def main() -> None:
    rng = np.random.default_rng(0)
    X, y, person = recordings(40, rng)
    X_new, y_new, _ = recordings(15, rng)

    model = CrossModalClassifier(backbone=BACKBONE, budget=BUDGET, method=METHOD, controls="none", random_state=0)
    model.fit(X, y, groups=person)

    print(f"split: {model.report_['split_strategy']}, rows {model.report_['rows']}")
    print(f"accuracy on new people: {model.score(X_new, y_new):.3f} (guessing: {np.mean(y_new == 'chirp'):.3f})")
    print(model.report_["verdict"]["headline"])
    print("one recording:", model.predict([X_new[0]])[0], model.predict_proba([X_new[0]]).round(3))


if __name__ == "__main__":
    main()
