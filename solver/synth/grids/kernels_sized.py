"""Compiled kernels that need an output size or the input grid besides the image.

A sized kernel is `f(a, y, x, arg, th, tw, out)`. The output frame has height th and width tw.
A pair kernel is `f(a, y, x, arg, b, out)`. `b` is the input grid, with place (0, 0).
Other parameters and results are as in `kernels_color`.
"""

from __future__ import annotations

from solver.synth.grids.kernels_color import FAIL, SIDE, shaped, top_color
from solver.synth.jit import kernel


@kernel
def placed(a, y, x, arg, th, tw, out):
    """Put the image into an empty frame of the given size.

    arg 0: at the image's place, cut at the frame's edges; 1: in the middle.
    arg 2: top left; 3: top right; 4: bottom left; 5: bottom right.
    Fails if no cell is in the frame, or for arg > 0 if the image is larger than the frame.
    """
    h, w = a.shape
    if arg == 1:
        y, x = (th - h) // 2, (tw - w) // 2
    if arg >= 2:
        y = 0 if arg < 4 else th - h
        x = 0 if arg % 2 == 0 else tw - w
    if y >= th or x >= tw or y + h <= 0 or x + w <= 0 or (arg and (h > th or w > tw)):
        return FAIL
    o = shaped(out, th, tw)
    o[:] = 0
    for i in range(max(0, y), min(th, y + h)):
        for j in range(max(0, x), min(tw, x + w)):
            o[i, j] = a[i - y, j - x]
    return 0, 0, th, tw


