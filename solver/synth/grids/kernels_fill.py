"""Compiled image kernels about regions: flood, fill, outline, rays, connections, repair.

Signature and conventions as in `kernels_color`.
"""

from __future__ import annotations

import numpy as np

from solver.synth.grids.kernels_color import FAIL, SIDE, shaped, top_color
from solver.synth.grids.kernels_frame import content_box
from solver.synth.jit import kernel

# The cell's neighbours: the four that share a side first, then the diagonal four.
NEAR_DY = np.array([0, 0, 1, -1, 1, 1, -1, -1])
NEAR_DX = np.array([1, -1, 0, 0, 1, -1, 1, -1])


@kernel
def outside(a, ways):
    """The ground cells connected to the edge, bool (h, w). `ways`: 4 or 8 neighbours."""
    h, w = a.shape
    seen = np.zeros((h, w), np.bool_)
    stack = np.empty(h * w, np.int64)
    n = 0
    for i in range(h):
        for j in range(w):
            edge = i == 0 or j == 0 or i == h - 1 or j == w - 1
            if edge and a[i, j] == 0:
                seen[i, j] = True
                stack[n] = i * w + j
                n += 1
    while n > 0:
        n -= 1
        i, j = stack[n] // w, stack[n] % w
        for k in range(ways):
            p, q = i + NEAR_DY[k], j + NEAR_DX[k]
            if 0 <= p < h and 0 <= q < w and a[p, q] == 0 and not seen[p, q]:
                seen[p, q] = True
                stack[n] = p * w + q
                n += 1
    return seen


@kernel
def label(a, ways, mixed):
    """Connected components of nonzero cells: (labels, number n of components).

    labels: int64 (h, w), 0 for ground, else 1..n.
    ways: 4 or 8 neighbours.
    mixed: nonzero if a component may have several colours.
    """
    h, w = a.shape
    lab = np.zeros((h, w), np.int64)
    stack = np.empty(h * w, np.int64)
    count = 0
    for si in range(h):
        for sj in range(w):
            if a[si, sj] == 0 or lab[si, sj]:
                continue
            count += 1
            lab[si, sj] = count
            stack[0] = si * w + sj
            n = 1
            while n > 0:
                n -= 1
                i, j = stack[n] // w, stack[n] % w
                for k in range(ways):
                    p, q = i + NEAR_DY[k], j + NEAR_DX[k]
                    if p < 0 or p >= h or q < 0 or q >= w or a[p, q] == 0 or lab[p, q]:
                        continue
                    if mixed or a[p, q] == a[i, j]:
                        lab[p, q] = count
                        stack[n] = p * w + q
                        n += 1
    return lab, count


@kernel
def filled(a, y, x, arg, out):
    """Paint enclosed ground in the commonest colour.

    arg % 3: 0 in the image; 1 keep only the painted cells; 2 keep only the other ground, painted.
    Ground is enclosed if no path over ground joins the cell to the edge.
    arg < 3: paths step to 4 neighbours; arg >= 3: to 8 neighbours.
    """
    h, w = a.shape
    c = top_color(a)
    if c == 0:
        return FAIL
    free = outside(a, 8 if arg >= 3 else 4)
    mode = arg % 3
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            hole = a[i, j] == 0 and not free[i, j]
            if mode == 0:
                o[i, j] = c if hole else a[i, j]
            elif mode == 1:
                o[i, j] = c if hole else 0
            else:
                o[i, j] = c if free[i, j] else 0
    return y, x, h, w


