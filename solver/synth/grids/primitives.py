"""The primitives of the grid search: names, meanings, parameters, costs, and their `OPS`.

Each primitive is a compiled kernel; `operations` lists the ones that make sense for a task
(with its colours) as rows for `expand`, `call` writes such a row as a program step,
and `OPS` runs the same kernels when a program is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.grid import freeze
from solver.synth.grids import dispatch as dp
from solver.synth.grids.expand import DROP, IMAGE, JOIN, KEEP, MAP, PAIR, PICK, SIZED, SORT, SPLIT
from solver.synth.grids.kernels_color import AREA
from solver.synth.grids.kernels_list import MEASURES, MOST, POOL, ordered
from solver.synth.program import Call, Image, Op

Palette = Sequence[int]


@dataclass(frozen=True)
class Primitive:
    """A kernel under its name. `args` are its parameters in a task with these colours."""

    name: str
    meaning: str
    args: Callable[[Palette], Sequence[int]]
    cost: int = 8


def _fixed(*values: int) -> Callable[[Palette], Sequence[int]]:
    return lambda palette: values


def _colors(palette: Palette) -> Sequence[int]:
    return [c for c in palette if c]


def _any_color(palette: Palette) -> Sequence[int]:
    return list(palette)


def _boxes(palette: Palette) -> Sequence[int]:
    return [c + 10 * inset for inset in (0, 1) for c in palette]


def _frames(palette: Palette) -> Sequence[int]:
    return [0, *(c + form for form in (0, 10) for c in palette if c)]


_none = _fixed(0)

# In the order of the dispatch tuples: the position is the code.
IMAGES = (
    Primitive("keep_color", "keep one colour", _colors, 9),
    Primitive("erase_color", "erase one colour", _colors, 9),
    Primitive("negative", "ground and the rest change roles", _none, 8),
    Primitive("keep_ranked", "keep or erase the commonest or rarest colour", _fixed(0, 1, 2, 3), 8),
    Primitive("paint_ranked", "everything takes the commonest or rarest colour", _fixed(0, 1), 8),
    Primitive("ground_swap", "the most frequent colour becomes ground", _fixed(0, 1), 8),
    Primitive("swap_two", "exchange the only two colours", _fixed(0, 1), 9),
    Primitive("solid", "a full rectangle of the image's size", _none, 8),
    Primitive("one_cell", "one cell of the commonest or rarest colour", _fixed(0, 1), 9),
    Primitive(
        "color_row", "the colours, commonest first, as a line or as bars", _fixed(0, 1, 2, 3), 10
    ),
    Primitive(
        "count_drawn", "a count drawn as a square, a row or a column", _fixed(*range(12)), 11
    ),
    Primitive("turned", "rotate, flip, transpose", _fixed(1, 2, 3, 4, 5, 6, 7), 7),
    Primitive("crop", "cut down to the content", _none, 7),
    Primitive("to_origin", "take the place (0, 0)", _none, 8),
    Primitive("color_box", "cut down to the box of one colour, or to its inside", _boxes, 10),
    Primitive("part", "halves, quarters, thirds, inside, edges", _fixed(*range(15)), 9),
    Primitive("framed", "one more cell on every side", _any_color, 10),
    Primitive("squeeze", "drop blank, repeated or uniform lines", _fixed(0, 1, 2), 8),
    Primitive("scale_up", "every cell becomes a square of cells", _fixed(0, 2, 3), 8),
    Primitive("scale_down", "every square of cells becomes a cell", _fixed(0, 2, 3), 9),
    Primitive(
        "tile",
        "copies side by side, plain or mirrored",
        _fixed(12, 21, 22, 33, 13, 31, 112, 221, 322, 512, 621, 722, 122, 222, 522, 622),
        10,
    ),
    Primitive("kaleidoscope", "four copies, each turned on", _fixed(0, 1, 2, 3), 9),
    Primitive(
        "self_copies", "copies of the image in place of its own cells", _fixed(0, 1, 2, 3), 8
    ),
    Primitive("shifted", "move by one cell within the frame", _fixed(*range(8)), 10),
    Primitive("moved", "change place by its own size or one cell", _fixed(*range(8)), 10),
    Primitive("sorted_lines", "sort rows or columns by content", _fixed(0, 1, 2, 3), 10),
    Primitive("falling", "cells fall to one side", _fixed(0, 1, 2, 3), 8),
    Primitive("filled", "enclosed ground: filled, alone, or all but it", _fixed(*range(6)), 8),
    Primitive("hull", "boxes around components", _fixed(0, 1, 2, 3), 9),
    Primitive("rim", "edge cells, inner cells, outlines", _fixed(*range(8)), 7),
    Primitive(
        "smear",
        "cells run over ground",
        _fixed(1, 2, 4, 8, 3, 12, 15, 16, 32, 64, 128, 144, 96, 240, 255, 271, 496),
        9,
    ),
    Primitive("full_lines", "rows and columns filled", _fixed(1, 2, 3, 5, 6, 7), 9),
    Primitive(
        "connected", "equal colours are joined by lines", _fixed(1, 2, 3, 4, 7, 9, 10, 11), 8
    ),
    Primitive("spread", "colours grow over ground", _fixed(0, 1, 2, 3), 9),
    Primitive("flooded", "rare colours flood ground", _fixed(0, 1), 9),
    Primitive("sized_parts", "components chosen by size or touch", _fixed(*range(12)), 8),
    Primitive("smoothed", "lone cells take what surrounds them", _fixed(0, 1), 9),
    Primitive("mirrored", "ground takes the mirror image", _fixed(1, 2, 3, 4, 7, 9, 10, 11, 15), 9),
    Primitive("mirrored_best", "one colour is replaced by symmetry", _any_color, 9),
    Primitive(
        "periodic",
        "one colour is replaced by a periodic pattern",
        lambda palette: [c + 10 * mode for mode in range(4) for c in palette],
        10,
    ),
    Primitive("largest_rectangle", "the largest rectangle of ground or colour", _fixed(0, 1), 9),
)
SIZES = (
    Primitive("placed", "put into a frame", _fixed(0, 1, 2, 3, 4, 5), 8),
    Primitive("reflowed", "cells in reading order", _fixed(0, 1, 2, 3), 10),
    Primitive("stretched", "scaled to the frame", _none, 8),
    Primitive("repeated", "copies fill the frame", _fixed(0, 1, 2, 3, 4), 7),
    Primitive("go_on", "a periodic pattern goes on", _fixed(0, 1, 2, 3), 9),
    Primitive("color_frame", "a frame of one colour", _frames, 10),
)
PAIRS = (
    Primitive("with_input", "mask by the input, lay over it", _fixed(0, 1, 2, 3, 4, 5), 9),
    Primitive("input_there", "what the input has in this box", _fixed(0, 1), 9),
    Primitive("input_times", "copies in place of cells, with the input", _fixed(0, 1, 2, 3), 9),
)
SPLITS = (
    Primitive("split_colors", "one image for each colour", _fixed(0, 1), 6),
    Primitive("split_parts", "connected components", _fixed(0, 1, 2, 3, 4, 5, 6, 7), 7),
    Primitive("split_lines", "parts between separators", _fixed(0, 1), 5),
    Primitive("split_even", "equal parts", _fixed(0, 12, 21, 13, 31, 22, 33), 7),
    Primitive("split_strips", "rows, columns, blocks between blank lines", _fixed(0, 1, 2, 3), 9),
    Primitive("split_holes", "regions of ground", _fixed(0, 1), 7),
    Primitive("split_marked", "rectangles marked by corners or frames", _fixed(0, 1, 2, 3), 8),
)
JOINS = (
    Primitive("draw_all", "draw all in their places", _fixed(0, 1, 2, 3), 4),
    Primitive("stacked", "side by side, one below the other", _fixed(*range(8)), 8),
    Primitive("combined", "cell by cell: all, none, one, commonest", _fixed(*range(8)), 6),
    Primitive("overview", "one cell for each image", _fixed(0, 1, 2), 5),
    Primitive("list_count", "their number or colours as a shape", _fixed(*range(6)), 7),
)
_MEASURED = tuple(range(2 * len(MEASURES)))
_CHOICES = (*_MEASURED, 32, 33, 34, 48, 64, 66)
PICKED = Primitive("pick", "the image that is extreme in a measure", _fixed(*_CHOICES[:-2]), 6)
KEPT = Primitive("keep", "the images that are extreme in a measure", _fixed(*_CHOICES), 9)
DROPPED = Primitive("drop", "all images but the extreme ones", _fixed(*_CHOICES), 9)
SORTED = Primitive("sort", "order by a measure", _fixed(*_MEASURED[:18]), 10)

# Image primitives that may be applied to every image of a list.
_EACH = {
    "crop": (0,),
    "to_origin": (0,),
    "turned": (1, 2, 3, 4, 5, 6, 7),
    "filled": (0, 1, 3, 4),
    "solid": (0,),
    "paint_ranked": (0, 1),
    "keep_ranked": (0, 1, 2, 3),
    "rim": (0, 1),
    "one_cell": (0, 1),
    "part": (10,),
    "mirrored": (1, 2, 3, 7),
    "ground_swap": (0, 1),
    "spread": (0,),
}
_FAMILIES = {
    IMAGE: IMAGES,
    SIZED: SIZES,
    PAIR: PAIRS,
    SPLIT: SPLITS,
    JOIN: JOINS,
    PICK: (PICKED,),
    KEEP: (KEPT,),
    DROP: (DROPPED,),
    SORT: (SORTED,),
}


def operations(palette: Palette, sized: bool) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows (kind, code, arg, cost) of all primitives; sized ones only if a size is known."""
    rows = [
        (kind, code, arg, primitive.cost)
        for kind, family in _FAMILIES.items()
        for code, primitive in enumerate(family)
        for arg in primitive.args(palette)
        if sized or kind != SIZED
    ]
    codes = {primitive.name: code for code, primitive in enumerate(IMAGES)}
    rows += [(MAP, codes[name], arg, 9) for name, args in _EACH.items() for arg in args]
    return np.array(sorted(rows, key=lambda row: row[3]), dtype=np.int64)


