"""Outputs built from parts of the input, or from whole copies of the input.

Combination: the input is cut into equal parts. A learned table, a priority or a vote turns the
parts' cells into the output's cells. Product: one of two parts is drawn in the filled cells of
the other part. Blocks, expansion and unfolding: see `blocks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from solver.deadline import Deadline
from solver.grid import COLORS, Grid, Task
from solver.synth.fit import Cells, distinct, fit, until
from solver.synth.objects.objects import background, segment
from solver.synth.patterns.blocks import OPS as BLOCK_OPS
from solver.synth.patterns.blocks import STAGES
from solver.synth.program import Op, Solution
from solver.synth.split import WAYS, Split, split


def search(task: Task, deadline: Deadline) -> Iterator[Solution | None]:
    """Programs over parts and copies that reproduce every demonstration."""
    for stage in (_combinations, _products, _tints, *STAGES):
        if deadline.passed():
            return
        yield from distinct(until(stage(task), deadline), 3)
        yield None


# --- combining parts ------------------------------------------------------------------


def _parts(grid: Grid, way: str, how: str) -> tuple[NDArray[np.uint8], int] | None:
    """(k, h, w) stack of the parts, and the background colour.

    None if the parts differ in shape, or if there are more than 16.
    """
    ground = background(grid, how)
    cut = split(grid, way, ground)
    if cut is None or not cut.even or cut.n > 16:
        return None
    return np.stack(cut.parts(grid)), ground


def _combinations(task: Task) -> Iterator[Solution | None]:
    for k, way in enumerate(WAYS):
        stacks = [_parts(pair.input, way, "0") for pair in task.train]
        found = [entry for entry in stacks if entry is not None]
        if len(found) < len(stacks) or len({len(parts) for parts, _ in found}) > 1:
            continue
        if any(parts.shape[1:] != pair.output.shape
               for (parts, _), pair in zip(found, task.train, strict=True)):  # fmt: skip
            continue
        n = len(found[0][0])
        if n <= 4:
            for order in permutations(range(n)):
                yield fit(task, "overlay", overlay, (way, order), 0.5 * k + 6)
        elif n <= 9:
            for order in (tuple(range(n)), tuple(range(n))[::-1]):
                yield fit(task, "overlay", overlay, (way, order), 0.5 * k + 6)
        yield _table(task, way, [parts for parts, _ in found], 0.5 * k)
        yield _mask_table(task, way, [parts for parts, _ in found], 0.5 * k)
        if n in (2, 4):
            for order in permutations(range(n)):
                yield fit(task, "fold", fold, (way, order), 0.5 * k + 8)
        for rule in ("most", "least", "odd", "any"):
            yield fit(task, "vote", vote, (way, rule), 0.5 * k + 6)


def overlay(grid: Grid, way: str, order: tuple[int, ...]) -> Cells | None:
    """Equal parts laid over one another; the first of `order` is on top, 0 is transparent."""
    found = _parts(grid, way, "0")
    if found is None or len(found[0]) != len(order):
        return None
    out = np.zeros(found[0].shape[1:], dtype=np.uint8)
    for k in reversed(order):
        out = np.where(found[0][k] != 0, found[0][k], out)
    return out


def fold(grid: Grid, way: str, order: tuple[int, ...]) -> Cells | None:
    """Equal parts folded onto the first part like a sheet of paper, in the order of `overlay`.

    So parts in every second row or column of parts are mirrored.
    """
    cut = split(grid, way, 0)
    if cut is None or not cut.even or cut.n != len(order):
        return None
    parts = cut.parts(grid)
    columns = len(cut.columns)
    out = np.zeros_like(parts[0])
    for k in reversed(order):
        part = parts[k][::-1] if k // columns % 2 else parts[k]
        part = part[:, ::-1] if k % columns % 2 else part
        out = np.where(part != 0, part, out)
    return out


def vote(grid: Grid, way: str, rule: str) -> Cells | None:
    """Equal parts merged by a rule, or None.

    `most` and `least` take, cell by cell, the most or least common colour of the parts. `any`
    takes the highest colour. `odd` takes the only part that differs from all others.
    """
    found = _parts(grid, way, "0")
    if found is None:
        return None
    parts = found[0]
    if rule == "odd":  # the part that differs from all others
        same = (parts[:, None] == parts[None]).all((2, 3)).sum(1)
        return parts[same.argmin()] if (same == same.min()).sum() == 1 else None
    if rule == "any":
        return np.asarray(parts.max(0), dtype=np.uint8)
    counts = (parts[None] == np.arange(COLORS)[:, None, None, None]).sum(1)
    if rule == "least":
        counts = np.where(counts == 0, 99, counts)
        return np.asarray(counts.argmin(0), dtype=np.uint8)
    return np.asarray(counts.argmax(0), dtype=np.uint8)


def _codes(parts: NDArray[np.uint8]) -> NDArray[np.int64]:
    powers = COLORS ** np.arange(len(parts), dtype=np.int64)
    return np.tensordot(powers, parts.astype(np.int64), axes=1)


def _table(task: Task, way: str, stacks: list[NDArray[np.uint8]], base: float) -> Solution | None:
    if len(stacks[0]) > 6:
        return None
    rows: dict[tuple[int, ...], int] = {}
    for parts, pair in zip(stacks, task.train, strict=True):
        flat = parts.reshape(len(parts), -1).T
        for entry, color in zip(map(tuple, flat.tolist()), pair.output.ravel().tolist(),
                                strict=True):  # fmt: skip
            if rows.setdefault(entry, color) != color:
                return None
    if 2 * len(rows) > sum(pair.output.size for pair in task.train):
        return None
    table = tuple(sorted((entry, color) for entry, color in rows.items()))
    return fit(task, "combine", combine, (way, table), base + 6 + 2.0 * len(rows))


def combine(grid: Grid, way: str, table: tuple[tuple[tuple[int, ...], int], ...]) -> Cells | None:
    """Equal parts combined cell by cell by a table: colours in the parts -> output colour.

    None if the table lacks the colours of a cell.
    """
    found = _parts(grid, way, "0")
    if found is None or any(len(entry) != len(found[0]) for entry, _ in table):
        return None
    codes = _codes(found[0])
    out = np.full(codes.shape, 255, dtype=np.uint8)
    for entry, color in table:
        out[codes == sum(c * COLORS**k for k, c in enumerate(entry))] = color
    return None if (out == 255).any() else out


def _mask_table(
    task: Task, way: str, stacks: list[NDArray[np.uint8]], base: float
) -> Solution | None:
    """Solution by a table over the sets of filled parts; an entry may name a part's colour."""
    n = len(stacks[0])
    if n > 4:
        return None
    options: dict[int, set[int]] = {}
    for parts, pair in zip(stacks, task.train, strict=True):
        code = np.tensordot(2 ** np.arange(n), (parts != 0).astype(np.int64), axes=1)
        for value in np.unique(code).tolist():
            here = code == value
            fits = {c for c in range(COLORS) if (pair.output[here] == c).all()}
            fits |= {10 + k for k in range(n) if (pair.output[here] == parts[k][here]).all()}
            options[value] = options.get(value, fits) & fits
    if not all(options.values()):
        return None
    table = tuple((value, max(fits)) for value, fits in sorted(options.items()))
    return fit(task, "combine_masks", combine_masks, (way, table), base + 8 + 2.0 * len(table))


