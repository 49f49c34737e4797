"""Leaves: the functions that colour a cell, and the cells that each leaf colours wrongly.

A leaf is a constant, a feature to copy, or a table from values of a feature to colours. A value
that a table lacks keeps the cell's own colour. Tables are filled from the demonstrations. In
leave-one-out, an entry that only the demonstration left out supports does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.synth.cells.tests import Bits, Cells, pack
from solver.synth.cells.tree import Rule
from solver.synth.features.table import FEATURES, INDEX
from solver.synth.jit import kernel

MAX_TABLES = 24
MAX_ENTRIES = 7
_EMPTY = 255


@dataclass(frozen=True, eq=False)
class Leaves:
    """J leaves sorted by cost.

    costs: bits, (J,).
    values: the colours that the leaves give to all cells, (J, 64 * words).
    wrong: the training cells that the leaves colour wrongly, (J, train words).
    wrong_held: as `wrong`, but each demonstration is coloured by tables made without it.
    """

    rules: tuple[Rule, ...]
    costs: NDArray[np.float64]
    values: NDArray[np.uint8]
    wrong: Bits
    wrong_held: Bits


@dataclass(frozen=True, eq=False)
class _Leaf:
    cost: float
    rule: Rule
    values: NDArray[np.uint8]
    held: NDArray[np.uint8]


def enumerate_leaves(cells: Cells, targets: Sequence[NDArray[np.uint8]]) -> Leaves:
    """Constants, features to copy and tables that are right at some training cell.

    Of leaves with the same values everywhere, only the cheapest is kept.
    """
    wanted = wanted_colors(cells, targets)
    total, train = len(wanted), 64 * cells.train_words
    found = []
    for c in np.unique(wanted[:train]).tolist():
        if c < 10:
            plain = np.full(total, c, dtype=np.uint8)
            found.append(_Leaf(3.0, ("const", c), plain, plain))
    for i, feature in enumerate(FEATURES):
        if feature.color:
            row = cells.table[i]
            found.append(_Leaf(feature.bits + 0.5, ("copy", feature.name), row, row))
    found += _tables(cells, wanted)
    found.sort(key=lambda leaf: leaf.cost)
    seen: set[bytes] = set()
    kept = []
    for leaf in found:
        right = (leaf.values[:train] == wanted[:train]).any()
        identity = leaf.values.tobytes() if right else b""
        if right and identity not in seen:
            seen.add(identity)
            kept.append(leaf)
    shape = (len(kept), total)
    values = np.array([leaf.values for leaf in kept], dtype=np.uint8).reshape(shape)
    held = np.array([leaf.held for leaf in kept], dtype=np.uint8).reshape(shape)
    costs = np.array([leaf.cost for leaf in kept])
    wrong, wrong_held = (_wrong(v[:, :train], wanted[:train], cells) for v in (values, held))
    return Leaves(tuple(leaf.rule for leaf in kept), costs, values, wrong, wrong_held)


def wanted_colors(cells: Cells, targets: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The output colours of the demonstrations in the order of `cells`; 255 for other cells."""
    wanted = np.full(cells.table.shape[1], _EMPTY, dtype=np.uint8)
    for i, target in enumerate(targets):
        wanted[cells.grid(i)] = target.ravel()
    return wanted


def _wrong(values: NDArray[np.uint8], wanted: NDArray[np.uint8], cells: Cells) -> Bits:
    wrong: Bits = pack((values != wanted).view(np.uint8))
    return wrong & cells.valid[: cells.train_words]


def _tables(cells: Cells, wanted: NDArray[np.uint8]) -> list[_Leaf]:
    """The `MAX_TABLES` cheapest tables that agree with a set of training cells.

    The sets are all cells, the cells that change colour, and the cells that are not black in the
    output.
    """
    own = cells.table[INDEX["self"]]
    demo = np.zeros(len(wanted), dtype=np.int64)
    for i in range(cells.demos):
        demo[cells.grid(i)] = i
    exists = wanted != _EMPTY
    found: dict[tuple[str, bytes], _Leaf] = {}
    for open_cells in (exists, exists & (own != wanted), exists & (wanted != 0)):
        chosen = np.flatnonzero(open_cells)
        if len(chosen) == 0:
            continue
        colors, owner = _fill_tables(cells.table, chosen, wanted, demo)
        for f, feature in enumerate(FEATURES):
            keys = np.flatnonzero(colors[f] != _EMPTY)
            if not 2 <= len(keys) <= MAX_ENTRIES or len(np.unique(colors[f, keys])) < 2:
                continue
            entries = tuple((int(k), int(colors[f, k])) for k in keys)
            cost = feature.bits + 2.0 + 2.5 * len(entries)
            row = cells.table[f]
            values = np.where(colors[f, row] != _EMPTY, colors[f, row], own)
            held = np.where((owner[f, row] == demo) & exists, own, values)
            leaf = _Leaf(cost, ("map", feature.name, entries), values, held)
            found.setdefault((feature.name, colors[f].tobytes()), leaf)
    return sorted(found.values(), key=lambda leaf: leaf.cost)[:MAX_TABLES]


@kernel
def _fill_tables(table, chosen, wanted, demo):
    """The table of each feature: the colour (F, 256) of each value of the feature.

    A feature has no entries (all 255) if two chosen cells of one value have different colours.
    Also returns the demonstration (F, 256) that each entry comes from; -1 for several.
    """
    colors = np.full((table.shape[0], 256), 255, np.uint8)
    owner = np.full((table.shape[0], 256), -1, np.int64)
    for f in range(table.shape[0]):
        for i in chosen:
            v = table[f, i]
            if colors[f, v] == 255:
                colors[f, v] = wanted[i]
                owner[f, v] = demo[i]
            elif colors[f, v] != wanted[i]:
                colors[f] = 255
                break
            elif owner[f, v] != demo[i]:
                owner[f, v] = -1
    return colors, owner
