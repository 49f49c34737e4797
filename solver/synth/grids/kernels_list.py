"""Compiled kernels from an image to a list of images, from lists to images, and measures.

A split kernel is `f(a, y, x, arg, out, boxes) -> n`: the n images stand one after another in
the flat buffer `out` (`POOL` cells) and `boxes[k] = y, x, h, w` says where each belongs;
0 means that the kernel does not apply. A list kernel sees its list as `items[k] = y, x, h,
w, offset` of cells in the flat buffer `pix`, and returns an image as an image kernel does.
"""

from __future__ import annotations

import numpy as np

from solver.synth.grids.kernels_color import FAIL, SIDE, shaped, top_color
from solver.synth.grids.kernels_fill import label, outside
from solver.synth.jit import kernel

POOL = 16384
MAX_IMAGES = 64  # images in a list


@kernel
def image_of(pix, items, k):
    """Image k of a list as an (h, w) array."""
    h, w, start = items[k, 2], items[k, 3], items[k, 4]
    return pix[start : start + h * w].reshape((h, w))


@kernel
def add_window(a, y, x, top, left, bottom, right, out, boxes, n, used):
    """Append a box of `a` to a list under construction; the new (n, used), n = -1 if full."""
    h, w = bottom - top, right - left
    if n < 0 or n >= MAX_IMAGES or used + h * w > POOL:
        return -1, used
    o = out[used : used + h * w].reshape((h, w))
    for i in range(h):
        for j in range(w):
            o[i, j] = a[top + i, left + j]
    boxes[n, 0], boxes[n, 1], boxes[n, 2], boxes[n, 3] = y + top, x + left, h, w
    return n + 1, used + h * w


@kernel
def split_colors(a, y, x, arg, out, boxes):
    """One full-size image for each nonzero colour; arg 1: cropped to its cells."""
    h, w = a.shape
    n, used = 0, 0
    for c in range(1, 10):
        top, left, bottom, right = h, w, 0, 0
        for i in range(h):
            for j in range(w):
                if a[i, j] == c:
                    top = min(top, i)
                    left = min(left, j)
                    bottom = max(bottom, i + 1)
                    right = max(right, j + 1)
        if bottom == 0:
            continue
        if arg == 0:
            top, left, bottom, right = 0, 0, h, w
        start = used
        n, used = add_window(a, y, x, top, left, bottom, right, out, boxes, n, used)
        if n < 0:
            return 0
        for m in range(start, used):
            if out[m] != c:
                out[m] = 0
    return n


@kernel
def split_parts(a, y, x, arg, out, boxes):
    """Connected components in reading order, cropped: bit 0: by 8 neighbours, bit 1: of
    mixed colours, bit 2: with everything else inside their box."""
    h, w = a.shape
    lab, count = label(a, 8 if arg & 1 else 4, arg & 2)
    if count == 0 or count > MAX_IMAGES:
        return 0
    box = np.empty((count + 1, 4), np.int64)
    box[:, 0] = h
    box[:, 1] = w
    box[:, 2:] = 0
    for i in range(h):
        for j in range(w):
            k = lab[i, j]
            box[k, 0] = min(box[k, 0], i)
            box[k, 1] = min(box[k, 1], j)
            box[k, 2] = max(box[k, 2], i + 1)
            box[k, 3] = max(box[k, 3], j + 1)
    n, used = 0, 0
    for k in range(1, count + 1):
        t, le, b, r = box[k, 0], box[k, 1], box[k, 2], box[k, 3]
        start = used
        n, used = add_window(a, y, x, t, le, b, r, out, boxes, n, used)
        if n < 0:
            return 0
        if not arg & 4:
            for m in range(start, used):
                i, j = t + (m - start) // (r - le), le + (m - start) % (r - le)
                if lab[i, j] != k:
                    out[m] = 0
    return n


