"""Cell features of patterns: the colours of symmetric partners, and of periodic tilings.

The axes of a grid are found by trying all axes in its middle half. The best axis maximizes the
pairs of equal cells minus twice the pairs of different cells; pairs of background do not count. A
period is the smallest lattice under which each class of cells has one colour besides a hidden
colour. The hidden colour is the colour of a defect or a mask.
"""

from __future__ import annotations

import numpy as np

from solver.synth.features.neighbours import OUT
from solver.synth.jit import kernel

PATTERN_FEATURES = (
    [(f"flip_{d}", True, 3.5) for d in ("columns", "rows", "both", "diagonal", "antidiagonal")]
    + [(f"turn_{d}", True, 4.5) for d in ("left", "right")]
    + [(f"box_flip_{d}", True, 4.0) for d in ("columns", "rows", "both")]
    + [("mirror_columns", True, 4.0), ("mirror_rows", True, 4.0), ("mirror", True, 3.0)]
    + [("tile", True, 3.0), ("in_box", False, 3.5), ("box_row", False, 5.0)]
    + [("box_column", False, 5.0), ("box_row_end", False, 5.0), ("box_column_end", False, 5.0)]
    + [(f"box_{d}", True, 4.5) for d in ("transpose", "antitranspose", "left", "right")]
    + [(f"wrap_{d}", True, 5.0) for d in ("n", "e", "s", "w")]
    + [(f"fall_{d}", True, 4.0) for d in ("n", "e", "s", "w")]
)


@kernel
def pattern_features(g, back, table):
    """Fill the rows of `PATTERN_FEATURES` of a table (F, H, W) for a grid (H, W)."""
    h, w = g.shape
    top, left, bottom, right = _box(g, back)
    axis_x = _axis(g, back)
    axis_y = _axis(np.ascontiguousarray(g.T), back)
    tiles = _tiles(g)
    for y in range(h):
        for x in range(w):
            yy, xx = h - 1 - y, w - 1 - x
            table[0, y, x], table[1, y, x], table[2, y, x] = g[y, xx], g[yy, x], g[yy, xx]
            square = h == w
            table[3, y, x] = g[x, y] if square else OUT
            table[4, y, x] = g[xx, yy] if square else OUT
            table[5, y, x] = g[x, yy] if square else OUT
            table[6, y, x] = g[xx, y] if square else OUT
            table[7, y, x] = _at(g, y, left + right - x)
            table[8, y, x] = _at(g, top + bottom - y, x)
            table[9, y, x] = _at(g, top + bottom - y, left + right - x)
            across = _at(g, y, axis_x - x)
            down = _at(g, axis_y - y, x)
            table[10, y, x], table[11, y, x] = across, down
            table[12, y, x] = _partner(g, y, x, axis_y - y, axis_x - x)
            table[13, y, x] = tiles[y, x]
            inside = top <= y <= bottom and left <= x <= right
            table[14, y, x] = inside
            table[15, y, x] = y - top if inside else 255
            table[16, y, x] = x - left if inside else 255
            table[17, y, x] = bottom - y if inside else 255
            table[18, y, x] = right - x if inside else 255
            if bottom - top == right - left:
                _box_turns(g, table[19:], y, x, top, left, bottom, right)
            else:
                table[19:23, y, x] = OUT
            table[23, y, x], table[24, y, x] = g[y - 1, x], g[y, (x + 1) % w]
            table[25, y, x], table[26, y, x] = g[(y + 1) % h, x], g[y, x - 1]
    _fall(g, back, table[27], True, False)
    _fall(g, back, table[28], False, True)
    _fall(g, back, table[29], True, True)
    _fall(g, back, table[30], False, False)


@kernel
def _box_turns(g, table, y, x, top, left, bottom, right):
    # The partners of a cell if a square box is transposed or turned.
    a, b = y - top, x - left
    table[0, y, x] = _at(g, top + b, left + a)
    table[1, y, x] = _at(g, bottom - b, right - a)
    table[2, y, x] = _at(g, bottom - b, left + a)
    table[3, y, x] = _at(g, top + b, right - a)


