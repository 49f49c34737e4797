"""The library `common` of programs by the BARC checkpoints (arXiv:2411.02272), written again.

The checkpoints were trained on programs that call a small library with `from common import *`. This
module has the library's most used functions under the same names, for programs in the sandbox. A
grid is a numpy array, indexed `grid[x, y]`. An object is a grid of the same shape with everything
else in the background colour. A sprite is an object cut out of its grid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[Any]  # (X, Y)
Mask = NDArray[np.bool_]  # (X, Y)


class Color:
    """The colours by name."""

    BLACK, BLUE, RED, GREEN, YELLOW, GRAY, PINK, ORANGE, PURPLE, BROWN = range(10)
    GREY, TEAL, MAROON, BACKGROUND, TRANSPARENT = GRAY, PURPLE, BROWN, BLACK, BLACK
    ALL_COLORS = tuple(range(10))
    NOT_BLACK = tuple(range(1, 10))


def _steps(connectivity: int) -> list[tuple[int, int]]:
    """Steps to a cell's neighbours: four, or eight with the diagonals."""
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is 4 or 8, not {connectivity}")
    around = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]
    return [(dx, dy) for dx, dy in around if connectivity == 8 or not (dx and dy)]


def _part(mask: Mask, x: int, y: int, connectivity: int) -> Mask:
    """The cells of `mask` that are connected with (x, y)."""
    part = np.zeros(mask.shape, dtype=bool)
    open_, steps = [(int(x), int(y))], _steps(connectivity)
    while open_:
        x, y = open_.pop()
        inside = 0 <= x < mask.shape[0] and 0 <= y < mask.shape[1]
        if inside and mask[x, y] and not part[x, y]:
            part[x, y] = True
            open_ += [(x + dx, y + dy) for dx, dy in steps]
    return part


def _parts(mask: Mask, connectivity: int) -> Iterable[Mask]:
    left = mask.copy()
    while left.any():
        x, y = np.argwhere(left)[0].tolist()
        part = _part(left, x, y, connectivity)
        yield part
        left &= ~part


def _wider(mask: Mask, connectivity: int) -> Mask:
    """The mask and its neighbours."""
    padded, wide = np.pad(mask, 1), mask.copy()
    rows, columns = mask.shape
    for dx, dy in _steps(connectivity):
        wide |= padded[1 + dx : 1 + dx + rows, 1 + dy : 1 + dy + columns]
    return wide


# --- finding ----------------------------------------------------------------------------


def find_connected_components(
    grid: Cells, background: int = 0, connectivity: int = 4, monochromatic: bool = True
) -> list[Cells]:
    """The connected parts of the cells that are not background, each as an object."""
    colors = sorted(set(grid.ravel().tolist()) - {background})
    masks = [grid == color for color in colors] if monochromatic else [grid != background]
    parts = [part for mask in masks for part in _parts(mask, connectivity)]
    return [np.where(part, grid, background) for part in parts]


def detect_objects(
    grid: Cells,
    _: None = None,
    predicate: Any = None,
    background: int = 0,
    monochromatic: bool = False,
    connectivity: int | None = None,
    allowed_dimensions: Collection[tuple[int, int]] | None = None,
    colors: Collection[int] | None = None,
    can_overlap: bool = False,
) -> list[Cells]:
    """Connected objects of the given sizes and colours for which `predicate` holds."""
    found = find_connected_components(grid, background, connectivity or 4, monochromatic)
    return [
        thing
        for thing in found
        if (allowed_dimensions is None or bounding_box(thing, background)[2:] in allowed_dimensions)
        and (colors is None or set(object_colors(thing, background)) <= set(colors))
        and (predicate is None or predicate(crop(thing, background)))
    ]


def bounding_box(grid: Cells, background: int = 0) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the cells that are not background."""
    cells = np.argwhere(grid != background)
    if not len(cells):
        return grid.shape[0], grid.shape[1], -grid.shape[0], -grid.shape[1]
    (x, y), (far_x, far_y) = cells.min(0).tolist(), cells.max(0).tolist()
    return x, y, far_x - x + 1, far_y - y + 1


def object_position(obj: Cells, background: int = 0, anchor: str = "upper left") -> Any:
    """(x, y) of a corner (`upper left`, `lower right` ...) or middle of an object."""
    x, y, width, height = bounding_box(obj, background)
    name = anchor.lower().replace(" ", "")
    part_x = 0.0 if "left" in name else 1.0 if "right" in name else 0.5
    part_y = 0.0 if "upper" in name else 1.0 if "lower" in name else 0.5
    place = (x + part_x * (width - 1), y + part_y * (height - 1))
    return tuple(int(value) if value == int(value) else value for value in place)


def object_colors(obj: Cells, background: int = 0) -> list[int]:
    """The colours of an object."""
    return sorted(set(obj.ravel().tolist()) - {background})


def crop(grid: Cells, background: int = 0) -> Cells:
    """The part of a grid that is not background, as a sprite."""
    x, y, width, height = bounding_box(grid, background)
    return grid[x : x + width, y : y + height]


def object_interior(grid: Cells, background: int = 0) -> Mask:
    """The object and its holes: all cells without a path to the outside through background."""
    outside = np.pad(grid == background, 1, constant_values=True)
    return ~_part(outside, 0, 0, 4)[1:-1, 1:-1]


def object_boundary(grid: Cells, background: int = 0) -> Mask:
    """The object's cells beside the outside or at the grid's border."""
    outside = np.pad(~object_interior(grid, background), 1, constant_values=True)
    beside: Mask = (grid != background) & _wider(outside, 4)[1:-1, 1:-1]
    return beside


def object_neighbors(grid: Cells, background: int = 0, connectivity: int = 4) -> Mask:
    """The background beside the object's boundary."""
    beside: Mask = _wider(object_boundary(grid, background), connectivity) & (grid == background)
    return beside


