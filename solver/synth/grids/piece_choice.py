"""Compiled choice among pieces: which layer gains most, which base is wrong least.

A layer covers cells by its mode (its nonzero cells, all of them, or its ground). Cells that
a piece leaves empty or gets wrong can be covered by the layers above it.
"""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel

NONZERO, ALL, ZERO = range(3)  # which cells of a piece cover


@kernel
def ones(v):
    """Bits set in a 64-bit word."""
    v = v - ((v >> np.uint64(1)) & np.uint64(0x5555555555555555))
    v = (v & np.uint64(0x3333333333333333)) + ((v >> np.uint64(2)) & np.uint64(0x3333333333333333))
    v = (v + (v >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((v * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def gain(pieces, n, mode, free, wanted):
    """Wanted cells among the free ones that piece n covers; 0 if it covers a free one
    wrongly."""
    total = 0
    for m in range(len(free)):
        cover = free[m]
        if mode == NONZERO:
            cover &= pieces.full[n, m]
        elif mode == ZERO:
            cover &= ~pieces.full[n, m]
        if cover & ~pieces.right[n, m]:
            return 0
        total += ones(cover & wanted[m])
    return total


@kernel
def room_for(value, best, top, found):
    """Make room in `best` and `top`, best first and `found` of them filled, for an entry of
    this value: its place, or -1 if the worst of a full list is as good."""
    if found == len(top) and value <= best[found - 1]:
        return -1
    at = min(found, len(top) - 1)
    while at > 0 and best[at - 1] < value:
        best[at] = best[at - 1]
        top[at] = top[at - 1]
        at -= 1
    best[at] = value
    return at


@kernel
def best_pieces(pieces, free, wanted, layer_cost, top):
    """The layers that gain most wanted cells for each bit they cost: rows (piece, mode) in
    `top`, best first. Returns how many."""
    found = 0
    best = np.zeros(len(top))
    for n in range(pieces.used[0]):
        for mode in range(3):
            g = gain(pieces, n, mode, free, wanted)
            if g == 0:
                continue
            value = g / (pieces.cost[n] + layer_cost)
            at = room_for(value, best, top, found)
            if at >= 0:
                top[at, 0], top[at, 1] = n, mode
                found = min(found + 1, len(top))
    return found


@kernel
def best_bases(pieces, layer_cost, top):
    """The pieces with the fewest wrong cells in view of their cost (as if every five wrong
    cells cost a layer): piece numbers in `top`, best first. Returns how many."""
    found = 0
    best = np.zeros(len(top))
    for n in range(pieces.used[0]):
        right = 0
        for m in range(pieces.right.shape[1]):
            right += ones(pieces.right[n, m])
        value = right - pieces.cost[n] - layer_cost
        at = room_for(value, best, top, found)
        if at >= 0:
            top[at] = n
            found = min(found + 1, len(top))
    return found


@kernel
def cover(pieces, n, mode, free):
    """Take the cells that a piece covers out of the free ones; how many are left."""
    left = 0
    for m in range(len(free)):
        if mode == NONZERO:
            free[m] &= ~pieces.full[n, m]
        elif mode == ZERO:
            free[m] &= pieces.full[n, m]
        else:
            free[m] = np.uint64(0)
        left += ones(free[m])
    return left
