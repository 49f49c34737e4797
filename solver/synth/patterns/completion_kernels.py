"""Compiled kernels of `completion`: scoring and applying shifts and mirror images.

Cells are (H, W) uint8, with 255 for an unknown cell.
"""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel


@kernel
def _shift_score(cells, dy, dx):
    """Numbers (agreeing, differing) of known cell pairs a shift (dy >= 0, any dx) apart."""
    h, w = cells.shape
    same, other = 0, 0
    for r in range(h - dy):
        for c in range(max(0, -dx), w - max(0, dx)):
            a, b = cells[r, c], cells[r + dy, c + dx]
            if a != 255 and b != 255:
                if a == b:
                    same += 1
                else:
                    other += 1
    return same, other


@kernel
def fill_shift(cells, dy, dx):
    """Copy known cells onto unknown cells along a shift, both ways, until nothing changes."""
    h, w = cells.shape
    changed = True
    while changed:
        changed = False
        for r in range(h - dy):
            for c in range(max(0, -dx), w - max(0, dx)):
                a, b = cells[r, c], cells[r + dy, c + dx]
                if a == 255 and b != 255:
                    cells[r, c] = b
                    changed = True
                elif b == 255 and a != 255:
                    cells[r + dy, c + dx] = a
                    changed = True


@kernel
def _image(kind, s, t, r, c):
    """Image (row, column) of a cell under a mirror or turn of some `kind`.

    0 mirrors left-right about column s/2, and 1 mirrors up-down about row t/2.
    2 transposes, and 3 transposes about the other diagonal; both use only t, as an offset.
    4 is a half turn and 5 a quarter turn, both about (t/2, s/2).
    """
    if kind == 0:
        return r, s - c
    if kind == 1:
        return t - r, c
    if kind == 2:
        return c + t, r - t
    if kind == 3:
        return t - c, t - r
    if kind == 4:
        return t - r, s - c
    y2, x2 = 2 * r - t, 2 * c - s
    return (x2 + t) // 2, (s - y2) // 2


@kernel
def _mirror_score(cells, kind, s, t):
    h, w = cells.shape
    same, other = 0, 0
    for r in range(h):
        for c in range(w):
            y, x = _image(kind, s, t, r, c)
            if 0 <= y < h and 0 <= x < w and (y != r or x != c):
                a, b = cells[r, c], cells[y, x]
                known = a != 255 and b != 255
                same += known and a == b
                other += known and a != b
    return same, other


@kernel
def fill_mirror(cells, kind, s, t):
    h, w = cells.shape
    for _ in range(4):
        for r in range(h):
            for c in range(w):
                if cells[r, c] == 255:
                    y, x = _image(kind, s, t, r, c)
                    if 0 <= y < h and 0 <= x < w and cells[y, x] != 255:
                        cells[r, c] = cells[y, x]


@kernel
def best_mirrors(cells, allowed, out):
    """Write for each kind 0..5 (see `_image`) the axis (s, t) with the most agreeing pairs.

    The rows of `out` (6, 3) are (s, t, number of agreeing pairs). At most `allowed` percent of
    an axis's pairs may differ. The number is 0 if there is no such axis.
    """
    h, w = cells.shape
    for kind in range(6):
        out[kind, 2] = 0
        for s in range(w // 2, 2 * w - w // 2) if kind in (0, 4, 5) else range(1):
            for t in (
                range(h // 2, 2 * h - h // 2)
                if kind in (1, 4, 5)
                else range(-3 if kind == 2 else h - 4, 4 if kind == 2 else w + 3)
                if kind in (2, 3)
                else range(1)
            ):
                if kind == 5 and (s + t) % 2:
                    continue
                same, other = _mirror_score(cells, kind, s, t)
                if 100 * other <= allowed * (same + other) and same > out[kind, 2]:
                    out[kind, 0], out[kind, 1], out[kind, 2] = s, t, same


@kernel
def shifts(cells, kind, allowed, out):
    """Write shifts (dy, dx) that the known cells obey into `out` (m, 2); return their number.

    The shortest shifts come first. A shift is obeyed if at most `allowed` percent of its pairs
    differ. `kind` 0 takes any shift with at least two agreeing pairs. 1 takes shifts along rows
    only, 2 along columns only, and 3 along diagonals only.
    """
    h, w = cells.shape
    n = 0
    for size in range(1, h + w):
        for dy in range(min(size, h - 1) + 1):
            for sign in range(2):
                dx = (size - dy) * (1 - 2 * sign)
                if abs(dx) >= w or (dx == 0 and sign) or (dy == 0 and sign):
                    continue
                if (kind == 1 and dy) or (kind == 2 and dx) or (kind == 3 and dy != abs(dx)):
                    continue
                same, other = _shift_score(cells, dy, dx)
                obeyed = same and 100 * other <= allowed * (same + other)
                if obeyed and n < len(out) and (same >= 2 or kind):
                    out[n, 0], out[n, 1] = dy, dx
                    n += 1
    return n


@kernel
def agreement(cells, p, q):
    """Number of known cells that have the majority colour of their class modulo (p, q).

    -1 if a class has no known cell.
    """
    h, w = cells.shape
    votes = np.zeros((p * q, 10), np.int64)
    for r in range(h):
        for c in range(w):
            if cells[r, c] != 255:
                votes[(r % p) * q + c % q, cells[r, c]] += 1
    total = 0
    for k in range(p * q):
        most = votes[k].max()
        if most == 0:
            return -1
        total += most
    return total
