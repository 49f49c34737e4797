"""Frames: the input cells from which each output cell gets its features.

A frame turns a grid into a shape and a feature table (F, H * W) of the cells of the output.
An output cell gets the features of
- `same`: the cell in the same place;
- `meta`: the part that the cell lies in, as one cell of a grid of parts;
- `scale 3 3`: the cell that grows to a block of 3 x 3 cells;
- `tile 2 2`: the cell that is repeated there, in 2 x 2 copies of the grid;
- `overlay 1 2 0`: the cells in the same place of all parts, here 1 x 2 parts without a gap;
- `blocks 3 3 0`: a whole part, here one of 3 x 3 parts without a gap;
- `crop content`: the cell in the same place of a crop (see `features.crops`);
- `constant 3 3`: the cell in the same place, or the nearest cell if the input is smaller.

Factors may also be words such as `width`; parts may also be `lines` (parts between separator
lines) or `of 3 3 0` (parts of 3 x 3 cells). A rule learned over the features of a frame gives
outputs of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from solver.grid import MAX_SIDE, Grid, Task
from solver.synth.features.compute import features
from solver.synth.features.crops import crops
from solver.synth.features.layers import fill_layers
from solver.synth.features.neighbours import OUT
from solver.synth.features.table import FEATURES, INDEX, Features
from solver.synth.split import Split, equal_parts, separated_parts

Framed = tuple[tuple[int, int], Features]  # output shape, table (F, H * W)
_FIRST = INDEX["inner"]
_COLOR_ROWS = np.array([feature.color for feature in FEATURES])


def framed(grid: Grid, frame: str, background: str) -> Framed | None:
    """Shape and features of the output cells of a grid; None if the frame does not fit.

    Raises `ValueError` for a frame whose first word is not a frame of this module.
    """
    name, *words = frame.split()
    if name not in _FRAMES:
        raise ValueError(f"no frame {frame!r}")
    result = _FRAMES[name](grid, words, background)
    if result is None or not (1 <= result[0][0] <= MAX_SIDE and 1 <= result[0][1] <= MAX_SIDE):
        return None
    return result


def candidate_frames(task: Task) -> Iterator[str]:
    """Distinct frames with the right size for every demonstration that fit every test input."""
    seen: set[str] = set()
    for name in _propose(task):
        if name not in seen and _fits(task, name):
            yield name
        seen.add(name)


def _fits(task: Task, frame: str) -> bool:
    for pair in task.train:
        got = frame_shape(pair.input, frame)
        if got != pair.output.shape:
            return False
    return all(frame_shape(grid, frame) is not None for grid in task.tests)


def frame_shape(grid: Grid, frame: str) -> tuple[int, int] | None:
    """The shape of the output under a frame, without features; None if the frame does not fit."""
    h, w = grid.shape
    name, *words = frame.split()
    if name == "same" or (name == "meta" and separated_parts(grid) is not None):
        return grid.shape
    if name in ("scale", "tile"):
        factors = _factors(grid, words)
        shape = (h * factors[0], w * factors[1])
        return shape if max(shape) <= MAX_SIDE and min(factors) > 0 else None
    if name == "constant":
        return int(words[0]), int(words[1])
    if name in ("overlay", "blocks"):
        parts = _partition(grid, words)
        if parts is None:
            return None
        return parts.shape if name == "overlay" else parts.count
    if name == "crop":
        box = crops(grid).get(words[0])
        return None if box is None else (box[1] - box[0], box[3] - box[2])
    return None


def _propose(task: Task) -> Iterator[str]:
    grid, output = task.train[0].input, task.train[0].output
    (h, w), (a, b) = grid.shape, output.shape
    if (h, w) == (a, b):
        yield "same"
        yield "meta"
    if a % h == 0 and b % w == 0 and (a, b) != (h, w):
        yield f"scale {a // h} {b // w}"
        yield f"tile {a // h} {b // w}"
    for kind in ("height", "width", "colors", "filled"):
        yield f"scale {kind} {kind}"
        yield f"tile {kind} {kind}"
    yield "overlay lines"
    yield "blocks lines"
    for gap in (0, 1):
        if (h + gap) % (a + gap) == 0 and (w + gap) % (b + gap) == 0 and (a, b) != (h, w):
            yield f"overlay {(h + gap) // (a + gap)} {(w + gap) // (b + gap)} {gap}"
        if (h + gap) % a == 0 and (w + gap) % b == 0 and (a, b) != (h, w):
            yield f"blocks {a} {b} {gap}"
            p, q = (h + gap) // a - gap, (w + gap) // b - gap
            yield f"blocks of {p} {q} {gap}"
    for name in crops(grid):
        yield f"crop {name}"
    if (a, b) != (h, w):
        yield f"constant {a} {b}"


def _factors(grid: Grid, words: list[str]) -> tuple[int, int]:
    values = {
        "height": grid.shape[0],
        "width": grid.shape[1],
        "colors": int((np.bincount(grid.ravel(), minlength=10)[1:] > 0).sum()),
        "filled": int((grid != 0).sum()),
    }
    first, second = (values[word] if word in values else int(word) for word in words[:2])
    return first, second


def _partition(grid: Grid, words: list[str]) -> Split | None:
    if words[0] == "lines":
        return separated_parts(grid)
    if words[0] == "of":
        p, q, gap = (int(word) for word in words[1:])
        return equal_parts(grid, (grid.shape[0] + gap) // (p + gap),
                           (grid.shape[1] + gap) // (q + gap), gap)  # fmt: skip
    rows, columns, gap = (int(word) for word in words)
    return equal_parts(grid, rows, columns, gap)


def _same(grid: Grid, words: list[str], background: str) -> Framed:
    return grid.shape, features(grid, background)


def _constant(grid: Grid, words: list[str], background: str) -> Framed:
    shape = int(words[0]), int(words[1])
    rows = np.minimum(np.arange(shape[0]), grid.shape[0] - 1)
    columns = np.minimum(np.arange(shape[1]), grid.shape[1] - 1)
    table = _gather(features(grid, background), grid, rows, columns)
    _place(table, shape)
    return shape, table


def _scale(grid: Grid, words: list[str], background: str) -> Framed | None:
    p, q = _factors(grid, words)
    h, w = grid.shape
    shape = h * p, w * q
    if max(shape) > MAX_SIDE or min(shape) < 1:
        return None
    y, x = np.arange(shape[0]), np.arange(shape[1])
    table = _gather(features(grid, background), grid, y // p, x // q)
    inner = grid[y % p % h][:, x % q % w]
    _extra(table, inner, y % p, x % q, inner[::-1])
    return shape, table


def _tile(grid: Grid, words: list[str], background: str) -> Framed | None:
    p, q = _factors(grid, words)
    h, w = grid.shape
    shape = h * p, w * q
    if max(shape) > MAX_SIDE or min(shape) < 1:
        return None
    y, x = np.arange(shape[0]), np.arange(shape[1])
    table = _gather(features(grid, background), grid, y % h, x % w)
    swing_y = np.where(y // h % 2 == 1, h - 1 - y % h, y % h)
    swing_x = np.where(x // w % 2 == 1, w - 1 - x % w, x % w)
    outer = grid[y // p % h][:, x // q % w] if (p, q) != (h, w) else grid[y // h][:, x // w]
    _extra(table, outer, y // h, x // w, grid[swing_y][:, swing_x])
    return shape, table


def _overlay(grid: Grid, words: list[str], background: str) -> Framed | None:
    parts = _partition(grid, words)
    if parts is None:
        return None
    cells = parts.stack(grid)  # (n, h, w)
    table = features(cells[0], background)
    return parts.shape, fill_layers(table, cells)


def _blocks(grid: Grid, words: list[str], background: str) -> Framed | None:
    parts = _partition(grid, words)
    if parts is None:
        return None
    cells = parts.stack(grid)
    flat = cells.reshape(len(cells), -1)
    counts = np.array([(flat == c).sum(axis=1) for c in range(10)])  # (10, n)
    colored = counts.copy()
    colored[0] = 0
    filled = colored.sum(axis=0)
    color = np.where(filled > 0, colored.argmax(axis=0), 0).astype(np.uint8)
    table = features(color.reshape(parts.count), background)
    rare = np.where(colored > 0, colored, 1000).argmin(axis=0)
    same = (flat[:, None] == flat[None]).all(axis=2).sum(axis=1)
    rows = {
        "block_filled": filled,
        "block_colors": (colored > 0).sum(axis=0),
        "block_most": counts.argmax(axis=0),
        "block_rare": np.where(filled > 0, rare, OUT),
        "block_rank": (filled[None] > filled[:, None]).sum(axis=1),
        "block_rank_up": (filled[None] < filled[:, None]).sum(axis=1),
        "block_same": same,
        "block_corner": flat[:, 0],
        "block_center": cells[:, cells.shape[1] // 2, cells.shape[2] // 2],
    }
    for name, row in rows.items():
        table[INDEX[name]] = np.minimum(row, 255)
    for c in range(10):
        table[INDEX[f"block_count_{c}"]] = np.minimum(counts[c], 255)
    return parts.count, table


def _meta(grid: Grid, words: list[str], background: str) -> Framed | None:
    """Each cell gets the features of its part, as one cell of the grid of parts.

    `inner` is the colour of the cell itself. Features of the `part` family are computed for the
    cell in the whole grid.
    """
    parts, blocks = separated_parts(grid), _blocks(grid, ["lines"], background)
    if parts is None or blocks is None:
        return None
    h, w = parts.shape
    place = np.full(grid.shape, -1)
    for i, (y, x) in enumerate(parts.corners):
        place[y : y + h, x : x + w] = i
    table = features(grid, background)
    part = slice(INDEX["on_line"], _FIRST)
    own = table[INDEX["self"]].copy()
    ours = table[part].copy()
    known = place.ravel() >= 0
    table[:, known] = blocks[1][:, place.ravel()[known]]
    table[:, ~known] = np.where(_COLOR_ROWS, OUT, 255)[:, None]
    table[part] = ours
    table[_FIRST] = own
    return grid.shape, table


def _crop(grid: Grid, words: list[str], background: str) -> Framed | None:
    box = crops(grid).get(words[0])
    if box is None:
        return None
    top, bottom, left, right = box
    cells = grid[top:bottom, left:right]
    return cells.shape, features(cells, background)


def _gather(
    table: Features, grid: Grid, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Features:
    cube = table.reshape(len(table), *grid.shape)
    taken = cube[:, rows][:, :, columns]
    return np.ascontiguousarray(taken.reshape(len(table), -1))


def _extra(
    table: Features,
    other: NDArray[np.uint8],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    swing: NDArray[np.uint8],
) -> None:
    shape = other.shape
    table[_FIRST] = other.ravel()
    table[INDEX["swing"]] = swing.ravel()
    table[INDEX["copy_row"]] = np.broadcast_to(rows[:, None], shape).ravel()
    table[INDEX["copy_column"]] = np.broadcast_to(columns[None], shape).ravel()
    table[INDEX["copy_sum"]] = (rows[:, None] + columns[None]).ravel()
    table[INDEX["copy_sum_mod2"]] = table[INDEX["copy_sum"]] % 2
    table[INDEX["copy_difference"]] = np.abs(rows[:, None] - columns[None]).ravel()


def _place(table: Features, shape: tuple[int, int]) -> None:
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    for name, row in (
        ("row", y), ("column", x), ("row_end", shape[0] - 1 - y), ("column_end", shape[1] - 1 - x),
        ("sum_mod2", (y + x) % 2), ("difference", np.abs(y - x)), ("sum", y + x),
    ):  # fmt: skip
        table[INDEX[name]] = row


_FRAMES: dict[str, Callable[[Grid, list[str], str], Framed | None]] = {
    "same": _same,
    "meta": _meta,
    "constant": _constant,
    "scale": _scale,
    "tile": _tile,
    "overlay": _overlay,
    "blocks": _blocks,
    "crop": _crop,
}
