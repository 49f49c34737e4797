"""Cell features of the components a cell belongs to.

Three ways of cutting a grid: `c4` one colour and 4 neighbours (the background's regions too),
`c8` one colour and 8 neighbours, `x8` all that is not background and 8 neighbours. A cell
outside every component of a kind has 255 for numbers and `OUT` for colours.
"""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel

OUT = 10
LOST = 255

_NUMBERS = (
    "size", "height", "width", "rank", "rank_up", "edge", "holes", "full", "square", "odd",
    "same_size", "same_shape", "same_color", "from_top", "from_left", "from_bottom",
    "from_right", "ring", "symmetric_columns", "symmetric_rows", "sides",
    "row_mod2", "column_mod2", "center",
)  # fmt: skip
_COLORS = (
    "color", "minor", "touched", "flip_columns", "flip_rows", "flip_both", "transpose",
    "antitranspose", "turn",
)  # fmt: skip
_KINDS = ("c4", "c8", "x8")
# Of the one foreground component next to a cell (8 neighbours), and of templates.
_NEXT = (
    ("next_size", False), ("next_height", False), ("next_width", False), ("next_rank", False),
    ("next_rank_up", False), ("next_edge", False), ("next_holes", False), ("next_full", False),
    ("next_same_size", False), ("next_same_shape", False), ("next_same_color", False),
    ("next_color_cells", False), ("next_count", False), ("next_color", True),
    ("in_square2", False), ("in_square3", False), ("template_colors", True),
    ("template_largest", True),
)  # fmt: skip
_WIDTH = len(_NUMBERS) + len(_COLORS)
_BITS = {"size": 4.0, "rank": 3.5, "rank_up": 3.5, "edge": 3.0, "holes": 3.5, "color": 3.5}
_KIND_BITS = {"c4": 0.5, "c8": 0.5, "x8": 1.0}
_BOX = (
    ("boxed_color", True), ("boxed_size", False), ("boxed_rank", False), ("boxed_ring", False),
    ("boxed_from_top", False), ("boxed_from_left", False), ("boxed_from_bottom", False),
    ("boxed_from_right", False), ("boxed_height", False), ("boxed_width", False),
    ("boxed_edge", False), ("largest_color", True), ("smallest_color", True),
    ("components", False), ("inside_color", True), ("odd_color", True),
)  # fmt: skip

COMPONENT_FEATURES = [
    (f"{kind}_{name}", name in _COLORS, _BITS.get(name, 4.5) + _KIND_BITS[kind])
    for kind in _KINDS
    for name in _NUMBERS + _COLORS
] + [(name, color, 4.0 if color else 5.0) for name, color in _BOX + _NEXT]



@kernel
def component_features(g, back, table):  # type: ignore[no-untyped-def]
    """Fill the rows of `COMPONENT_FEATURES` of a table (F, H, W) for a grid (H, W)."""
    for kind in range(3):
        labels, n = label(g, back, kind)
        props = _properties(g, back, labels, n, kind == 2)
        _relate(props, n, back)
        _spread(g, labels, props, table[kind * _WIDTH :])
        if kind == 1:
            _boxes(g, back, labels, props, n, table[3 * _WIDTH :])
            _next(g, back, labels, props, table[3 * _WIDTH + 16 :])
        if kind == 2:
            _templates(g, labels, props, n, table[3 * _WIDTH + 32 :])
    _squares(g, table[3 * _WIDTH + 30 :])


@kernel
def label(g, back, kind):  # type: ignore[no-untyped-def]
    """Component numbers 1..n of a grid (H, W), 0 for cells in none, and n.

    Kinds as in the module's text: 0 is `c4`, 1 is `c8`, 2 is `x8`.
    """
    h, w = g.shape
    labels = np.zeros((h, w), np.int64)
    stack = np.empty(h * w, np.int64)
    n = 0
    step = 2 if kind == 0 else 1
    for start in range(h * w):
        y, x = start // w, start % w
        if labels[y, x] != 0 or (kind == 2 and g[y, x] == back):
            continue
        n += 1
        labels[y, x] = n
        stack[0], top = start, 1
        while top:
            top -= 1
            y, x = stack[top] // w, stack[top] % w
            for d in range(0, 8, step):
                yy, xx = y + _DY[d], x + _DX[d]
                if not (0 <= yy < h and 0 <= xx < w) or labels[yy, xx] != 0:
                    continue
                joined = g[yy, xx] != back if kind == 2 else g[yy, xx] == g[y, x]
                if joined:
                    labels[yy, xx] = n
                    stack[top] = yy * w + xx
                    top += 1
    return labels, n


