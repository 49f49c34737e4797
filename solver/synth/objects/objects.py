"""Objects: cutting a grid into objects, and the table of the objects' properties.

`segment` cuts a grid in one of the `MODES` or `PART_MODES`, and returns a `Scene`. A scene
contains labels (and masks) of the objects, and an integer matrix of their properties. The matrix
has one row for each object and one column for each name in `FEATURES`. All learners of rules over
objects read this matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.grid import COLORS, Grid, freeze, key
from solver.synth.objects.kernels import flood, measure
from solver.synth.split import WAYS, split

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAX_OBJECTS = 180  # a grid with more objects gives no scene
MAX_CELLS = 100_000  # a grid whose (n, H, W) masks would be larger gives no scene

MODES = {
    "one color, 8 ways": "components of one colour, 8 neighbours",
    "one color, 4 ways": "components of one colour, 4 neighbours",
    "mixed, 8 ways": "components of any colours but the background, 8 neighbours",
    "mixed, 4 ways": "components of any colours but the background, 4 neighbours",
    "colors": "all cells of a colour",
    "regions": "components of one colour, the background's too, 4 neighbours",
    "ground": "components of the background, 4 neighbours",
    "cells": "single cells that are not background",
    "ink": "all cells that are not background, as one object",
}
OBJECT_MODES = tuple(mode for mode in MODES if mode != "cells")
PART_MODES = tuple(f"parts {way}" for way in WAYS)  # rectangular parts, see `split`
# The names of the same modes in journals of versions before 0.3.
_OLD_MODES = dict(zip(("8", "4", "m8", "m4", "c", "a4", "h4", "px", "ink"), MODES, strict=True)) | {
    f"p {way}": mode for way, mode in zip(WAYS, PART_MODES, strict=True)
}

# The columns that the kernel `measure` fills, then the columns that `_relations` fills.
_KERNEL = (
    "color", "area", "height", "width", "top", "left", "bottom", "right", "colors", "holes",
    "hole_area", "sym_lr", "sym_ud", "sym_diag", "borders", "full", "minor", "minor_area",
    "shape", "shape_d8", "look", "edges",
)  # fmt: skip
_RELATIONS = (
    "longest", "shortest", "box", "square", "line", "wide", "same_shape", "same_d8",
    "same_look", "same_color", "same_area", "color_cells", "contains", "inside", "touching",
    "touch_color", "inner_color", "mid_row", "mid_col", "missing", "sym_any", "same_row",
    "same_col", "count", "ink", "pieces", "full_square", "odd", "diagonal", "anti", "order",
    "kinds", "central", "tips", "turns",
)  # fmt: skip
FEATURES = _KERNEL + _RELATIONS
COLUMN = {name: i for i, name in enumerate(FEATURES)}
# Features whose values have no order: tests only compare for equality.
NOMINAL = frozenset({"color", "minor", "shape", "shape_d8", "look", "touch_color", "inner_color"})


@dataclass(frozen=True, eq=False)
class Scene:
    """A grid cut into n objects.

    `labels` (H, W): 1..n in the cells of objects, 0 elsewhere. `features`: (n, len(FEATURES)).
    """

    grid: Grid
    background: int
    mode: str
    labels: NDArray[np.int16]
    n: int
    features: Ints
    memo: dict[str, Any] = field(default_factory=dict)  # results derived from the scene, by name

    @cached_property
    def masks(self) -> Mask:
        """(n, H, W): the cells of every object."""
        numbers = np.arange(1, self.n + 1, dtype=np.int16)
        return np.asarray(self.labels[None] == numbers[:, None, None])

    def column(self, name: str) -> Ints:
        """(n,): one property of all objects."""
        return self.features[:, COLUMN[name]]

    def box(self, i: int) -> tuple[int, int, int, int]:
        """Bounding box of object i: top, left, bottom, right; bottom and right are exclusive."""
        top, left = int(self.features[i, 4]), int(self.features[i, 5])
        return top, left, top + int(self.features[i, 2]), left + int(self.features[i, 3])

    def crop(self, i: int) -> Grid:
        """The grid's cells in the bounding box of object i."""
        top, left, bottom, right = self.box(i)
        return self.grid[top:bottom, left:right]

    def alone(self, i: int) -> Grid:
        """The crop of object i, with background in all cells outside the object."""
        top, left, bottom, right = self.box(i)
        inside = self.labels[top:bottom, left:right] == i + 1
        return np.where(inside, self.grid[top:bottom, left:right], self.background).astype(np.uint8)


def prepare() -> None:
    """Compile the kernels of this module, or load them from the cache."""
    segment(freeze(np.eye(3, dtype=np.uint8)), "one color, 8 ways")


