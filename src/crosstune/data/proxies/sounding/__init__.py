"""Sounds made of formulas, many at a time: tones, sweeps, noises, clicks and voices as functions of a ``Studio``."""