@kernel
def split_lines(a, y, x, arg, out, boxes):
    """The parts between separators: full rows and columns of one nonzero colour (the
    commonest colour of such lines); arg 1: of any one colour, ground too."""
    h, w = a.shape
    votes = np.zeros(10, np.int64)
    for line in range(h + w):
        n = w if line < h else h
        c = a[line, 0] if line < h else a[0, line - h]
        full = True
        for m in range(n):
            if (a[line, m] if line < h else a[m, line - h]) != c:
                full = False
                break
        if full and (c or arg):
            votes[c] += 1
    c = np.argmax(votes)
    if votes[c] == 0:
        return 0
    ys = np.empty(h + 2, np.int64)
    xs = np.empty(w + 2, np.int64)
    ys[0] = -1
    xs[0] = -1
    ny, nx = 1, 1
    for i in range(h):
        full = True
        for j in range(w):
            full &= a[i, j] == c
        if full:
            ys[ny] = i
            ny += 1
    for j in range(w):
        full = True
        for i in range(h):
            full &= a[i, j] == c
        if full:
            xs[nx] = j
            nx += 1
    ys[ny] = h
    xs[nx] = w
    n, used = 0, 0
    for p in range(ny):
        for q in range(nx):
            t, le, b, r = ys[p] + 1, xs[q] + 1, ys[p + 1], xs[q + 1]
            if b > t and r > le:
                n, used = add_window(a, y, x, t, le, b, r, out, boxes, n, used)
                if n < 0:
                    return 0
    return n if n > 1 else 0


@kernel
def split_even(a, y, x, arg, out, boxes):
    """Equal parts in reading order: arg = rows * 10 + columns of parts; 0: squares as wide
    as the shorter side; one line between parts may be left out."""
    h, w = a.shape
    rows, cols = arg // 10, arg % 10
    if arg == 0:
        s = min(h, w)
        rows, cols = h // s, w // s
    gap_y = 0 if h % rows == 0 else 1
    gap_x = 0 if w % cols == 0 else 1
    ph = (h - gap_y * (rows - 1)) // rows
    pw = (w - gap_x * (cols - 1)) // cols
    fits = ph * rows + gap_y * (rows - 1) == h and pw * cols + gap_x * (cols - 1) == w
    if ph < 1 or pw < 1 or rows * cols < 2 or not fits:
        return 0
    n, used = 0, 0
    for p in range(rows):
        for q in range(cols):
            t, le = p * (ph + gap_y), q * (pw + gap_x)
            n, used = add_window(a, y, x, t, le, t + ph, le + pw, out, boxes, n, used)
            if n < 0:
                return 0
    return n


@kernel
def split_strips(a, y, x, arg, out, boxes):
    """Every row (0) or column (1); 2, 3: runs of rows or columns between blank ones."""
    h, w = a.shape
    length = w if arg % 2 else h
    zero = np.int64(0)
    n, used = 0, 0
    start = 0
    for m in range(length + 1):
        if arg < 2:
            cut = m > 0
        else:
            blank = True
            if m < length:
                for k in range(h if arg % 2 else w):
                    blank &= (a[k, m] if arg % 2 else a[m, k]) == 0
            cut = blank and m > start
            if blank and m == start:
                start = m + 1
        if cut:
            if arg % 2:
                n, used = add_window(a, y, x, zero, start, h, m, out, boxes, n, used)
            else:
                n, used = add_window(a, y, x, start, zero, m, w, out, boxes, n, used)
            if n < 0:
                return 0
            start = m if arg < 2 else m + 1
    return n if n > 1 else 0


@kernel
def split_holes(a, y, x, arg, out, boxes):
    """Ground regions (4 neighbours), cropped, drawn in the commonest colour: 0 enclosed
    ones, 1 all."""
    h, w = a.shape
    c = top_color(a)
    if c == 0:
        return 0
    ground = np.zeros((h, w), np.uint8)
    free = outside(a, np.int64(4))
    for i in range(h):
        for j in range(w):
            if a[i, j] == 0 and (arg or not free[i, j]):
                ground[i, j] = c
    return split_parts(ground, y, x, np.int64(0), out, boxes)