def background(grid: Grid, how: str) -> int:
    """The background colour: `0`, or the `most` common colour (the smallest among equals)."""
    return 0 if how == "0" else int(np.bincount(grid.ravel(), minlength=COLORS).argmax())


_KEPT_SCENES = 12
_scenes: dict[tuple[bytes, str, str], Scene | None] = {}


def segment(grid: Grid, mode: str, how: str = "0") -> Scene | None:
    """Cut a grid into objects; None if there are too many (`MAX_OBJECTS`, `MAX_CELLS`).

    `how` names the background. The latest `_KEPT_SCENES` scenes are kept, so a learner and the
    programs that the learner tries share the regions of a scene.
    """
    if grid.flags.writeable or not grid.flags.c_contiguous:
        grid = freeze(grid)  # kernels are compiled for frozen grids only
    mode = _OLD_MODES.get(mode, mode)
    slot = (key(grid), mode, how)
    if slot not in _scenes:
        if len(_scenes) >= _KEPT_SCENES:
            del _scenes[next(iter(_scenes))]
        _scenes[slot] = _segment(grid, mode, how)
    return _scenes[slot]


def _segment(grid: Grid, mode: str, how: str) -> Scene | None:
    ground = background(grid, how)
    labels, n = label(grid, ground, mode)
    if n > MAX_OBJECTS or n * grid.size > MAX_CELLS:
        return None
    features = np.zeros((n, len(FEATURES)), dtype=np.int64)
    if n:
        measure(grid, labels, n, ground, features)
        _relations(grid, labels, ground, features)
    return Scene(grid, ground, mode, labels, n, features, {"how": how})


def label(grid: Grid, ground: int, mode: str) -> tuple[NDArray[np.int16], int]:
    """(H, W) labels 1..n, 0 for no object; and n.

    Labels follow the reading order of the objects' first cells; mode `colors` orders by colour.
    """
    if mode in PART_MODES:
        return _label_parts(grid, ground, mode.removeprefix("parts "))
    if mode == "ink":
        ink = np.asarray(grid != ground, dtype=np.int16)
        return ink, int(ink.max())
    if mode == "cells":
        return _label_cells(grid, ground)
    if mode == "colors":
        return _label_colors(grid, ground)
    if mode == "ground":
        return _flood(freeze((grid == ground).astype(np.uint8)), 0, False, True)
    if mode == "regions":
        return _flood(grid, 255, False, True)
    return _flood(grid, ground, mode.endswith("8 ways"), mode.startswith("one color"))


def _flood(grid: Grid, ground: int, diagonal: bool, mono: bool) -> tuple[NDArray[np.int16], int]:
    labels, n = flood(grid, ground, diagonal, mono)
    return labels, int(n)


def _label_parts(grid: Grid, ground: int, way: str) -> tuple[NDArray[np.int16], int]:
    labels = np.zeros(grid.shape, dtype=np.int16)
    cut = split(grid, way, ground)
    if cut is None:
        return labels, 0
    k = 0
    for a, b in cut.rows:
        for c, d in cut.columns:
            k += 1
            labels[a:b, c:d] = k
    return labels, k


def _label_cells(grid: Grid, ground: int) -> tuple[NDArray[np.int16], int]:
    labels = np.zeros(grid.shape, dtype=np.int16)
    cells = grid != ground
    n = int(cells.sum())
    labels[cells] = np.arange(1, n + 1)
    return labels, n


def _label_colors(grid: Grid, ground: int) -> tuple[NDArray[np.int16], int]:
    ids = np.zeros(COLORS, dtype=np.int16)
    shown = [c for c in np.unique(grid).tolist() if c != ground]
    ids[shown] = np.arange(1, len(shown) + 1)
    return ids[grid], len(shown)


def _relations(grid: Grid, labels: NDArray[np.int16], ground: int, out: Ints) -> None:
    """Fill the columns of `_RELATIONS` from the grid, the labels and the kernel's columns."""
    _fill_form(out)
    _fill_alike(grid, out)
    _fill_neighbours(labels, out)
    _fill_place(grid, out)
    _fill_contents(grid, ground, out)
    _fill_path(labels, out)


def _fill_form(out: Ints) -> None:
    """Fill the properties of the bounding box, and of the object's share of the box."""
    put = COLUMN
    area, height, width = (out[:, k] for k in range(1, 4))
    out[:, put["longest"]] = np.maximum(height, width)
    out[:, put["shortest"]] = np.minimum(height, width)
    out[:, put["box"]] = height * width
    out[:, put["square"]] = height == width
    out[:, put["line"]] = (np.minimum(height, width) == 1) & (area > 1)
    out[:, put["wide"]] = np.sign(width - height)
    out[:, put["missing"]] = height * width - area
    out[:, put["sym_any"]] = (out[:, 11:14] > 0).any(1)
    out[:, put["full_square"]] = (height == width) & (area == height * width)
    out[:, put["odd"]] = np.maximum(height, width) % 2


