"""Cell features of the parts between separator lines.

The features describe the place of a cell in its part, and the contents of the part. They also
describe the colours in the same place of the other parts. All rows are constant in a grid without
equal parts between full lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solver.grid import Grid
from solver.synth.features.neighbours import OUT
from solver.synth.split import Split, separated_parts

LOST = 255

PART_FEATURES = [
    ("on_line", False, 2.0), ("line", True, 3.0), ("part_row", False, 4.0),
    ("part_column", False, 4.0), ("in_row", False, 3.5), ("in_column", False, 3.5),
    ("part_filled", False, 3.0), ("part_rank", False, 2.5), ("part_rank_up", False, 3.0),
    ("part_colors", False, 3.5), ("part_same", False, 3.5), ("part_color", True, 2.5),
    ("any_part", True, 2.5), ("parts_filled", False, 3.5), ("key_place", True, 3.0),
    ("key_same", True, 3.0), ("low_key_place", True, 4.0), ("low_key_same", True, 4.0),
    ("colors_key_place", True, 3.5), ("odd_key_place", True, 4.0), ("odd_key_same", True, 4.0),
]  # fmt: skip


def part_features(grid: Grid, table: NDArray[np.uint8]) -> None:
    """Fill the rows of `PART_FEATURES` of a table (F, H, W) for a grid (H, W)."""
    parts = separated_parts(grid)
    if parts is None:
        return
    at = {name: i for i, (name, _, _) in enumerate(PART_FEATURES)}
    cells = parts.stack(grid)  # (n, h, w)
    numbers, keys = _measure(cells)
    flat = cells.reshape(len(cells), -1)
    stack = np.where((flat != 0).any(axis=0), flat.max(axis=0), 0).reshape(parts.shape)
    _outside(table, at)
    table[at["line"]] = _line_color(grid, parts)
    h, w = parts.shape
    rows, columns = parts.count
    y, x = np.mgrid[:h, :w]
    for i, (top, left) in enumerate(parts.corners):
        place = np.s_[top : top + h, left : left + w]
        row, column = divmod(i, columns)
        table[at["on_line"]][place] = 0
        table[at["part_row"]][place], table[at["part_column"]][place] = row, column
        table[at["in_row"]][place], table[at["in_column"]][place] = y, x
        for name, values in numbers.items():
            table[at[name]][place] = min(int(values[i]), 254)
        table[at["any_part"]][place] = stack
        table[at["parts_filled"]][place] = (cells != 0).sum(axis=0)
        for name, k in keys.items():
            if rows <= h and columns <= w:
                table[at[f"{name}_place"]][place] = cells[k, row, column]
            if f"{name}_same" in at:
                table[at[f"{name}_same"]][place] = cells[k]


def _measure(
    cells: NDArray[np.uint8],
) -> tuple[dict[str, NDArray[np.int64]], dict[str, int]]:
    """Numbers (n,) of the parts (n, h, w) by feature, and indices of extreme parts by key."""
    flat = cells.reshape(len(cells), -1)
    filled = (flat != 0).sum(axis=1)
    colors = np.array([len(np.unique(part)) for part in flat])
    same = (flat[:, None] == flat[None]).all(axis=2).sum(axis=1)
    counts = np.array([(flat == c).sum(axis=1) for c in range(1, 10)])
    numbers = {
        "part_filled": filled,
        "part_rank": (filled[None] > filled[:, None]).sum(axis=1),
        "part_rank_up": (filled[None] < filled[:, None]).sum(axis=1),
        "part_colors": colors,
        "part_same": same,
        "part_color": np.where(filled > 0, counts.argmax(axis=0) + 1, 0),
    }
    keys = {
        "key": int(filled.argmax()),
        "low_key": int(filled.argmin()),
        "colors_key": int(colors.argmax()),
        "odd_key": int(same.argmin()),
    }
    return numbers, keys


def _outside(table: NDArray[np.uint8], at: dict[str, int]) -> None:
    for name, color, _ in PART_FEATURES:
        table[at[name]] = OUT if color else LOST
    table[at["on_line"]] = 1


def _line_color(grid: Grid, parts: Split) -> int:
    covered = np.zeros(grid.shape, dtype=np.bool_)
    h, w = parts.shape
    for y, x in parts.corners:
        covered[y : y + h, x : x + w] = True
    return int(grid[~covered][0])
