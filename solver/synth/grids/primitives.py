"""The primitives of the grid search: names, meanings, parameters, costs, and their `OPS`.

Each primitive is a compiled kernel. `operations` lists the primitives for a task, with the task's
colours, as rows for `expand`. `call` writes such a row as a program step. `OPS` runs the same
kernels when a program is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.grid import COLORS, freeze
from solver.synth.grids import dispatch as dp
from solver.synth.grids import modes as md
from solver.synth.grids.expand import DROP, IMAGE, JOIN, KEEP, MAP, PAIR, PICK, SIZED, SORT, SPLIT
from solver.synth.grids.kernels_color import AREA
from solver.synth.grids.kernels_list import MAX_IMAGES, POOL, ordered
from solver.synth.program import Call, Image, Op

Reader = Callable[[md.Words], int | None]


@dataclass(frozen=True)
class Primitive:
    """A kernel under its name.

    modes: a function from a task's colours to the modes, with their words.
    cost: bits.
    """

    name: str
    meaning: str
    modes: md.ModesOf
    cost: int = 8

    def words(self, mode: int) -> md.Words:
        """The arguments that a program writes for a mode."""
        return self.modes(range(COLORS))[mode]

    def reader(self) -> Reader:
        """A function from a program's arguments to the mode; None if there is no such mode.

        Journals of versions before 0.3 write the mode itself, an integer.
        """
        modes = {words: mode for mode, words in self.modes(range(COLORS)).items()}

        def read(words: md.Words) -> int | None:
            number = words[0] if len(words) == 1 and type(words[0]) is int else None
            return modes.get(words, number)

        return read


# The order is that of the tuples in `dispatch`: the position is the code.
IMAGES = (
    Primitive("keep_color", "keep one colour", md.colors, 9),
    Primitive("erase_color", "erase one colour", md.colors, 9),
    Primitive("negative", "ground and the rest change roles", md.NONE, 8),
    Primitive("keep_ranked", "keep or erase the commonest or rarest colour", md.RANKED_OR_REST, 8),
    Primitive("paint_ranked", "everything takes the commonest or rarest colour", md.RANKED, 8),
    Primitive("ground_swap", "the most frequent colour becomes ground", md.GROUND_SWAPS, 8),
    Primitive("swap_two", "exchange the only two colours", md.TWO_COLORS, 9),
    Primitive("solid", "a full rectangle of the image's size", md.NONE, 8),
    Primitive("one_cell", "one cell of the commonest or rarest colour", md.RANKED, 9),
    Primitive("color_row", "the colours, commonest first, as a line or as bars", md.COLOR_ROWS, 10),
    Primitive("count_drawn", "a count drawn as a square, a row or a column", md.COUNTS, 11),
    Primitive("turned", "rotate, flip, transpose", md.TURNS, 7),
    Primitive("crop", "cut down to the content", md.NONE, 7),
    Primitive("to_origin", "take the place (0, 0)", md.NONE, 8),
    Primitive("color_box", "cut down to the box of one colour, or to its inside", md.boxes, 10),
    Primitive("part", "halves, quarters, thirds, inside, edges", md.PARTS, 9),
    Primitive("framed", "one more cell on every side", md.any_color, 10),
    Primitive("squeeze", "drop blank, repeated or uniform lines", md.DROPPED_LINES, 8),
    Primitive("scale_up", "every cell becomes a square of cells", md.SCALES_UP, 8),
    Primitive("scale_down", "every square of cells becomes a cell", md.SCALES_DOWN, 9),
    Primitive("tile", "copies side by side, plain or mirrored", md.TILES, 10),
    Primitive("kaleidoscope", "four copies, each turned on", md.QUARTER_TURNS, 9),
    Primitive("self_copies", "copies of the image in place of its own cells", md.COPIED, 8),
    Primitive("shifted", "move by one cell within the frame", md.SHIFTS, 10),
    Primitive("moved", "change place by its own size or one cell", md.MOVES, 10),
    Primitive("sorted_lines", "sort rows or columns by content", md.LINE_ORDERS, 10),
    Primitive("falling", "cells fall to one side", md.FALLS, 8),
    Primitive("filled", "enclosed ground: filled or kept, or the other ground kept", md.FILLS, 8),
    Primitive("hull", "boxes around components", md.HULLS, 9),
    Primitive("rim", "edge cells, inner cells, outlines", md.RIMS, 7),
    Primitive("smear", "cells run over ground", md.SMEARS, 9),
    Primitive("full_lines", "rows and columns filled", md.FULL_LINES, 9),
    Primitive("connected", "equal colours are joined by lines", md.LINKS, 8),
    Primitive("spread", "colours grow over ground", md.SPREADS, 9),
    Primitive("flooded", "rare colours flood ground", md.FLOODS, 9),
    Primitive("sized_parts", "components chosen by size or touch", md.SIZED_PARTS, 8),
    Primitive("smoothed", "lone cells take the commonest colour around them", md.SMOOTHINGS, 9),
    Primitive("mirrored", "ground takes the mirror image", md.MIRRORS, 9),
    Primitive("mirrored_best", "one colour is replaced by symmetry", md.any_color, 9),
    Primitive("periodic", "one colour is replaced by a periodic pattern", md.periods, 10),
    Primitive("largest_rectangle", "the largest rectangle of ground or colour", md.RECTANGLES, 9),
)
SIZES = (
    Primitive("placed", "put into a frame", md.PLACES, 8),
    Primitive("reflowed", "cells in reading order", md.FLOWS, 10),
    Primitive("stretched", "scaled to the frame", md.NONE, 8),
    Primitive("repeated", "copies fill the frame", md.REPEATS, 7),
    Primitive("go_on", "a periodic pattern continues", md.CONTINUATIONS, 9),
    Primitive("color_frame", "a frame of one colour", md.frames, 10),
)
PAIRS = (
    Primitive("with_input", "mask by the input, lay over it", md.WITH_INPUT, 9),
    Primitive("input_there", "the part of the input in this box", md.INPUT_BOXES, 9),
    Primitive("input_times", "copies in place of cells, with the input", md.INPUT_COPIES, 9),
)
SPLITS = (
    Primitive("split_colors", "one image for each colour", md.COLOR_LISTS, 6),
    Primitive("split_parts", "connected components", md.COMPONENTS, 7),
    Primitive("split_lines", "parts between separators", md.SEPARATORS, 5),
    Primitive("split_even", "equal parts", md.EVEN_PARTS, 7),
    Primitive("split_strips", "rows, columns, blocks between blank lines", md.STRIPS, 9),
    Primitive("split_holes", "regions of ground", md.HOLES, 7),
    Primitive("split_marked", "rectangles marked by corners or frames", md.MARKED, 8),
)
JOINS = (
    Primitive("draw_all", "draw all in their places", md.LAYERINGS, 4),
    Primitive("stacked", "side by side, one below the other", md.STACKS, 8),
    Primitive("combined", "cell by cell: all, none, one, commonest", md.COMBINATIONS, 6),
    Primitive("overview", "one cell for each image", md.OVERVIEWS, 5),
    Primitive("list_count", "their number or colours as a shape", md.LIST_COUNTS, 7),
)
PICKED = Primitive("pick", "the image that is extreme in a measure", md.PICKS, 6)
KEPT = Primitive("keep", "the images that are extreme in a measure", md.CHOICES, 9)
DROPPED = Primitive("drop", "all images but the extreme ones", md.CHOICES, 9)
SORTED = Primitive("sort", "order by a measure", md.ORDERS, 10)

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


def operations(palette: md.Palette, sized: bool) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows (kind, code, arg, cost) of all primitives, cheapest first, int64 (N, 4).

    sized: True if the output size is known; without a size, the rows lack SIZED primitives.
    """
    rows = [
        (kind, code, arg, primitive.cost)
        for kind, family in _FAMILIES.items()
        for code, primitive in enumerate(family)
        for arg in primitive.modes(palette)
        if sized or kind != SIZED
    ]
    codes = {primitive.name: code for code, primitive in enumerate(IMAGES)}
    rows += [(MAP, codes[name], arg, 9) for name, args in _EACH.items() for arg in args]
    return np.array(sorted(rows, key=lambda row: row[3]), dtype=np.int64)