def combine_masks(grid: Grid, way: str, table: tuple[tuple[int, int], ...]) -> Cells | None:
    """Equal parts combined cell by cell by a table over the sets of parts that are not 0.

    Bit k of a key stands for part k. The table gives a colour, or 10 + k for the colour of part
    k. None if the table lacks the key of a cell.
    """
    found = _parts(grid, way, "0")
    if found is None:
        return None
    parts = found[0]
    code = np.tensordot(2 ** np.arange(len(parts)), (parts != 0).astype(np.int64), axes=1)
    out = np.full(code.shape, 255, dtype=np.uint8)
    for value, color in table:
        if color - 10 >= len(parts):
            return None
        out = np.where(code == value, parts[color - 10] if color >= 10 else color, out)
    return None if (out == 255).any() else out.astype(np.uint8)


def _products(task: Task) -> Iterator[Solution | None]:
    for k, way in enumerate(WAYS):
        cut = split(task.train[0].input, way, 0)
        if cut is None or cut.n != 2:
            continue
        for first in (0, 1, "more colors"):
            for colors in ("mask", "block"):
                args = (way, first, colors)
                yield fit(task, "product", product, args, 0.5 * k + 7)


def product(grid: Grid, way: str, first: int | str, colors: str) -> Cells | None:
    """The Kronecker product of two parts: a part is drawn in each filled cell of the other.

    `first` is the index (0 or 1) of the part with the filled cells, or names the part with `more
    colors`. The colours are those of the drawn part (`block`) or of the filled cell (`mask`). None
    if a side would exceed 30 cells.
    """
    cut = split(grid, way, 0)
    if cut is None or cut.n != 2:
        return None
    parts = cut.parts(grid)
    if first == "more colors":
        first = int(np.argmax([len(np.unique(part)) for part in parts]))
    mask, block = parts[int(first)], parts[1 - int(first)]
    if mask.shape[0] * block.shape[0] > 30 or mask.shape[1] * block.shape[1] > 30:
        return None
    if colors == "mask":
        return np.kron(mask, (block != 0).astype(np.uint8)).astype(np.uint8)
    return np.kron((mask != 0).astype(np.uint8), block).astype(np.uint8)