@kernel
def sides(a, full):
    """How far a side that starts at a cell may go, right and down, as two arrays: for `full`
    the last cell of an unbroken line of its colour, else the next cell of its colour (or the
    edge)."""
    h, w = a.shape
    right = np.empty((h, w), np.int64)
    down = np.empty((h, w), np.int64)
    for i in range(h - 1, -1, -1):
        for j in range(w - 1, -1, -1):
            r = j + 1
            while r < w and (a[i, r] == a[i, j]) == full:
                r += 1
            d = i + 1
            while d < h and (a[d, j] == a[i, j]) == full:
                d += 1
            right[i, j] = r - 1 if full else r
            down[i, j] = d - 1 if full else d
    return right, down


@kernel
def split_marked(a, y, x, arg, out, boxes):
    """Rectangles whose four corners have the same nonzero colour and whose sides do not:
    arg 0: the inside, 1: with the corners. For arg 2, 3 the sides have that colour too."""
    h, w = a.shape
    full = arg >= 2
    e = 0 if arg % 2 else 1
    right, down = sides(a, full)
    n, used = 0, 0
    for t in range(h - 2):
        for le in range(w - 2):
            last_b, last_r = down[t, le], right[t, le]
            if a[t, le] == 0 or last_b >= h or last_r >= w:
                continue
            for b in range(t + 2 if full else max(t + 2, last_b), last_b + 1):
                for r in range(le + 2 if full else max(le + 2, last_r), last_r + 1):
                    if full:
                        good = right[b, le] >= r and down[t, r] >= b
                    else:
                        good = right[b, le] == r and down[t, r] == b
                    if not good:
                        continue
                    n, used = add_window(
                        a, y, x, t + e, le + e, b + 1 - e, r + 1 - e, out, boxes, n, used
                    )
                    if n < 0:
                        return 0
    return n


@kernel
def holes_in(a):
    """The number of enclosed ground regions (4 neighbours)."""
    h, w = a.shape
    free = outside(a, np.int64(4))
    ground = np.zeros((h, w), np.uint8)
    for i in range(h):
        for j in range(w):
            ground[i, j] = a[i, j] == 0 and not free[i, j]
    return label(ground, np.int64(4), np.int64(1))[1]


@kernel
def symmetric(a, ways):
    """True if the image equals its mirror image in one of `ways` (bits: left-right,
    up-down, transposed)."""
    h, w = a.shape
    lr = ways & 1 != 0
    ud = ways & 2 != 0
    tr = ways & 4 != 0 and h == w
    for i in range(h):
        for j in range(w):
            lr &= a[i, j] == a[i, w - 1 - j]
            ud &= a[i, j] == a[h - 1 - i, j]
            if tr:
                tr = a[i, j] == a[j, i]
    return lr or ud or tr


@kernel
def twins(pix, items, n, what, value):
    """value[k] = images of the list that equal image k in `what`: 0 shape (which cells are
    nonzero), 1 cells, 2 commonest colour, 3 size."""
    code = np.empty(n, np.uint64)
    for k in range(n):
        a = image_of(pix, items, k)
        h, w = a.shape
        if what == 2:
            code[k] = top_color(a)
            continue
        code[k] = h * 64 + w
        if what == 3:
            continue
        for i in range(h):
            for j in range(w):
                v = a[i, j] != 0 if what == 0 else a[i, j]
                code[k] = (code[k] ^ np.uint64(v)) * np.uint64(0x9E3779B97F4A7C15)
                code[k] ^= code[k] >> np.uint64(29)
    for k in range(n):
        value[k] = np.sum(code == code[k])