@kernel
def reflowed(a, y, x, arg, th, tw, out):
    """Read the cells one after another and fill the frame in the same order.

    arg 0, 1: row by row; 2, 3: column by column. Odd arg: only the nonzero cells.
    Fails if there are more cells than the frame has room for.
    """
    h, w = a.shape
    o = shaped(out, th, tw)
    o[:] = 0
    n = 0
    for m in range(h * w):
        v = a[m // w, m % w] if arg < 2 else a[m % h, m // h]
        if arg % 2 and v == 0:
            continue
        if n >= th * tw:
            return FAIL
        if arg < 2:
            o[n // tw, n % tw] = v
        else:
            o[n % th, n // th] = v
        n += 1
    return 0, 0, th, tw


@kernel
def stretched(a, y, x, arg, th, tw, out):
    """Scale the image to the frame.

    Fails unless, for height and width each, the image's or the frame's side is a multiple of the
    other.
    """
    h, w = a.shape
    if (th % h and h % th) or (tw % w and w % tw):
        return FAIL
    o = shaped(out, th, tw)
    for i in range(th):
        for j in range(tw):
            o[i, j] = a[i * h // th, j * w // tw]
    return 0, 0, th, tw


@kernel
def repeated(a, y, x, arg, th, tw, out):
    """Fill the frame with copies from the top left.

    arg 0: side by side; 1: with a blank line between copies; 2: mirrored at every border.
    arg 3: side by side, counted from the image's own place instead of the top left.
    arg 4: mirrored about the edge cells, which appear only once.
    """
    h, w = a.shape
    o = shaped(out, th, tw)
    for i in range(th):
        for j in range(tw):
            p, q = i, j
            if arg == 3:
                p, q = i - y, j - x
            gap = 1 if arg == 1 else 0
            if arg == 4:
                ph, pw = max(1, 2 * h - 2), max(1, 2 * w - 2)
            else:
                ph, pw = h + gap, w + gap
            row, col = p // ph, q // pw
            p, q = p % ph, q % pw
            if arg == 4:
                p = ph - p if p >= h else p
                q = pw - q if q >= w else q
            if arg == 2:
                p = h - 1 - p if row % 2 else p
                q = w - 1 - q if col % 2 else q
            o[i, j] = a[p, q] if p < h and q < w else 0
    return 0, 0, th, tw


@kernel
def go_on(a, y, x, arg, th, tw, out):
    """Continue a periodic pattern until the frame is full.

    arg 0: with the smallest period along rows; 1: along columns; 2: along both.
    arg 3: along both, counted from the image's place. Fails if the image has no period.
    """
    h, w = a.shape
    ph, pw = h, w
    if arg != 1:
        for c in range(1, w):
            clean = True
            for i in range(h):
                for j in range(c, w):
                    clean &= a[i, j] == a[i, j - c]
            if clean:
                pw = c
                break
    if arg != 0:
        for c in range(1, h):
            clean = True
            for i in range(c, h):
                for j in range(w):
                    clean &= a[i, j] == a[i - c, j]
            if clean:
                ph = c
                break
    if ph == h and pw == w:
        return FAIL
    oy, ox = (y, x) if arg == 3 else (0, 0)
    o = shaped(out, th, tw)
    for i in range(th):
        for j in range(tw):
            o[i, j] = a[(i - oy) % ph, (j - ox) % pw]
    return 0, 0, th, tw


@kernel
def color_frame(a, y, x, arg, th, tw, out):
    """The frame filled with one colour.

    arg % 10: the colour; 0 for the commonest colour of the image.
    arg // 10: paint 0 all cells, 1 only the edge cells, 2 only the two diagonals.
    """
    c = arg % 10
    if c == 0:
        c = top_color(a)
    if c == 0:
        return FAIL
    o = shaped(out, th, tw)
    for i in range(th):
        for j in range(tw):
            here = True
            if arg >= 20:
                here = i == j or i == tw - 1 - j
            elif arg >= 10:
                here = i == 0 or j == 0 or i == th - 1 or j == tw - 1
            o[i, j] = c if here else 0
    return 0, 0, th, tw


@kernel
def with_input(a, y, x, arg, b, out):
    """Image and input combined in the input's frame.

    arg 0: the input where the image is nonzero; 1: the input where the image is not.
    arg 2: the image over the input; 3: the input over the image.
    arg 4: the image where the input is nonzero; 5: the image where the input is ground.
    """
    h, w = b.shape
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            p, q = i - y, j - x
            v = 0
            if 0 <= p < a.shape[0] and 0 <= q < a.shape[1]:
                v = a[p, q]
            u = b[i, j]
            if arg == 0:
                o[i, j] = u if v else 0
            elif arg == 1:
                o[i, j] = 0 if v else u
            elif arg == 2:
                o[i, j] = v if v else u
            elif arg == 3:
                o[i, j] = u if u else v
            elif arg == 4:
                o[i, j] = v if u else 0
            else:
                o[i, j] = 0 if u else v
    return 0, 0, h, w


@kernel
def input_there(a, y, x, arg, b, out):
    """The part of the input in the image's box, made larger by arg cells on every side."""
    top, left = max(0, y - arg), max(0, x - arg)
    bottom = min(b.shape[0], y + a.shape[0] + arg)
    right = min(b.shape[1], x + a.shape[1] + arg)
    if bottom <= top or right <= left:
        return FAIL
    h, w = bottom - top, right - left
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            o[i, j] = b[top + i, left + j]
    return top, left, h, w


@kernel
def input_times(a, y, x, arg, b, out):
    """Kronecker products of the image and the input.

    arg 0: every nonzero cell of the image becomes a copy of the input.
    arg 1: every nonzero cell of the input becomes a copy of the image.
    arg 2, 3: as 0 and 1, with ground cells instead of nonzero cells.
    """
    ah, aw = a.shape
    bh, bw = b.shape
    h, w = ah * bh, aw * bw
    if h > SIDE or w > SIDE:
        return FAIL
    o = shaped(out, h, w)
    want = arg < 2
    for i in range(h):
        for j in range(w):
            if arg % 2 == 0:
                o[i, j] = b[i % bh, j % bw] if (a[i // bh, j // bw] != 0) == want else 0
            else:
                o[i, j] = a[i % ah, j % aw] if (b[i // ah, j // aw] != 0) == want else 0
    return 0, 0, h, w
