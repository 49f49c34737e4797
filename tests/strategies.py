"""Hypothesis strategies for grids, pairs, tasks, views and candidates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from solver.grid import COLORS, Candidate, Grid, Pair, Task, freeze
from solver.views import IDENTITY_COLORS, View


@st.composite
def grids(draw: st.DrawFn, max_side: int = 30) -> Grid:
    """Legal grids; the cells come from a seed, so that large grids stay cheap to draw."""
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    colors = draw(st.integers(1, COLORS))
    return freeze(rng.integers(0, colors, (height, width)).astype(np.uint8))


def pairs(max_side: int = 30) -> st.SearchStrategy[Pair]:
    return st.builds(Pair, grids(max_side), grids(max_side))


def ids() -> st.SearchStrategy[str]:
    """Legal task ids: printable and not empty."""
    return st.text(min_size=1, max_size=8).filter(str.isprintable)


def tasks(max_side: int = 30) -> st.SearchStrategy[Task]:
    return st.builds(
        Task,
        ids(),
        st.lists(pairs(max_side), min_size=1, max_size=4).map(tuple),
        st.lists(grids(max_side), min_size=1, max_size=3).map(tuple),
    )


def views(demos: int) -> st.SearchStrategy[View]:
    """Views of a task with this many demonstrations."""
    order = st.just(()) if demos == 0 else st.permutations(range(demos)).map(tuple)
    colors = st.permutations(IDENTITY_COLORS).map(tuple)
    return st.builds(View, st.integers(0, 7), colors, order)


def candidates(task: str = "t", tests: int = 1) -> st.SearchStrategy[Candidate]:
    """Candidates with few distinct grids, so that many of them agree; some only measured."""
    few = st.integers(0, 3).map(lambda color: freeze(np.full((1, 2), color, dtype=np.uint8)))
    return st.builds(
        Candidate,
        st.just(task),
        st.integers(0, tests - 1),
        few,
        st.sampled_from(["plain", "model"]),
        view=st.none() | st.sampled_from(["d0", "d1"]),
        logprob=st.none() | st.floats(-50, 0),
        program=st.none() | st.sampled_from(["input", "crop"]),
        cost_s=st.integers(0, 9).map(float),
        scores=st.lists(st.floats(-50, 0), max_size=3).map(tuple),
        votes=st.integers(0, 4),
    )


def complaint(
    error: type[Exception], call: Callable[..., object], *arguments: object
) -> str | None:
    """The message of this kind of error that a call raises; None if it raises none."""
    try:
        call(*arguments)
    except error as raised:
        return str(raised)
    return None