@kernel
def distinct(pix, items, n, keep):
    """Keep the first image of each set with equal cells; how many are kept."""
    count = 0
    for k in range(n):
        a = image_of(pix, items, k)
        keep[k] = True
        for m in range(k):
            if keep[m] and items[m, 2] == items[k, 2] and items[m, 3] == items[k, 3]:
                b = image_of(pix, items, m)
                equal = True
                for i in range(a.shape[0]):
                    for j in range(a.shape[1]):
                        equal &= a[i, j] == b[i, j]
                if equal:
                    keep[k] = False
                    break
        count += keep[k]
    return count


@kernel
def measure(pix, items, n, what, value):
    """value[k] = a property of image k; `what` indexes `MEASURES`."""
    if what >= 12:
        twins(pix, items, n, what - 12, value)
        return
    for k in range(n):
        a = image_of(pix, items, k)
        h, w = a.shape
        count = np.zeros(10, np.int64)
        for i in range(h):
            for j in range(w):
                count[a[i, j]] += 1
        v = h * w - count[0]
        if what == 0:
            pass
        elif what == 1:
            v = h * w
        elif what == 2:
            v = np.sum(count[1:] > 0)
        elif what == 3:
            v = items[k, 0]
        elif what == 4:
            v = items[k, 1]
        elif what == 5:
            v = h
        elif what == 6:
            v = w
        elif what == 7:
            v = holes_in(a)
        elif what == 8:
            v = count[0]
        elif what == 9:
            v = label(a, np.int64(8), np.int64(1))[1]
        elif what == 10:
            v = int(symmetric(a, np.int64(3)))
        else:
            v = h * w - count[0] - count[1:].max()
        value[k] = v


