"""Regions: the cells that a rule may paint for an object, as masks of the whole grid.

`region(scene, name)` gives (n, H, W) masks, one for each object, and keeps them in the scene.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from solver.synth.jit import kernel
from solver.synth.objects.objects import Mask, Scene
from solver.synth.objects.rays import POINTERS, pointed, rays


def region(scene: Scene, name: str) -> Mask:
    """(n, H, W): the named region of each object."""
    memo = scene.memo
    slot = f"region {name}"
    if slot not in memo:
        memo[slot] = _make(scene, name)
    masks: Mask = memo[slot]
    return masks


def _make(scene: Scene, name: str) -> Mask:
    head, _, rest = name.partition(" ")
    if head == "ray":
        way, _, names = rest.partition(" ")
        out = np.zeros_like(scene.masks)
        for direction in names.split():
            out |= rays(scene, direction, way)
        return out
    if head == "bar":
        return _bars(scene, *rest.split())
    if head == "point":
        return pointed(scene, rest)
    return REGIONS[head](scene)


def _boxes(scene: Scene, grow: int = 0) -> Mask:
    h, w = scene.grid.shape
    out = np.zeros((scene.n, h, w), dtype=bool)
    for i in range(scene.n):
        top, left, bottom, right = scene.box(i)
        out[i, max(0, top - grow) : bottom + grow, max(0, left - grow) : right + grow] = True
    return out


def _grow(masks: Mask, diagonal: bool) -> Mask:
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    tall = padded[:, :-2, 1:-1] | padded[:, 1:-1, 1:-1] | padded[:, 2:, 1:-1]
    if not diagonal:
        return tall | padded[:, 1:-1, :-2] | padded[:, 1:-1, 2:]
    wide = padded[:, :, :-2] | padded[:, :, 1:-1] | padded[:, :, 2:]
    return wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]


def _blank(scene: Scene) -> Mask:
    return np.asarray(scene.grid == scene.background)[None]


@kernel
def _enclosed(masks):
    """(n, H, W): cells outside each mask that no 4-connected path joins to the border."""
    n, h, w = masks.shape
    out = np.ones((n, h, w), np.bool_)
    stack = np.empty(h * w, np.int64)
    for i in range(n):
        top = 0
        for r in range(h):
            for c in range(w):
                if (r == 0 or c == 0 or r == h - 1 or c == w - 1) and not masks[i, r, c]:
                    out[i, r, c] = False
                    stack[top] = r * w + c
                    top += 1
        while top > 0:
            top -= 1
            r, c = stack[top] // w, stack[top] % w
            for k in range(4):
                y = r + (k == 0) - (k == 1)
                x = c + (k == 2) - (k == 3)
                if 0 <= y < h and 0 <= x < w and out[i, y, x] and not masks[i, y, x]:
                    out[i, y, x] = False
                    stack[top] = y * w + x
                    top += 1
        for r in range(h):
            for c in range(w):
                if masks[i, r, c]:
                    out[i, r, c] = False
    return out


def _bands(scene: Scene, axis: int) -> Mask:
    lines = scene.masks.any(axis=2 - axis, keepdims=True)
    return np.broadcast_to(lines, scene.masks.shape).copy()


def _middle_band(scene: Scene, axis: int) -> Mask:
    """Blank cells of the one or two middle rows (axis 0) or columns (axis 1) of each box."""
    h, w = scene.grid.shape
    out = np.zeros((scene.n, h, w), dtype=bool)
    for i in range(scene.n):
        box = scene.box(i)
        low, high = (box[axis] + box[axis + 2] - 1) // 2, (box[axis] + box[axis + 2]) // 2 + 1
        out[i, low:high] |= axis == 0
        out[i, :, low:high] |= axis == 1
    return out & _blank(scene)


def _mirrored(scene: Scene, lr: bool, ud: bool, diag: bool) -> Mask:
    out = scene.masks.copy()
    for i in range(scene.n):
        top, left, bottom, right = scene.box(i)
        box = out[i, top:bottom, left:right]
        if lr:
            box |= box[:, ::-1].copy()
        if ud:
            box |= box[::-1].copy()
        if diag and box.shape[0] == box.shape[1]:
            box |= box.T.copy()
    return out & ~scene.masks


def _bars(scene: Scene, side: str, feature: str) -> Mask:
    """Blank cells beside each box, as far from the box as the value of a property."""
    out = np.zeros_like(scene.masks)
    for i, far in enumerate(scene.column(feature).tolist()):
        top, left, bottom, right = scene.box(i)
        rows = {"up": (max(0, top - far), top), "down": (bottom, bottom + far)}
        columns = {"left": (max(0, left - far), left), "right": (right, right + far)}
        out[i, slice(*rows.get(side, (top, bottom))), slice(*columns.get(side, (left, right)))] = (
            True
        )
    return out & _blank(scene)


def _halo(scene: Scene) -> Mask:
    """Blank cells around each box, as far from the box as half of its shorter side."""
    out = np.zeros_like(scene.masks)
    for i in range(scene.n):
        top, left, bottom, right = scene.box(i)
        far = min(bottom - top, right - left) // 2
        out[i, max(0, top - far) : bottom + far, max(0, left - far) : right + far] = True
    return out & _blank(scene)


def _arms(scene: Scene) -> Mask:
    """Blank cells beside each side of a box, as far from the side as the box's inside is long."""
    out = np.zeros_like(scene.masks)
    for i in range(scene.n):
        top, left, bottom, right = scene.box(i)
        down, across = max(0, bottom - top - 2), max(0, right - left - 2)
        out[i, max(0, top - down) : bottom + down, left:right] = True
        out[i, top:bottom, max(0, left - across) : right + across] = True
    return out & _blank(scene)