_DY = np.array([-1, -1, 0, 1, 1, 1, 0, -1])
_DX = np.array([0, 1, 1, 1, 0, -1, -1, -1])

# Columns of the property matrix: the numbers above, then top and left and a hash of the shape.
_P_COLOR, _P_MINOR, _P_TOUCHED = 21, 22, 23
_P_TOP, _P_LEFT, _P_BOTTOM, _P_RIGHT, _P_SHAPE = 24, 25, 26, 27, 28


@kernel
def _properties(g, back, labels, n, mixed):  # type: ignore[no-untyped-def]
    h, w = g.shape
    p = np.zeros((n + 1, 29), np.int64)
    p[:, _P_TOP] = h
    p[:, _P_LEFT] = w
    p[:, _P_BOTTOM] = -1
    p[:, _P_RIGHT] = -1
    p[:, _P_TOUCHED] = -1
    colors = np.zeros((n + 1, 10), np.int64)
    for y in range(h):
        for x in range(w):
            i = labels[y, x]
            if i == 0:
                continue
            p[i, 0] += 1
            colors[i, g[y, x]] += 1
            p[i, _P_TOP], p[i, _P_BOTTOM] = min(p[i, _P_TOP], y), max(p[i, _P_BOTTOM], y)
            p[i, _P_LEFT], p[i, _P_RIGHT] = min(p[i, _P_LEFT], x), max(p[i, _P_RIGHT], x)
            _touch(g, back, labels, p, y, x)
    for i in range(1, n + 1):
        top, left, bottom, right = p[i, 24], p[i, 25], p[i, 26], p[i, 27]
        p[i, 1], p[i, 2] = bottom - top + 1, right - left + 1
        sides = (top == 0) + 2 * (left == 0) + 4 * (bottom == h - 1) + 8 * (right == w - 1)
        p[i, 5], p[i, 20] = sides > 0, sides
        p[i, 7] = p[i, 0] == p[i, 1] * p[i, 2]
        p[i, 8] = p[i, 1] == p[i, 2]
        p[i, 9] = p[i, 0] % 2
        most, least = 0, 1000
        for c in range(10):
            if colors[i, c] > most:
                most, p[i, _P_COLOR] = colors[i, c], c
            if 0 < colors[i, c] <= least:
                least, p[i, _P_MINOR] = colors[i, c], c
        _shape(labels, p, i)
        p[i, 6] = _holes(labels, p, i)
    return p


@kernel
def _touch(g, back, labels, p, y, x):  # type: ignore[no-untyped-def]
    # The one colour (besides the background) next to a component: -1 none yet, OUT several.
    h, w = g.shape
    i = labels[y, x]
    for d in range(0, 8, 2):
        yy, xx = y + _DY[d], x + _DX[d]
        if not (0 <= yy < h and 0 <= xx < w) or labels[yy, xx] == i or g[yy, xx] == back:
            continue
        if p[i, _P_TOUCHED] == -1:
            p[i, _P_TOUCHED] = g[yy, xx]
        elif p[i, _P_TOUCHED] != g[yy, xx]:
            p[i, _P_TOUCHED] = OUT


@kernel
def _shape(labels, p, i):  # type: ignore[no-untyped-def]
    top, left, bottom, right = p[i, 24], p[i, 25], p[i, 26], p[i, 27]
    across, down, code = 1, 1, p[i, 2]
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            own = labels[y, x] == i
            across &= own == (labels[y, left + right - x] == i)
            down &= own == (labels[top + bottom - y, x] == i)
            code = (code * 1000003 + own + 1) % 2305843009213693951
    p[i, 18], p[i, 19], p[i, _P_SHAPE] = across, down, code