def is_contiguous(bitmask: Cells, background: int = 0, connectivity: int = 4) -> bool:
    """True if all cells that are not background are connected."""
    return len(list(_parts(bitmask != background, connectivity))) <= 1


# --- drawing ----------------------------------------------------------------------------


def flood_fill(grid: Cells, x: int, y: int, color: int, connectivity: int = 4) -> None:
    """Give the connected cells of one colour around (x, y) another colour, in place."""
    grid[_part(grid == grid[x, y], x, y, connectivity)] = color


def draw_line(
    grid: Cells,
    x: int,
    y: int,
    end_x: int | None = None,
    end_y: int | None = None,
    length: int | None = None,
    direction: Sequence[int] | None = None,
    color: int | None = None,
    stop_at_color: Collection[int] = (),
) -> Cells:
    """Draw a line in place: to (end_x, end_y), or in a direction for a length or to the border."""
    if end_x is not None and end_y is not None:
        length, direction = max(abs(end_x - x), abs(end_y - y)) + 1, (end_x - x, end_y - y)
    if direction is None:
        raise ValueError("draw_line: say where to: end_x and end_y, or a direction")
    dx, dy = np.sign(direction).tolist()
    for i in range(2 * max(grid.shape) if length is None else int(length)):
        place = int(x) + i * dx, int(y) + i * dy
        if all(0 <= at < side for at, side in zip(place, grid.shape, strict=True)):
            if grid[place] in stop_at_color:
                break
            grid[place] = color
    return grid


def blit(
    grid: Cells, sprite: Cells, x: int = 0, y: int = 0, background: int | None = None
) -> Cells:
    """Copy a sprite into the grid, in place; background and cells outside are left out."""
    for i, j in np.ndindex(*sprite.shape):
        inside = 0 <= x + i < grid.shape[0] and 0 <= y + j < grid.shape[1]
        if inside and (background is None or sprite[i, j] != background):
            grid[x + i, y + j] = sprite[i, j]
    return grid


def blit_object(grid: Cells, obj: Cells, background: int = 0) -> Cells:
    """Copy an object into the grid at the object's place, in place."""
    return blit(grid, obj, background=background)


def blit_sprite(grid: Cells, sprite: Cells, x: int, y: int, background: int = 0) -> Cells:
    """Copy a sprite into the grid at (x, y), in place."""
    return blit(grid, sprite, x, y, background)


def translate(obj: Cells, x: int, y: int, background: int = 0) -> Cells:
    """The object moved by (x, y)."""
    return blit(np.full_like(obj, background), obj, x, y)


def scale_sprite(sprite: Cells, factor: int) -> Cells:
    """The sprite with each cell as a square of `factor` by `factor` cells."""
    return np.kron(sprite, np.ones((factor, factor), dtype=sprite.dtype))


scale_pattern = scale_sprite


# --- two objects ------------------------------------------------------------------------


def contact(
    _: None = None,
    object1: Any = None,
    object2: Any = None,
    x1: int = 0,
    y1: int = 0,
    x2: int = 0,
    y2: int = 0,
    background: int = 0,
    connectivity: int = 4,
) -> bool:
    """True if two objects, at these places, share a cell or a border."""
    first = _cells_at(object1, x1, y1, background)
    second = _cells_at(object2, x2, y2, background)
    near = {(x + dx, y + dy) for x, y in first for dx, dy in [(0, 0), *_steps(connectivity)]}
    return bool(near & second)


def collision(
    _: None = None,
    object1: Any = None,
    object2: Any = None,
    x1: int = 0,
    y1: int = 0,
    x2: int = 0,
    y2: int = 0,
    background: int = 0,
) -> bool:
    """True if two objects, at these places, share a cell."""
    first = _cells_at(object1, x1, y1, background)
    second = _cells_at(object2, x2, y2, background)
    return bool(first & second)


def _cells_at(shown: Any, x: int, y: int, background: int) -> set[tuple[int, int]]:
    """The cells of an object whose corner is put at (x, y)."""
    return {(x + i, y + j) for i, j in np.argwhere(shown != background).tolist()}