def call(kind: int, code: int, arg: int, on: Call, leaf: Call, size: Call | None) -> Call:
    """The program step of one row.

    on: the program so far.
    leaf: the input.
    size: the program of the output size; only for SIZED primitives.
    """
    primitive = _FAMILIES[IMAGE if kind == MAP else kind][code]
    name, words = primitive.name, primitive.words(arg)
    if kind == MAP:
        return Call("each", (on, name, *words))
    if kind == SIZED:
        return Call(name, (on, *words, size))
    if kind == PAIR:
        return Call(name, (on, *words, leaf))
    return Call(name, (on, *words))


# --- evaluation -------------------------------------------------------------------------


def as_image(value: Any) -> Image | None:
    """A grid, an image or a list of one image as an image; None for other values."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, np.ndarray):
        return Image(value)
    return value if isinstance(value, Image) else None


def as_images(value: Any) -> tuple[Image, ...] | None:
    """A list of images as is, or one image or grid as a list; None for other values."""
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
    return np.array(image.cells, dtype=np.uint8, order="C")  # writable: kernels know one array type


def _image_op(code: int, read: Reader) -> Callable[..., Any]:
    def apply(value: Any, *words: int | str) -> Image | None:
        image, arg = as_image(value), read(words)
        if image is None or arg is None:
            return None
        out = np.empty(POOL, np.uint8)
        return _result(out, dp.image_op(code, _cells(image), image.y, image.x, arg, out))

    return apply


def _sized_op(code: int, read: Reader) -> Callable[..., Any]:
    def apply(value: Any, *words_and_size: Any) -> Image | None:
        *words, size = words_and_size
        image, arg = as_image(value), read(tuple(words))
        if image is None or arg is None:
            return None
        out = np.empty(POOL, np.uint8)
        cells = _cells(image)
        return _result(out, dp.sized_op(code, cells, image.y, image.x, arg, *size, out))

    return apply


def _pair_op(code: int, read: Reader) -> Callable[..., Any]:
    def apply(value: Any, *words_and_input: Any) -> Image | None:
        *words, leaf = words_and_input
        image, base, arg = as_image(value), as_image(leaf), read(tuple(words))
        if image is None or base is None or arg is None:
            return None
        out = np.empty(POOL, np.uint8)
        cells = _cells(image)
        return _result(out, dp.pair_op(code, cells, image.y, image.x, arg, _cells(base), out))

    return apply


def _split_op(code: int, read: Reader) -> Callable[..., Any]:
    def apply(value: Any, *words: int | str) -> tuple[Image, ...] | None:
        image, arg = as_image(value), read(words)
        if image is None or arg is None:
            return None
        out = np.empty(POOL, np.uint8)
        boxes = np.empty((MAX_IMAGES, 6), np.int64)
        n = dp.split_op(code, _cells(image), image.y, image.x, arg, out, boxes)
        images, at = [], 0
        for y, x, h, w in boxes[:n, :4].tolist():
            images.append(Image(freeze(out[at : at + h * w].reshape(h, w).copy()), y, x))
            at += h * w
        return tuple(images) or None

    return apply


def _packed(images: Sequence[Image]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    if len(images) > MAX_IMAGES:
        return None
    items = np.zeros((MAX_IMAGES, 6), np.int64)
    at = 0
    for k, image in enumerate(images):
        items[k, :5] = image.y, image.x, *image.cells.shape, at
        at += image.cells.size
    return np.concatenate([image.cells.ravel() for image in images]), items


def _on_list(read: Reader, compute: Callable[..., Any]) -> Callable[..., Any]:
    """An operation on a list: `compute(images, pix, items, arg)`, if the arguments fit."""

    def apply(value: Any, *words: int | str) -> Any:
        images, arg = as_images(value), read(words)
        packed = _packed(images) if images else None
        return compute(images, *packed, arg) if packed and arg is not None else None

    return apply


def _join_op(code: int, read: Reader) -> Callable[..., Any]:
    def join(images: Sequence[Image], pix: Any, items: Any, arg: int) -> Image | None:
        out = np.empty(POOL, np.uint8)
        return _result(out, dp.join_op(code, pix, items, len(images), arg, out))

    return _on_list(read, join)


def _choice(read: Reader, drop: bool) -> Callable[..., Any]:
    def choose(images: Sequence[Image], pix: Any, items: Any, arg: int) -> tuple[Image, ...] | None:
        keep = np.empty(len(images), np.bool_)
        dp.chosen(pix, items, len(images), arg, keep)
        chosen = (image for image, kept in zip(images, keep, strict=True) if kept != drop)
        return tuple(chosen) or None

    return _on_list(read, choose)


def _pick_op(read: Reader) -> Callable[..., Any]:
    keep = _choice(read, drop=False)

    def apply(value: Any, *words: int | str) -> Image | None:
        kept = keep(value, *words)
        return kept[0] if kept else None

    return apply


def _sort_op(read: Reader) -> Callable[..., Any]:
    def sort(images: Sequence[Image], pix: Any, items: Any, arg: int) -> tuple[Image, ...]:
        order = np.empty(len(images), np.int64)
        ordered(pix, items, len(images), arg, order)
        return tuple(images[k] for k in order.tolist())

    return _on_list(read, sort)


def _each(value: Any, name: str, *words: int | str) -> tuple[Image, ...] | None:
    images = as_images(value)
    if images is None or name not in _IMAGE_OPS:
        return None
    done = [_IMAGE_OPS[name].function(image, *words) for image in images]
    return None if any(image is None for image in done) else tuple(done)


def _family(
    family: Sequence[Primitive], maker: Callable[[int, Reader], Callable[..., Any]]
) -> dict[str, Op]:
    return {p.name: Op(maker(code, p.reader()), p.meaning) for code, p in enumerate(family)}


_IMAGE_OPS = _family(IMAGES, _image_op)

OPS: dict[str, Op] = {
    **_IMAGE_OPS,
    **_family(SIZES, _sized_op),
    **_family(PAIRS, _pair_op),
    **_family(SPLITS, _split_op),
    **_family(JOINS, _join_op),
    "pick": Op(_pick_op(PICKED.reader()), PICKED.meaning),
    "keep": Op(_choice(KEPT.reader(), drop=False), KEPT.meaning),
    "drop": Op(_choice(DROPPED.reader(), drop=True), DROPPED.meaning),
    "sort": Op(_sort_op(SORTED.reader()), SORTED.meaning),
    "each": Op(_each, "apply an image operation to every image of a list"),
}
assert AREA <= POOL
