"""Compiled image kernels about the frame: turn, crop, cut, scale, tile, shift, squeeze.

Signature and conventions as in `kernels_color`.
"""

from __future__ import annotations

import numpy as np

from solver.synth.grids.kernels_color import FAIL, SIDE, shaped
from solver.synth.jit import kernel


@kernel
def content_box(a):
    """The box of the nonzero cells: (top, left, bottom, right), the last two exclusive.

    All four are 0 if the image is blank.
    """
    h, w = a.shape
    top, left, bottom, right = h, w, 0, 0
    for i in range(h):
        for j in range(w):
            if a[i, j]:
                top = min(top, i)
                left = min(left, j)
                bottom = max(bottom, i + 1)
                right = max(right, j + 1)
    if bottom == 0:
        return 0, 0, 0, 0
    return top, left, bottom, right


@kernel
def window(a, y, x, top, left, bottom, right, out):
    """Cut out a box; the cells keep their places. Fails if the box is empty."""
    h, w = bottom - top, right - left
    if h <= 0 or w <= 0:
        return FAIL
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            o[i, j] = a[top + i, left + j]
    return y + top, x + left, h, w


@kernel
def turned(a, y, x, arg, out):
    """Transpose (arg bit 2), then flip left-right (bit 0) and up-down (bit 1)."""
    h, w = a.shape
    th, tw = (w, h) if arg & 4 else (h, w)
    o = shaped(out, th, tw)
    for i in range(th):
        for j in range(tw):
            p = th - 1 - i if arg & 2 else i
            q = tw - 1 - j if arg & 1 else j
            o[i, j] = a[q, p] if arg & 4 else a[p, q]
    if arg & 4:
        return x, y, th, tw
    return y, x, th, tw


@kernel
def crop(a, y, x, arg, out):
    t, le, b, r = content_box(a)
    return window(a, y, x, t, le, b, r, out)


@kernel
def to_origin(a, y, x, arg, out):
    h, w = a.shape
    shaped(out, h, w)[:] = a
    return 0, 0, h, w


@kernel
def color_box(a, y, x, arg, out):
    """Cut down to the bounding box of the cells of colour arg % 10.

    The box is first made smaller by arg // 10 cells on every side.
    """
    h, w = a.shape
    c = arg % 10
    inset = arg // 10
    top, left, bottom, right = h, w, 0, 0
    for i in range(h):
        for j in range(w):
            if a[i, j] == c:
                top = min(top, i)
                left = min(left, j)
                bottom = max(bottom, i + 1)
                right = max(right, j + 1)
    return window(a, y, x, top + inset, left + inset, bottom - inset, right - inset, out)


@kernel
def part(a, y, x, arg, out):
    """A part of the image.

    arg 0: top half; 1: bottom half; 2: left half; 3: right half.
    arg 4: top left quarter; 5: top right; 6: bottom left; 7: bottom right.
    arg 8: middle third of the rows; 9: middle third of the columns.
    arg 10: all but the outermost cells.
    arg 11: top row; 12: bottom row; 13: left column; 14: right column.
    Halves and quarters leave out the middle line of odd sides.
    """
    h, w = a.shape
    t, le, b, r = 0, 0, h, w
    if arg == 0 or arg == 4 or arg == 5:
        b = h // 2
    if arg == 1 or arg == 6 or arg == 7:
        t = h - h // 2
    if arg == 2 or arg == 4 or arg == 6:
        r = w // 2
    if arg == 3 or arg == 5 or arg == 7:
        le = w - w // 2
    if arg == 8:
        t, b = h // 3, h - h // 3
    if arg == 9:
        le, r = w // 3, w - w // 3
    if arg == 10:
        t, le, b, r = t + 1, le + 1, h - 1, w - 1
    if arg == 11:
        b = 1
    if arg == 12:
        t = h - 1
    if arg == 13:
        r = 1
    if arg == 14:
        le = w - 1
    return window(a, y, x, t, le, b, r, out)


@kernel
def framed(a, y, x, arg, out):
    """Add one cell of colour arg (0..9) on every side."""
    h, w = a.shape
    if h + 2 > SIDE or w + 2 > SIDE:
        return FAIL
    o = shaped(out, h + 2, w + 2)
    o[:] = arg
    for i in range(h):
        for j in range(w):
            o[i + 1, j + 1] = a[i, j]
    return y - 1, x - 1, h + 2, w + 2