def call(kind: int, code: int, arg: int, on: Call, leaf: Call, size: Call | None) -> Call:
    """The program step of one row: `on` is the program so far, `leaf` the input."""
    if kind == MAP:
        return Call("each", (on, IMAGES[code].name, arg))
    name = _FAMILIES[kind][code].name
    if kind == SIZED:
        return Call(name, (on, arg, size))
    if kind == PAIR:
        return Call(name, (on, arg, leaf))
    return Call(name, (on, arg))


# --- evaluation -------------------------------------------------------------------------


def as_image(value: Any) -> Image | None:
    """A grid, an image or a list of one image as an image."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, np.ndarray):
        return Image(value)
    return value if isinstance(value, Image) else None


def as_images(value: Any) -> tuple[Image, ...] | None:
    """A list of images, or one image as a list."""
    if isinstance(value, tuple):
        return value if all(isinstance(one, Image) for one in value) and value else None
    image = as_image(value)
    return (image,) if image else None


def _result(out: np.ndarray[Any, Any], place: tuple[int, int, int, int]) -> Image | None:
    y, x, h, w = place
    if h <= 0:
        return None
    return Image(freeze(out[: h * w].reshape(h, w).copy()), int(y), int(x))


def _cells(image: Image) -> np.ndarray[Any, Any]:
    return np.array(image.cells, dtype=np.uint8, order="C")  # writable: kernels know one type


def _image_op(code: int) -> Callable[..., Any]:
    def apply(value: Any, arg: int) -> Image | None:
        image = as_image(value)
        if image is None:
            return None
        out = np.empty(POOL, np.uint8)
        return _result(out, dp.image_op(code, _cells(image), image.y, image.x, arg, out))

    return apply


def _sized_op(code: int) -> Callable[..., Any]:
    def apply(value: Any, arg: int, size: tuple[int, int]) -> Image | None:
        image = as_image(value)
        if image is None:
            return None
        out = np.empty(POOL, np.uint8)
        cells = _cells(image)
        return _result(out, dp.sized_op(code, cells, image.y, image.x, arg, *size, out))

    return apply


def _pair_op(code: int) -> Callable[..., Any]:
    def apply(value: Any, arg: int, other: Any) -> Image | None:
        image, base = as_image(value), as_image(other)
        if image is None or base is None:
            return None
        out = np.empty(POOL, np.uint8)
        cells = _cells(image)
        return _result(out, dp.pair_op(code, cells, image.y, image.x, arg, _cells(base), out))

    return apply


def _split_op(code: int) -> Callable[..., Any]:
    def apply(value: Any, arg: int) -> tuple[Image, ...] | None:
        image = as_image(value)
        if image is None:
            return None
        out = np.empty(POOL, np.uint8)
        boxes = np.empty((MOST, 6), np.int64)
        n = dp.split_op(code, _cells(image), image.y, image.x, arg, out, boxes)
        images, at = [], 0
        for y, x, h, w in boxes[:n, :4].tolist():
            images.append(Image(freeze(out[at : at + h * w].reshape(h, w).copy()), y, x))
            at += h * w
        return tuple(images) or None

    return apply


def _packed(images: Sequence[Image]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    if len(images) > MOST:
        return None
    items = np.zeros((MOST, 6), np.int64)
    at = 0
    for k, image in enumerate(images):
        items[k, :5] = image.y, image.x, *image.cells.shape, at
        at += image.cells.size
    return np.concatenate([image.cells.ravel() for image in images]), items


def _join_op(code: int) -> Callable[..., Any]:
    def apply(value: Any, arg: int) -> Image | None:
        images = as_images(value)
        packed = _packed(images) if images else None
        if images is None or packed is None:
            return None
        out = np.empty(POOL, np.uint8)
        return _result(out, dp.join_op(code, packed[0], packed[1], len(images), arg, out))

    return apply


def _chosen(value: Any, arg: int, drop: bool) -> tuple[Image, ...] | None:
    images = as_images(value)
    packed = _packed(images) if images else None
    if images is None or packed is None:
        return None
    keep = np.empty(len(images), np.bool_)
    dp.chosen(packed[0], packed[1], len(images), arg, keep)
    return tuple(image for image, kept in zip(images, keep, strict=True) if kept != drop) or None


def _pick(value: Any, arg: int) -> Image | None:
    kept = _chosen(value, arg, False)
    return kept[0] if kept else None


def _sort(value: Any, arg: int) -> tuple[Image, ...] | None:
    images = as_images(value)
    packed = _packed(images) if images else None
    if images is None or packed is None:
        return None
    order = np.empty(len(images), np.int64)
    ordered(packed[0], packed[1], len(images), arg, order)
    return tuple(images[k] for k in order)


def _each(value: Any, name: str, arg: int) -> tuple[Image, ...] | None:
    images = as_images(value)
    if images is None or name not in _IMAGE_OPS:
        return None
    done = [_IMAGE_OPS[name](image, arg) for image in images]
    return None if any(image is None for image in done) else tuple(done)


_IMAGE_OPS = {primitive.name: _image_op(code) for code, primitive in enumerate(IMAGES)}


def _family(
    family: Sequence[Primitive], maker: Callable[[int], Callable[..., Any]]
) -> dict[str, Op]:
    return {p.name: Op(maker(code), p.meaning) for code, p in enumerate(family)}


OPS: dict[str, Op] = {
    **_family(IMAGES, _image_op),
    **_family(SIZES, _sized_op),
    **_family(PAIRS, _pair_op),
    **_family(SPLITS, _split_op),
    **_family(JOINS, _join_op),
    "pick": Op(_pick, PICKED.meaning),
    "keep": Op(lambda value, arg: _chosen(value, arg, False), KEPT.meaning),
    "drop": Op(lambda value, arg: _chosen(value, arg, True), DROPPED.meaning),
    "sort": Op(_sort, SORTED.meaning),
    "each": Op(_each, "apply an image operation to every image of a list"),
}
assert AREA <= POOL
