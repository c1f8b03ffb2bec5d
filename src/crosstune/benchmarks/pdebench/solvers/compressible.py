"""Compressible Navier-Stokes on periodic domains in one and two dimensions, ideal gas with gamma = 5/3.

Finite volumes: slopes of (rho, velocity, p) by the monotonised-central limiter, HLLC fluxes, midpoint rule. The
viscosities are kinematic, as published: the stress is rho (2 eta strain + (zeta - 2/3 eta) divergence), which in one
dimension is rho (zeta + 4/3 eta) v_x. In one dimension viscosity is split off symmetrically (Strang) and implicit; in
two it is part of the explicit step.

States are (n, 2 + d, X[, Y]): density, momenta, total energy.
"""

from __future__ import annotations

import numpy as np

from crosstune.benchmarks.pdebench.solvers.stepping import advance

GAMMA = 5.0 / 3.0
FLOOR = 1e-4  # of pressure and density
COURANT = 0.4


def conserved(density: np.ndarray, velocity: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """States from density (n, ...), velocity (n, d, ...) and pressure (n, ...)."""
    energy = pressure / (GAMMA - 1) + 0.5 * density * (velocity**2).sum(axis=1)
    return np.concatenate([density[:, None], density[:, None] * velocity, energy[:, None]], axis=1)


def primitive(state: np.ndarray) -> np.ndarray:
    """(n, 2 + d, ...): density, velocity, pressure, the last not below the floor."""
    density = np.maximum(state[:, :1], FLOOR)
    velocity = state[:, 1:-1] / density
    kinetic = 0.5 * density * (velocity**2).sum(axis=1, keepdims=True)
    pressure = np.maximum((GAMMA - 1) * (state[:, -1:] - kinetic), FLOOR)
    return np.concatenate([density, velocity, pressure], axis=1)


def run(states: np.ndarray, dx: float, frames: int, interval: float, eta: float, zeta: float) -> np.ndarray:
    """(n, frames, 2 + d, ...) of (density, velocity, pressure) from states."""
    one = states.ndim == 3
    viscosity = zeta + 4.0 * eta / 3.0

    def allowed(state: np.ndarray) -> np.ndarray:
        dt = COURANT * dx / fastest(state)
        return dt if one or not viscosity else np.minimum(dt, 0.2 * dx**2 / viscosity)

    def step(state: np.ndarray, dt: np.ndarray) -> np.ndarray:
        if not one:
            return midpoint(state, dt, dx, eta, zeta)
        if not viscosity:
            return midpoint(state, dt, dx)
        return diffuse(midpoint(diffuse(state, 0.5 * dt, dx, viscosity), dt, dx), 0.5 * dt, dx, viscosity)

    out = np.empty((len(states), frames, *states.shape[1:]))
    out[:, 0] = primitive(states)
    for frame in range(1, frames):
        states = advance(states, interval, allowed, step)
        out[:, frame] = primitive(states)
    return out


def fastest(state: np.ndarray) -> np.ndarray:
    """(n,) largest signal speeds, velocity and sound, of each sample; in two dimensions their sum over the axes."""
    w = primitive(state)
    sound = np.sqrt(GAMMA * w[:, -1] / w[:, 0])
    total = np.abs(w[:, 1:-1]).sum(axis=1) + (state.ndim - 2) * sound
    return total.reshape(len(state), -1).max(axis=1)


def midpoint(state: np.ndarray, dt: np.ndarray, dx: float, eta: float = 0.0, zeta: float = 0.0) -> np.ndarray:
    """One step (dt: (n,)) of the midpoint rule."""
    scale = dt.reshape(-1, *[1] * (state.ndim - 1)) / dx
    half = state + 0.5 * scale * change(state, dx, eta, zeta)
    return state + scale * change(half, dx, eta, zeta)


def change(state: np.ndarray, dx: float, eta: float, zeta: float) -> np.ndarray:
    """Minus the differences of the fluxes; eta, zeta: of two-dimensional states only."""
    w = primitive(state)
    across = _differences(w)
    if state.ndim == 3:
        return -across
    turn = [0, 2, 1, 3]
    along = _differences(w[:, turn].swapaxes(2, 3)).swapaxes(2, 3)[:, turn]
    return -(across + along) + (_stress(w, dx, eta, zeta) if eta or zeta else 0.0)


def _differences(w: np.ndarray) -> np.ndarray:
    """Differences of the fluxes along the first axis of space."""
    left = w - np.roll(w, 1, axis=2)
    right = np.roll(left, -1, axis=2)
    bound = 2.0 * np.minimum(np.abs(left), np.abs(right))
    centred = 0.5 * (left + right)
    slope = np.where(left * right > 0, np.sign(centred) * np.minimum(bound, np.abs(centred)), 0.0)
    flux = hllc(w + 0.5 * slope, np.roll(w - 0.5 * slope, -1, axis=2))  # at the upper face of each cell
    return flux - np.roll(flux, 1, axis=2)


def hllc(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Fluxes of conserved quantities between states (density, velocity, pressure); Toro, section 10.4. The velocity
    across the face is component 1."""
    r_l, u_l, p_l = left[:, 0], left[:, 1], left[:, -1]
    r_r, u_r, p_r = right[:, 0], right[:, 1], right[:, -1]
    c_l, c_r = np.sqrt(GAMMA * p_l / r_l), np.sqrt(GAMMA * p_r / r_r)
    low, high = np.minimum(u_l - c_l, u_r - c_r), np.maximum(u_l + c_l, u_r + c_r)
    a, b = r_l * (low - u_l), r_r * (high - u_r)
    middle = (p_r - p_l + u_l * a - u_r * b) / (a - b)
    from_left = middle >= 0
    w = np.where(from_left[:, None], left, right)
    outer = np.where(from_left, np.minimum(low, 0.0), np.maximum(high, 0.0))
    r, u, p = w[:, 0], w[:, 1], w[:, -1]
    energy = p / (GAMMA - 1) + 0.5 * r * (w[:, 1:-1] ** 2).sum(axis=1)
    flux = np.concatenate(
        [(r * u)[:, None], (r * u)[:, None] * w[:, 1:-1], (u * (energy + p))[:, None]], axis=1
    )  # fmt: skip
    flux[:, 1] += p
    # the star region only counts where its outer wave runs away from the face; elsewhere outer is 0 and so is its term
    moving = outer != 0.0
    speed = np.where(moving, outer, np.where(from_left, low, high))
    star = r * (speed - u) / (speed - middle)
    state = np.concatenate([r[:, None], r[:, None] * w[:, 1:-1], energy[:, None]], axis=1)
    inside = np.concatenate([np.ones_like(r)[:, None], w[:, 1:-1], np.zeros_like(r)[:, None]], axis=1)
    inside[:, 1] = middle
    inside[:, -1] = energy / r + (middle - u) * (middle + p / (r * (speed - u)))
    return flux + outer[:, None] * (star[:, None] * inside - state)


def diffuse(state: np.ndarray, dt: np.ndarray, dx: float, viscosity: float) -> np.ndarray:
    """Viscosity alone for dt (n,), one-dimensional states (n, 3, X), by the trapezoidal rule.

    Momentum and total energy change by fluxes, so they are conserved; kinetic energy that is lost becomes heat.
    """
    density = state[:, 0]
    velocity = state[:, 1] / density
    face = 0.5 * (density + np.roll(density, -1, axis=1)) * viscosity / dx  # upper face
    weight = 0.5 * (dt / dx)[:, None] * face
    balance = density * velocity + _divergence(weight * _difference(velocity))
    after = solve_periodic(density, weight, balance)
    mean = 0.5 * (velocity + after)
    stress = face * _difference(mean)
    work = stress * 0.5 * (mean + np.roll(mean, -1, axis=1))
    scale = (dt / dx)[:, None]
    out = state.copy()
    out[:, 1] += scale * _divergence(stress)
    out[:, 2] += scale * _divergence(work)
    return out


def _difference(values: np.ndarray) -> np.ndarray:
    return np.roll(values, -1, axis=1) - values


def _divergence(face: np.ndarray) -> np.ndarray:
    return face - np.roll(face, 1, axis=1)


def solve_periodic(density: np.ndarray, weight: np.ndarray, right: np.ndarray) -> np.ndarray:
    """v (n, X) of density v - d(weight dv) = right, periodic: all samples as one tridiagonal system, the corners by the
    Sherman-Morrison formula."""
    from scipy.linalg.lapack import dptsv

    below = np.roll(weight, 1, axis=1)
    corner = weight[:, -1]
    diagonal = density + weight + below
    diagonal[:, 0] -= corner
    diagonal[:, -1] -= corner
    off = -weight.copy()
    off[:, -1] = 0.0
    ends = np.zeros_like(right)
    ends[:, 0] = 1.0
    ends[:, -1] = -1.0
    sides = np.stack([right.ravel(), ends.ravel()], axis=1)
    solution = dptsv(diagonal.ravel(), off.ravel()[:-1], sides)[2]
    x, z = solution.T.reshape(2, *right.shape)
    # the matrix is the tridiagonal one plus corner (e_0 - e_last)(e_0 - e_last)^T
    jump = corner * (x[:, 0] - x[:, -1]) / (1.0 + corner * (z[:, 0] - z[:, -1]))
    return x - jump[:, None] * z


def _stress(w: np.ndarray, dx: float, eta: float, zeta: float) -> np.ndarray:
    """Viscous change of two-dimensional states times dx: fluxes through the faces of both axes."""
    turn = [0, 2, 1, 3]
    across = _stress_along(w, dx, eta, zeta)
    along = _stress_along(w[:, turn].swapaxes(2, 3), dx, eta, zeta)
    return across + along.swapaxes(2, 3)[:, turn]


def _stress_along(w: np.ndarray, dx: float, eta: float, zeta: float) -> np.ndarray:
    upper = np.roll(w, -1, axis=2)
    mean = 0.5 * (w + upper)
    normal = (upper - w) / dx  # at the upper face
    tangential = (np.roll(mean, -1, axis=3) - np.roll(mean, 1, axis=3)) / (2 * dx)
    u_x, v_x, u_y, v_y = normal[:, 1], normal[:, 2], tangential[:, 1], tangential[:, 2]
    along = mean[:, 0] * (2 * eta * u_x + (zeta - 2 * eta / 3) * (u_x + v_y))
    shear = mean[:, 0] * eta * (u_y + v_x)
    flux = np.stack([np.zeros_like(along), along, shear, mean[:, 1] * along + mean[:, 2] * shear], axis=1)
    return flux - np.roll(flux, 1, axis=2)