@kernel
def hull(a, y, x, arg, out):
    """The bounding box of every component, filled with the component's commonest colour.

    arg % 2: 0 for components by 4 neighbours, 1 by 8. Components may have several colours.
    arg >= 2: paint only the ground inside the boxes, and erase all other cells.
    """
    h, w = a.shape
    lab, n = label(a, 8 if arg % 2 else 4, np.int64(1))
    o = shaped(out, h, w)
    o[:] = 0
    for k in range(1, n + 1):
        top, left, bottom, right = h, w, 0, 0
        count = np.zeros(10, np.int64)
        for i in range(h):
            for j in range(w):
                if lab[i, j] == k:
                    top = min(top, i)
                    left = min(left, j)
                    bottom = max(bottom, i + 1)
                    right = max(right, j + 1)
                    count[a[i, j]] += 1
        c = np.argmax(count)
        for i in range(top, bottom):
            for j in range(left, right):
                if arg < 2 or a[i, j] == 0:
                    o[i, j] = c
    return y, x, h, w


@kernel
def rim(a, y, x, arg, out):
    """Cells chosen by their neighbours.

    arg % 4:
    0: nonzero cells that touch ground or the edge.
    1: nonzero cells that touch neither.
    2: ground cells that touch nonzero cells, in a touched colour.
    3: the image with the cells of 2 added.
    arg // 4: 0 for 4 neighbours, 1 for 8 neighbours.
    """
    h, w = a.shape
    ways = 8 if arg >= 4 else 4
    mode = arg % 4
    o = shaped(out, h, w)
    for i in range(h):
        for j in range(w):
            near = 0
            open_side = False
            for k in range(ways):
                p, q = i + NEAR_DY[k], j + NEAR_DX[k]
                if p < 0 or p >= h or q < 0 or q >= w or a[p, q] == 0:
                    open_side = True
                elif near == 0:
                    near = a[p, q]
            if a[i, j]:
                keep = mode == 3 or (mode == 0 and open_side) or (mode == 1 and not open_side)
                o[i, j] = a[i, j] if keep else 0
            else:
                o[i, j] = near if mode >= 2 else 0
    return y, x, h, w


@kernel
def smear(a, y, x, arg, out):
    """Extend nonzero cells over ground up to the next nonzero cell or the edge.

    arg: a set of directions, one bit each: right, left, down, up, then the four diagonals.
    Bit 8: extend only lone cells, which have no neighbour of the same colour.
    """
    h, w = a.shape
    o = shaped(out, h, w)
    o[:] = a
    for i in range(h):
        for j in range(w):
            c = a[i, j]
            if c == 0:
                continue
            if arg & 256:
                lone = True
                for k in range(8):
                    p, q = i + NEAR_DY[k], j + NEAR_DX[k]
                    if 0 <= p < h and 0 <= q < w and a[p, q] == c:
                        lone = False
                if not lone:
                    continue
            for k in range(8):
                if arg >> k & 1:
                    p, q = i + NEAR_DY[k], j + NEAR_DX[k]
                    while 0 <= p < h and 0 <= q < w and a[p, q] == 0:
                        o[p, q] = c
                        p += NEAR_DY[k]
                        q += NEAR_DX[k]
    return y, x, h, w


@kernel
def full_lines(a, y, x, arg, out):
    """Fill every line that has a nonzero cell with the line's commonest nonzero colour.

    arg bit 0: rows; bit 1: columns. Columns cover rows, and cells outside filled lines are erased.
    Bit 2: keep only lines that one colour fills already.
    """
    h, w = a.shape
    o = shaped(out, h, w)
    o[:] = 0
    for line in range(h + w):
        row = line < h
        if not (arg & 1 if row else arg & 2):
            continue
        n = w if row else h
        count = np.zeros(10, np.int64)
        for m in range(n):
            count[a[line, m] if row else a[m, line - h]] += 1
        c = 0
        for k in range(1, 10):
            if count[k] > 0 and (c == 0 or count[k] > count[c]):
                c = k
        if c == 0 or (arg & 4 and count[c] < n):
            continue
        for m in range(n):
            if row:
                o[line, m] = c
            else:
                o[m, line - h] = c
    return y, x, h, w


