"""Named streams: independent, reproducible, restorable."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosstune.seeding import Streams, derive_seed

names = st.text("ab\x1f 1", min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**40), draws=st.integers(1, 200))
def test_extra_draws_in_one_stream_do_not_move_another(seed: int, draws: int) -> None:
    quiet, busy = Streams(seed), Streams(seed)
    busy["fitting"].random(draws)
    busy["new stream"].random(draws)
    assert np.array_equal(quiet["alignment"].random(5), busy["alignment"].random(5))


def test_the_check_rejects_one_shared_generator() -> None:
    """The smallest wrong implementation: names that share a generator."""

    class Shared(Streams):
        def __getitem__(self, name: str) -> np.random.Generator:
            return super().__getitem__("one for all")

    quiet, busy = Shared(0), Shared(0)
    busy["fitting"].random(1)
    assert not np.array_equal(quiet["alignment"].random(5), busy["alignment"].random(5))


@settings(max_examples=50, deadline=None)
@given(a=names, b=names, seed=st.integers(0, 1000))
def test_names_and_seeds_separate_streams(a: str, b: str, seed: int) -> None:
    assert (derive_seed(seed, a) == derive_seed(seed, b)) == (a == b)
    assert derive_seed(seed, a) != derive_seed(seed + 1, a)


def test_names_are_not_merely_joined() -> None:
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")
    assert derive_seed(1, "2") != derive_seed(12)


def test_seeds_fit_the_libraries_that_take_them() -> None:
    assert all(0 <= derive_seed(seed, "x") < 2**63 for seed in range(200))


def test_the_derivation_never_changes() -> None:
    """Stored runs depend on these numbers."""
    assert derive_seed(0, "", "alignment") == Streams(0).seed_for("alignment")
    assert [derive_seed(0, "a"), derive_seed(1, "a", 2)] == [8517966169931683447, 5440388798209787277]
    assert Streams(0)["alignment"].integers(10**9, size=3).tolist() == [536063497, 604743060, 268780081]


def test_children_are_independent_of_their_parent_and_of_each_other() -> None:
    parent = Streams(5)
    draws = [s["x"].random() for s in (parent, parent.child("a"), parent.child("b"), parent.child("a").child("b"))]
    assert len(set(draws)) == 4
    assert Streams(5).child("a")["x"].random() == draws[1]


def test_streams_go_on_where_they_were_saved() -> None:
    streams = Streams(1).child("arm")
    streams["a"].random(3)
    streams["b"].normal(size=2)
    saved = json.loads(json.dumps(streams.state_dict()))
    expected = {name: streams[name].random(4) for name in ("a", "b", "later")}
    restored = Streams(99)
    restored["noise"].random(5)
    restored.load_state_dict(saved)
    for name, values in expected.items():
        assert np.array_equal(restored[name].random(4), values)


def test_streams_look_random() -> None:
    draws = np.array([Streams(seed)["x"].random() for seed in range(500)])
    assert draws.mean() == pytest.approx(0.5, abs=0.05)
    assert draws.std() == pytest.approx(12**-0.5, abs=0.02)
