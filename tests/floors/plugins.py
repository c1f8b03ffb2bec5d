"""Floors that misbehave, handed to the child process as a plug-in."""

import os
import time

import numpy as np

from crosstune.floors.base import ALL_KINDS, ALL_MODALITIES, FloorSpec


class Sleeps:
    note = ""

    def __init__(self, allowance):
        self.allowance = allowance

    def fit(self, train, seed):
        self.allowance.phase("sleeping")
        time.sleep(600)

    def predict(self, data):
        return np.zeros(0)


class HoldsTheInterpreter(Sleeps):
    def fit(self, train, seed):
        # A long computation inside one call, as compiled code has: no other thread and no signal handler gets a turn.
        sum(range(10**12))


class Raises(Sleeps):
    def fit(self, train, seed):
        raise ZeroDivisionError("no luck")


class Dies(Sleeps):
    def fit(self, train, seed):
        os.abort()


class WrongShape(Sleeps):
    def fit(self, train, seed):
        pass


class ReadsTheTarget(WrongShape):
    def predict(self, data):
        return data.y + 0.0


class NotANumber(WrongShape):
    def predict(self, data):
        return np.full((len(data), 3), np.nan)


class LoadsTorch(WrongShape):
    def fit(self, train, seed):
        import torch

        raise AssertionError(torch.__name__)


def _spec(name, build, effort):
    return FloorSpec(name, f"a floor that {name}", "for tests", ALL_KINDS, ALL_MODALITIES, build, effort)


FLOOR = (
    _spec("raises", Raises, 0.2),
    _spec("dies", Dies, 0.3),
    _spec("wrong-shape", WrongShape, 0.4),
    _spec("reads-target", ReadsTheTarget, 0.5),
    _spec("not-a-number", NotANumber, 0.6),
    _spec("loads-torch", LoadsTorch, 0.7),
    _spec("holds", HoldsTheInterpreter, 8.0),
    _spec("sleeps", Sleeps, 9.0),
)
