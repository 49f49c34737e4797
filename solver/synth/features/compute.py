"""Features of cells: numbers that a learned cell rule may ask about and copy.

Every feature is one uint8 number for each cell. A colour feature is 0..9, or `OUT` if there is
no such cell; colour features can be compared with each other and copied to the output. A number
feature is a saturated count or distance. The features of a grid are an array
(len(FEATURES), H * W). Each family of names has a function that fills the family's rows. Rows of
the frame family are filled by `cells.frames`, `cells.states` and `layers`.
"""

from __future__ import annotations

import numpy as np

from solver.grid import Grid
from solver.synth.features.components import component_features
from solver.synth.features.neighbours import OUT, RING_DX, RING_DY
from solver.synth.features.parts import part_features
from solver.synth.features.patterns import pattern_features
from solver.synth.features.table import ABSENT, FEATURES, START, Features
from solver.synth.jit import kernel

NONE = 31  # the distance if nothing is in sight


def features(grid: Grid, background: str = "0") -> Features:
    """All features of all cells of a grid (H, W): uint8 (len(FEATURES), H * W).

    `background` is "0" (black), or "most" for the grid's most frequent colour.
    """
    g = np.array(grid, dtype=np.uint8, order="C")  # writable: kernels know one type
    counts = np.bincount(g.ravel(), minlength=10)
    back = int(counts.argmax()) if background == "most" else 0
    table = np.zeros((len(FEATURES), *g.shape), dtype=np.uint8)
    table[ABSENT] = OUT
    _local(g, back, table[START["local"] :])
    _rays(g, back, table[START["rays"] :])
    _lines(g, back, table[START["lines"] :])
    _place(g, table[START["place"] :])
    _global(g, back, counts, table[START["global"] :])
    pattern_features(g, back, table[START["pattern"] :])
    component_features(g, back, table[START["component"] :])
    part_features(g, table[START["part"] :])
    return table.reshape(len(FEATURES), -1)


