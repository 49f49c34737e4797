"""Compiled kernels of `objects`: labelling and measuring."""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel


@kernel
def flood(grid, ground, diagonal, mono):
    """Label connected regions by flood fill. Returns labels (H, W) 1..n, and n.

    `ground` cells get label 0. `diagonal` connects 8 neighbours instead of 4. `mono` keeps
    colours apart.
    """
    h, w = grid.shape
    labels = np.zeros((h, w), np.int16)
    stack = np.empty(h * w, np.int64)
    n = 0
    for start in range(h * w):
        r0, c0 = start // w, start % w
        if grid[r0, c0] == ground or labels[r0, c0] != 0:
            continue
        n += 1
        labels[r0, c0] = n
        stack[0] = start
        top = 1
        while top > 0:
            top -= 1
            r, c = stack[top] // w, stack[top] % w
            for dr in range(-1, 2):
                for dc in range(-1, 2):
                    if (dr == 0) == (dc == 0) and not (diagonal and dr != 0):
                        continue
                    y, x = r + dr, c + dc
                    if y < 0 or y >= h or x < 0 or x >= w or labels[y, x] != 0:
                        continue
                    if grid[y, x] == ground or (mono and grid[y, x] != grid[r, c]):
                        continue
                    labels[y, x] = n
                    stack[top] = y * w + x
                    top += 1
    return labels, n


@kernel
def _hash(cells, d8):
    """31-bit hash of a small matrix after the D8 element `d8`.

    Bit 0 of `d8` flips up-down and bit 1 flips left-right. Bit 2 then transposes.
    """
    h, w = cells.shape
    a, b = (w, h) if d8 >= 4 else (h, w)
    value = np.int64(a * 31 + b)
    for i in range(a):
        for j in range(b):
            y, x = (j, i) if d8 >= 4 else (i, j)
            if d8 & 1:
                y = h - 1 - y
            if d8 & 2:
                x = w - 1 - x
            value = (value * np.int64(1000003) + cells[y, x] + 7) % np.int64(2147483647)
    return value


@kernel
def _holes(mask):
    """Number of holes of the mask, and number of their cells.

    A hole is a 4-connected region outside the mask that does not reach the matrix's border. So
    the walls of a hole may be diagonal.
    """
    h, w = mask.shape
    seen = mask.copy()
    stack = np.empty(h * w, np.int64)
    count, cells = 0, 0
    for start in range(h * w):
        if seen[start // w, start % w]:
            continue
        seen[start // w, start % w] = True
        stack[0] = start
        top, size, closed = 1, 0, True
        while top > 0:
            top -= 1
            r, c = stack[top] // w, stack[top] % w
            size += 1
            for k in range(4):
                y = r + (k == 0) - (k == 1)
                x = c + (k == 2) - (k == 3)
                if y < 0 or y >= h or x < 0 or x >= w:
                    closed = False
                elif not seen[y, x]:
                    seen[y, x] = True
                    stack[top] = y * w + x
                    top += 1
        if closed:
            count += 1
            cells += size
    return count, cells


@kernel
def _extents(grid, labels, n):
    """Cells of each colour (n, 10) and boxes (n, 4): top, left, bottom, right, all inclusive."""
    h, w = grid.shape
    tally = np.zeros((n, 10), np.int64)
    box = np.empty((n, 4), np.int64)
    for i in range(n):
        box[i, 0], box[i, 1], box[i, 2], box[i, 3] = h, w, 0, 0
    for r in range(h):
        for c in range(w):
            i = labels[r, c] - 1
            if i < 0:
                continue
            tally[i, grid[r, c]] += 1
            box[i, 0], box[i, 1] = min(box[i, 0], r), min(box[i, 1], c)
            box[i, 2], box[i, 3] = max(box[i, 2], r), max(box[i, 3], c)
    return tally, box


@kernel
def _edges(mask):
    """Number of the sides of the mask's cells that touch no other cell of the mask."""
    a, b = mask.shape
    edges = 0
    for r in range(a):
        for c in range(b):
            if mask[r, c]:
                edges += r == 0 or not mask[r - 1, c]
                edges += r == a - 1 or not mask[r + 1, c]
                edges += c == 0 or not mask[r, c - 1]
                edges += c == b - 1 or not mask[r, c + 1]
    return edges


@kernel
def _symmetries(ink):
    """(left-right, up-down, diagonal): True where the mirror leaves all cells unchanged.

    `diagonal` means at least one of the two diagonal mirrors; False unless the box is square.
    """
    a, b = ink.shape
    lr, ud, diag, anti = True, True, a == b, a == b
    for r in range(a):
        for c in range(b):
            lr = lr and ink[r, c] == ink[r, b - 1 - c]
            ud = ud and ink[r, c] == ink[a - 1 - r, c]
            if a == b:
                diag = diag and ink[r, c] == ink[c, r]
                anti = anti and ink[r, c] == ink[a - 1 - c, a - 1 - r]
    return lr, ud, diag or anti


@kernel
def _palette(tally):
    """(cells, most frequent colour, least frequent colour, number of colours) of an object.

    `tally` (10,): the object's cells of each colour. Among equals, the smallest colour counts.
    """
    area, best, least, kinds = 0, 0, -1, 0
    for k in range(10):
        area += tally[k]
        kinds += tally[k] > 0
        if tally[k] > tally[best]:
            best = k
        if tally[k] > 0 and (least < 0 or tally[k] < tally[least]):
            least = k
    return area, best, least, kinds


@kernel
def _shapes(mask):
    """Two hashes of the mask: the hash as it is, and the least hash over all D8 positions."""
    plain = mask.astype(np.int64)
    shape = _hash(plain, 0)
    shape_d8 = shape
    for k in range(1, 8):
        shape_d8 = min(shape_d8, _hash(plain, k))
    return shape, shape_d8


@kernel
def measure(grid, labels, n, ground, out):
    """Fill the first columns of `out` (n, F), in the order of `objects._KERNEL`."""
    h, w = grid.shape
    tally, box = _extents(grid, labels, n)
    for i in range(n):
        top, left, bottom, right = box[i]
        a, b = bottom - top + 1, right - left + 1
        mask = np.zeros((a, b), np.bool_)
        ink = np.zeros((a, b), np.int64)
        for r in range(a):
            for c in range(b):
                if labels[top + r, left + c] == i + 1:
                    mask[r, c] = True
                    ink[r, c] = grid[top + r, left + c] + 1
        lr, ud, diagonal = _symmetries(ink)
        area, best, least, kinds = _palette(tally[i])
        holes, hole_area = _holes(mask)
        shape, shape_d8 = _shapes(mask)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = best, area, a, b
        out[i, 4], out[i, 5], out[i, 6], out[i, 7] = top, left, h - 1 - bottom, w - 1 - right
        out[i, 8], out[i, 9], out[i, 10] = kinds, holes, hole_area
        out[i, 11], out[i, 12], out[i, 13] = lr, ud, diagonal
        out[i, 14] = (top == 0) + (left == 0) + (bottom == h - 1) + (right == w - 1)
        out[i, 15], out[i, 16], out[i, 17] = area == a * b, least, tally[i, least]
        out[i, 18], out[i, 19], out[i, 20] = shape, shape_d8, _hash(ink, 0)
        out[i, 21] = _edges(mask)
