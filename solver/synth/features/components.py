"""Cell features of the components that a cell belongs to.

There are three kinds of components:
- `c4`: cells of one colour, background included, joined by 4 neighbours;
- `c8`: cells of one colour, background included, joined by 8 neighbours;
- `x8`: cells of any colours except the background, joined by 8 neighbours.

A cell in no component of a kind has 255 for numbers and `OUT` for colours.
"""

from __future__ import annotations

import numpy as np

from solver.synth.features.neighbours import (
    BOTTOM,
    COLOR,
    LEFT,
    LOST,
    MINOR,
    NEIGHBOUR_FEATURES,
    OUT,
    RIGHT,
    RING_DX,
    RING_DY,
    SHAPE,
    TOP,
    TOUCHED,
    boxes,
    next_to,
    squares,
    templates,
)
from solver.synth.jit import kernel

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
_WIDTH = len(_NUMBERS) + len(_COLORS)
_BITS = {"size": 4.0, "rank": 3.5, "rank_up": 3.5, "edge": 3.0, "holes": 3.5, "color": 3.5}
_KIND_BITS = {"c4": 0.5, "c8": 0.5, "x8": 1.0}

COMPONENT_FEATURES = [
    (f"{kind}_{name}", name in _COLORS, _BITS.get(name, 4.5) + _KIND_BITS[kind])
    for kind in _KINDS
    for name in _NUMBERS + _COLORS
] + NEIGHBOUR_FEATURES


@kernel
def component_features(g, back, table):
    """Fill the rows of `COMPONENT_FEATURES` of a table (F, H, W) for a grid (H, W)."""
    for kind in range(3):
        labels, n = label(g, back, kind)
        props = _properties(g, back, labels, n, kind == 2)
        _relate(props, n, back)
        _spread(g, labels, props, table[kind * _WIDTH :])
        if kind == 1:
            boxes(g, back, labels, props, n, table[3 * _WIDTH :])
            next_to(g, back, labels, props, table[3 * _WIDTH + 16 :])
        if kind == 2:
            templates(g, labels, props, n, table[3 * _WIDTH + 32 :])
    squares(g, table[3 * _WIDTH + 30 :])


@kernel
def label(g, back, kind):
    """Component numbers 1..n of the cells of a grid (H, W), and n; 0 for cells in no component.

    `kind` is 0 for `c4`, 1 for `c8`, 2 for `x8` (see the module's docstring).
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
                yy, xx = y + RING_DY[d], x + RING_DX[d]
                if not (0 <= yy < h and 0 <= xx < w) or labels[yy, xx] != 0:
                    continue
                joined = g[yy, xx] != back if kind == 2 else g[yy, xx] == g[y, x]
                if joined:
                    labels[yy, xx] = n
                    stack[top] = yy * w + xx
                    top += 1
    return labels, n


@kernel
def _properties(g, back, labels, n, mixed):
    h, w = g.shape
    p = np.zeros((n + 1, 29), np.int64)
    p[:, TOP] = h
    p[:, LEFT] = w
    p[:, BOTTOM] = -1
    p[:, RIGHT] = -1
    p[:, TOUCHED] = -1
    colors = np.zeros((n + 1, 10), np.int64)
    for y in range(h):
        for x in range(w):
            i = labels[y, x]
            if i == 0:
                continue
            p[i, 0] += 1
            colors[i, g[y, x]] += 1
            p[i, TOP], p[i, BOTTOM] = min(p[i, TOP], y), max(p[i, BOTTOM], y)
            p[i, LEFT], p[i, RIGHT] = min(p[i, LEFT], x), max(p[i, RIGHT], x)
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
                most, p[i, COLOR] = colors[i, c], c
            if 0 < colors[i, c] <= least:
                least, p[i, MINOR] = colors[i, c], c
        _shape(labels, p, i)
        p[i, 6] = _holes(labels, p, i)
    return p


@kernel
def _touch(g, back, labels, p, y, x):
    # The colour next to a component, except the background: -1 for none yet, OUT for several.
    h, w = g.shape
    i = labels[y, x]
    for d in range(0, 8, 2):
        yy, xx = y + RING_DY[d], x + RING_DX[d]
        if not (0 <= yy < h and 0 <= xx < w) or labels[yy, xx] == i or g[yy, xx] == back:
            continue
        if p[i, TOUCHED] == -1:
            p[i, TOUCHED] = g[yy, xx]
        elif p[i, TOUCHED] != g[yy, xx]:
            p[i, TOUCHED] = OUT


@kernel
def _shape(labels, p, i):
    top, left, bottom, right = p[i, 24], p[i, 25], p[i, 26], p[i, 27]
    across, down, code = 1, 1, p[i, 2]
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            own = labels[y, x] == i
            across &= own == (labels[y, left + right - x] == i)
            down &= own == (labels[top + bottom - y, x] == i)
            code = (code * 1000003 + own + 1) % 2305843009213693951
    p[i, 18], p[i, 19], p[i, SHAPE] = across, down, code


@kernel
def _holes(labels, p, i):
    # Regions of other cells (4 neighbours) inside the box that do not reach the rim of the box.
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
                yy, xx = y + RING_DY[d], x + RING_DX[d]
                if 0 <= yy < h and 0 <= xx < w and not seen[yy, xx]:
                    seen[yy, xx] = True
                    stack[depth] = yy * w + xx
                    depth += 1
    return regions


@kernel
def _relate(p, n, back):
    # Ranks by size, and numbers of similar components. Foreground components are compared with
    # each other, background components with all.
    for i in range(1, n + 1):
        for j in range(1, n + 1):
            if p[j, COLOR] != back or p[i, COLOR] == back:
                p[i, 3] += p[j, 0] > p[i, 0]
                p[i, 4] += p[j, 0] < p[i, 0]
                p[i, 10] += p[j, 0] == p[i, 0]
                p[i, 11] += p[j, SHAPE] == p[i, SHAPE]
                p[i, 12] += p[j, COLOR] == p[i, COLOR]


@kernel
def _spread(g, labels, p, table):
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
            table[24, y, x], table[25, y, x] = p[i, COLOR], p[i, MINOR]
            touched = p[i, TOUCHED]
            table[26, y, x] = OUT if touched < 0 else touched
            table[27, y, x] = g[y, left + right - x]
            table[28, y, x] = g[top + bottom - y, x]
            table[29, y, x] = g[top + bottom - y, left + right - x]
            square = bottom - top == right - left
            table[30, y, x] = g[top + b, left + a] if square else OUT
            table[31, y, x] = g[bottom - b, right - a] if square else OUT
            table[32, y, x] = g[top + b, right - a] if square else OUT
