"""Completion of each object to the symmetry that most of its cells already have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solver.synth.jit import kernel
from solver.synth.objects.objects import Scene

# The images of an offset (y, x) from the centre, as D8 elements that `_image` numbers.
GROUPS = {
    "all": (1, 2, 3, 4, 5, 6, 7),
    "mirrors": (1, 2, 3),
    "four turns": (3, 5, 6),
    "half turn": (3,),
    "left-right": (2,),
    "upside down": (1,),
}
TRUSTS = ("cells", "colors")
_MOST = 60_000  # work of one object's centres; larger objects stay as they are


def symmetric(scene: Scene, group: str, trust: str) -> NDArray[np.int8]:
    """(n, H, W): the images that each object lacks under a group of symmetries, -1 elsewhere.

    The centre is where most images of the object's cells have the colour of their cell
    (`_agreement`), and where no image lies on another colour. `trust` is one of `TRUSTS`. An
    object gets no images if fewer than an eighth of the images agree about its centre.
    """
    out = np.full((scene.n, *scene.grid.shape), -1, dtype=np.int8)
    boxes = np.ascontiguousarray(scene.features[:, [4, 5, 2, 3]])
    elements = np.array(GROUPS[group], dtype=np.int64)
    _complete(scene.grid, scene.labels, boxes, scene.background, elements, trust == "colors", out)
    return out


@kernel
def _image(y, x, element):
    # Bit 0 flips up-down, bit 1 flips left-right, and bit 2 then transposes.
    y, x = (-y if element & 1 else y), (-x if element & 2 else x)
    return (x, y) if element & 4 else (y, x)


@kernel
def _complete(grid, labels, boxes, ground, elements, colors, out):
    for i in range(len(boxes)):
        top, left, a, b = boxes[i]
        cells = np.empty((a * b, 2), np.int64)
        n = 0
        for r in range(top, top + a):
            for c in range(left, left + b):
                if labels[r, c] == i + 1:
                    cells[n] = r, c
                    n += 1
        if n < 2 or n * a * b > _MOST:
            continue
        best, centre_y, centre_x = 0, 0, 0
        for sy in range(2 * top, 2 * (top + a) - 1):
            for sx in range(2 * left, 2 * (left + b) - 1):
                agree = _agreement(grid, cells[:n], ground, elements, sy, sx, colors)
                if agree > best:
                    best, centre_y, centre_x = agree, sy, sx
        if 8 * best >= n * len(elements):
            _draw(grid, cells[:n], ground, elements, centre_y, centre_x, out[i])


@kernel
def _agreement(grid, cells, ground, elements, sy, sx, colors):
    """Images of the cells' own colour about the centre (sy, sx) / 2; 0 if an image is wrong.

    With `colors`, images of a colour whose cells all have all their images count four times.
    """
    h, w = grid.shape
    agree = 0
    whole = np.ones(10, np.bool_)
    counts = np.zeros(10, np.int64)
    for k in range(len(cells)):
        r, c = cells[k]
        own = 0
        for element in elements:
            y, x = _image(2 * r - sy, 2 * c - sx, element)
            y, x = y + sy, x + sx
            if y % 2 or x % 2:
                return 0
            y, x = y // 2, x // 2
            if 0 <= y < h and 0 <= x < w:
                if grid[y, x] == grid[r, c]:
                    own += 1
                elif grid[y, x] != ground:
                    return 0
        agree += own
        counts[grid[r, c]] += own
        whole[grid[r, c]] &= own == len(elements)
    return agree + 3 * (counts * whole).sum() if colors else agree


@kernel
def _draw(grid, cells, ground, elements, sy, sx, out):
    h, w = grid.shape
    for k in range(len(cells)):
        r, c = cells[k]
        for element in elements:
            y, x = _image(2 * r - sy, 2 * c - sx, element)
            y, x = (y + sy) // 2, (x + sx) // 2
            if 0 <= y < h and 0 <= x < w and grid[y, x] == ground:
                out[y, x] = grid[r, c]
