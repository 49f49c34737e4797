"""Cell features of the surroundings of a cell.

The surroundings are the box around the cell, the component next to the cell, uniform squares,
and the same place in template components. The kernels read the property matrix of components
that `components` fills. The matrix has a row for each component (row 0 is empty) and the columns
named here.
"""

from __future__ import annotations

import numpy as np

from solver.synth.jit import kernel

OUT = 10  # "no such cell" among colour features
LOST = 255

# Columns of the property matrix; columns 0..20 are the first names of `components._NUMBERS`.
COLOR, MINOR, TOUCHED, TOP, LEFT, BOTTOM, RIGHT, SHAPE = 21, 22, 23, 24, 25, 26, 27, 28

# Offsets to the eight neighbours, clockwise from north.
RING_DY = np.array([-1, -1, 0, 1, 1, 1, 0, -1])
RING_DX = np.array([0, 1, 1, 1, 0, -1, -1, -1])

_BOX = (
    ("boxed_color", True), ("boxed_size", False), ("boxed_rank", False), ("boxed_ring", False),
    ("boxed_from_top", False), ("boxed_from_left", False), ("boxed_from_bottom", False),
    ("boxed_from_right", False), ("boxed_height", False), ("boxed_width", False),
    ("boxed_edge", False), ("largest_color", True), ("smallest_color", True),
    ("components", False), ("inside_color", True), ("odd_color", True),
)  # fmt: skip
_NEXT = (
    ("next_size", False), ("next_height", False), ("next_width", False), ("next_rank", False),
    ("next_rank_up", False), ("next_edge", False), ("next_holes", False), ("next_full", False),
    ("next_same_size", False), ("next_same_shape", False), ("next_same_color", False),
    ("next_color_cells", False), ("next_count", False), ("next_color", True),
    ("in_square2", False), ("in_square3", False), ("template_colors", True),
    ("template_largest", True),
)  # fmt: skip
NEIGHBOUR_FEATURES = [(name, color, 4.0 if color else 5.0) for name, color in _BOX + _NEXT]


@kernel
def boxes(g, back, labels, p, n, table):
    """Fill the `_BOX` rows of a table for a grid (H, W) and its components of kind `c8`.

    Most features describe the smallest box of a foreground component around the cell. The others
    are the number of foreground components, and the colours of extreme components. The last is
    another colour inside the box of the cell's own component.
    """
    h, w = g.shape
    largest, smallest, count, odd = 0, 0, 0, 0
    table[0] = OUT
    table[1:11] = LOST
    inside = np.full(n + 1, OUT, np.int64)
    for y in range(h):
        for x in range(w):
            table[14, y, x] = OUT
    for i in range(1, n + 1):
        if p[i, COLOR] == back:
            continue
        count += 1
        if largest == 0 or p[i, 0] > p[largest, 0]:
            largest = i
        if smallest == 0 or p[i, 0] < p[smallest, 0]:
            smallest = i
        if p[i, 12] == 1 and (odd == 0 or p[i, 0] > p[odd, 0]):
            odd = i
        inside[i] = _draw_box(g, back, p, i, table)
    table[11] = p[largest, COLOR] if largest else OUT
    table[12] = p[smallest, COLOR] if smallest else OUT
    table[13] = min(count, 254)
    table[15] = p[odd, COLOR] if odd else OUT
    for y in range(h):
        for x in range(w):
            table[14, y, x] = inside[labels[y, x]]


@kernel
def _draw_box(g, back, p, i, table):
    # Write a component's box where there is no smaller box yet. Returns the last colour inside
    # the box besides the component's colour and the background; OUT if there is none.
    top, left, bottom, right = p[i, TOP], p[i, LEFT], p[i, BOTTOM], p[i, RIGHT]
    area, inside = min(p[i, 1] * p[i, 2], 254), np.int64(OUT)
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            if g[y, x] not in (back, p[i, COLOR]):
                inside = np.int64(g[y, x])
            if table[1, y, x] <= area:
                continue
            table[0, y, x], table[1, y, x], table[2, y, x] = p[i, COLOR], area, p[i, 3]
            a, b, c, d = y - top, x - left, bottom - y, right - x
            table[3, y, x] = min(min(a, b), min(c, d))
            table[4, y, x], table[5, y, x], table[6, y, x], table[7, y, x] = a, b, c, d
            table[8, y, x], table[9, y, x] = min(p[i, 1], 254), min(p[i, 2], 254)
            table[10, y, x] = p[i, 5]
    return inside


@kernel
def next_to(g, back, labels, p, table):
    """Fill the first 14 `_NEXT` rows of a table: the component next to each cell.

    This component is the largest foreground component among the 8 neighbours of the cell, except
    the cell's own component.
    """
    h, w = g.shape
    cells = np.zeros(10, np.int64)
    for y in range(h):
        for x in range(w):
            cells[g[y, x]] += 1
    for y in range(h):
        for x in range(w):
            one, count = 0, 0
            for d in range(8):
                yy, xx = y + RING_DY[d], x + RING_DX[d]
                if not (0 <= yy < h and 0 <= xx < w) or g[yy, xx] == back:
                    continue
                i = labels[yy, xx]
                if i == labels[y, x] or i == one:
                    continue
                count += 1
                if one == 0 or p[i, 0] > p[one, 0]:
                    one = i
            table[12, y, x] = count
            table[13, y, x] = p[one, COLOR] if one else OUT
            for k in range(12):
                table[k, y, x] = LOST
            if one:
                for k in range(5):
                    table[k, y, x] = min(p[one, k], 254)
                table[5, y, x], table[6, y, x] = p[one, 5], p[one, 6]
                table[7, y, x], table[8, y, x] = p[one, 7], min(p[one, 10], 254)
                table[9, y, x], table[10, y, x] = min(p[one, 11], 254), min(p[one, 12], 254)
                table[11, y, x] = min(cells[p[one, COLOR]], 254)


@kernel
def squares(g, table):
    """Fill two rows of a table: 1 for cells in a 2 x 2 (3 x 3) square of one colour."""
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
def templates(g, labels, p, n, table):
    """Fill two rows of a table: the colours at the same place of two template components.

    The templates are the component with most colours in its box, and the largest component.
    Places are compared from the top left corners of the boxes.
    """
    h, w = g.shape
    most, largest, best = 0, 0, 0
    for i in range(1, n + 1):
        used = np.zeros(10, np.bool_)
        for y in range(p[i, TOP], p[i, BOTTOM] + 1):
            for x in range(p[i, LEFT], p[i, RIGHT] + 1):
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
                    yy = p[j, TOP] + y - p[i, TOP]
                    xx = p[j, LEFT] + x - p[i, LEFT]
                    if yy <= p[j, BOTTOM] and xx <= p[j, RIGHT]:
                        table[k, y, x] = g[yy, xx]
