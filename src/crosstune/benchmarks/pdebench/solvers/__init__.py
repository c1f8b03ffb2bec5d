"""Solvers, one equation a file. NumPy arrays in and out, float64; SciPy where a matrix is factorised or an ODE solved.

Every ``solve(samples, resolution, seed, options)`` gives (n, T, C, X[, Y]) at the published times, and what it gives
for a sample depends on ``seed + sample`` alone (Darcy: and on its batch of 200, as published).
"""