def _fill_alike(grid: Grid, out: Ints) -> None:
    """Fill the numbers of objects that share a property, and of grid cells of the colour."""
    put = COLUMN
    for name, source in (
        ("same_shape", "shape"), ("same_d8", "shape_d8"), ("same_look", "look"),
        ("same_color", "color"), ("same_area", "area"),
        ("same_row", "top"), ("same_col", "left"),
    ):  # fmt: skip
        values = out[:, put[source]]
        out[:, put[name]] = (values[:, None] == values[None]).sum(1)
    out[:, put["color_cells"]] = np.bincount(grid.ravel(), minlength=COLORS)[out[:, put["color"]]]


def _fill_neighbours(labels: NDArray[np.int16], out: Ints) -> None:
    """Fill the relations to other objects: containing, lying inside and touching."""
    n, put = len(out), COLUMN
    color, _, height, width, top, left = (out[:, k] for k in range(6))
    bottom, right = top + height, left + width
    within = (
        (top[:, None] <= top[None]) & (left[:, None] <= left[None])
        & (bottom[:, None] >= bottom[None]) & (right[:, None] >= right[None])
    )  # fmt: skip
    touch = _touch(labels, n)
    out[:, put["contains"]] = within.sum(1) - 1
    out[:, put["inside"]] = within.sum(0) - 1
    out[:, put["touching"]] = touch.sum(1)
    out[:, put["touch_color"]] = _only(touch, color)
    out[:, put["inner_color"]] = _only(within & ~np.eye(n, dtype=bool), color)


def _fill_place(grid: Grid, out: Ints) -> None:
    """Fill the object's place in the grid, and the place in the order of labels."""
    put = COLUMN
    height, width, top, left = (out[:, k] for k in range(2, 6))
    out[:, put["mid_row"]] = np.abs(2 * top + height - grid.shape[0])
    out[:, put["mid_col"]] = np.abs(2 * left + width - grid.shape[1])
    out[:, put["central"]] = out[:, put["mid_row"]] + out[:, put["mid_col"]]
    out[:, put["diagonal"]] = 2 * (top + left) + height + width
    out[:, put["anti"]] = 2 * (top - left) + height - width
    out[:, put["order"]] = np.arange(len(out))


def _fill_path(labels: NDArray[np.int16], out: Ints) -> None:
    """Fill the numbers of cells at which an object ends, and at which an object turns."""
    put, n = COLUMN, len(out)
    padded = np.pad(labels, 1, constant_values=-1)
    middle = padded[1:-1, 1:-1]
    down = [padded[:-2, 1:-1] == middle, padded[2:, 1:-1] == middle]
    across = [padded[1:-1, :-2] == middle, padded[1:-1, 2:] == middle]
    near = sum(side.astype(np.int64) for side in (*down, *across))
    turns = (down[0] | down[1]) & (across[0] | across[1])
    for name, cells in (("tips", near == 1), ("turns", turns)):
        out[:, put[name]] = np.bincount(labels[cells], minlength=n + 1)[1 : n + 1]


def _fill_contents(grid: Grid, ground: int, out: Ints) -> None:
    """Fill the contents of the bounding box, and the properties of the whole grid."""
    n, put = len(out), COLUMN
    out[:, put["count"]] = n
    out[:, put["kinds"]] = len(np.unique(grid))
    height, width, top, left = (out[:, k] for k in range(2, 6))
    ink = grid != ground
    pieces, _ = _flood(grid, ground, True, True)
    for i in range(n):
        box = slice(top[i], top[i] + height[i]), slice(left[i], left[i] + width[i])
        out[i, put["ink"]] = ink[box].sum()
        out[i, put["pieces"]] = len(np.unique(pieces[box][ink[box]]))


def _touch(labels: NDArray[np.int16], n: int) -> Mask:
    """(n, n): True where two different objects have 8-neighbouring cells."""
    touch = np.zeros((n + 1, n + 1), dtype=bool)
    for a, b in (
        (labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]),
        (labels[1:, 1:], labels[:-1, :-1]), (labels[1:, :-1], labels[:-1, 1:]),
    ):  # fmt: skip
        touch[a, b] = True
    touch |= touch.T
    np.fill_diagonal(touch, False)
    return touch[1:, 1:]


def _only(relation: Mask, color: Ints) -> Ints:
    """(n,): the colour that all related objects (True in `relation` (n, n)) share, else -1."""
    high = np.where(relation, color[None], -1).max(1, initial=-1)
    low = np.where(relation, color[None], COLORS).min(1, initial=COLORS)
    return np.where(high == low, high, -1)
