"""Objects that move by other cells: to a goal, about a mirror, into a hole, into line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solver.synth.jit import kernel
from solver.synth.objects.objects import Ints, Scene, segment
from solver.synth.objects.rays import straight

INKS = ("own", "goal")
RESTS = ("stay", "vanish")


def slid(scene: Scene, goals: Ints, ink: str, rest: str) -> NDArray[np.int8]:
    """(n, H, W): each object where its way to its goal ends, -1 elsewhere.

    goals: the index of each object's goal (n,); an object that is its own goal does not move.
    ink: the object's `own` colours, or the colour of its `goal`.
    rest: what an object does that has no goal (-1), or no straight way: `stay` or `vanish`.
    An object stops at cells of its goal, and at cells of objects that came there before.
    """
    out = np.full((scene.n, *scene.grid.shape), -1, dtype=np.int8)
    boxes = np.ascontiguousarray(scene.features[:, [4, 5, 2, 3]])
    order = np.argsort(_apart(boxes, boxes[goals]), kind="stable")
    colors = scene.column("color")
    inks = np.where(goals >= 0, colors[goals], -1) if ink == "goal" else np.full(scene.n, -1)
    _slide(scene.grid, scene.labels, boxes, goals, order, inks, rest == "stay", out)
    return out


def goals_of(scene: Scene, ref: str) -> Ints:
    """(n,): the goal of each object; -1 for none.

    `ref` is a colour: the goal is the largest object of this colour. Or `ref` is `own`: the goal
    is the largest object of the object's own colour, if this object has more than one cell.
    """
    color, area = scene.column("color"), scene.column("area")
    found = np.full(scene.n, -1, dtype=np.int64)
    for c in np.unique(color).tolist():
        largest = int(np.where(color == c, area, -1).argmax())
        if ref == "own" and area[largest] > 1:
            found[color == c] = largest
        elif ref == str(c):
            found[:] = largest
    return found


def _apart(boxes: Ints, others: Ints) -> Ints:
    """(n,): the cells between boxes and other boxes, along the longer way."""
    start = np.maximum(boxes[..., :2], others[..., :2])
    end = np.minimum(boxes[..., :2] + boxes[..., 2:], others[..., :2] + others[..., 2:])
    gaps: Ints = (start - end).max(-1)
    return gaps


@kernel
def _slide(grid, labels, boxes, goals, order, inks, stay, out):
    h, w = grid.shape
    solid = np.full((h, w), -1, np.int64)  # the goal at which a cell stops objects
    for i in range(len(goals)):
        if goals[i] >= 0:
            for r in range(h):
                for c in range(w):
                    if labels[r, c] == goals[i] + 1:
                        solid[r, c] = goals[i]
    for i in order:
        goal = goals[i]
        dr, dc, steps = 0, 0, 0
        if goal >= 0 and goal != i:
            dr, dc = straight(boxes[i], boxes[goal])
            steps = _steps(labels, solid, boxes[i], i, goal, dr, dc)
        lost = goal < 0 or (goal != i and ((dr == 0 and dc == 0) or steps < 0))
        if lost and not stay:
            continue
        if lost:
            steps = 0
        top, left, a, b = boxes[i]
        for r in range(top, top + a):
            for c in range(left, left + b):
                if labels[r, c] == i + 1:
                    y, x = r + steps * dr, c + steps * dc
                    out[i, y, x] = grid[r, c] if inks[i] < 0 or goal == i else inks[i]
                    if not lost:
                        solid[y, x] = goal


@kernel
def _steps(labels, solid, box, i, goal, dr, dc):
    # Steps until the next step would lie on a cell of the goal; -1 if the border comes first.
    h, w = labels.shape
    top, left, a, b = box
    if dr == 0 and dc == 0:
        return 0
    for steps in range(1, h + w):
        for r in range(top, top + a):
            for c in range(left, left + b):
                if labels[r, c] != i + 1:
                    continue
                y, x = r + steps * dr, c + steps * dc
                if not (0 <= y < h and 0 <= x < w):
                    return -1
                if solid[y, x] == goal:
                    return steps - 1
    return -1


def reflected(scene: Scene, ref: str) -> NDArray[np.int8]:
    """(n, H, W): each object mirrored about the nearest object of a colour, -1 elsewhere.

    `ref` is the colour. The axis is the row (column) with most cells of the nearest object. Objects
    of this colour stay in their places. So do objects without such an object straight above,
    below or beside them.
    """
    out = np.where(scene.masks, scene.grid.astype(np.int8)[None], np.int8(-1))
    color = scene.column("color")
    mirrors = np.flatnonzero(color == int(ref))
    boxes = np.ascontiguousarray(scene.features[:, [4, 5, 2, 3]])
    for i in np.flatnonzero(color != int(ref)) if len(mirrors) else ():
        mirror = mirrors[_apart(boxes[i], boxes[mirrors]).argmin()]
        down, right = straight(boxes[i], boxes[mirror])
        if down or right:
            cells = scene.masks[mirror].sum(1 if down else 0)
            out[i] = _flipped(out[i], int(cells.argmax()), bool(down))
    return out


def _flipped(cells: NDArray[np.int8], axis: int, rows: bool) -> NDArray[np.int8]:
    """Cells (H, W) mirrored about a row, or about a column, and cut at the border."""
    out = np.full_like(cells, -1)
    r, c = np.nonzero(cells >= 0)
    y, x = (2 * axis - r, c) if rows else (r, 2 * axis - c)
    inside = (y >= 0) & (x >= 0) & (y < cells.shape[0]) & (x < cells.shape[1])
    out[y[inside], x[inside]] = cells[r[inside], c[inside]]
    return out


# --- places ---------------------------------------------------------------------------


_FAR = 15  # the longest step of an echo


def echoed(scene: Scene) -> NDArray[np.int8]:
    """(n, H, W): for each object, copies of the largest object in the object's colour.

    The object shows a part of the first copy. The copies go on to the border in steps of one
    straight or diagonal vector. It is the shortest step by which the first copy keeps apart from
    the sides of the largest object.
    """
    out = np.full((scene.n, *scene.grid.shape), -1, dtype=np.int8)
    if scene.n > 1:
        largest = int(scene.column("area").argmax())
        _echo(scene.grid, scene.labels, scene.n, largest, scene.background, out)
    return out


@kernel
def _echo(grid, labels, n, largest, ground, out):
    h, w = grid.shape
    cells = np.argwhere(labels == largest + 1)
    for i in range(n):
        if i == largest:
            continue
        hints = np.argwhere(labels == i + 1)
        ink = grid[hints[0, 0], hints[0, 1]]
        found = False
        for far in range(1, _FAR + 1):
            for way in range(9):
                dy, dx = far * (way // 3 - 1), far * (way % 3 - 1)
                if found or (dy == 0 and dx == 0):
                    continue
                if _shows(grid, labels, cells, hints, largest, i, ground, dy, dx):
                    found = True
                    for k in range(1, h + w):
                        for j in range(len(cells)):
                            y, x = cells[j, 0] + k * dy, cells[j, 1] + k * dx
                            if 0 <= y < h and 0 <= x < w:
                                out[i, y, x] = ink


@kernel
def _shows(grid, labels, cells, hints, largest, i, ground, dy, dx):
    # True if the largest object, moved by (dy, dx), covers all hints and else only ground.
    h, w = grid.shape
    covered = 0
    for j in range(len(cells)):
        y, x = cells[j, 0] + dy, cells[j, 1] + dx
        for k in range(4):
            p, q = y + (k == 0) - (k == 1), x + (k == 2) - (k == 3)
            if 0 <= p < h and 0 <= q < w and labels[p, q] == largest + 1:
                return False
        if not (0 <= y < h and 0 <= x < w):
            continue
        if labels[y, x] == i + 1:
            covered += 1
        elif grid[y, x] != ground:
            return False
    return covered == len(hints)


def fitted(scene: Scene) -> NDArray[np.int8]:
    """(n, H, W): each object in the one region of ground that has its shape, -1 elsewhere.

    An object stays if no region or several regions have its shape.
    """
    shifts = np.zeros((scene.n, 2), dtype=np.int64)
    holes = segment(scene.grid, "ground", str(scene.memo["how"]))
    for i in range(scene.n) if holes is not None else ():
        assert holes is not None
        same = np.flatnonzero(holes.column("shape") == scene.column("shape")[i])
        if len(same) == 1:
            shifts[i] = holes.features[same[0], 4:6] - scene.features[i, 4:6]
    return moved(scene, shifts)


def centred(scene: Scene, ref: str) -> NDArray[np.int8]:
    """(n, H, W): each object in the middle of the box of all cells of colour `ref`.

    Objects of this colour stay. So do all objects if there is no such cell, or no middle.
    """
    rows, columns = np.nonzero(scene.grid == int(ref))
    if not len(rows):
        return moved(scene, np.zeros((scene.n, 2), dtype=np.int64))
    middle = np.array([rows.min() + rows.max() + 1, columns.min() + columns.max() + 1])
    far = middle - 2 * scene.features[:, 4:6] - scene.features[:, 2:4]
    goes = (far % 2 == 0).all(1) & (scene.column("color") != int(ref))
    return moved(scene, np.where(goes[:, None], far // 2, 0))


def aligned(scene: Scene, axis: str, ref: str) -> NDArray[np.int8]:
    """(n, H, W): each object moved until its first row, or column, is that of one object.

    `axis` is `rows` or `columns`. The one object is the largest of colour `ref`.
    """
    shifts = np.zeros((scene.n, 2), dtype=np.int64)
    same = np.flatnonzero(scene.column("color") == int(ref))
    if len(same):
        goal = same[scene.column("area")[same].argmax()]
        k = 0 if axis == "rows" else 1
        shifts[:, k] = scene.features[goal, 4 + k] - scene.features[:, 4 + k]
    return moved(scene, shifts)


def moved(scene: Scene, shifts: Ints) -> NDArray[np.int8]:
    """(n, H, W): each object moved by its row of `shifts` (n, 2), cut at the border."""
    out = np.full((scene.n, *scene.grid.shape), -1, dtype=np.int8)
    h, w = scene.grid.shape
    r, c = np.nonzero(scene.labels)
    i = scene.labels[r, c].astype(np.int64) - 1
    y, x = r + shifts[i, 0], c + shifts[i, 1]
    inside = (y >= 0) & (x >= 0) & (y < h) & (x < w)
    out[i[inside], y[inside], x[inside]] = scene.grid[r[inside], c[inside]]
    return out