@kernel
def _fall(g, back, fallen, down, far):
    # All foreground cells slide along columns (`down`) or rows, to the far or the near side.
    h, w = g.shape
    fallen[:] = back
    lines, size = (w, h) if down else (h, w)
    for i in range(lines):
        place = size - 1 if far else 0
        for k in range(size):
            j = size - 1 - k if far else k
            color = g[j, i] if down else g[i, j]
            if color != back:
                if down:
                    fallen[place, i] = color
                else:
                    fallen[i, place] = color
                place += -1 if far else 1


@kernel
def _at(g, y, x):
    h, w = g.shape
    return g[y, x] if 0 <= y < h and 0 <= x < w else OUT


@kernel
def _partner(g, y, x, yy, xx):
    # The first partner of another colour under the two axes, their product and the diagonals.
    own = g[y, x]
    for color in (_at(g, y, xx), _at(g, yy, x), _at(g, yy, xx)):
        if color != OUT and color != own:
            return color
    if g.shape[0] == g.shape[1]:
        for color in (_at(g, x, y), _at(g, xx, yy)):
            if color != OUT and color != own:
                return color
    return own


@kernel
def _box(g, back):
    h, w = g.shape
    top, left, bottom, right = h, w, -1, -1
    for y in range(h):
        for x in range(w):
            if g[y, x] != back:
                top, bottom = min(top, y), max(bottom, y)
                left, right = min(left, x), max(right, x)
    return top, left, bottom, right


@kernel
def _axis(g, back):
    # Twice the column of the best mirror axis, the sum of the columns of a cell and its partner.
    h, w = g.shape
    best, best_score = w - 1, -1000000
    for total in range(w // 2, 2 * w - 2 - w // 2 + 1):
        agree, differ = 0, 0
        for y in range(h):
            for x in range(max(0, total - w + 1), (total + 1) // 2):
                a, b = g[y, x], g[y, total - x]
                if a != back or b != back:
                    agree += a == b
                    differ += a != b
        score = agree - 2 * differ
        near = abs(total - (w - 1)) < abs(best - (w - 1))
        if score > best_score or (score == best_score and near):
            best, best_score = total, score
    return best


@kernel
def _tiles(g):
    h, w = g.shape
    counts = np.zeros(10, np.int64)
    for y in range(h):
        for x in range(w):
            counts[g[y, x]] += 1
    best = np.full((h, w), OUT, np.uint8)
    best_size = h * w
    # A lattice has periods of `py` rows and `px` columns; each row is shifted by `skew` columns.
    for hidden in range(10):
        if counts[hidden] == 0:
            continue
        best_size = min(best_size, (h * w - counts[hidden]) // 2 + 1)
        for py in range(1, min(h, 12) + 1):
            for px in range(1, min(w, 12) + 1):
                if py * px >= best_size:
                    break
                if py > 1 and py < h and px == w:
                    continue
                tiles = _tile(g, hidden, py, px, np.int64(0))
                if tiles.size == 0 and py == 1:
                    for skew in range(1, px):
                        tiles = _tile(g, hidden, py, px, skew)
                        if tiles.size:
                            break
                if tiles.size:
                    best, best_size = tiles, py * px
    return best


@kernel
def _tile(g, hidden, py, px, skew):
    h, w = g.shape
    color = np.full((py, px), OUT, np.uint8)
    for y in range(h):
        for x in range(w):
            c = g[y, x]
            if c == hidden:
                continue
            i, j = y % py, (x + skew * y) % px
            if color[i, j] == OUT:
                color[i, j] = c
            elif color[i, j] != c:
                return np.empty((0, 0), np.uint8)
    tiles = np.empty((h, w), np.uint8)
    for y in range(h):
        for x in range(w):
            tiles[y, x] = color[y % py, (x + skew * y) % px]
    return tiles
