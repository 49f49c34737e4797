"""Compiled kernels from an image to a list of images, from lists to images, and measures.

A split kernel is `f(a, y, x, arg, out, boxes) -> n`. The cells of the n images follow each other
in the flat buffer `out` of `POOL` cells. `boxes[k] = y, x, h, w` is the place and size of image k.
n == 0 means that the kernel does not apply.

A list kernel is `f(pix, items, n, arg, out)` and returns an image like an image kernel. Image k of
the list is `items[k] = y, x, h, w, offset`, with its cells from `offset` in the flat buffer `pix`.
"""

from __future__ import annotations

import numpy as np

from solver.synth.grids.kernels_color import FAIL, SIDE, shaped, top_color
from solver.synth.grids.kernels_fill import label, outside
from solver.synth.jit import kernel

POOL = 16384  # cells in a list's buffer
MAX_IMAGES = 64  # the most images in a list


@kernel
def image_of(pix, items, k):
    """Image k of a list as an (h, w) array."""
    h, w, start = items[k, 2], items[k, 3], items[k, 4]
    return pix[start : start + h * w].reshape((h, w))


@kernel
def add_window(a, y, x, top, left, bottom, right, out, boxes, n, used):
    """Append a box of `a` to a list under construction: the new (n, used).

    n: number of images; -1 if the list is full.
    used: number of filled cells in `out`.
    """
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
    """One image for each nonzero colour.

    arg 0: of full size; 1: cut down to the cells of the colour.
    """
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
    """Connected components in reading order, each cut down to its box.

    arg bit 0: by 8 neighbours instead of 4; bit 1: of mixed colours.
    Bit 2: with all other cells in the component's box.
    """
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
    """The parts between separators, which are full rows and columns of one colour.

    The colour is the commonest colour of full lines. arg 0: a nonzero colour; 1: any colour.
    Fails if there are fewer than two parts.
    """
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
    """Equal parts in reading order: arg = rows * 10 + columns of parts.

    arg 0: squares as wide as the shorter side.
    A side that cannot be divided evenly may have one separator line between parts; separators are
    left out.
    """
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
    """Rows or columns as images.

    arg 0: every row; 1: every column.
    arg 2: runs of rows between blank rows; 3: runs of columns between blank columns.
    """
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
    """Ground regions by 4 neighbours, cut down and drawn in the commonest colour.

    arg 0: enclosed regions; 1: all regions.
    """
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
    """The reach of sides that start at each cell: (right, down), both int64 (h, w).

    If `full`, the column or row of the last cell in an unbroken line of the cell's colour.
    Otherwise the column or row of the next cell of the same colour, or w or h if there is none.
    """
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
    """Rectangles whose four corners have the same nonzero colour.

    arg 0, 1: no other cell of the four sides has this colour; 2, 3: all cells do.
    Even arg: only the inside; odd arg: with the sides.
    """
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
    """The number of enclosed ground regions, by 4 neighbours."""
    h, w = a.shape
    free = outside(a, np.int64(4))
    ground = np.zeros((h, w), np.uint8)
    for i in range(h):
        for j in range(w):
            ground[i, j] = a[i, j] == 0 and not free[i, j]
    return label(ground, np.int64(4), np.int64(1))[1]


@kernel
def symmetric(a, ways):
    """True if the image equals its mirror image in at least one of `ways`.

    ways bit 0: left-right; bit 1: up-down; bit 2: transposed.
    """
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
    """Fill value[k] with the number of images that equal image k, image k included.

    what: equal in 0 size and places of nonzero cells, 1 size and cells, 2 commonest colour, 3 size.
    """
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
    """Keep the first image of each set with equal cells. Returns the number kept."""
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
    """Fill value[k] with a property of image k; `what` indexes `MEASURES`."""
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
    """Fill `order` with list positions, sorted by measure arg // 2.

    Odd arg: largest first; else smallest first. The sort is stable.
    """
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
    """Draw all images in one frame; nonzero cells cover.

    arg 0: the first on top; 1: the last on top; 2: images with fewer nonzero cells on top.
    arg 3: all images at the origin instead of their places, the first on top.
    """
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
    """Put the images next to each other.

    arg bit 0: one below the other instead of side by side.
    Bit 1: with a blank line between images; bit 2: in reverse order.
    """
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
    """Combine images of one size cell by cell.

    arg 0: the first image's colour where all are nonzero.
    arg 1: colour 1 where all are ground.
    arg 2: the colour where exactly one image is nonzero.
    arg 3: the commonest value.
    arg 4: the commonest nonzero value.
    arg 5: the colour where only the first image is nonzero.
    arg 6: the colour where only the last image is nonzero.
    arg 7: the colour where all images are nonzero and equal.
    """
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
    """One cell for each image, arranged like the places of the images.

    Images with equal y form a row; images with equal x form a column.
    arg 0: the commonest colour of every image; 1: only of images without ground; 2: only of images
    with ground. Fails if the places do not form a full grid.
    """
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
    """The number of images as a shape.

    arg 0: a square; 1: a row; 2: a column; 3: a diagonal, in the first image's commonest colour.
    arg 4: a row, 5: a column of the commonest colours of all images.
    """
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