@kernel
def ordered(pix, items, n, arg, order):
    """order = list positions sorted by measure arg // 2, largest first for odd arg, stable."""
    value = np.empty(n, np.int64)
    measure(pix, items, n, arg // 2, value)
    used = np.zeros(n, np.bool_)
    for place in range(n):
        best = -1
        for k in range(n):
            if used[k]:
                continue
            if best < 0 or (value[k] > value[best] if arg % 2 else value[k] < value[best]):
                best = k
        used[best] = True
        order[place] = best


@kernel
def draw_all(pix, items, n, arg, out):
    """All images drawn in their places, nonzero cells cover: 0 the first on top, 1 the last,
    2 the smallest (fewest cells) on top, 3 all at the origin with the first on top."""
    top, left, bottom, right = 1000, 1000, -1000, -1000
    for k in range(n):
        py, px = (0, 0) if arg == 3 else (items[k, 0], items[k, 1])
        top = min(top, py)
        left = min(left, px)
        bottom = max(bottom, py + items[k, 2])
        right = max(right, px + items[k, 3])
    h, w = bottom - top, right - left
    if h > SIDE or w > SIDE or h < 1 or w < 1:
        return FAIL
    o = shaped(out, h, w)
    o[:] = 0
    size = np.empty(n, np.int64)
    measure(pix, items, n, np.int64(0), size)
    drawn = np.zeros(n, np.bool_)
    for m in range(n):
        k = n - 1 - m
        if arg == 1:
            k = m
        elif arg == 2:
            k = -1
            for c in range(n):
                if not drawn[c] and (k < 0 or size[c] > size[k]):
                    k = c
        drawn[k] = True
        a = image_of(pix, items, k)
        y0, x0 = (0, 0) if arg == 3 else (items[k, 0] - top, items[k, 1] - left)
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                if a[i, j]:
                    o[y0 + i, x0 + j] = a[i, j]
    if arg == 3:
        return 0, 0, h, w
    return top, left, h, w


@kernel
def stacked(pix, items, n, arg, out):
    """Images side by side (0) or one below the other (1) in list order; + 2: with a blank
    line between; + 4: in reverse order."""
    gap = 1 if arg & 2 else 0
    down = arg & 1
    h, w = 0, 0
    for k in range(n):
        if down:
            h += items[k, 2] + gap
            w = max(w, items[k, 3])
        else:
            w += items[k, 3] + gap
            h = max(h, items[k, 2])
    if down:
        h -= gap
    else:
        w -= gap
    if h > SIDE or w > SIDE or n < 2:
        return FAIL
    o = shaped(out, h, w)
    o[:] = 0
    at = 0
    for m in range(n):
        k = n - 1 - m if arg & 4 else m
        a = image_of(pix, items, k)
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                if down:
                    o[at + i, j] = a[i, j]
                else:
                    o[i, at + j] = a[i, j]
        at += (items[k, 2] if down else items[k, 3]) + gap
    return 0, 0, h, w


@kernel
def combined(pix, items, n, arg, out):
    """Images of one size, cell by cell: 0 nonzero in all, 1 in none (drawn in colour 1),
    2 in exactly one, 3 the commonest value, 4 the commonest nonzero value, 5 in the first
    only, 6 in the last only, 7 equal and nonzero in all."""
    h, w = items[0, 2], items[0, 3]
    for k in range(1, n):
        if items[k, 2] != h or items[k, 3] != w:
            return FAIL
    if n < 2:
        return FAIL
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            count = np.zeros(10, np.int64)
            first = 0
            last = 0
            for k in range(n):
                v = pix[items[k, 4] + i * w + j]
                count[v] += 1
                if v and first == 0:
                    first = v
                last = v
            full = n - count[0]
            head = pix[items[0, 4] + i * w + j]
            v = 0
            if arg == 0:
                v = first if full == n else 0
            elif arg == 1:
                v = 1 if full == 0 else 0
            elif arg == 2:
                v = first if full == 1 else 0
            elif arg == 3:
                v = np.argmax(count)
            elif arg == 4:
                v = 1 + np.argmax(count[1:]) if full else 0
            elif arg == 5:
                v = head if full == 1 else 0
            elif arg == 6:
                v = last if full == 1 else 0
            else:
                v = head if count[head] == n else 0
            o[i, j] = v
    return 0, 0, h, w


@kernel
def overview(pix, items, n, arg, out):
    """One cell for each image, in the arrangement of their places (rows of equal y, columns
    of equal x): its commonest colour (0), or blank unless full (1), or blank if full (2)."""
    ys = np.unique(items[:n, 0])
    xs = np.unique(items[:n, 1])
    h, w = len(ys), len(xs)
    if h * w != n or h > SIDE or w > SIDE:
        return FAIL
    o = shaped(out, h, w)
    o[:] = 0
    for k in range(n):
        a = image_of(pix, items, k)
        i = np.searchsorted(ys, items[k, 0])
        j = np.searchsorted(xs, items[k, 1])
        full = True
        for p in range(a.shape[0]):
            for q in range(a.shape[1]):
                full &= a[p, q] != 0
        if arg == 0 or (arg == 1) == full:
            o[i, j] = top_color(a)
    return 0, 0, h, w


@kernel
def list_count(pix, items, n, arg, out):
    """The number of images as a square (0), row (1), column (2) or diagonal (3) in the first
    image's commonest colour; 4, 5: a row, a column of the images' commonest colours."""
    if n > SIDE:
        return FAIL
    h = 1 if arg == 1 or arg == 4 else n
    w = 1 if arg == 2 or arg == 5 else n
    o = shaped(out, h, w)
    o[:] = 0
    c = top_color(image_of(pix, items, np.int64(0)))
    for i in range(h):
        for j in range(w):
            if arg == 4 or arg == 5:
                o[i, j] = top_color(image_of(pix, items, max(i, j)))
            elif arg != 3 or i == j:
                o[i, j] = c
    return 0, 0, h, w


MEASURES = (
    "cells",
    "area",
    "colors",
    "y",
    "x",
    "height",
    "width",
    "holes",
    "ground",
    "components",
    "symmetric",
    "odd_cells",
    "same_shape",
    "same_cells",
    "same_color",
    "same_size",
)