@kernel
def connected(a, y, x, arg, out):
    """Join pairs of nonzero cells of equal colour that have only ground between them.

    arg bit 0: pairs in a row; bit 1: in a column; bit 2: in a diagonal.
    Bit 3: keep only the new cells.
    """
    h, w = a.shape
    o = shaped(out, h, w)
    if arg & 8:
        o[:] = 0
    else:
        o[:] = a
    for i in range(h):
        for j in range(w):
            c = a[i, j]
            if c == 0:
                continue
            for k in range(8):
                bit = 1 if k == 0 else (2 if k == 2 else (4 if k == 4 or k == 5 else 0))
                if not arg & bit:
                    continue
                p, q = i + NEAR_DY[k], j + NEAR_DX[k]
                while 0 <= p < h and 0 <= q < w and a[p, q] == 0:
                    p += NEAR_DY[k]
                    q += NEAR_DX[k]
                if 0 <= p < h and 0 <= q < w and a[p, q] == c:
                    p -= NEAR_DY[k]
                    q -= NEAR_DX[k]
                    while p != i or q != j:
                        o[p, q] = c
                        p -= NEAR_DY[k]
                        q -= NEAR_DX[k]
    return y, x, h, w


@kernel
def spread(a, y, x, arg, out):
    """Grow all colours over ground at the same speed.

    arg % 2: 0 for growth by 4 neighbours, 1 by 8.
    arg >= 2: grow only over enclosed ground, which no path over ground joins to the edge.
    Such paths step to 8 neighbours for arg 2, to 4 neighbours for arg 3.
    """
    h, w = a.shape
    ways = 8 if arg % 2 else 4
    o = shaped(out, h, w)
    o[:] = a
    barred = np.zeros((h, w), np.bool_)
    if arg >= 2:
        barred = outside(a, 4 if arg % 2 else 8)
    queue = np.empty(h * w, np.int64)
    n = 0
    for i in range(h):
        for j in range(w):
            if a[i, j]:
                queue[n] = i * w + j
                n += 1
    head = 0
    while head < n:
        i, j = queue[head] // w, queue[head] % w
        head += 1
        for k in range(ways):
            p, q = i + NEAR_DY[k], j + NEAR_DX[k]
            if 0 <= p < h and 0 <= q < w and o[p, q] == 0 and not barred[p, q]:
                o[p, q] = o[i, j]
                queue[n] = p * w + q
                n += 1
    return y, x, h, w


@kernel
def flooded(a, y, x, arg, out):
    """Flood ground regions with the rarer colours that touch them.

    Every nonzero cell whose colour is not the commonest spreads over the whole ground region that
    the cell touches. Cells spread by 4 (arg 0) or 8 (arg 1) neighbours.
    """
    h, w = a.shape
    c = top_color(a)
    ways = 8 if arg else 4
    o = shaped(out, h, w)
    o[:] = a
    stack = np.empty(h * w, np.int64)
    n = 0
    for i in range(h):
        for j in range(w):
            if a[i, j] and a[i, j] != c:
                stack[n] = i * w + j
                n += 1
    while n > 0:
        n -= 1
        i, j = stack[n] // w, stack[n] % w
        for k in range(ways):
            p, q = i + NEAR_DY[k], j + NEAR_DX[k]
            if 0 <= p < h and 0 <= q < w and o[p, q] == 0:
                o[p, q] = o[i, j]
                stack[n] = p * w + q
                n += 1
    return y, x, h, w


