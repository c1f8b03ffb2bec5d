"""Flows with polynomial right-hand sides, integrated together: one table of coefficients per system.

Monomials, in order: 1, x, y, z, xx, xy, xz, yy, yz, zz, xxx, xxy, cos(wt). A system gives its coefficients, its time
step per sample, where it may start, and by how much its parameters may vary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MONOMIALS = ("1", "x", "y", "z", "xx", "xy", "xz", "yy", "yz", "zz", "xxx", "xxy", "cos")
SUBSTEPS = 3
BURN = 96  # samples before anything is kept
BOUND = 1e3  # a path beyond it is held there: its class then shows a constant, which instances share


def _table(**rows: dict[str, float]) -> np.ndarray:
    out = np.zeros((3, len(MONOMIALS)))
    for axis, terms in rows.items():
        for name, value in terms.items():
            out["xyz".index(axis), MONOMIALS.index(name)] = value
    return out


@dataclass(frozen=True)
class Flow:
    """coefficients(p, q, r) -> (3, 13), each argument in [-1, 1]; dt: time per sample at speed one; start, width:
    centre and extent of initial conditions; drive: w of cos(wt)."""

    name: str
    coefficients: Callable[[float, float, float], np.ndarray]
    dt: float
    start: tuple[float, float, float]
    width: float
    drive: float = 1.0


def _lorenz(p: float, q: float, r: float) -> np.ndarray:
    """x' = s (y - x), y' = x (rho - z) - y, z' = x y - b z; Lorenz, J. Atmos. Sci. 20 (1963)."""
    s, rho, b = 10 + 2 * p, 32 + 6 * q, 8 / 3 + 0.4 * r
    return _table(x={"x": -s, "y": s}, y={"x": rho, "y": -1, "xz": -1}, z={"xy": 1, "z": -b})


def _roessler(p: float, q: float, r: float) -> np.ndarray:
    """x' = -y - z, y' = x + a y, z' = b + z (x - c); Roessler, Phys. Lett. A 57 (1976)."""
    return _table(x={"y": -1, "z": -1}, y={"x": 1, "y": 0.18 + 0.04 * p},
                  z={"1": 0.2 + 0.05 * q, "xz": 1, "z": -5.7 - 1.2 * r})  # fmt: skip


def _van_der_pol(p: float, q: float, r: float) -> np.ndarray:
    """x' = y, y' = m (1 - x^2) y - x + f cos(wt)"""
    m = 2.5 + 2 * p
    return _table(x={"y": 1}, y={"y": m, "xxy": -m, "x": -1, "cos": 0.6 * (1 + q)}, z={"x": 0.3, "z": -0.3})


def _duffing(p: float, q: float, r: float) -> np.ndarray:
    """x' = y, y' = x - x^3 - d y + f cos(wt)"""
    return _table(x={"y": 1}, y={"x": 1, "xxx": -1, "y": -0.3 - 0.1 * p, "cos": 0.45 + 0.12 * q},
                  z={"xx": 0.5, "z": -0.5})  # fmt: skip


def _fitzhugh_nagumo(p: float, q: float, r: float) -> np.ndarray:
    """x' = x - x^3 / 3 - y + I, y' = (x + a - b y) / t; FitzHugh, Biophys. J. 1 (1961)."""
    return _table(x={"x": 1, "xxx": -1 / 3, "y": -1, "1": 0.55 + 0.12 * p, "cos": 0.15 * (1 + r)},
                  y={"x": 0.08, "1": 0.056, "y": -0.064 + 0.01 * q}, z={"x": 0.1, "z": -0.1})  # fmt: skip


def _lotka_volterra(p: float, q: float, r: float) -> np.ndarray:
    """x' = x (a - y), y' = y (x - c)"""
    a, c = 1 + 0.4 * p, 1 + 0.4 * q
    return _table(x={"x": a, "xy": -1}, y={"xy": 1, "y": -c}, z={"x": 0.5, "z": -0.5})


def _sprott_a(p: float, q: float, r: float) -> np.ndarray:
    """x' = y, y' = -x + y z, z' = 1 - y^2: Nose-Hoover. Sprott, Phys. Rev. E 50 (1994), case A."""
    return _table(x={"y": 1}, y={"x": -1 - 0.2 * p, "yz": 1}, z={"1": 1 + 0.3 * q, "yy": -1})


def _sprott_b(p: float, q: float, r: float) -> np.ndarray:
    """x' = y z, y' = x - y, z' = 1 - x y: case B."""
    return _table(x={"yz": 1}, y={"x": 1, "y": -1 - 0.15 * p}, z={"1": 1 + 0.3 * q, "xy": -1})


def _sprott_d(p: float, q: float, r: float) -> np.ndarray:
    """x' = -y, y' = x + z, z' = x z + 3 y^2: case D."""
    return _table(x={"y": -1}, y={"x": 1, "z": 1}, z={"xz": 1, "yy": 3 + 0.3 * p})