@kernel
def _holes(labels, p, i):  # type: ignore[no-untyped-def]
    # Regions of other cells (4 neighbours) inside the box that do not reach its rim.
    top, left = p[i, 24], p[i, 25]
    h, w = p[i, 1] + 2, p[i, 2] + 2
    if p[i, 7] or h < 5 or w < 5:
        return 0
    seen = np.zeros((h, w), np.bool_)
    for y in range(1, h - 1):
        for x in range(1, w - 1):
            seen[y, x] = labels[top + y - 1, left + x - 1] == i
    stack = np.empty(h * w, np.int64)
    regions = -1
    for start in range(h * w):
        if seen[start // w, start % w]:
            continue
        regions += 1
        seen[start // w, start % w] = True
        stack[0], depth = start, 1
        while depth:
            depth -= 1
            y, x = stack[depth] // w, stack[depth] % w
            for d in range(0, 8, 2):
                yy, xx = y + _DY[d], x + _DX[d]
                if 0 <= yy < h and 0 <= xx < w and not seen[yy, xx]:
                    seen[yy, xx] = True
                    stack[depth] = yy * w + xx
                    depth += 1
    return regions


@kernel
def _relate(p, n, back):  # type: ignore[no-untyped-def]
    # Ranks by size among components of foreground colours, and how many are alike.
    for i in range(1, n + 1):
        for j in range(1, n + 1):
            if p[j, _P_COLOR] != back or p[i, _P_COLOR] == back:
                p[i, 3] += p[j, 0] > p[i, 0]
                p[i, 4] += p[j, 0] < p[i, 0]
                p[i, 10] += p[j, 0] == p[i, 0]
                p[i, 11] += p[j, _P_SHAPE] == p[i, _P_SHAPE]
                p[i, 12] += p[j, _P_COLOR] == p[i, _P_COLOR]


@kernel
def _spread(g, labels, p, table):  # type: ignore[no-untyped-def]
    h, w = g.shape
    for y in range(h):
        for x in range(w):
            i = labels[y, x]
            if i == 0:
                table[:24, y, x] = LOST
                table[24:33, y, x] = OUT
                continue
            top, left, bottom, right = p[i, 24], p[i, 25], p[i, 26], p[i, 27]
            for k in range(21):
                table[k, y, x] = min(p[i, k], 254)
            a, b, c, d = y - top, x - left, bottom - y, right - x
            table[13, y, x], table[14, y, x], table[15, y, x], table[16, y, x] = a, b, c, d
            table[17, y, x] = min(min(a, b), min(c, d))
            table[21, y, x], table[22, y, x] = a % 2, b % 2
            table[23, y, x] = abs(a - c) <= 1 and abs(b - d) <= 1
            table[24, y, x], table[25, y, x] = p[i, _P_COLOR], p[i, _P_MINOR]
            touched = p[i, _P_TOUCHED]
            table[26, y, x] = OUT if touched < 0 else touched
            table[27, y, x] = g[y, left + right - x]
            table[28, y, x] = g[top + bottom - y, x]
            table[29, y, x] = g[top + bottom - y, left + right - x]
            square = bottom - top == right - left
            table[30, y, x] = g[top + b, left + a] if square else OUT
            table[31, y, x] = g[bottom - b, right - a] if square else OUT
            table[32, y, x] = g[top + b, right - a] if square else OUT


@kernel
def _boxes(g, back, labels, p, n, table):  # type: ignore[no-untyped-def]
    # The smallest box of a foreground component around each cell, and the grid's extremes.
    h, w = g.shape
    largest, smallest, count, odd = 0, 0, 0, 0
    table[0] = OUT
    table[1:11] = LOST
    inside = np.full(n + 1, OUT, np.int64)
    for y in range(h):
        for x in range(w):
            table[14, y, x] = OUT
    for i in range(1, n + 1):
        if p[i, _P_COLOR] == back:
            continue
        count += 1
        if largest == 0 or p[i, 0] > p[largest, 0]:
            largest = i
        if smallest == 0 or p[i, 0] < p[smallest, 0]:
            smallest = i
        if p[i, 12] == 1 and (odd == 0 or p[i, 0] > p[odd, 0]):
            odd = i
        top, left, bottom, right = p[i, 24], p[i, 25], p[i, 26], p[i, 27]
        area = min(p[i, 1] * p[i, 2], 254)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                if g[y, x] not in (back, p[i, _P_COLOR]):
                    inside[i] = g[y, x]
                if table[1, y, x] <= area:
                    continue
                table[0, y, x], table[1, y, x], table[2, y, x] = p[i, _P_COLOR], area, p[i, 3]
                a, b, c, d = y - top, x - left, bottom - y, right - x
                table[3, y, x] = min(min(a, b), min(c, d))
                table[4, y, x], table[5, y, x], table[6, y, x], table[7, y, x] = a, b, c, d
                table[8, y, x], table[9, y, x] = min(p[i, 1], 254), min(p[i, 2], 254)
                table[10, y, x] = p[i, 5]
    table[11] = p[largest, _P_COLOR] if largest else OUT
    table[12] = p[smallest, _P_COLOR] if smallest else OUT
    table[13] = min(count, 254)
    table[15] = p[odd, _P_COLOR] if odd else OUT
    for y in range(h):
        for x in range(w):
            table[14, y, x] = inside[labels[y, x]]


@kernel
def _next(g, back, labels, p, table):  # type: ignore[no-untyped-def]
    h, w = g.shape
    cells = np.zeros(10, np.int64)
    for y in range(h):
        for x in range(w):
            cells[g[y, x]] += 1
    for y in range(h):
        for x in range(w):
            one, count = 0, 0
            for d in range(8):
                yy, xx = y + _DY[d], x + _DX[d]
                if not (0 <= yy < h and 0 <= xx < w) or g[yy, xx] == back:
                    continue
                i = labels[yy, xx]
                if i == labels[y, x] or i == one:
                    continue
                count += 1
                if one == 0 or p[i, 0] > p[one, 0]:
                    one = i
            table[12, y, x] = count
            table[13, y, x] = p[one, _P_COLOR] if one else OUT
            for k in range(12):
                table[k, y, x] = LOST
            if one:
                for k in range(5):
                    table[k, y, x] = min(p[one, k], 254)
                table[5, y, x], table[6, y, x] = p[one, 5], p[one, 6]
                table[7, y, x], table[8, y, x] = p[one, 7], min(p[one, 10], 254)
                table[9, y, x], table[10, y, x] = min(p[one, 11], 254), min(p[one, 12], 254)
                table[11, y, x] = min(cells[p[one, _P_COLOR]], 254)


@kernel
def _squares(g, table):  # type: ignore[no-untyped-def]
    # Whether the cell lies in a 2 x 2, or 3 x 3, square of one colour.
    h, w = g.shape
    for k in range(2):
        side = k + 2
        for y in range(h - side + 1):
            for x in range(w - side + 1):
                plain = True
                for i in range(side * side):
                    plain &= g[y + i // side, x + i % side] == g[y, x]
                if plain:
                    table[k, y : y + side, x : x + side] = 1


@kernel
def _templates(g, labels, p, n, table):  # type: ignore[no-untyped-def]
    # The colour at the same place of the component of most colours, and of the largest one.
    h, w = g.shape
    most, largest, best = 0, 0, 0
    for i in range(1, n + 1):
        used = np.zeros(10, np.bool_)
        for y in range(p[i, _P_TOP], p[i, _P_BOTTOM] + 1):
            for x in range(p[i, _P_LEFT], p[i, _P_RIGHT] + 1):
                used[g[y, x]] = True
        if used.sum() > best:
            most, best = i, used.sum()
        if largest == 0 or p[i, 0] > p[largest, 0]:
            largest = i
    for y in range(h):
        for x in range(w):
            i = labels[y, x]
            for k in range(2):
                table[k, y, x] = OUT
                j = most if k == 0 else largest
                if i and j:
                    yy = p[j, _P_TOP] + y - p[i, _P_TOP]
                    xx = p[j, _P_LEFT] + x - p[i, _P_LEFT]
                    if yy <= p[j, _P_BOTTOM] and xx <= p[j, _P_RIGHT]:
                        table[k, y, x] = g[yy, xx]
