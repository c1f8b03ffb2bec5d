"""Gaussian processes with composed kernels, mixed through random causal graphs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crosstune.data.formulas.contract import Kind, Parameters, check_size, generator, rows
from crosstune.data.formulas.varying import between, choose, finished, log_between, noise_level, standardised

BASES = ("squared exponential", "matern 1/2", "matern 3/2", "rational quadratic", "periodic", "cosine")
LINKS = ("identity", "tanh", "relu", "sine", "absolute", "square", "threshold", "bump", "sum", "lag")
ROOTS, CHILDREN, TERMS = 3, 3, 3


def base_kernel(code: np.ndarray, scale: np.ndarray, shape: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Stationary kernels k(tau), k(0) = 1. code, scale, shape: (n,); tau (n, M) in the units of scale. shape: exponent
    of the rational quadratic, and width of the periodic kernel's bumps."""
    r = np.abs(tau) / scale[:, None]
    shape = shape[:, None]
    out = np.empty(np.broadcast_shapes(r.shape, shape.shape))
    formulas = (
        lambda r, a: np.exp(-(r**2) / 2),
        lambda r, a: np.exp(-r),
        lambda r, a: (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r),
        lambda r, a: (1 + r**2 / (2 * a)) ** -a,
        lambda r, a: np.exp(-2 * np.sin(np.pi * r) ** 2 / a**2),
        lambda r, a: np.cos(2 * np.pi * r),
    )
    for k, formula in enumerate(formulas):
        where = code == k
        if where.any():
            out[where] = formula(r[where], shape[where])
    return out


def stationary_paths(kernel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample paths (n, M) with covariance ``kernel`` (n, M + 1), lags 0 to M, by circulant embedding; negative
    eigenvalues, which arise where the kernel has not decayed at lag M, are cut off. Davies & Harte 1987; Dietrich &
    Newsam, SIAM J. Sci. Comput. 18 (1997)."""
    n, m = len(kernel), kernel.shape[1] - 1
    circle = np.concatenate([kernel, kernel[:, -2:0:-1]], 1)  # 2 m lags
    power = np.maximum(np.fft.rfft(circle, axis=1).real, 0)
    white = np.fft.rfft(rng.standard_normal((n, 2 * m)), axis=1)
    return np.fft.irfft(white * np.sqrt(power), 2 * m, axis=1)[:, :m]


class Kernels:
    """Roots are Gaussian processes whose kernels are sums and products of base kernels; children are nonlinear
    functions of weighted parents, in the order of a directed acyclic graph; the last node is seen.

    Class: kernels, graph, weights, links. Instance: the paths of the roots.
    """

    name = "kernels"
    kind: Kind = "sequence"
    summary = "Gaussian processes with composed kernels through random causal graphs"
    reference = "kernel composition: Duvenaud et al., ICML 2013; through causal graphs: CauKer (2025)"
    channels = 1

    def parameters(self, classes: int, seed: int) -> dict[str, np.ndarray]:
        rng = generator(seed, self.name)
        nodes = ROOTS + CHILDREN
        weights = rng.standard_normal((classes, CHILDREN, nodes)) * (rng.random((classes, CHILDREN, nodes)) < 0.6)
        allowed = np.arange(nodes)[None, :] < (ROOTS + np.arange(CHILDREN))[:, None]
        weights *= allowed
        # a child always hears the node before it, so that the last one hears at least one root
        weights[:, np.arange(CHILDREN), ROOTS - 1 + np.arange(CHILDREN)] = between(rng, classes, 0.5, 1.5, CHILDREN)
        return {
            "base": rng.choice(len(BASES), (classes, ROOTS, TERMS), p=(0.2, 0.1, 0.15, 0.15, 0.25, 0.15)),
            "scale": log_between(rng, classes * ROOTS, 0.015, 0.7, TERMS).reshape(classes, ROOTS, TERMS),
            "shape": log_between(rng, classes * ROOTS, 0.3, 2.0, TERMS).reshape(classes, ROOTS, TERMS),
            "terms": rng.integers(1, TERMS + 1, (classes, ROOTS)),
            "product": rng.random((classes, ROOTS, TERMS)) < 0.5,
            "weights": weights,
            "bias": 0.5 * rng.standard_normal((classes, CHILDREN)),
            "gain": log_between(rng, classes, 0.5, 3.0, CHILDREN),
            "link": choose(rng, classes, len(LINKS), CHILDREN),
            "trend": np.where(rng.random(classes) < 0.3, between(rng, classes, -2.0, 2.0), 0.0),
            "noise": noise_level(rng, classes),
        }

    def sample(self, parameters: Parameters, labels: np.ndarray, seed: int, size: tuple[int, ...]) -> np.ndarray:
        check_size(self, size)
        n, length = len(labels), size[0]
        rng = generator(seed, self.name)
        own = rows(parameters, labels)
        nodes = np.zeros((n, ROOTS + CHILDREN, length))
        tau = np.broadcast_to(np.arange(length + 1) / length, (n, length + 1))
        for root in range(ROOTS):
            nodes[:, root] = standardised(stationary_paths(_composed(own, root, tau), rng))
        for child in range(CHILDREN):
            mixed = np.einsum("nk,nkl->nl", own["weights"][:, child], nodes)
            mixed = own["gain"][:, child, None] * (standardised(mixed) + own["bias"][:, child, None])
            nodes[:, ROOTS + child] = standardised(_linked(mixed, own["link"][:, child]))
        x = nodes[:, -1] + own["trend"][:, None] * (np.arange(length) / length - 0.5)
        return finished(x, own, rng)


def _composed(own: Parameters, root: int, tau: np.ndarray) -> np.ndarray:
    """The kernel of a root: the first term, then plus or times the others, as many as the class has."""
    total = None
    for term in range(TERMS):
        k = base_kernel(own["base"][:, root, term], own["scale"][:, root, term], own["shape"][:, root, term], tau)
        if total is None:
            total = k
            continue
        joined = np.where(own["product"][:, root, term, None], total * k, (total + k) / 2)
        total = np.where((own["terms"][:, root] > term)[:, None], joined, total)
    assert total is not None
    return total


def _linked(x: np.ndarray, link: np.ndarray) -> np.ndarray:
    """A nonlinear function of every row by code; a row that it would leave constant stays as it was."""
    functions: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        lambda v: v, np.tanh, lambda v: np.maximum(v, 0), lambda v: np.sin(2 * v), np.abs, np.square,
        lambda v: (v > 0).astype(float), lambda v: np.exp(-(v**2)),
        lambda v: np.cumsum(v - v.mean(1, keepdims=True), 1), lambda v: v - np.roll(v, max(1, v.shape[1] // 16), 1),
    )  # fmt: skip
    out = x.copy()
    for code, function in enumerate(functions):
        where = np.flatnonzero(link == code)
        if len(where):
            out[where] = function(x[where])
    dead = out.std(1, keepdims=True) < 1e-6
    return np.where(dead, x, out)


FORMULA = Kernels()
