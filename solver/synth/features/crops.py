"""Crops: named boxes of a grid that may be cut out as the output."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from solver.grid import Grid
from solver.synth.features.components import label
from solver.synth.split import separated_parts

Box = tuple[int, int, int, int]  # top, bottom (exclusive), left, right (exclusive)


def crops(grid: Grid) -> Mapping[str, Box]:
    """All named boxes that a grid has, except empty boxes and the whole grid."""
    return _crops(grid.shape, grid.tobytes())


@functools.lru_cache(maxsize=256)  # frames ask for many boxes of the same grids
def _crops(shape: tuple[int, int], cells: bytes) -> Mapping[str, Box]:
    grid = np.frombuffer(cells, np.uint8).reshape(shape)
    found: dict[str, Box] = {}
    colors = np.unique(grid).tolist()
    common = int(np.bincount(grid.ravel(), minlength=10).argmax())
    _add(found, grid, "content", grid != 0)
    _add(found, grid, "uncommon", grid != common)
    for color in colors:
        _add(found, grid, f"color_{color}", grid == color)
    counts = [int((grid == c).sum()) for c in colors]
    _add(found, grid, "rarest", grid == colors[int(np.argmin(counts))])
    for name, kind, back in (("c8", 1, 0), ("x8", 2, 0), ("c4", 0, 0), ("m8", 2, common)):
        _add_components(found, grid, name, kind, back)
    _add_parts(found, grid)
    h, w = grid.shape
    found["top"], found["bottom"] = (0, h // 2, 0, w), (h - h // 2, h, 0, w)
    found["left"], found["right"] = (0, h, 0, w // 2), (0, h, w - w // 2, w)
    found["half"] = found["top"] if h >= w else found["left"]
    found["trimmed"] = (1, h - 1, 1, w - 1)
    for name, (top, bottom, left, right) in list(found.items()):
        if bottom - top > 2 and right - left > 2 and name != "trimmed":
            found[f"inside_{name}"] = (top + 1, bottom - 1, left + 1, right - 1)
    whole = (0, h, 0, w)
    return {n: b for n, b in found.items() if b != whole and b[1] > b[0] and b[3] > b[2]}


def _box(mask: NDArray[np.bool_]) -> Box | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _add(found: dict[str, Box], grid: Grid, name: str, mask: NDArray[np.bool_]) -> None:
    box = _box(mask)
    if box is not None:
        found[name] = box


def _add_components(found: dict[str, Box], grid: Grid, name: str, kind: int, back: int) -> None:
    cells = np.array(grid, order="C")  # writable: kernels know one type
    labels, n = label(cells, np.int64(back), np.int64(kind))
    boxes, measures = [], []
    for i in range(1, min(n, 60) + 1):
        mask = labels == i
        own_cells = grid[mask]
        if own_cells[0] == back and kind != 2:
            continue
        box = _box(mask)
        assert box is not None
        inside = grid[box[0] : box[1], box[2] : box[3]]
        area = inside.size
        own = np.bincount(own_cells, minlength=10)
        boxes.append(box)
        measures.append(
            (len(own_cells), area, len(np.unique(inside)), int((inside == back).sum()),
             int(own.min(where=own > 0, initial=1000)) if kind == 2 else int(own.max()),
             -box[0], -box[2], int((inside != inside[:, ::-1]).any()),
             int(len(own_cells) == area))
        )  # fmt: skip
    if not boxes:
        return
    table = np.array(measures)
    for k, what in enumerate(_MEASURES):
        column = table[:, k]
        for end, value in (("most", column.max()), ("least", column.min())):
            chosen = np.flatnonzero(column == value)
            if len(chosen) == 1 or len(boxes) == 1:
                found[f"{name}_{end}_{what}"] = boxes[int(chosen[0])]


_MEASURES = ("cells", "area", "colors", "blank", "minor", "high", "left", "skew", "full")


def _add_parts(found: dict[str, Box], grid: Grid) -> None:
    parts = separated_parts(grid)
    if parts is None:
        return
    cells = parts.stack(grid)
    h, w = parts.shape
    corners = parts.corners
    same = (cells[:, None] == cells[None]).all(axis=(2, 3)).sum(axis=1)
    filled = (cells != 0).sum(axis=(1, 2))
    colors = np.array([len(np.unique(part)) for part in cells])
    for what, column in (("same", same), ("filled", filled), ("colors", colors)):
        for end, i in (("most", column.argmax()), ("least", column.argmin())):
            y, x = corners[int(i)]
            found[f"part_{end}_{what}"] = (y, y + h, x, x + w)
    for i in (0, len(corners) - 1):
        y, x = corners[i]
        found[f"part_{'first' if i == 0 else 'last'}"] = (y, y + h, x, x + w)
