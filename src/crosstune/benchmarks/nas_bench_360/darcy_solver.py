"""The steady flow through porous ground that the Darcy files hold: -div(a grad u) = 1 on the unit square, u = 0 on its
boundary, with a = 12 where a Gaussian random field is not negative and 3 elsewhere (Li et al., 2021, FNO)."""

from __future__ import annotations

import numpy as np

ALPHA, TAU = 2.0, 3.0
HIGH, LOW = 12.0, 3.0


def random_field(size: int, rng: np.random.Generator, *, alpha: float = ALPHA, tau: float = TAU) -> np.ndarray:
    """A sample (size, size) of N(0, (-Laplace + tau^2)^-alpha) with Neumann boundary: white noise on the cosines, each
    scaled by tau^(alpha - 1) (pi^2 (k1^2 + k2^2) + tau^2)^(-alpha / 2), without the constant."""
    from scipy.fft import idctn

    k = np.arange(size)
    scale = tau ** (alpha - 1) * (np.pi**2 * (k[:, None] ** 2 + k**2) + tau**2) ** (-alpha / 2)
    noise = size * scale * rng.normal(size=(size, size))
    noise[0, 0] = 0.0
    return np.asarray(idctn(noise, type=2, norm="ortho"))


def coefficient(size: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(random_field(size, rng) >= 0, HIGH, LOW)


def solve(a: np.ndarray, force: np.ndarray | float = 1.0) -> np.ndarray:
    """u on the nodes of ``a`` (K, K), boundary nodes included, where it is zero. Five points, the coefficient between
    two nodes their arithmetic mean; sparse LU. Second order for smooth coefficients."""
    from scipy.sparse import csc_matrix
    from scipy.sparse.linalg import splu

    inner = len(a) - 2
    down, across = (a[1:] + a[:-1]) / 2, (a[:, 1:] + a[:, :-1]) / 2  # between nodes of neighbouring rows, columns
    north, south = down[:-1, 1:-1], down[1:, 1:-1]
    west, east = across[1:-1, :-1], across[1:-1, 1:]
    place = np.arange(inner * inner).reshape(inner, inner)
    rows = [place, place[1:], place[:-1], place[:, 1:], place[:, :-1]]
    columns = [place, place[:-1], place[1:], place[:, :-1], place[:, 1:]]
    values = [north + south + west + east, -north[1:], -south[:-1], -west[:, 1:], -east[:, :-1]]
    flat = [np.concatenate([part.reshape(-1) for part in parts]) for parts in (values, rows, columns)]
    matrix = csc_matrix((flat[0], (flat[1], flat[2])), shape=(inner * inner, inner * inner))
    load = np.broadcast_to(np.asarray(force, np.float64), a.shape)[1:-1, 1:-1] / (len(a) - 1) ** 2
    out = np.zeros_like(a, dtype=np.float64)
    out[1:-1, 1:-1] = splu(matrix).solve(load.reshape(-1)).reshape(inner, inner)
    return out


def residual(a: np.ndarray, u: np.ndarray) -> float:
    """Root mean square of -div(a grad u) - 1 over the inner nodes, by the same five points."""
    a, u = a.astype(np.float64), u.astype(np.float64)
    down = (a[1:] + a[:-1]) / 2 * np.diff(u, axis=0)
    across = (a[:, 1:] + a[:, :-1]) / 2 * np.diff(u, axis=1)
    flow = np.diff(down, axis=0)[:, 1:-1] + np.diff(across, axis=1)[1:-1]
    return float(np.sqrt(np.mean((-flow * (len(a) - 1) ** 2 - 1) ** 2)))


def sample(task: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(a, u) of sample ``index`` of a file: (seed, file, index, size). A stream of its own for each, so that more
    samples change nothing in the first ones."""
    seed, file, index, size = task
    a = coefficient(size, np.random.default_rng([seed, 360, 5, file, index]))
    return a.astype(np.float32), solve(a).astype(np.float32)