@kernel
def _local(g, back, table):
    h, w = g.shape
    for y in range(h):
        for x in range(w):
            own = g[y, x]
            table[0, y, x] = own
            for d in range(8):
                yy, xx = y + RING_DY[d], x + RING_DX[d]
                inside = 0 <= yy < h and 0 <= xx < w
                color = g[yy, xx] if inside else OUT
                table[1 + d, y, x] = color
                if d % 2 == 0:
                    yy, xx = yy + RING_DY[d], xx + RING_DX[d]
                    far = 0 <= yy < h and 0 <= xx < w
                    table[9 + d // 2, y, x] = g[yy, xx] if far else OUT
                if not inside:
                    continue
                table[14, y, x] += color == own
                table[16, y, x] += color != back
                table[18 + color, y, x] += 1
                if d % 2 == 0:
                    table[13, y, x] += color == own
                    table[15, y, x] += color != back
                    table[28 + color, y, x] += 1
                else:
                    table[17, y, x] += color != back


@kernel
def _rays(g, back, table):
    h, w = g.shape
    for d in range(8):
        dy, dx = RING_DY[d], RING_DX[d]
        for i in range(h):
            y = i if dy <= 0 else h - 1 - i
            for j in range(w):
                x = j if dx <= 0 else w - 1 - j
                yy, xx = y + dy, x + dx
                if not (0 <= yy < h and 0 <= xx < w):
                    hit, steps, other = OUT, NONE, OUT
                else:
                    seen = g[yy, xx]
                    hit, steps = table[d, yy, xx], table[8 + d, yy, xx]
                    steps = steps + 1 if steps < NONE else NONE
                    if seen != back:
                        hit, steps = seen, 1
                    other = seen
                    if d % 2 == 0 and seen == g[y, x]:
                        other = table[16 + d // 2, yy, xx]
                table[d, y, x] = hit
                table[8 + d, y, x] = steps
                if d % 2 == 0:
                    table[16 + d // 2, y, x] = other
    for y in range(h):
        for x in range(w):
            _ray_summary(table, y, x)


@kernel
def _ray_summary(table, y, x):
    between, diagonal, axis, cross = OUT, OUT, OUT, OUT
    for d in range(4):
        if table[d, y, x] == table[d + 4, y, x] and table[d, y, x] != OUT:
            if d % 2 == 0:
                between = table[d, y, x]
            else:
                diagonal = table[d, y, x]
    near, near_axis, best, best_axis, hits, corners = OUT, OUT, NONE, NONE, 0, 0
    several_axis, several_cross = False, False
    for d in range(8):
        color, steps = table[d, y, x], table[8 + d, y, x]
        if color == OUT:
            continue
        if steps < best or (steps == best and color < near):
            best, near = steps, color
        if d % 2 == 0:
            hits += 1
            several_axis |= axis != OUT and axis != color
            axis = color
            if steps < best_axis or (steps == best_axis and color < near_axis):
                best_axis, near_axis = steps, color
        else:
            corners += 1
            several_cross |= cross != OUT and cross != color
            cross = color
    table[20, y, x], table[21, y, x] = between, diagonal
    table[22, y, x], table[23, y, x] = near, near_axis
    table[24, y, x], table[25, y, x] = hits, corners
    table[26, y, x] = OUT if several_axis else axis
    table[27, y, x] = OUT if several_cross else cross


@kernel
def _most(counts, back):
    best, color = 0, OUT
    for c in range(10):
        if c != back and counts[c] > best:
            best, color = counts[c], c
    return color


@kernel
def _lines(g, back, table):
    h, w = g.shape
    rows = np.zeros((h, 11), np.int64)
    columns = np.zeros((w, 11), np.int64)
    falling = np.zeros((h + w, 11), np.int64)
    rising = np.zeros((h + w, 11), np.int64)
    for y in range(h):
        for x in range(w):
            c = g[y, x]
            rows[y, c] += 1
            columns[x, c] += 1
            falling[y - x + w, c] += 1
            rising[y + x, c] += 1
    for lines in (rows, columns, falling, rising):
        for i in range(len(lines)):
            lines[i, 10] = lines[i, :10].sum() - lines[i, back]
    row_most, column_most = rows[:, 10].max(), columns[:, 10].max()
    for y in range(h):
        row_color = _most(rows[y], back)
        for x in range(w):
            c = g[y, x]
            column_color = _most(columns[x], back)
            table[0, y, x], table[1, y, x] = rows[y, 10], columns[x, 10]
            table[2, y, x], table[3, y, x] = row_color, column_color
            table[4, y, x] = column_color if row_color == OUT else row_color
            table[5, y, x] = rows[y].max() == w
            table[6, y, x] = columns[x].max() == h
            table[7, y, x], table[8, y, x] = rows[y, c], columns[x, c]
            table[9, y, x], table[10, y, x] = g[0, x], g[y, w - 1]
            table[11, y, x], table[12, y, x] = g[h - 1, x], g[y, 0]
            for k in range(10):
                table[13 + k, y, x] = rows[y, k]
                table[23 + k, y, x] = columns[x, k]
            table[33, y, x] = falling[y - x + w, 10]
            table[34, y, x] = rising[y + x, 10]
            table[35, y, x] = _most(falling[y - x + w], back)
            table[36, y, x] = _most(rising[y + x], back)
            table[37, y, x] = rows[y, 10] == row_most
            table[38, y, x] = columns[x, 10] == column_most


@kernel
def _place(g, table):
    h, w = g.shape
    for y in range(h):
        for x in range(w):
            yy, xx = h - 1 - y, w - 1 - x
            table[0, y, x], table[1, y, x], table[2, y, x], table[3, y, x] = y, x, yy, xx
            table[4, y, x] = min(min(y, x), min(yy, xx))
            table[5, y, x], table[6, y, x], table[7, y, x] = y % 2, x % 2, (y + x) % 2
            table[8, y, x], table[9, y, x], table[10, y, x] = y % 3, x % 3, (y + x) % 3
            table[11, y, x], table[12, y, x] = (y - x + 30) % 3, (y + x) % 4
            table[13, y, x], table[14, y, x] = yy % 2, xx % 2
            table[15, y, x], table[16, y, x] = abs(y - x), y + x


@kernel
def _global(g, back, counts, table):
    h, w = g.shape
    first = _most(counts, back)
    second, least, colors, low = OUT, OUT, 0, 1000
    for c in range(10):
        colors += counts[c] > 0
        if c == back or counts[c] == 0:
            continue
        if c != first and (second == OUT or counts[c] > counts[second]):
            second = c
        if counts[c] < low:
            low, least = counts[c], c
    for y in range(h):
        for x in range(w):
            own = counts[g[y, x]]
            rank, rarity = 0, 0
            for c in range(10):
                rank += counts[c] > own and c != back
                rarity += 0 < counts[c] < own
            table[0, y, x], table[1, y, x] = back, first
            table[2, y, x], table[3, y, x] = second, least
            table[4, y, x], table[5, y, x] = g[0, 0], g[0, w - 1]
            table[6, y, x], table[7, y, x] = g[h - 1, w - 1], g[h - 1, 0]
            table[8, y, x] = g[h // 2, w // 2]
            table[9, y, x], table[10, y, x] = rank, rarity
            table[11, y, x] = min(own, 255)
            table[12, y, x], table[13, y, x], table[14, y, x] = colors, h, w
