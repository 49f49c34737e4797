"""Compiled verdicts: states that equal the demonstrations' outputs, up to one colour map.

The output cells of all demonstrations form one vector of N cells. `judge` finds the states that
equal this vector, or that become equal under one colour map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.synth.grids.space import ONE, STATES, block_image
from solver.synth.jit import kernel

NO, EXACT, MAPPED = range(3)


class Target(NamedTuple):
    """The outputs of the D demonstrations.

    cells: the cells of all outputs, (N,).
    shape: height, width and offset in `cells` of each output, (D, 3).
    """

    cells: NDArray[np.uint8]
    shape: NDArray[np.int64]


@kernel
def color_map(space, s, target, table):
    """Fill table (10,) with the colour map from a state to the outputs: the verdict.

    An entry is -1 if the state lacks the colour in the demonstrations.
    EXACT: every colour stays as it is.
    MAPPED: a colour map exists, and has an entry for every colour of the tests.
    NO: neither of these.
    """
    table[:] = -1
    demos = len(target.shape)
    for k in range(demos):
        a = block_image(space, space.ref[space.first[s, k], 0])
        h, w, at = target.shape[k, 0], target.shape[k, 1], target.shape[k, 2]
        if a.shape[0] != h or a.shape[1] != w:
            return NO
        for i in range(h):
            for j in range(w):
                v, t = a[i, j], target.cells[at + i * w + j]
                if table[v] < 0:
                    table[v] = t
                elif table[v] != t:
                    return NO
    exact = True
    for c in range(10):
        exact &= table[c] < 0 or table[c] == c
    if exact:
        return EXACT
    for k in range(demos, space.first.shape[1] - 1):
        a = block_image(space, space.ref[space.first[s, k], 0])
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                if table[a[i, j]] < 0:
                    return NO
    return MAPPED


@kernel
def judge(space, target, begin, verdict):
    """Fill `verdict` with (state, EXACT or MAPPED) pairs for states from `begin` on.

    Returns the number of pairs and the next state to judge. Stops early if `verdict` is full.
    """
    n = 0
    table = np.empty(10, np.int64)
    for s in range(begin, space.used[STATES]):
        if n == len(verdict):
            return n, s
        if space.kind[s] != ONE:
            continue
        found = color_map(space, s, target, table)
        if found != NO:
            verdict[n, 0] = s
            verdict[n, 1] = found
            n += 1
    return n, space.used[STATES]
