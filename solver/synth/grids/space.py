"""The search space: states over all inputs of a task at once, in flat arrays.

The K inputs are those of the demonstrations, then the tests. For each input, a state contains
one image with a place, or a list of such images.

All memory is flat arrays (`Space`). A block is the pixels of an image; equal images share one
block. A state is stored once for equal lists of (block, place) over all K inputs. States of one
cost form a queue, so `expand` can take the cheapest first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.synth.grids.kernels_list import MAX_IMAGES, POOL
from solver.synth.jit import kernel

LEVELS = 128  # costs are integers below this number
ONE, MANY = range(2)  # kinds of state

PIXELS, BLOCKS, REFS, STATES, LEVEL, STATE, OP, CALLS, WORK = range(9)  # indices into `used`

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_S29 = np.uint64(29)


class Space(NamedTuple):
    """Flat storage for B blocks, R refs and S states over K inputs.

    `used` contains the filled length of each array, the progress of expansion, and counters.
    """

    pix: NDArray[np.uint8]
    block: NDArray[np.int64]  # (B, 4): offset, h, w, nonzero cells
    block_hash: NDArray[np.uint64]  # (B,)
    ref: NDArray[np.int32]  # (R, 3): block, y, x
    first: NDArray[np.int32]  # (S, K + 1): refs of s, k: first[s, k] to first[s, k + 1]
    kind: NDArray[np.int8]  # (S,): ONE or MANY
    cost: NDArray[np.int16]  # (S,)
    parent: NDArray[np.int32]  # (S,): -1 for state 0
    op: NDArray[np.int32]  # (S,): row of the operation table
    state_hash: NDArray[np.uint64]  # (S,)
    after: NDArray[np.int32]  # (S,): next state of the same cost, or -1
    head: NDArray[np.int32]  # (LEVELS,): first state of each cost, or -1
    tail: NDArray[np.int32]  # (LEVELS,): last state of each cost, or -1
    block_table: NDArray[np.int32]  # hash table: block + 1
    state_table: NDArray[np.int32]  # hash table: state + 1
    out: NDArray[np.uint8]  # (K * POOL,): scratch
    box: NDArray[np.int64]  # (K * MAX_IMAGES, 6): scratch: y, x, h, w, offset, block or -1
    hash: NDArray[np.uint64]  # (K * MAX_IMAGES,): scratch
    number: NDArray[np.int64]  # (K,): scratch: number of images
    used: NDArray[np.int64]  # (16,): see the indices above


def new_space(inputs: int, states: int, pixels: int) -> Space:
    """Room for a number of states and pixels.

    The system gives memory to most arrays only as they fill.
    """
    table = 1 << (2 * states - 1).bit_length()
    return Space(
        pix=np.empty(pixels, np.uint8),
        block=np.empty((states * 2, 4), np.int64),
        block_hash=np.empty(states * 2, np.uint64),
        ref=np.empty((states * inputs * 2, 3), np.int32),
        first=np.empty((states, inputs + 1), np.int32),
        kind=np.empty(states, np.int8),
        cost=np.empty(states, np.int16),
        parent=np.empty(states, np.int32),
        op=np.empty(states, np.int32),
        state_hash=np.empty(states, np.uint64),
        after=np.empty(states, np.int32),
        head=np.full(LEVELS, -1, np.int32),
        tail=np.full(LEVELS, -1, np.int32),
        block_table=np.zeros(table * 2, np.int32),
        state_table=np.zeros(table, np.int32),
        out=np.empty(inputs * POOL, np.uint8),
        box=np.empty((inputs * MAX_IMAGES, 6), np.int64),
        hash=np.empty(inputs * MAX_IMAGES, np.uint64),
        number=np.empty(inputs, np.int64),
        used=np.zeros(16, np.int64),
    )


@kernel
def block_image(space, b):
    """Block b as an (h, w) array."""
    start, h, w = space.block[b, 0], space.block[b, 1], space.block[b, 2]
    return space.pix[start : start + h * w].reshape((h, w))


@kernel
def mixed(h, v):
    """A step of a 64-bit hash: hash `h` and the next value `v`."""
    h = (h ^ v) * _PRIME
    return (h ^ (h >> _S29)) * _MIX


@kernel
def cells_hash(cells, start, h, w):
    """The hash of h * w cells from `start` on, and of their shape."""
    code = mixed(np.uint64(h * 64 + w), np.uint64(0x51ED270B))
    word = np.uint64(0)
    for m in range(h * w):
        word = word * np.uint64(11) + np.uint64(cells[start + m])
        if m % 16 == 15:
            code = mixed(code, word)
            word = np.uint64(0)
    return mixed(code, word)


@kernel
def find_block(space, code):
    """The block with this hash, or -1, and its slot in the table."""
    mask = len(space.block_table) - 1
    slot = np.int64(code & np.uint64(mask))
    while space.block_table[slot]:
        b = space.block_table[slot] - 1
        if space.block_hash[b] == code:
            return np.int64(b), slot
        slot = (slot + 1) & mask
    return np.int64(-1), slot


@kernel
def add_block(space, cells, start, h, w, code):
    """The block of these cells, which is stored if new."""
    b, slot = find_block(space, code)
    if b >= 0:
        return b
    b = space.used[BLOCKS]
    space.used[BLOCKS] += 1
    at = space.used[PIXELS]
    space.used[PIXELS] += h * w
    full = 0
    for m in range(h * w):
        space.pix[at + m] = cells[start + m]
        full += cells[start + m] != 0
    space.block[b, 0], space.block[b, 1], space.block[b, 2] = at, h, w
    space.block[b, 3] = full
    space.block_hash[b] = code
    space.block_table[slot] = b + 1
    return b


@kernel
def is_new(space, code):
    """The free slot for a state hash; -1 if a state with this hash exists."""
    mask = len(space.state_table) - 1
    slot = np.int64(code & np.uint64(mask))
    while space.state_table[slot]:
        if space.state_hash[space.state_table[slot] - 1] == code:
            return np.int64(-1)
        slot = (slot + 1) & mask
    return slot


@kernel
def store(space, code, slot, kind, cost, parent, op):
    """Append the state in the scratch arrays, and queue the state by its cost."""
    s = space.used[STATES]
    space.used[STATES] += 1
    r = space.used[REFS]
    inputs = len(space.number)
    for k in range(inputs):
        space.first[s, k] = r
        for m in range(k * MAX_IMAGES, k * MAX_IMAGES + space.number[k]):
            box = space.box[m]
            b = box[5]
            if b < 0:
                b = add_block(space, space.out, box[4], box[2], box[3], space.hash[m])
            space.ref[r, 0], space.ref[r, 1], space.ref[r, 2] = b, box[0], box[1]
            r += 1
    space.first[s, inputs] = r
    space.used[REFS] = r
    space.kind[s], space.cost[s] = kind, cost
    space.parent[s], space.op[s] = parent, op
    space.state_hash[s] = code
    space.state_table[slot] = s + 1
    space.after[s] = -1
    if space.tail[cost] < 0:
        space.head[cost] = s
    else:
        space.after[space.tail[cost]] = s
    space.tail[cost] = s


@kernel
def start(space, inputs, shapes):
    """Make state 0 from all inputs. Returns the blocks of the inputs, int64 (K,).

    inputs: the cells of all inputs, flat.
    shapes: (K, 2).
    """
    blocks = np.empty(len(shapes), np.int64)
    at = 0
    code = np.uint64(1)
    for k in range(len(shapes)):
        h, w = shapes[k, 0], shapes[k, 1]
        box = space.box[k * MAX_IMAGES]
        box[0], box[1], box[2], box[3] = 0, 0, h, w
        box[5] = add_block(space, inputs, at, h, w, cells_hash(inputs, at, h, w))
        blocks[k] = box[5]
        space.number[k] = 1
        code = mixed(code, space.block_hash[box[5]])
        at += h * w
    zero = np.int64(0)
    store(space, code, is_new(space, code), ONE, zero, zero - 1, zero - 1)
    space.used[STATE] = 0
    return blocks


@kernel
def has_room(space):
    """True if one more state of any size fits."""
    u = space.used
    inputs = len(space.number)
    return (
        u[PIXELS] + inputs * POOL < len(space.pix)
        and u[BLOCKS] + inputs * MAX_IMAGES < len(space.block)
        and u[REFS] + inputs * MAX_IMAGES < len(space.ref)
        and u[STATES] + 1 < len(space.kind)
    )
