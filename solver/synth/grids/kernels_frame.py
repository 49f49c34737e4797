"""Compiled image kernels about the frame: turn, crop, cut, scale, tile, shift, squeeze.

Signature and conventions as in `kernels_color`.
"""

from __future__ import annotations

import numpy as np

from solver.synth.grids.kernels_color import FAIL, SIDE, shaped
from solver.synth.jit import kernel


@kernel
def content_box(a):
    """(top, left, bottom, right) of the nonzero cells, the last two exclusive; 0s if blank."""
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
    """The cells of a box, in place."""
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
    """arg 1..7: flip left-right (bit 0), flip up-down (bit 1), transpose (bit 2, first)."""
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
    """Crop to the bounding box of the cells of colour arg % 10; arg // 10 cells inside it."""
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
    """Halves (0 top, 1 bottom, 2 left, 3 right), quarters (4..7), the middle third row or
    column (8, 9), the inside without the outermost cells (10), edge rows and columns
    (11 top, 12 bottom, 13 left, 14 right). Halves leave out the middle line of odd sides."""
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
    """One more cell on every side, of colour arg (0..9)."""
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
    """Drop rows and columns: blank ones (0), those equal to the one before (1), those of a
    single colour (2)."""
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
    """Every cell becomes arg x arg cells; arg 0: as many as the image has colours."""
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
    """Every arg x arg block becomes its first cell; arg 0: the largest factor for which all
    blocks are uniform."""
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
    """Copies in a grid: arg = mirror * 100 + rows * 10 + columns; with mirror bit 0 every
    second column of copies is flipped, with bit 1 every second row of copies, with bit 2 the
    flipped copies come first."""
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
    """Two by two copies, each a quarter turn on from the one before (clockwise from the top
    left); arg is the turns of the first copy."""
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
    """A copy of the image in place of every nonzero cell (0), of every ground cell (1), of
    every cell of the commonest colour (2), of the rarest colour (3)."""
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
    """Cells move within the frame: arg = way + 4 * (around) with way 0 down, 1 up, 2 right,
    3 left, by one cell; with `around` they come back on the other side."""
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
    """The whole image changes its place: arg % 4 as in `shifted`, by its own height or
    width (arg < 4) or by one cell (arg >= 4)."""
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
    """Rows (arg 0, 1) or columns (2, 3) sorted by their number of nonzero cells, stable;
    odd: most first."""
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
    """Every nonzero cell falls on its own: 0 down, 1 up, 2 right, 3 left."""
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
