"""Learning the solution operator of the heat equation in one dimension.

    python examples/heat_operator.py [BACKBONE] [BUDGET] [METHOD]

u_t = nu u_xx on a circle, from random initial states to the state at time t. The Fourier transform solves it exactly:
mode k decays by exp(-nu (2 pi k)^2 t), so we know the truth to machine precision.
"""

import sys

import numpy as np

from crosstune import CrossModalOperator

BACKBONE, BUDGET, METHOD = [*sys.argv[1:4], *["minilm", "90s", "recraft"][len(sys.argv[1:4]) :]]
POINTS, NU, TIME = 64, 0.01, 0.5


def initial_states(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 1, POINTS): smooth random periodic functions, modes 1 to 8 with falling amplitudes."""
    modes = np.arange(1, 9)
    amplitude = rng.normal(size=(n, 8, 1)) / modes[:, None]
    phase = rng.uniform(0, 2 * np.pi, size=(n, 8, 1))
    x = np.arange(POINTS) / POINTS
    return (amplitude * np.cos(2 * np.pi * modes[:, None] * x + phase)).sum(1, keepdims=True)


def solve(u: np.ndarray) -> np.ndarray:
    """The exact state at TIME."""
    k = np.fft.rfftfreq(POINTS, d=1 / POINTS)
    return np.fft.irfft(np.fft.rfft(u) * np.exp(-NU * (2 * np.pi * k) ** 2 * TIME), n=POINTS)


def main() -> None:
    rng = np.random.default_rng(0)
    train, test = initial_states(300, rng), initial_states(100, rng)

    model = CrossModalOperator(backbone=BACKBONE, budget=BUDGET, method=METHOD, controls="none", random_state=0)
    model.fit(train, solve(train))

    error = 1 - model.score(test, solve(test))
    trivial = np.mean(np.linalg.norm(test - solve(test), axis=2) / np.linalg.norm(solve(test), axis=2))
    print(f"relative L2 error on new initial states: {error:.5f} (leaving the input as it is: {trivial:.3f})")
    print(model.report_["verdict"]["headline"])
    assert error < 0.1 * trivial


if __name__ == "__main__":
    main()