def _parity(scene: Scene, rows: bool, columns: bool) -> Mask:
    out = scene.masks.copy()
    h, w = scene.grid.shape
    r, c = np.mgrid[:h, :w]
    for i in range(scene.n):
        top, left, _, _ = scene.box(i)
        out[i] &= (rows * (r - top) + columns * (c - left)) % 2 == 1
    return out


def _part_of_box(scene: Scene, part: str) -> Mask:
    out = np.zeros_like(scene.masks)
    for i in range(scene.n):
        top, left, bottom, right = scene.box(i)
        h, w = bottom - top, right - left
        span = {
            "half_up": (top, top + h // 2, left, right),
            "half_down": (bottom - h // 2, bottom, left, right),
            "half_left": (top, bottom, left, left + w // 2),
            "half_right": (top, bottom, right - w // 2, right),
            "middle": (top + (h - 1) // 2, bottom - (h - 1) // 2,
                       left + (w - 1) // 2, right - (w - 1) // 2),
            "inner_box": (top + 1, bottom - 1, left + 1, right - 1),
        }[part]  # fmt: skip
        out[i, max(0, span[0]) : max(0, span[1]), max(0, span[2]) : max(0, span[3])] = True
    return out & (scene.masks if part.startswith("half") else True)


def _corners(scene: Scene, inside: bool) -> Mask:
    h, w = scene.grid.shape
    out = np.zeros_like(scene.masks)
    step = 0 if inside else 1
    for i in range(scene.n):
        top, left, bottom, right = scene.box(i)
        for r in (top - step, bottom - 1 + step):
            for c in (left - step, right - 1 + step):
                if 0 <= r < h and 0 <= c < w:
                    out[i, r, c] = True
    return out


def _minor(scene: Scene) -> Mask:
    colors = scene.column("minor")[:, None, None]
    many = (scene.column("colors") > 1)[:, None, None]
    return np.asarray(scene.masks & (scene.grid[None] == colors) & many)


def _sheltered(scene: Scene) -> Mask:
    """Background cells between two cells of the object in the same row or column."""
    masks = scene.masks
    left = np.maximum.accumulate(masks, axis=2)
    right = np.maximum.accumulate(masks[:, :, ::-1], axis=2)[:, :, ::-1]
    up = np.maximum.accumulate(masks, axis=1)
    down = np.maximum.accumulate(masks[:, ::-1], axis=1)[:, ::-1]
    return ((left & right) | (up & down)) & ~masks & _blank(scene)


def _inner_border(scene: Scene) -> Mask:
    return scene.masks & _grow(~scene.masks, False) | (scene.masks & _edge(scene))


def _edge(scene: Scene) -> Mask:
    h, w = scene.grid.shape
    edge = np.zeros((1, h, w), dtype=bool)
    edge[0, [0, -1]] = True
    edge[0, :, [0, -1]] = True
    return edge


REGIONS: dict[str, Callable[[Scene], Mask]] = {
    "self": lambda s: s.masks,
    "holes": lambda s: _enclosed(s.masks),
    "hole_blank": lambda s: _enclosed(s.masks) & _blank(s),
    "sheltered": _sheltered,
    "box_blank": lambda s: _boxes(s) & _blank(s),
    "box": _boxes,
    "inner_box": lambda s: _part_of_box(s, "inner_box") & ~s.masks,
    "frame": lambda s: _boxes(s, 1) & ~_boxes(s),
    "around": lambda s: _boxes(s, 1) & _blank(s),
    "out4": lambda s: _grow(s.masks, False) & _blank(s) & ~s.masks,
    "out8": lambda s: _grow(s.masks, True) & _blank(s) & ~s.masks,
    "border": _inner_border,
    "interior": lambda s: s.masks & ~_inner_border(s),
    "halo": _halo,
    "arms": _arms,
    "rows": lambda s: _bands(s, 0) & _blank(s),
    "columns": lambda s: _bands(s, 1) & _blank(s),
    "cross": lambda s: (_bands(s, 0) | _bands(s, 1)) & _blank(s),
    "middle_row": lambda s: _middle_band(s, 0),
    "middle_column": lambda s: _middle_band(s, 1),
    "middle_cross": lambda s: _middle_band(s, 0) | _middle_band(s, 1),
    "rows_over": lambda s: _bands(s, 0) & ~s.masks,
    "columns_over": lambda s: _bands(s, 1) & ~s.masks,
    "mirror_lr": lambda s: _mirrored(s, True, False, False),
    "mirror_ud": lambda s: _mirrored(s, False, True, False),
    "mirror_both": lambda s: _mirrored(s, True, True, False),
    "mirror_all": lambda s: _mirrored(s, True, True, True),
    "odd_rows": lambda s: _parity(s, True, False),
    "odd_columns": lambda s: _parity(s, False, True),
    "checker": lambda s: _parity(s, True, True),
    "half_up": lambda s: _part_of_box(s, "half_up"),
    "half_down": lambda s: _part_of_box(s, "half_down"),
    "half_left": lambda s: _part_of_box(s, "half_left"),
    "half_right": lambda s: _part_of_box(s, "half_right"),
    "middle": lambda s: _part_of_box(s, "middle"),
    "corners": lambda s: _corners(s, True) & s.masks,
    "corners_out": lambda s: _corners(s, False),
    "minor": _minor,
    "major": lambda s: s.masks & ~_minor(s),
}

_SETS = (
    "up", "down", "left", "right", "left right", "up down", "up down left right",
    "ul", "ur", "dl", "dr", "ul dr", "ur dl", "ul ur dl dr",
)  # fmt: skip
RAYS = tuple(f"ray {way} {names}" for way in ("stop", "under", "over") for names in _SETS)
LINKS = tuple(
    f"ray {way} {names}" for way in ("hit", "same", "other") for names in ("left right", "up down",
    "up down left right", "up", "down", "left", "right", "ul ur dl dr")
)  # fmt: skip
TARGETS = tuple(
    f"ray {way} {names}" for way in ("land", "goal") for names in ("up down left right",
    "left right", "up down")
)  # fmt: skip
BARS = tuple(
    f"bar {side} {feature}" for feature in ("colors", "area")
    for side in ("up", "down", "left", "right")
)  # fmt: skip
POINTED = tuple(f"point {how}" for how in POINTERS)
ALL_REGIONS = (*REGIONS, *RAYS, *LINKS, *TARGETS, *POINTED, *BARS)
REGION_COST = {
    name: 1.0 if name == "self" else 3.0 if name in REGIONS else 4.0 for name in ALL_REGIONS
}