@kernel
def squeeze(a, y, x, arg, out):
    """Drop rows and columns.

    arg 0: blank lines; 1: lines equal to the line before; 2: lines of a single colour.
    """
    h, w = a.shape
    rows = np.ones(h, np.bool_)
    cols = np.ones(w, np.bool_)
    for i in range(h):
        keep = False
        for j in range(w):
            if arg == 0:
                keep |= a[i, j] != 0
            elif arg == 1:
                keep |= i == 0 or a[i, j] != a[i - 1, j]
            else:
                keep |= a[i, j] != a[i, 0]
        rows[i] = keep
    for j in range(w):
        keep = False
        for i in range(h):
            if arg == 0:
                keep |= a[i, j] != 0
            elif arg == 1:
                keep |= j == 0 or a[i, j] != a[i, j - 1]
            else:
                keep |= a[i, j] != a[0, j]
        cols[j] = keep
    nh = 0
    for i in range(h):
        nh += rows[i]
    nw = 0
    for j in range(w):
        nw += cols[j]
    if nh == 0 or nw == 0:
        return FAIL
    o = shaped(out, nh, nw)
    p = 0
    for i in range(h):
        if rows[i]:
            q = 0
            for j in range(w):
                if cols[j]:
                    o[p, q] = a[i, j]
                    q += 1
            p += 1
    return y, x, nh, nw