_KEYS = ("smallest part", "corner parts", "colorful object")


def _tints(task: Task) -> Iterator[Solution | None]:
    if any(pair.output.size >= pair.input.size for pair in task.train):
        return
    for how in ("0", "most"):
        for key in _KEYS:
            for cells in ("largest", "smallest"):
                yield fit(task, "tint", tint, (how, key, cells), 8.0)


def tint(grid: Grid, how: str, key: str, size: str) -> Cells | None:
    """The largest part between lines, in which each filled cell takes the colour of a key.

    The key is the `smallest part`, or the small grid of all `corner parts`. Or the key is the
    `colorful object`, and the part is the largest other object. The `largest` part keeps its
    size, and the key is scaled up; or both get the `smallest` size. None if one size is no
    multiple of the other, or if a filled block has blank cells.
    """
    ground = background(grid, how)
    found = _colorful(grid, how) if key == "colorful object" else _keyed(grid, ground, key)
    if found is None:
        return None
    large, small = found
    (h, w), (a, b) = large.shape, small.shape
    if h % a or w % b:
        return None
    if size == "largest":
        tints = np.kron(small, np.ones((h // a, w // b), np.uint8))
        return np.where(large != ground, tints, ground).astype(np.uint8)
    filled = (large != ground).reshape(a, h // a, b, w // b)
    if (filled.any((1, 3)) != filled.all((1, 3))).any():
        return None
    return np.where(filled.all((1, 3)), small, ground).astype(np.uint8)


def _keyed(grid: Grid, ground: int, key: str) -> tuple[Cells, Cells] | None:
    """The largest part between lines, and the key among the parts."""
    cut = split(grid, "sep", ground)
    if cut is None:
        return None
    parts = cut.parts(grid)
    large = max(parts, key=lambda part: part.size)
    rows, columns = cut.count
    if key == "smallest part":
        return large, min(parts, key=lambda part: part.size)
    if min(rows, columns) < 3 or len({parts[k].shape for k in _corners(cut)}) > 1:
        return None
    first, second, third, last = (parts[k] for k in _corners(cut))
    return large, np.block([[first, second], [third, last]])


def _colorful(grid: Grid, how: str) -> tuple[Cells, Cells] | None:
    """The largest object without the object of most colours, and this object."""
    scene = segment(grid, "mixed, 8 ways", how)
    if scene is None or scene.n < 2:
        return None
    key = int(scene.column("colors").argmax())
    area = scene.column("area").copy()
    area[key] = 0
    return scene.alone(int(area.argmax())), scene.crop(key)


def _corners(cut: Split) -> tuple[int, int, int, int]:
    """The indices of the parts in the corners of a table of parts."""
    return 0, len(cut.columns) - 1, cut.n - len(cut.columns), cut.n - 1


OPS = {
    **BLOCK_OPS,
    "tint": Op(tint, "the largest part in the colours of a small one"),
    "overlay": Op(overlay, "equal parts laid over one another in an order"),
    "fold": Op(fold, "equal parts folded onto one another"),
    "product": Op(product, "one part drawn wherever the other part is filled"),
    "vote": Op(vote, "equal parts merged by the most or least common colour, or the odd part"),
    "combine": Op(combine, "equal parts combined cell by cell by a table of colours"),
    "combine_masks": Op(combine_masks, "equal parts combined by which of them are blank"),
}