def _halvorsen(p: float, q: float, r: float) -> np.ndarray:
    """x' = -a x - 4 y - 4 z - y^2 and so on in turn: Halvorsen's flow; Sprott 2003."""
    a = 1.6 + 0.25 * p
    return _table(x={"x": -a, "y": -4, "z": -4, "yy": -1}, y={"y": -a, "z": -4, "x": -4, "zz": -1},
                  z={"z": -a, "x": -4, "y": -4, "xx": -1})  # fmt: skip


def _rucklidge(p: float, q: float, r: float) -> np.ndarray:
    """x' = -k x + l y - y z, y' = x, z' = -z + y^2; Rucklidge, J. Fluid Mech. 237 (1992)."""
    return _table(x={"x": -2 - 0.2 * p, "y": 6.7 + 0.6 * q, "yz": -1}, y={"x": 1}, z={"z": -1, "yy": 1})


def _chen(p: float, q: float, r: float) -> np.ndarray:
    """x' = a (y - x), y' = (c - a) x - x z + c y, z' = x y - b z; Chen & Ueta 1999."""
    a, b, c = 35 + p, 3 + 0.3 * q, 28 + 0.8 * r
    return _table(x={"x": -a, "y": a}, y={"x": c - a, "xz": -1, "y": c}, z={"xy": 1, "z": -b})


def _rigid_body(p: float, q: float, r: float) -> np.ndarray:
    """Euler's free rigid body: x' = a y z, y' = b x z, z' = c x y."""
    return _table(x={"yz": 1 + 0.3 * p}, y={"xz": -2 - 0.5 * q}, z={"xy": 1 + 0.3 * r})


FLOWS = (
    Flow("lorenz", _lorenz, 0.05, (1.0, 1.0, 25.0), 4.0),
    Flow("roessler", _roessler, 0.25, (1.0, 1.0, 0.5), 2.0),
    Flow("van der pol", _van_der_pol, 0.2, (0.5, 0.5, 0.0), 2.0, drive=1.7),
    Flow("duffing", _duffing, 0.35, (0.5, 0.0, 0.0), 1.0, drive=1.2),
    Flow("fitzhugh-nagumo", _fitzhugh_nagumo, 0.8, (0.0, 0.5, 0.0), 1.0, drive=0.25),
    Flow("lotka-volterra", _lotka_volterra, 0.2, (1.2, 1.2, 0.5), 0.8),
    Flow("nose-hoover", _sprott_a, 0.3, (0.0, 4.0, 0.0), 2.0),
    Flow("sprott b", _sprott_b, 0.3, (0.5, 0.5, 0.5), 1.0),
    Flow("sprott d", _sprott_d, 0.25, (0.0, 0.1, 0.0), 0.1),
    Flow("halvorsen", _halvorsen, 0.05, (-1.0, 0.0, 0.0), 2.0),
    Flow("rucklidge", _rucklidge, 0.12, (1.0, 0.5, 4.0), 1.0),
    Flow("chen", _chen, 0.02, (-5.0, -5.0, 20.0), 4.0),
    Flow("rigid body", _rigid_body, 0.15, (1.0, 0.5, 1.0), 0.8),
)


def right_hand_side(c: np.ndarray, state: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """c (n, 3, 13), state (3, n), drive (n,) = cos(wt) -> derivatives (3, n)."""
    x, y, z = state
    xx = x * x
    monomials = np.stack([np.ones_like(x), x, y, z, xx, x * y, x * z, y * y, y * z, z * z, xx * x, xx * y, drive])
    return np.einsum("nim,mn->in", c, monomials)


def flow_paths(code: np.ndarray, vary: np.ndarray, start: np.ndarray, speed: np.ndarray, steps: int) -> np.ndarray:
    """Paths (n, steps, 3) by the classical Runge-Kutta method after ``BURN`` samples. code (n,); vary (n, 3) in [-1,
    1]; start (n, 3) in [0, 1], spread over the system's own range; speed (n,) scales the time between samples."""
    unique, back = np.unique(np.column_stack([code, vary]), axis=0, return_inverse=True)
    tables = np.stack([FLOWS[int(row[0])].coefficients(*map(float, row[1:])) for row in unique])
    c = tables[back.ravel()]
    centre = np.array([flow.start for flow in FLOWS])[code]
    width = np.array([flow.width for flow in FLOWS])[code]
    state = (centre + width[:, None] * (start - 0.5)).T.copy()
    h = np.array([flow.dt for flow in FLOWS])[code] * speed / SUBSTEPS
    w = np.array([flow.drive for flow in FLOWS])[code]
    time = 20 * start.sum(1)  # of the drive: part of the initial condition
    out = np.empty((len(code), steps, 3))
    for k in range(-BURN, steps):
        for _ in range(SUBSTEPS):
            now, middle, then = np.cos(w * time), np.cos(w * (time + h / 2)), np.cos(w * (time + h))
            k1 = right_hand_side(c, state, now)
            k2 = right_hand_side(c, state + h / 2 * k1, middle)
            k3 = right_hand_side(c, state + h / 2 * k2, middle)
            k4 = right_hand_side(c, state + h * k3, then)
            state = np.clip(state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), -BOUND, BOUND)
            time = time + h
        if k >= 0:
            out[:, k] = state.T
    return out