@kernel
def sized_parts(a, y, x, arg, out):
    """Components by 8 neighbours, chosen by size or by touch.

    arg % 6: 0 erase lone cells; 1 keep only lone cells; 2 keep the largest; 3 erase the largest;
    4 keep the components that touch the edge; 5 erase these components.
    arg >= 6: components of one colour; else components may have several colours.
    """
    h, w = a.shape
    lab, n = label(a, 8, 0 if arg >= 6 else 1)
    size = np.zeros(n + 1, np.int64)
    edge = np.zeros(n + 1, np.bool_)
    for i in range(h):
        for j in range(w):
            size[lab[i, j]] += 1
            if i == 0 or j == 0 or i == h - 1 or j == w - 1:
                edge[lab[i, j]] = True
    size[0] = 0
    most = size.max()
    o = shaped(out, h, w)
    mode = arg % 6
    for i in range(h):
        for j in range(w):
            s = size[lab[i, j]]
            e = edge[lab[i, j]]
            stay = (
                (mode == 0 and s > 1)
                or (mode == 1 and s == 1)
                or (mode == 2 and s == most)
                or (mode == 3 and s < most)
                or (mode == 4 and e)
                or (mode == 5 and not e)
            )
            o[i, j] = a[i, j] if stay else 0
    return y, x, h, w


@kernel
def smoothed(a, y, x, arg, out):
    """Denoise: a cell that differs from all its neighbours takes their commonest value.

    arg 0: 8 neighbours; 1: 4 neighbours.
    """
    h, w = a.shape
    ways = 4 if arg else 8
    o = shaped(out, h, w)
    o[:] = a
    for i in range(h):
        for j in range(w):
            count = np.zeros(10, np.int64)
            for k in range(ways):
                p, q = i + NEAR_DY[k], j + NEAR_DX[k]
                if 0 <= p < h and 0 <= q < w:
                    count[a[p, q]] += 1
            if count[a[i, j]] == 0:
                o[i, j] = np.argmax(count)
    return y, x, h, w


@kernel
def mirrored(a, y, x, arg, out):
    """Give ground cells the colour of a mirror image.

    arg bit 0: left-right; bit 1: up-down; bit 2: transposed.
    All combinations of the set bits are tried.
    Bit 3: mirror about the middle of the content instead of the middle of the frame.
    Fails if the mirrored part must be square and is not.
    """
    h, w = a.shape
    if arg & 4 and h != w:
        return FAIL
    top, left, bottom, right = 0, 0, h, w
    if arg & 8:
        top, left, bottom, right = content_box(a)
        if arg & 4 and bottom - top != right - left:
            return FAIL
    o = shaped(out, h, w)
    o[:] = a
    for i in range(top, bottom):
        for j in range(left, right):
            if a[i, j]:
                continue
            for k in range(1, 8):
                if k & ~arg:
                    continue
                p, q = i - top, j - left
                if k & 4:
                    p, q = q, p
                p = bottom - 1 - p if k & 2 else top + p
                q = right - 1 - q if k & 1 else left + q
                if a[p, q]:
                    o[i, j] = a[p, q]
                    break
    return y, x, h, w


@kernel
def reflected(k, s, i, j):
    """The mirror image of cell (i, j): left-right (k 0), up-down (1) or transposed (2).

    `s` says where the mirror is: the sum of the two columns or rows, or their difference.
    """
    if k == 0:
        return i, s - j
    if k == 1:
        return s - i, j
    return j - s, i + s


@kernel
def agreeing(o, unknown, k, s):
    """Cells that equal their mirror images, -1 if one does not; `unknown` ones do not count."""
    h, w = o.shape
    seen = 0
    for i in range(h):
        for j in range(w):
            p, q = reflected(k, s, i, j)
            if p < 0 or p >= h or q < 0 or q >= w or o[i, j] == unknown or o[p, q] == unknown:
                continue
            if o[i, j] != o[p, q]:
                return -1
            seen += 1
    return seen


