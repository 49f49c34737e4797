"""Compiled kernels for pieces: states as bit sets over output cells, made and chosen among.

A piece is about the N output cells (see `judge`): the cells in which a state is right, and the
cells in which the state is nonzero. `collect` makes up to two pieces from a state: the state as
it is, and the state under a colour map to the outputs' colours, if such a map exists.

A layer covers cells by its mode: its nonzero cells, all its cells, or its ground. Layers above a
piece can cover the cells that the piece leaves empty or gets wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.synth.grids.judge import Target
from solver.synth.grids.space import ONE, STATES, block_image, mixed
from solver.synth.jit import kernel

MAP_BITS = 3  # bits for one entry of a colour map
NONZERO, ALL, ZERO = range(3)  # modes: the cells of a piece that cover


class Pieces(NamedTuple):
    """The pieces found so far. P: room for pieces. W = ceil(N / 64): words of a bit set."""

    right: NDArray[np.uint64]  # (P, W): right cells
    full: NDArray[np.uint64]  # (P, W): nonzero cells
    state: NDArray[np.int32]  # (P,)
    cost: NDArray[np.int16]  # (P,): bits
    map: NDArray[np.uint8]  # (P, 10): colour map of the state
    table: NDArray[np.int32]  # hash table by both bit sets: piece + 1
    hash: NDArray[np.uint64]  # (P,)
    used: NDArray[np.int64]  # (2,): numbers of pieces, of states looked at


def new_pieces(target: Target, most: int, memory: int = 64 << 20) -> Pieces:
    """Room for `most` pieces, or for as many as `memory` bytes of bit sets can describe.

    There is always room for 256 pieces.
    """
    words = (len(target.cells) + 63) // 64
    room = max(256, min(most, memory // (16 * words)))
    return Pieces(
        right=np.empty((room, words), np.uint64),
        full=np.empty((room, words), np.uint64),
        state=np.empty(room, np.int32),
        cost=np.empty(room, np.int16),
        map=np.empty((room, 10), np.uint8),
        table=np.zeros(1 << (2 * room - 1).bit_length(), np.int32),
        hash=np.empty(room, np.uint64),
        used=np.zeros(2, np.int64),
    )


@kernel
def place(space, s, k, h, w):
    """The image of a state for input k, as a layer in a frame of h x w: (image, y, x).

    An image of the frame's size is placed at (0, 0).
    """
    r = space.first[s, k]
    a = block_image(space, space.ref[r, 0])
    y, x = np.int64(space.ref[r, 1]), np.int64(space.ref[r, 2])
    if a.shape[0] == h and a.shape[1] == w:
        y, x = np.int64(0), np.int64(0)
    return a, y, x


@kernel
def layer_map(space, s, target, table):
    """Fill table (10,) with a colour map from a state to the outputs, seen as a layer.

    Ground stays ground. The map exists if, under each nonzero colour of the state, the outputs have
    only one colour. True if the map exists and changes a colour.
    """
    for c in range(10):
        table[c] = c
    seen = np.zeros(10, np.bool_)
    for k in range(len(target.shape)):
        h, w, at = target.shape[k, 0], target.shape[k, 1], target.shape[k, 2]
        a, y, x = place(space, s, k, h, w)
        for i in range(max(0, y), min(h, y + a.shape[0])):
            for j in range(max(0, x), min(w, x + a.shape[1])):
                v, t = a[i - y, j - x], target.cells[at + i * w + j]
                if v == 0 or (seen[v] and table[v] == t):
                    continue
                if seen[v]:
                    return False
                seen[v] = True
                table[v] = t
    return generalise(table, seen)


@kernel
def generalise(table, seen):
    """Extend the map to nonzero colours not seen, if all seen colours become the same colour.

    At least two colours must have been seen. True if the map changes a seen colour.
    """
    changed = False
    one, several, kinds = -1, False, 0
    for c in range(1, 10):
        if seen[c]:
            kinds += 1
            changed |= table[c] != c
            several |= one >= 0 and table[c] != one
            one = table[c]
    if kinds > 1 and not several:
        for c in range(1, 10):
            table[c] = one
    return changed


@kernel
def map_cost(table):
    """Bits to write a colour map down: `MAP_BITS` for each entry.

    A map of all nonzero colours to one colour costs two entries at most.
    """
    entries, uniform = 0, True
    for c in range(1, 10):
        entries += table[c] != c
        uniform &= table[c] == table[1]
    entries += table[0] != 0
    return MAP_BITS * (min(entries, 2) if uniform else entries)


@kernel
def bits_of(space, s, target, table, right, full):
    """Fill the bit sets of one state under a colour map.

    Returns the number of right cells and the number of wrong nonzero cells.
    """
    right[:] = np.uint64(0)
    full[:] = np.uint64(0)
    one = np.uint64(1)
    good, bad = 0, 0
    for k in range(len(target.shape)):
        h, w, at = target.shape[k, 0], target.shape[k, 1], target.shape[k, 2]
        a, y, x = place(space, s, k, h, w)
        for i in range(h):
            p = i - y
            for j in range(w):
                q = j - x
                v = np.int64(0)
                if 0 <= p < a.shape[0] and 0 <= q < a.shape[1]:
                    v = table[a[p, q]]
                n = at + i * w + j
                bit = one << np.uint64(n & 63)
                if v:
                    full[n >> 6] |= bit
                if v == target.cells[n]:
                    right[n >> 6] |= bit
                    good += 1
                elif v:
                    bad += 1
    return good, bad


@kernel
def add_piece(pieces, s, cost, table, right, full):
    """Store a piece if its bit sets are new."""
    mask = len(pieces.table) - 1
    code = np.uint64(7)
    for m in range(len(right)):
        code = mixed(mixed(code, right[m]), full[m])
    slot = np.int64(code & np.uint64(mask))
    while pieces.table[slot]:
        if pieces.hash[pieces.table[slot] - 1] == code:
            return
        slot = (slot + 1) & mask
    n = pieces.used[0]
    pieces.used[0] += 1
    pieces.right[n] = right
    pieces.full[n] = full
    pieces.state[n], pieces.cost[n] = s, cost
    for c in range(10):
        pieces.map[n, c] = table[c]
    pieces.hash[n] = code
    pieces.table[slot] = n + 1


@kernel
def collect(space, target, pieces, limit):
    """Make pieces from states not looked at yet, with about `limit` cells of work at most.

    A state as it is needs a right cell, and at most a third of the cells wrong and nonzero.
    A mapped state needs a right cell. True if work was left at the limit; False if all states have
    been looked at or there is no more room for pieces.
    """
    spent = 0
    total = len(target.cells)
    room, words = pieces.right.shape
    right = np.empty(words, np.uint64)
    full = np.empty(words, np.uint64)
    table = np.empty(10, np.int64)
    while pieces.used[1] < space.used[STATES] and pieces.used[0] + 2 <= room:
        if spent > limit:
            return True
        s = pieces.used[1]
        pieces.used[1] += 1
        if space.kind[s] != ONE:
            continue
        spent += 2 * total
        if layer_map(space, s, target, table):
            good, _ = bits_of(space, s, target, table, right, full)
            if good > 0:
                add_piece(pieces, s, space.cost[s] + map_cost(table), table, right, full)
        for c in range(10):
            table[c] = c
        good, bad = bits_of(space, s, target, table, right, full)
        if good > 0 and bad * 3 <= total:
            add_piece(pieces, s, space.cost[s], table, right, full)
    return False


@kernel
def test_layer(space, s, k, h, w, table):
    """The image of a state for input k, in a frame of h x w and under a colour map.

    The image is placed like the layers that `collect` looks at.
    """
    out = np.zeros((h, w), np.uint8)
    a, y, x = place(space, s, k, h, w)
    for i in range(max(0, y), min(h, y + a.shape[0])):
        for j in range(max(0, x), min(w, x + a.shape[1])):
            out[i, j] = table[a[i - y, j - x]]
    return out


# --- choice -----------------------------------------------------------------------------


@kernel
def ones(v):
    """The number of bits set in a 64-bit word."""
    v = v - ((v >> np.uint64(1)) & np.uint64(0x5555555555555555))
    v = (v & np.uint64(0x3333333333333333)) + ((v >> np.uint64(2)) & np.uint64(0x3333333333333333))
    v = (v + (v >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((v * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def gain(pieces, n, mode, free, wanted):
    """The number of free and wanted cells that piece n covers.

    0 if the piece is wrong in a free cell that it covers.
    """
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
    """Make room for an entry of this value in `best` and `top`, which are sorted best first.

    found: number of filled entries. Returns the place of the entry; -1 if the list is full and its
    worst entry is at least as good.
    """
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
    """Fill `top` with layers (piece, mode), best first. Returns the number of layers.

    The best layer gains most wanted cells for each bit of cost, `layer_cost` included.
    """
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
    """Fill `top` with piece numbers, best first. Returns the number of pieces.

    A piece's value is its number of right cells, less its cost and `layer_cost` in bits: one wrong
    cell counts like one bit.
    """
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
    """Remove the cells that a piece covers from the free cells. Returns the number left."""
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
