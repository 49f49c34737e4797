"""Outputs built from whole copies of the input.

Blocks: the output is a matrix of blocks, and each block is a turned copy of the input. The place
of a block, or an input cell (as in a Kronecker product), chooses the copy. Expansion: each input
cell becomes a small block that is learned for the cell's colour. Unfolding: the output joins the
input to mirror images that share an edge.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from solver.grid import COLORS, Grid, Task
from solver.synth.fit import Cells, fit
from solver.synth.program import Op, Solution, position
from solver.views import TURNS, turn

# --- matrices of copies ---------------------------------------------------------------


def content(grid: Grid, name: str) -> Cells | None:
    """The block of a name: a digit turns the grid by D8, and `own` is the grid itself.

    `blank` is all 0. `not` exchanges 0 with the grid's one other colour, and gives None if the
    grid does not have exactly one.
    """
    if name == "blank":
        return np.zeros_like(grid)
    if name == "not":
        shown = [c for c in np.unique(grid).tolist() if c != 0]
        return np.where(grid == 0, shown[0], 0).astype(np.uint8) if len(shown) == 1 else None
    if name == "own":
        return grid
    # A digit: in journals of versions before 0.3.
    return turn(grid, int(name) if name.isdigit() else TURNS.index(name))


def _factors(task: Task) -> tuple[int, int] | None:
    """The integer factors (down, across) from the input's size to the output's size.

    None if demonstrations differ in the factors, or if both factors are 1.
    """
    found = set()
    for pair in task.train:
        (h, w), (a, b) = pair.input.shape, pair.output.shape
        if a % h or b % w:
            return None
        found.add((a // h, b // w))
    only = found.pop()
    return only if not found and only != (1, 1) else None


def _blocks(task: Task) -> Iterator[Solution | None]:
    factors = _factors(task)
    if factors is None or factors[0] * factors[1] > 100:
        return
    rows = []
    for i in range(factors[0]):
        row = []
        for j in range(factors[1]):
            names = [name for name in (*TURNS, "blank", "not") if _is_block(task, i, j, name)]
            if not names:
                return
            row.append(names[0])
        rows.append(tuple(row))
    kinds = len({name for row in rows for name in row})
    cost = 4.0 + 3.0 * kinds + 0.5 * factors[0] * factors[1]
    yield fit(task, "blocks", blocks, (tuple(rows),), cost)


def _is_block(task: Task, i: int, j: int, name: str) -> bool:
    for pair in task.train:
        h, w = pair.input.shape
        made = content(pair.input, name)
        if made is None or not np.array_equal(
            made, pair.output[i * h : i * h + h, j * w : j * w + w]
        ):
            return False
    return True


def blocks(grid: Grid, layout: tuple[tuple[str, ...], ...]) -> Cells | None:
    """The matrix of the blocks that `layout` names (see `content`).

    None if a block does not exist or differs from the grid in shape.
    """
    rows = []
    for names in layout:
        row = [cells for name in names if (cells := content(grid, name)) is not None]
        if len(row) < len(names) or any(cells.shape != grid.shape for cells in row):
            return None
        rows.append(row)
    return np.block(rows)


_KEYS = ("filled", "blank", "most", "least", "most_filled", *map(str, range(COLORS)))


def _fractals(task: Task) -> Iterator[Solution | None]:
    square = all(
        pair.output.shape == (pair.input.shape[0] ** 2, pair.input.shape[1] ** 2)
        for pair in task.train
    )
    if not square:
        return
    for k, key in enumerate(_KEYS):
        for yes in (TURNS[0], "not", *TURNS[1:]):
            for no in ("blank", "color"):
                yield fit(task, "fractal", fractal, (key, yes, no), 6 + 0.5 * k + (yes != TURNS[0]))


def fractal(grid: Grid, key: str, yes: str, no: str) -> Cells | None:
    """The Kronecker product of a mask of the grid with the grid.

    A cell that meets the key becomes a copy of the grid (`yes`, see `content`). Another cell
    becomes blank (`no` is `blank`) or a block of its own colour (`no` is `color`). None for a
    grid of more than 30 cells, or if a copy does not exist or differs from the grid in shape.
    """
    counts = np.bincount(grid.ravel(), minlength=COLORS)
    order = [c for c in np.argsort(-counts, kind="stable").tolist() if counts[c]]
    filled = [c for c in order if c]
    wanted = {
        "filled": grid != 0,
        "blank": grid == 0,
        "most": grid == order[0],
        "least": grid == order[-1],
        "most_filled": grid == (filled[0] if filled else 0),
    }.get(key)
    mask = grid == int(key) if wanted is None else wanted
    block = content(grid, yes)
    if block is None or block.shape != grid.shape or grid.size > 30:
        return None
    chosen = np.kron(mask.astype(np.uint8), block)
    rest = np.kron(np.where(mask, 0, grid if no == "color" else 0), np.ones_like(grid))
    return np.asarray(chosen + rest, dtype=np.uint8)


# --- cells that become blocks ---------------------------------------------------------


def _expansions(task: Task) -> Iterator[Solution | None]:
    factors = _factors(task)
    if factors is None:
        return
    a, b = factors
    table: dict[int, NDArray[np.int64]] = {}
    for own in (True, False):
        table.clear()
        clash = False
        for pair in task.train:
            for (r, c), color in np.ndenumerate(pair.input):
                block = pair.output[r * a : r * a + a, c * b : c * b + b].astype(np.int64)
                block = np.where(block == color, 10, block) if own and color else block
                slot = 1 if own and color else int(color)
                clash = clash or not np.array_equal(table.setdefault(slot, block), block)
        if clash:
            continue
        rows = tuple((slot, tuple(map(tuple, block.tolist()))) for slot, block in table.items())
        if 2 * len(rows) <= sum(len(np.unique(pair.input)) for pair in task.train):
            yield fit(task, "expand", expand, (_BLOCKS[own], rows), 6 + 0.7 * a * b * len(rows))


_BLOCKS = ("by color", "own color")


def expand(
    grid: Grid, kind: str | int, table: tuple[tuple[int, tuple[tuple[int, ...], ...]], ...]
) -> Cells | None:
    """The grid with each cell replaced by the block of the cell's colour.

    `kind` is `by color`, or `own color`: then one block serves all colours except 0. In a block,
    10 stands for the cell's colour. None if a colour has no block, or if the blocks differ in
    shape.
    """
    own = position(_BLOCKS, kind) == 1
    known = {slot: np.array(block) for slot, block in table}
    if len({block.shape for block in known.values()}) != 1:
        return None
    rows = []
    for line in grid.tolist():
        row = []
        for color in line:
            block = known.get(min(color, 1) if own else color)
            if block is None:
                return None
            row.append(np.where(block == 10, color, block))
        rows.append(row)
    return np.block(rows).astype(np.uint8)


def _mirrors(task: Task) -> Iterator[Solution | None]:
    for rows in _UNFOLDED:
        for columns in _UNFOLDED:
            if rows == columns == "same":
                continue
            yield fit(task, "unfold", unfold, (rows, columns), 6.0)


_UNFOLDED = {"before": -1, "same": 0, "after": 1, "twice": 2}


def unfold(grid: Grid, rows: str | int, columns: str | int) -> Cells:
    """The grid joined to mirror images that share its edges, by `rows` and by `columns`.

    `after` adds the image below (right), `before` adds the image above (left), and `same` adds
    nothing. `twice` adds the image and then the original once more. Journals of versions before
    0.3 have numbers for these words.
    """
    out = np.asarray(grid)
    for axis, word in ((0, rows), (1, columns)):
        how = word if isinstance(word, int) else _UNFOLDED[word]
        flipped = np.flip(out, axis)
        tail = np.delete(flipped, 0, axis)
        head = np.delete(flipped, -1, axis)
        if how == 1:
            out = np.concatenate([out, tail], axis)
        elif how == -1:
            out = np.concatenate([head, out], axis)
        elif how == 2:
            out = np.concatenate([out, tail, np.delete(out, 0, axis)], axis)
    return out


STAGES = (_blocks, _fractals, _expansions, _mirrors)

OPS = {
    "blocks": Op(blocks, "a matrix of turned copies of the grid"),
    "fractal": Op(fractal, "each cell becomes a copy of the whole grid or a plain block"),
    "expand": Op(expand, "each cell becomes a block learned for its colour"),
    "unfold": Op(unfold, "the grid mirrored at a shared edge"),
}