@kernel
def mirrored_best(a, y, x, arg, out):
    """Replace the unknown cells, of colour arg, by symmetry.

    The three kinds of mirror lines (left-right, up-down, transposed) are tried in turn.
    A line fits if every known cell with a known mirror image equals the mirror image. More than
    half of all cells must be such cells. Of each kind, the line with most such cells is used.
    Fails if no cell or more than half of the cells are unknown.
    """
    h, w = a.shape
    o = shaped(out, h, w)
    o[:] = a
    hidden = np.sum(a == arg)
    if hidden == 0 or 2 * hidden > h * w:
        return FAIL
    for k in range(3):
        best = -1
        best_s = 0
        low = 0 if k < 2 else -(h - 1)
        high = 2 * (w if k == 0 else h) - 1 if k < 2 else w
        for s in range(low, high):
            seen = agreeing(o, arg, k, s)
            if seen > best and 2 * seen > h * w:
                best = seen
                best_s = s
        if best < 0:
            continue
        for i in range(h):
            for j in range(w):
                p, q = reflected(k, best_s, i, j)
                if o[i, j] == arg and 0 <= p < h and 0 <= q < w:
                    o[i, j] = o[p, q]
    return y, x, h, w


@kernel
def one_period(a, unknown, ph, pw, skew, table):
    """Fill `table` with the colours of one period of ph rows and pw columns.

    Each row starts `skew` columns further on than the row before. False if known cells contradict
    one another, or leave a gap.
    """
    h, w = a.shape
    table[: ph * pw] = -1
    known = 0
    for i in range(h):
        row, column = (i % ph) * pw, skew * i % pw
        for j in range(w):
            m = row + column
            column = column + 1 if column + 1 < pw else 0
            if a[i, j] == unknown:
                continue
            if table[m] < 0:
                table[m] = a[i, j]
                known += 1
            elif table[m] != a[i, j]:
                return False
    return known == ph * pw


@kernel
def periodic(a, y, x, arg, out):
    """Replace the unknown cells, of colour arg % 10, by a periodic pattern.

    arg // 10: the period is 0 in both directions, 1 along rows, 2 along columns, 3 of row + column.
    The smallest period is used that the known cells do not contradict. Known cells must show every
    cell of the period.
    Fails if no cell is unknown or no period fits.
    """
    h, w = a.shape
    c = arg % 10
    mode = arg // 10
    if not np.any(a == c):  # no period has anything to replace
        return FAIL
    o = shaped(out, h, w)
    table = np.empty(SIDE * SIDE, np.int64)
    skew = 1 if mode == 3 else 0
    for total in range(1, h + w):
        for ph in range(1, h + 1):
            pw = total + 1 - ph
            if mode == 1:
                ph, pw = h, total
            elif mode == 2:
                ph, pw = total, w
            elif mode == 3:
                ph, pw = 1, total
            smaller = pw >= 1 and pw <= w and ph <= h and (ph < h or pw < w)
            if smaller and one_period(a, c, ph, pw, skew, table):
                for i in range(h):
                    for j in range(w):
                        o[i, j] = table[(i % ph) * pw + (j + skew * i) % pw]
                return y, x, h, w
            if mode:
                break
    return FAIL


@kernel
def largest_rectangle(a, y, x, arg, out):
    """Keep only the largest rectangle.

    arg 0: of ground cells, drawn in the commonest colour; 1: of cells of one nonzero colour.
    """
    h, w = a.shape
    c = top_color(a)
    if arg == 0 and c == 0:
        return FAIL
    best = 0
    bt, bl, bb, br = 0, 0, 0, 0
    run = np.zeros(w, np.int64)
    for i in range(h):
        for j in range(w):
            v = a[i, j]
            good = v == 0 if arg == 0 else v != 0
            same = i > 0 and a[i - 1, j] == v
            run[j] = (run[j] + 1 if same else 1) if good else 0
        for j in range(w):
            depth = run[j]
            for k in range(j, -1, -1):
                if run[k] == 0 or a[i, k] != a[i, j]:
                    break
                depth = min(depth, run[k])
                if depth * (j - k + 1) > best:
                    best = depth * (j - k + 1)
                    bt, bl, bb, br = i + 1 - depth, k, i + 1, j + 1
    if best == 0:
        return FAIL
    o = shaped(out, h, w)
    o[:] = 0
    for i in range(bt, bb):
        for j in range(bl, br):
            o[i, j] = c if arg == 0 else a[i, j]
    return y, x, h, w
