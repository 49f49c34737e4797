"""Outputs composed of layers: states laid over each other until every cell is right.

A layer covers with its nonzero cells, its ground cells or all its cells. Layers that come first
lie on top. A stack is built from the top. Every layer must be right in each free cell that it
covers, and the layer that gains most cells comes next. This is the greedy composition of the 2020
winner. Several stacks are built, from different first layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from solver.deadline import Deadline
from solver.grid import Grid, Task, freeze
from solver.synth.grids.judge import Target
from solver.synth.grids.piece_kernels import (
    ALL,
    NONZERO,
    ZERO,
    Pieces,
    best_bases,
    best_pieces,
    cover,
    test_layer,
)
from solver.synth.grids.space import Space
from solver.synth.program import Image, Op

MODES = ("nonzero", "all", "zero")
MAX_LAYERS = 7  # not counting the base
FIRST = 3  # first layers tried on one base
BASES = 8  # the most pieces tried as a base
LAYER_BITS = 5  # cost of a layer besides its piece's cost
GREEDY_BITS = 1000  # cost of a layer beside which its piece's cost hardly counts

Layer = tuple[int, int]  # piece, mode


def target_of(task: Task) -> Target:
    """The demonstrations' outputs as one vector of cells."""
    outputs = [pair.output for pair in task.train]
    sizes = [grid.size for grid in outputs]
    offsets = np.cumsum([0, *sizes[:-1]])
    shape = [(*grid.shape, at) for grid, at in zip(outputs, offsets.tolist(), strict=True)]
    cells = np.concatenate([grid.ravel() for grid in outputs])
    return Target(cells, np.array(shape, dtype=np.int64))


def stacks(pieces: Pieces, target: Target, deadline: Deadline) -> Iterator[list[Layer] | None]:
    """Complete stacks, top layer first; None where the caller may pause.

    The base is chosen first: blank ground, or one of the pieces with fewest wrong cells. Layers
    above the base only have to gain the cells that the base gets wrong. Last come stacks without a
    base, whose layers are chosen by gain, almost without regard to cost.
    """
    free = _all_free(len(target.cells))
    plans = [(base, _wrong(pieces, target, base), LAYER_BITS) for base in (None, *_bases(pieces))]
    for base, wanted, layer_cost in [*plans, (None, free, GREEDY_BITS)]:
        for first in _best(pieces, free, wanted, FIRST, layer_cost):
            yield None
            if deadline.passed():
                return
            layers = _finish(pieces, free.copy(), wanted, first, layer_cost)
            if layers:
                yield layers if base is None else [*layers, (base, ALL)]


def layered(space: Space, pieces: Pieces, layers: Sequence[Layer], k: int, shape: Any) -> Grid:
    """The grid of a stack for input k, in a frame of `shape` = (height, width)."""
    drawn = []
    for piece, mode in layers:
        state, table = int(pieces.state[piece]), pieces.map[piece]
        cells = test_layer(space, state, k, shape[0], shape[1], table)
        drawn.append((cells, mode))
    return _lay(drawn, shape)


def _finish(
    pieces: Pieces, free: Any, wanted: Any, first: Layer, layer_cost: int
) -> list[Layer] | None:
    layers = [first]
    cover(pieces, first[0], first[1], free)
    while (free & wanted).any():
        nexts = _best(pieces, free, wanted, 1, layer_cost) if len(layers) < MAX_LAYERS else []
        if not nexts:
            return None
        layers += nexts
        cover(pieces, nexts[0][0], nexts[0][1], free)
    return layers


def _bases(pieces: Pieces) -> list[int]:
    top = np.empty(BASES, np.int64)
    n = best_bases(pieces, LAYER_BITS, top)
    bases: list[int] = top[:n].tolist()
    return bases


def _wrong(pieces: Pieces, target: Target, base: int | None) -> Any:
    if base is not None:
        return ~pieces.right[base] & _all_free(len(target.cells))
    bits = np.zeros(len(_all_free(len(target.cells))) * 64, np.uint8)
    bits[: len(target.cells)] = target.cells != 0
    return np.packbits(bits, bitorder="little").view(np.uint64)


def _best(pieces: Pieces, free: Any, wanted: Any, most: int, layer_cost: int) -> list[Layer]:
    top = np.empty((most, 2), np.int64)
    n = best_pieces(pieces, free, wanted, layer_cost, top)
    return [(piece, mode) for piece, mode in top[:n].tolist()]


def _all_free(total: int) -> Any:
    free = np.full((total + 63) // 64, np.uint64(0xFFFFFFFFFFFFFFFF))
    if total % 64:
        free[-1] = np.uint64((1 << total % 64) - 1)
    return free


def _lay(drawn: Sequence[tuple[Any, int]], shape: tuple[int, int]) -> Grid:
    result = np.zeros(shape, np.uint8)
    free = np.ones(shape, np.bool_)
    for cells, mode in drawn:
        here = free.copy()
        if mode == NONZERO:
            here &= cells != 0
        elif mode == ZERO:
            here &= cells == 0
        result[here] = cells[here]
        free &= ~here
    return freeze(result)


def _layers(size: tuple[int, int], *layers: tuple[str, Any]) -> Image | None:
    drawn = []
    for mode, value in layers:
        image = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        image = image if isinstance(image, Image) else Image(image)
        if not isinstance(image.cells, np.ndarray) or mode not in MODES:
            return None
        drawn.append((_framed(image, size), MODES.index(mode)))
    return Image(_lay(drawn, size))


def _framed(image: Image, size: tuple[int, int]) -> Any:
    h, w = image.cells.shape
    y, x = (0, 0) if (h, w) == size else (image.y, image.x)
    out = np.zeros(size, np.uint8)
    top, left = max(0, y), max(0, x)
    bottom, right = min(size[0], y + h), min(size[1], x + w)
    if top < bottom and left < right:
        out[top:bottom, left:right] = image.cells[top - y : bottom - y, left - x : right - x]
    return out


OPS: dict[str, Op] = {
    "layers": Op(_layers, "lay images over each other in a frame, the first on top"),
}