@kernel
def scale_up(a, y, x, arg, out):
    """Enlarge every cell to arg x arg cells.

    arg 0: the factor is the number of nonzero colours in the image.
    """
    h, w = a.shape
    f = arg
    if f == 0:
        seen = np.zeros(10, np.int64)
        for i in range(h):
            for j in range(w):
                seen[a[i, j]] = 1
        f = seen[1:].sum()
    if f < 2 or h * f > SIDE or w * f > SIDE:
        return FAIL
    o = shaped(out, h * f, w * f)
    for i in range(h * f):
        for j in range(w * f):
            o[i, j] = a[i // f, j // f]
    return y, x, h * f, w * f


@kernel
def scale_down(a, y, x, arg, out):
    """Reduce every arg x arg block to its first cell.

    arg 0: the largest factor for which all blocks have one colour.
    """
    h, w = a.shape
    f = arg
    if f == 0:
        for g in range(min(h, w), 1, -1):
            if h % g == 0 and w % g == 0:
                uniform = True
                for i in range(h):
                    for j in range(w):
                        if a[i, j] != a[i - i % g, j - j % g]:
                            uniform = False
                            break
                    if not uniform:
                        break
                if uniform:
                    f = g
                    break
    if f < 2 or h % f or w % f:
        return FAIL
    o = shaped(out, h // f, w // f)
    for i in range(h // f):
        for j in range(w // f):
            o[i, j] = a[i * f, j * f]
    return y, x, h // f, w // f


@kernel
def tile(a, y, x, arg, out):
    """Copies of the image in a grid: arg = mirror * 100 + rows * 10 + columns.

    mirror bit 0: every second column of copies is flipped; bit 1: every second row of copies.
    mirror bit 2: the flipped copies come first.
    """
    h, w = a.shape
    mirror = arg // 100
    rows = arg // 10 % 10
    cols = arg % 10
    if h * rows > SIDE or w * cols > SIDE:
        return FAIL
    first = mirror >> 2 & 1
    o = shaped(out, h * rows, w * cols)
    for i in range(h * rows):
        p = i % h
        if mirror & 2 and (i // h + first) % 2:
            p = h - 1 - p
        for j in range(w * cols):
            q = j % w
            if mirror & 1 and (j // w + first) % 2:
                q = w - 1 - q
            o[i, j] = a[p, q]
    return y, x, h * rows, w * cols


@kernel
def kaleidoscope(a, y, x, arg, out):
    """Two by two copies, each a quarter turn clockwise from the copy before.

    The copies follow each other clockwise from the top left. arg: quarter turns of the first copy.
    """
    h, w = a.shape
    if h != w or 2 * h > SIDE:
        return FAIL
    o = shaped(out, 2 * h, 2 * h)
    for n in range(4):
        turns = (n + arg) % 4
        top = h * (n // 2)
        left = h * (1 if n == 1 or n == 2 else 0)
        for i in range(h):
            for j in range(h):
                p, q = i, j
                for _ in range(turns):
                    p, q = h - 1 - q, p
                o[top + i, left + j] = a[p, q]
    return y, x, 2 * h, 2 * h


@kernel
def self_copies(a, y, x, arg, out):
    """Put a copy of the image in place of some cells, and ground in place of the others.

    arg 0: every nonzero cell; 1: every ground cell; 2: every cell of the commonest nonzero colour;
    3: every cell of the rarest nonzero colour.
    """
    h, w = a.shape
    if h * h > SIDE or w * w > SIDE:
        return FAIL
    count = np.zeros(10, np.int64)
    for i in range(h):
        for j in range(w):
            count[a[i, j]] += 1
    best = 0
    for c in range(1, 10):
        if count[c] > 0 and (
            best == 0
            or (arg == 2 and count[c] > count[best])
            or (arg == 3 and count[c] < count[best])
        ):
            best = c
    o = shaped(out, h * h, w * w)
    o[:] = 0
    for p in range(h):
        for q in range(w):
            v = a[p, q]
            if arg == 0:
                here = v != 0
            elif arg == 1:
                here = v == 0
            else:
                here = v == best
            if here:
                for i in range(h):
                    for j in range(w):
                        o[p * h + i, q * w + j] = a[i, j]
    return y, x, h * h, w * w


@kernel
def shifted(a, y, x, arg, out):
    """Move all cells by one cell within the frame.

    arg % 4: 0 down, 1 up, 2 right, 3 left.
    arg >= 4: cells that leave the frame come back on the other side.
    """
    h, w = a.shape
    way = arg % 4
    around = arg >= 4
    dy = 1 if way == 0 else (-1 if way == 1 else 0)
    dx = 1 if way == 2 else (-1 if way == 3 else 0)
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            p = i - dy
            q = j - dx
            if around:
                o[i, j] = a[p % h, q % w]
            elif p < 0 or p >= h or q < 0 or q >= w:
                o[i, j] = 0
            else:
                o[i, j] = a[p, q]
    return y, x, h, w


@kernel
def moved(a, y, x, arg, out):
    """Change the place of the whole image.

    arg % 4: the direction, as in `shifted`.
    arg < 4: by the image's own height or width; arg >= 4: by one cell.
    """
    h, w = a.shape
    shaped(out, h, w)[:] = a
    step = 1 if arg >= 4 else (h if arg % 4 < 2 else w)
    way = arg % 4
    if way == 0:
        y += step
    elif way == 1:
        y -= step
    elif way == 2:
        x += step
    else:
        x -= step
    return y, x, h, w


@kernel
def sorted_lines(a, y, x, arg, out):
    """Sort rows (arg 0, 1) or columns (arg 2, 3) by their number of nonzero cells.

    Odd arg: most cells first; else fewest first. The sort is stable.
    """
    h, w = a.shape
    n = h if arg < 2 else w
    count = np.zeros(n, np.int64)
    for i in range(h):
        for j in range(w):
            if a[i, j]:
                count[i if arg < 2 else j] += 1
    o = shaped(out, h, w)
    used = np.zeros(n, np.bool_)
    for k in range(n):
        best = -1
        for m in range(n):
            if not used[m] and (
                best < 0
                or (arg % 2 == 0 and count[m] < count[best])
                or (arg % 2 == 1 and count[m] > count[best])
            ):
                best = m
        used[best] = True
        if arg < 2:
            for j in range(w):
                o[k, j] = a[best, j]
        else:
            for i in range(h):
                o[i, k] = a[i, best]
    return y, x, h, w


@kernel
def falling(a, y, x, arg, out):
    """Let every nonzero cell fall until the edge or another fallen cell stops the cell.

    arg 0: down; 1: up; 2: right; 3: left.
    """
    h, w = a.shape
    o = shaped(out, h, w)
    o[:] = 0
    if arg < 2:
        for j in range(w):
            place = h - 1 if arg == 0 else 0
            for k in range(h):
                i = h - 1 - k if arg == 0 else k
                if a[i, j]:
                    o[place, j] = a[i, j]
                    place += -1 if arg == 0 else 1
    else:
        for i in range(h):
            place = w - 1 if arg == 2 else 0
            for k in range(w):
                j = w - 1 - k if arg == 2 else k
                if a[i, j]:
                    o[i, place] = a[i, j]
                    place += -1 if arg == 2 else 1
    return y, x, h, w
