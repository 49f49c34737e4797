"""The search space: states over all inputs of a task at once, expanded cheapest first.

A state holds, for each of K inputs (demonstrations, then tests), one image with a place or a
list of such images. All memory is flat arrays (`Space`): pixels are stored once for equal
cells (a block), states once for equal lists of (block, place) over all K inputs. `expand`
applies every primitive to the cheapest state that is left, and returns after a bounded
amount of work, so the caller can look at the clock.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.synth import dispatch as dp
from solver.synth.jit import kernel
from solver.synth.kernels_list import MOST, POOL, ordered

LEVELS = 128  # costs are integers below this
IMAGE, SIZED, PAIR, SPLIT, JOIN, PICK, KEEP, DROP, SORT, MAP = range(10)
ONE, MANY = range(2)  # kinds of state
BLANK_COST = 3  # for a state that is blank for some input

PIXELS, BLOCKS, REFS, STATES, LEVEL, STATE, OP, CALLS, WORK = range(9)  # indices into `used`
MORE, DONE, FULL = range(3)

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_S29 = np.uint64(29)


class Space(NamedTuple):
    """Flat storage; `used` says how much of each array is filled and where expansion stands."""

    pix: NDArray[np.uint8]
    block: NDArray[np.int64]  # (B, 4): offset, h, w, nonzero cells
    block_hash: NDArray[np.uint64]  # (B,)
    ref: NDArray[np.int32]  # (R, 3): block, y, x
    first: NDArray[np.int32]  # (S, K + 1): refs of state s for input k are first[s, k] up
    kind: NDArray[np.int8]  # (S,) ONE or MANY
    cost: NDArray[np.int16]  # (S,)
    parent: NDArray[np.int32]  # (S,)
    op: NDArray[np.int32]  # (S,) row of the operation table
    state_hash: NDArray[np.uint64]  # (S,)
    after: NDArray[np.int32]  # (S,) next state of the same cost
    head: NDArray[np.int32]  # (LEVELS,)
    tail: NDArray[np.int32]  # (LEVELS,)
    block_table: NDArray[np.int32]  # open addressing, index + 1
    state_table: NDArray[np.int32]
    out: NDArray[np.uint8]  # (K * POOL,) scratch
    box: NDArray[np.int64]  # (K * MOST, 6): y, x, h, w, offset, block or -1
    hash: NDArray[np.uint64]  # (K * MOST,) scratch
    number: NDArray[np.int64]  # (K,) scratch: images
    used: NDArray[np.int64]  # (16,)


def new_space(inputs: int, states: int, pixels: int) -> Space:
    """Room for a number of states and pixels; memory is touched only as it fills."""
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
        box=np.empty((inputs * MOST, 6), np.int64),
        hash=np.empty(inputs * MOST, np.uint64),
        number=np.empty(inputs, np.int64),
        used=np.zeros(16, np.int64),
    )


@kernel
def block_image(space, b):  # type: ignore[no-untyped-def]
    """Block b as an (h, w) array."""
    start, h, w = space.block[b, 0], space.block[b, 1], space.block[b, 2]
    return space.pix[start : start + h * w].reshape((h, w))


@kernel
def mixed(h, v):  # type: ignore[no-untyped-def]
    """A 64-bit hash step."""
    h = (h ^ v) * _PRIME
    return (h ^ (h >> _S29)) * _MIX


@kernel
def cells_hash(cells, start, h, w):  # type: ignore[no-untyped-def]
    """Hash of h * w cells from `start` and of their shape."""
    code = mixed(np.uint64(h * 64 + w), np.uint64(0x51ED270B))
    word = np.uint64(0)
    for m in range(h * w):
        word = word * np.uint64(11) + np.uint64(cells[start + m])
        if m % 16 == 15:
            code = mixed(code, word)
            word = np.uint64(0)
    return mixed(code, word)


@kernel
def find_block(space, code):  # type: ignore[no-untyped-def]
    """(block with this hash or -1, its slot in the table)."""
    mask = len(space.block_table) - 1
    slot = np.int64(code & np.uint64(mask))
    while space.block_table[slot]:
        b = space.block_table[slot] - 1
        if space.block_hash[b] == code:
            return np.int64(b), slot
        slot = (slot + 1) & mask
    return np.int64(-1), slot


@kernel
def add_block(space, cells, start, h, w, code):  # type: ignore[no-untyped-def]
    """The block of these cells, stored if new."""
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
def one_result(space, k, y, x, h, w):  # type: ignore[no-untyped-def]
    """Note a single new image for input k; the number of images (0: failed)."""
    if h <= 0:
        return 0
    box = space.box[k * MOST]
    box[0], box[1], box[2], box[3] = y, x, h, w
    box[4] = k * POOL
    box[5] = -1
    return 1


@kernel
def on_image(space, kind, code, arg, s, k, inst):  # type: ignore[no-untyped-def]
    """Apply an operation on images to state s for input k; the number of images."""
    r = space.first[s, k]
    a = block_image(space, space.ref[r, 0])
    y, x = np.int64(space.ref[r, 1]), np.int64(space.ref[r, 2])
    out = space.out[k * POOL : (k + 1) * POOL]
    if kind == IMAGE:
        y, x, h, w = dp.image_op(code, a, y, x, arg, out)
        return one_result(space, k, y, x, h, w)
    if kind == SIZED:
        y, x, h, w = dp.sized_op(code, a, y, x, arg, inst[k, 1], inst[k, 2], out)
        return one_result(space, k, y, x, h, w)
    if kind == PAIR:
        b = block_image(space, inst[k, 0])
        y, x, h, w = dp.pair_op(code, a, y, x, arg, b, out)
        return one_result(space, k, y, x, h, w)
    boxes = space.box[k * MOST : (k + 1) * MOST]
    n = dp.split_op(code, a, y, x, arg, out, boxes)
    at = k * POOL
    for m in range(n):
        boxes[m, 4] = at
        boxes[m, 5] = -1
        at += boxes[m, 2] * boxes[m, 3]
    return n


@kernel
def gather(space, s, k, items):  # type: ignore[no-untyped-def]
    """The images of a list state for input k as list kernels see them; their number."""
    start, end = space.first[s, k], space.first[s, k + 1]
    for r in range(start, end):
        b = space.ref[r, 0]
        m = r - start
        items[m, 0], items[m, 1] = space.ref[r, 1], space.ref[r, 2]
        items[m, 2], items[m, 3] = space.block[b, 1], space.block[b, 2]
        items[m, 4] = space.block[b, 0]
        items[m, 5] = b
    return end - start


@kernel
def mapped(space, code, arg, k, items, n):  # type: ignore[no-untyped-def]
    """Apply an image operation to every image of a list; the number of images or 0."""
    at = k * POOL
    boxes = space.box[k * MOST : (k + 1) * MOST]
    for m in range(n):
        if at + 900 > (k + 1) * POOL:
            return 0
        a = block_image(space, items[m, 5])
        out = space.out[at : at + 900]
        y, x, h, w = dp.image_op(code, a, items[m, 0], items[m, 1], arg, out)
        if h <= 0:
            return 0
        boxes[m, 0], boxes[m, 1], boxes[m, 2], boxes[m, 3] = y, x, h, w
        boxes[m, 4], boxes[m, 5] = at, -1
        at += h * w
    return n


@kernel
def on_list(space, kind, code, arg, s, k):  # type: ignore[no-untyped-def]
    """Apply an operation on lists to state s for input k; the number of images."""
    items = np.empty((MOST, 6), np.int64)
    n = np.int64(gather(space, s, k, items))
    if kind == JOIN:
        out = space.out[k * POOL : (k + 1) * POOL]
        y, x, h, w = dp.join_op(code, space.pix, items, n, arg, out)
        return one_result(space, k, y, x, h, w)
    if kind == MAP:
        return mapped(space, code, arg, k, items, n)
    boxes = space.box[k * MOST : (k + 1) * MOST]
    if kind == SORT:
        order = np.empty(n, np.int64)
        ordered(space.pix, items, n, arg, order)
        for m in range(n):
            boxes[m] = items[order[m]]
        return n
    keep = np.empty(n, np.bool_)
    dp.chosen(space.pix, items, n, arg, keep)
    count = 0
    for m in range(n):
        if keep[m] != (kind == DROP):
            boxes[count] = items[m]
            count += 1
            if kind == PICK:
                break
    return count


@kernel
def signature(space, k, code):  # type: ignore[no-untyped-def]
    """Take the result for input k into a state hash: (hash, nonzero cells, new pixels)."""
    content, pixels = 0, 0
    code = mixed(code, np.uint64(space.number[k]))
    for m in range(k * MOST, k * MOST + space.number[k]):
        box = space.box[m]
        if box[5] >= 0:
            space.hash[m] = space.block_hash[box[5]]
            content += space.block[box[5], 3]
        else:
            space.hash[m] = cells_hash(space.out, box[4], box[2], box[3])
            for c in range(box[4], box[4] + box[2] * box[3]):
                content += space.out[c] != 0
            pixels += box[2] * box[3]
        code = mixed(code, space.hash[m])
        code = mixed(code, np.uint64((box[0] + 512) * 1024 + box[1] + 512))
    return code, content, pixels


@kernel
def attempt(space, inst, s, kind, code, arg):  # type: ignore[no-untyped-def]
    """Apply one operation for all inputs into the scratch arrays: (hash, kind of state,
    inputs with content, pixels); no content if it does not apply or is blank throughout."""
    pixels, lively = 0, 0
    many = False
    state = np.uint64(1)
    for k in range(len(inst)):
        if space.kind[s] == ONE:
            n = on_image(space, kind, code, arg, s, k, inst)
        else:
            n = on_list(space, kind, code, arg, s, k)
        space.number[k] = n
        if n <= 0:
            return state, ONE, 0, pixels
        many |= n > 1
        state, content, new = signature(space, k, state)
        pixels += new
        lively += content > 0
    return state, MANY if many else ONE, lively, pixels


@kernel
def is_new(space, code):  # type: ignore[no-untyped-def]
    """The free slot for a state hash, or -1 if such a state exists."""
    mask = len(space.state_table) - 1
    slot = np.int64(code & np.uint64(mask))
    while space.state_table[slot]:
        if space.state_hash[space.state_table[slot] - 1] == code:
            return np.int64(-1)
        slot = (slot + 1) & mask
    return slot


@kernel
def store(space, code, slot, kind, cost, parent, op):  # type: ignore[no-untyped-def]
    """Append the state in the scratch arrays."""
    s = space.used[STATES]
    space.used[STATES] += 1
    r = space.used[REFS]
    inputs = len(space.number)
    for k in range(inputs):
        space.first[s, k] = r
        for m in range(k * MOST, k * MOST + space.number[k]):
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
def start(space, inputs, shapes):  # type: ignore[no-untyped-def]
    """Make state 0 from the flat cells of all inputs, shapes (K, 2); the blocks, int64 (K,)."""
    blocks = np.empty(len(shapes), np.int64)
    at = 0
    code = np.uint64(1)
    for k in range(len(shapes)):
        h, w = shapes[k, 0], shapes[k, 1]
        box = space.box[k * MOST]
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
def has_room(space):  # type: ignore[no-untyped-def]
    """True if one more state of any size fits."""
    u = space.used
    inputs = len(space.number)
    return (
        u[PIXELS] + inputs * POOL < len(space.pix)
        and u[BLOCKS] + inputs * MOST < len(space.block)
        and u[REFS] + inputs * MOST < len(space.ref)
        and u[STATES] + 1 < len(space.kind)
    )


@kernel
def expand(space, ops, inst, max_cost, work):  # type: ignore[no-untyped-def]
    """Go on applying operations for about `work` units (a nanosecond or so each).

    ops is int64 (N, 4): kind, code, arg, cost. inst is int64 (K, 3): the input's block and
    the output's size, which only SIZED operations read. Returns MORE, DONE or FULL.
    """
    u = space.used
    spent = 0
    while spent < work:
        s = u[STATE]
        while s < 0 or u[OP] >= len(ops):
            s = space.after[s] if s >= 0 else space.head[u[LEVEL]]
            while s < 0:
                u[LEVEL] += 1
                if u[LEVEL] >= max_cost:
                    return DONE
                s = space.head[u[LEVEL]]
            u[STATE] = s
            u[OP] = 0
        op = u[OP]
        u[OP] += 1
        kind, cost = ops[op, 0], space.cost[s] + ops[op, 3]
        if cost > max_cost or (space.kind[s] == MANY) != (kind >= JOIN):
            continue
        if not has_room(space):
            return FULL
        code, result, lively, pixels = attempt(space, inst, s, kind, ops[op, 1], ops[op, 2])
        u[CALLS] += 1
        spent += 300 + 4 * pixels
        if lively < len(inst):
            cost += BLANK_COST
        if lively > 0 and cost <= max_cost:
            slot = is_new(space, code)
            if slot >= 0:
                store(space, code, slot, result, cost, np.int64(s), op)
    u[WORK] += spent
    return MORE
