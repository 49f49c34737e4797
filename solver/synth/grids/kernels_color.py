"""Compiled image kernels about colour: keep, erase, repaint, count.

An image kernel is `f(a, y, x, arg, out) -> (y, x, h, w)`.

a: cells of the image, uint8 (h, w). Colour 0 is ground. Kernels never change `a`.
y, x: place of the image.
arg: one integer parameter.
out: flat uint8 buffer of at least `AREA` cells that receives the result row by row.

The result is the place and the size of the new image; h == 0 if the kernel does not apply.
"""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel

SIDE = 30
AREA = SIDE * SIDE
FAIL = (0, 0, 0, 0)


@kernel
def shaped(out, h, w):
    """The first h * w cells of a flat buffer as an (h, w) array."""
    return out[: h * w].reshape((h, w))


@kernel
def histogram(a):
    """The number of cells of each colour, int64 (10,)."""
    count = np.zeros(10, np.int64)
    h, w = a.shape
    for i in range(h):
        for j in range(w):
            count[a[i, j]] += 1
    return count


@kernel
def commonest(count):
    """The most frequent nonzero colour; 0 if there is none."""
    best = 0
    for c in range(1, 10):
        if count[c] > 0 and (best == 0 or count[c] > count[best]):
            best = c
    return best


@kernel
def rarest(count):
    """The least frequent nonzero colour that occurs; 0 if there is none."""
    best = 0
    for c in range(1, 10):
        if count[c] > 0 and (best == 0 or count[c] < count[best]):
            best = c
    return best


@kernel
def top_color(a):
    """The most frequent nonzero colour of an image; 0 if the image is blank."""
    return commonest(histogram(a))


@kernel
def keep_color(a, y, x, arg, out):
    h, w = a.shape
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            o[i, j] = a[i, j] if a[i, j] == arg else 0
    return y, x, h, w


@kernel
def erase_color(a, y, x, arg, out):
    h, w = a.shape
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            o[i, j] = a[i, j] if a[i, j] != arg else 0
    return y, x, h, w


@kernel
def negative(a, y, x, arg, out):
    """Paint the ground, and turn all other cells into ground.

    arg: colour of the paint; 0 for the commonest colour.
    """
    h, w = a.shape
    c = arg if arg > 0 else top_color(a)
    if c == 0:
        return FAIL
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            o[i, j] = c if a[i, j] == 0 else 0
    return y, x, h, w


@kernel
def keep_ranked(a, y, x, arg, out):
    """Keep the cells of the commonest nonzero colour.

    arg bit 0: the rarest colour instead of the commonest; bit 1: erase instead of keep.
    """
    h, w = a.shape
    count = histogram(a)
    c = rarest(count) if arg & 1 else commonest(count)
    if c == 0:
        return FAIL
    o = shaped(out, h, w)
    erase = (arg & 2) != 0
    for i in range(h):
        for j in range(w):
            o[i, j] = a[i, j] if (a[i, j] == c) != erase else 0
    return y, x, h, w


@kernel
def paint_ranked(a, y, x, arg, out):
    """Paint all nonzero cells in the commonest (arg 0) or the rarest (arg 1) colour."""
    h, w = a.shape
    count = histogram(a)
    c = rarest(count) if arg else commonest(count)
    if c == 0:
        return FAIL
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            o[i, j] = c if a[i, j] != 0 else 0
    return y, x, h, w


@kernel
def ground_swap(a, y, x, arg, out):
    """Exchange ground and the most frequent of all ten colours.

    arg 1: only erase that colour. Fails if ground is the most frequent colour.
    """
    h, w = a.shape
    count = histogram(a)
    c = 0
    for k in range(1, 10):
        if count[k] > count[c]:
            c = k
    if c == 0:
        return FAIL
    o = shaped(out, h, w)
    zero = 0 if arg else c
    for i in range(h):
        for j in range(w):
            v = a[i, j]
            o[i, j] = 0 if v == c else (zero if v == 0 else v)
    return y, x, h, w


@kernel
def swap_two(a, y, x, arg, out):
    """Exchange the two colours of an image that has exactly two.

    arg 0: ground counts as a colour; arg 1: ground does not count and stays.
    """
    h, w = a.shape
    count = histogram(a)
    first = -1
    second = -1
    for c in range(arg, 10):
        if count[c] > 0:
            if first < 0:
                first = c
            elif second < 0:
                second = c
            else:
                return FAIL
    if second < 0:
        return FAIL
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            v = a[i, j]
            o[i, j] = second if v == first else (first if v == second else v)
    return y, x, h, w


@kernel
def solid(a, y, x, arg, out):
    """A full rectangle of the image's size.

    arg: colour of the rectangle; 0 for the commonest colour.
    """
    h, w = a.shape
    c = arg if arg > 0 else top_color(a)
    if c == 0:
        return FAIL
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            o[i, j] = c
    return y, x, h, w


@kernel
def one_cell(a, y, x, arg, out):
    """A single cell of the commonest (arg 0) or the rarest (arg 1) colour."""
    count = histogram(a)
    c = rarest(count) if arg else commonest(count)
    if c == 0:
        return FAIL
    out[0] = c
    return y, x, 1, 1


@kernel
def color_row(a, y, x, arg, out):
    """The nonzero colours of an image, commonest first.

    arg 0: a row; 1: a column, each with one cell for each colour.
    arg 2: a column for each colour; 3: a row for each colour, as long as the colour has cells.
    """
    count = histogram(a)
    count[0] = 0
    n = 0
    longest = 0
    for c in range(1, 10):
        n += count[c] > 0
        longest = max(longest, count[c])
    if n == 0 or (arg >= 2 and longest > SIDE):
        return FAIL
    length = 1 if arg < 2 else longest
    flat = arg == 0 or arg == 2
    h, w = (length, n) if flat else (n, length)
    o = shaped(out, h, w)
    o[:] = 0
    for k in range(n):
        c = commonest(count)
        for m in range(count[c] if arg >= 2 else 1):
            if flat:
                o[m, k] = c
            else:
                o[k, m] = c
        count[c] = 0
    return y, x, h, w


@kernel
def count_drawn(a, y, x, arg, out):
    """A number as a shape in the commonest colour.

    arg // 3: 0 for nonzero cells, 1 for nonzero colours, 2 for rows and 3 for columns with content.
    arg % 3: 0 for a square with this side, 1 for a row or 2 for a column of this length.
    Fails if the number is 0 or above `SIDE`.
    """
    h, w = a.shape
    count = histogram(a)
    c = commonest(count)
    n = 0
    what = arg // 3
    if what == 0:
        n = h * w - count[0]
    elif what == 1:
        for k in range(1, 10):
            n += count[k] > 0
    elif what == 2:
        for i in range(h):
            for j in range(w):
                if a[i, j]:
                    n += 1
                    break
    else:
        for j in range(w):
            for i in range(h):
                if a[i, j]:
                    n += 1
                    break
    if n == 0 or n > SIDE:
        return FAIL
    form = arg % 3
    oh = 1 if form == 1 else n
    ow = 1 if form == 2 else n
    o = shaped(out, oh, ow)
    o[:] = c
    return y, x, oh, ow
