"""Expansion of the search space: every operation applied to the cheapest state that is left.

An operation is applied for all K inputs at once, into the scratch arrays of the `Space`. The
result is stored if the state is new and has content for some input. `expand` returns after a
bounded amount of work, so the caller can look at the clock.
"""

from __future__ import annotations

import numpy as np

from solver.synth.grids import dispatch as dp
from solver.synth.grids.kernels_list import MAX_IMAGES, POOL, ordered
from solver.synth.grids.space import (
    CALLS,
    LEVEL,
    MANY,
    ONE,
    OP,
    STATE,
    WORK,
    block_image,
    cells_hash,
    has_room,
    is_new,
    mixed,
    store,
)
from solver.synth.jit import kernel

IMAGE, SIZED, PAIR, SPLIT, JOIN, PICK, KEEP, DROP, SORT, MAP = range(10)  # kinds of operation
BLANK_COST = 3  # added to a state that is blank for some input
MORE, DONE, FULL = range(3)  # what `expand` returns


@kernel
def one_result(space, k, y, x, h, w):
    """Note a single new image for input k. Returns the number of images (0: failed)."""
    if h <= 0:
        return 0
    box = space.box[k * MAX_IMAGES]
    box[0], box[1], box[2], box[3] = y, x, h, w
    box[4] = k * POOL
    box[5] = -1
    return 1


@kernel
def on_image(space, kind, code, arg, s, k, inst):
    """Apply an operation on images to state s for input k.

    Returns the number of images; 0 if the operation does not apply.
    """
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
    boxes = space.box[k * MAX_IMAGES : (k + 1) * MAX_IMAGES]
    n = dp.split_op(code, a, y, x, arg, out, boxes)
    at = k * POOL
    for m in range(n):
        boxes[m, 4] = at
        boxes[m, 5] = -1
        at += boxes[m, 2] * boxes[m, 3]
    return n


@kernel
def gather(space, s, k, items):
    """Fill `items` with the images of a list state for input k. Returns their number.

    A row is y, x, h, w, offset, block: the form for list kernels, and the block.
    """
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
def mapped(space, code, arg, k, items, n):
    """Apply an image operation to every image of a list.

    Returns the number of images; 0 if the operation fails for an image or the results lack room.
    """
    at = k * POOL
    boxes = space.box[k * MAX_IMAGES : (k + 1) * MAX_IMAGES]
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
def on_list(space, kind, code, arg, s, k):
    """Apply an operation on lists to state s for input k.

    Returns the number of images; 0 if the operation does not apply.
    """
    items = np.empty((MAX_IMAGES, 6), np.int64)
    n = np.int64(gather(space, s, k, items))
    if kind == JOIN:
        out = space.out[k * POOL : (k + 1) * POOL]
        y, x, h, w = dp.join_op(code, space.pix, items, n, arg, out)
        return one_result(space, k, y, x, h, w)
    if kind == MAP:
        return mapped(space, code, arg, k, items, n)
    boxes = space.box[k * MAX_IMAGES : (k + 1) * MAX_IMAGES]
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
def signature(space, k, code):
    """Add the result for input k to a state hash: (hash, nonzero cells, new pixels)."""
    content, pixels = 0, 0
    code = mixed(code, np.uint64(space.number[k]))
    for m in range(k * MAX_IMAGES, k * MAX_IMAGES + space.number[k]):
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
def attempt(space, inst, s, kind, code, arg):
    """Apply one operation for all inputs into the scratch arrays.

    Returns (hash, kind of state, number of inputs with content, pixels read or written). No input
    has content if the operation does not apply or all results are blank.
    """
    pixels, lively = 0, 0
    many = False
    state = np.uint64(1)
    for k in range(len(inst)):
        for r in range(space.first[s, k], space.first[s, k + 1]):
            pixels += space.block[space.ref[r, 0], 1] * space.block[space.ref[r, 0], 2]
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
def expand(space, ops, inst, max_cost, work):
    """Apply further operations for about `work` units of about a nanosecond each.

    ops: int64 (N, 4): kind, code, arg, cost. inst: int64 (K, 3): the input's block for PAIR
    operations, the output's height and width for SIZED operations.
    Returns MORE if work is left, DONE if no state is left, FULL if the space has no more room.
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
        spent += 5
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
