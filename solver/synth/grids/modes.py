"""The modes of grid primitives in words: programs write words, kernels take integers.

`Modes` maps each integer that makes sense for a task to the arguments that a program writes. A
mode without arguments is the only one of its primitive. A colour is written as its number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from solver.synth.grids.kernels_list import MEASURES

Palette = Sequence[int]
Words = tuple[int | str, ...]
Modes = Mapping[int, Words]
ModesOf = Callable[[Palette], Modes]  # the modes in a task with these colours


def words(*names: str) -> ModesOf:
    """Modes 0, 1, 2, ... under these names."""
    return table({mode: (name,) for mode, name in enumerate(names)})


def table(modes: Modes) -> ModesOf:
    """Modes that do not depend on a task's colours."""
    fixed = MappingProxyType(modes)
    return lambda palette: fixed


def named(modes: Mapping[int, str]) -> ModesOf:
    """Modes under names that do not depend on a task's colours."""
    return table({mode: (name,) for mode, name in modes.items()})


def colors(palette: Palette) -> Modes:
    """One mode for each colour but 0."""
    return {c: (c,) for c in palette if c}


def any_color(palette: Palette) -> Modes:
    """One mode for each colour."""
    return {c: (c,) for c in palette}


def boxes(palette: Palette) -> Modes:
    """The box of each colour, then its inside."""
    return {c: (c,) for c in palette} | {c + 10: (c, "inside") for c in palette}


def frames(palette: Palette) -> Modes:
    """A frame of the image's commonest colour, or full of a colour, or with a colour's edge."""
    full = {0: (), **colors(palette)}
    return full | {c + 10: (c, "edge") for c in palette if c}


def periods(palette: Palette) -> Modes:
    """The directions in which the pattern repeats that replaces each colour."""
    lines: tuple[Words, ...] = ((), ("rows",), ("columns",), ("diagonals",))
    return {c + 10 * n: (c, *line) for n, line in enumerate(lines) for c in palette}


def crossed(names: Sequence[str], endings: Sequence[str]) -> ModesOf:
    """Modes with a name and an ending each: the ending changes from mode to mode."""
    return words(*(f"{name}{ending}" for name in names for ending in endings))


def again(names: Sequence[str], *endings: str) -> ModesOf:
    """Modes under all the names, then under all the names with an ending, and so on."""
    return words(*(f"{name}{ending}" for ending in ("", *endings) for name in names))


def _extremes(measure: str) -> tuple[str, str]:
    """The names of the largest and of the smallest value of a measure."""
    return _EXTREMES.get(measure) or (f"most {measure}", f"fewest {measure}")


_EXTREMES = {
    "ground": ("most ground", "least ground"),
    "area": ("largest area", "smallest area"),
    "y": ("lowest", "highest"),
    "x": ("rightmost", "leftmost"),
    "height": ("tallest", "flattest"),
    "width": ("widest", "narrowest"),
    "symmetric": ("most symmetric", "least symmetric"),
    "odd_cells": ("most odd cells", "fewest odd cells"),
    "same_shape": ("commonest shape", "rarest shape"),
    "same_cells": ("commonest cells", "rarest cells"),
    "same_color": ("commonest color", "rarest color"),
    "same_size": ("commonest size", "rarest size"),
}
_MEASURED = {
    2 * k + smallest: name
    for k, measure in enumerate(MEASURES)
    for smallest, name in enumerate(_extremes(measure))
}
_PLACES = {32: "first", 33: "second", 34: "third", 48: "last"}
_ORDERS = {arg: f"{_MEASURED[arg ^ 1]} first" for arg in range(18)}  # odd: largest first
_WAYS = ("down", "up", "right", "left")
_EIGHT = ", 8 ways"  # a cell has 8 neighbours, the diagonal ones too, instead of 4
_FACTORS: Modes = {2: (2,), 3: (3,)}
_FLIPPED = {0: "", 1: "columns flipped", 2: "rows flipped", 3: "both flipped"}


def _tiles(*args: int) -> Modes:
    """Numbers of rows and columns of copies, and the flipped copies; see `kernels_frame.tile`."""
    found: dict[int, Words] = {}
    for arg in args:
        flipped = _FLIPPED[arg // 100 % 4] + " first" * (arg >= 400)
        found[arg] = (arg // 10 % 10, arg % 10, *([flipped] if flipped else []))
    return found


NONE = table({0: ()})
RANKED = words("commonest", "rarest")
RANKED_OR_REST = words("commonest", "rarest", "all but commonest", "all but rarest")
GROUND_SWAPS = words("exchanged", "erased")
TWO_COLORS = words("ground too", "besides ground")
COLOR_ROWS = words("row", "column", "bars down", "bars across")
COUNTS = crossed(
    ("cells", "colors", "filled rows", "filled columns"), (" as square", " as row", " as column")
)
TURNS = named(
    {
        1: "left-right",
        2: "upside down",
        3: "half turn",
        4: "transposed",
        5: "clockwise",
        6: "counterclockwise",
        7: "antitransposed",
    }
)
PARTS = words(
    *("top half", "bottom half", "left half", "right half"),
    *("top left", "top right", "bottom left", "bottom right"),
    *("middle rows", "middle columns", "inside"),
    *("top row", "bottom row", "left column", "right column"),
)
DROPPED_LINES = words("blank lines", "repeated lines", "uniform lines")
SCALES_UP = table({0: ("colors",), **_FACTORS})
SCALES_DOWN = table({0: ("most",), **_FACTORS})
TILES = table(_tiles(12, 21, 22, 33, 13, 31, 112, 221, 322, 512, 621, 722, 122, 222, 522, 622))
QUARTER_TURNS = words("from no turn", "from one turn", "from two turns", "from three turns")
COPIED = words("nonzero cells", "ground cells", "commonest color", "rarest color")
SHIFTS = again(_WAYS, " around")
MOVES = words(*_WAYS, *(f"one cell {way}" for way in _WAYS))
LINE_ORDERS = crossed(("rows", "columns"), (", emptiest first", ", fullest first"))
FALLS = words(*_WAYS)
FILLS = again(("holes filled", "holes only", "outside only"), _EIGHT)
HULLS = crossed(("boxes", "ground in boxes"), ("", _EIGHT))
RIMS = again(("edge cells", "inner cells", "outline", "with outline"), _EIGHT)
SMEARS = named(
    {
        **{1: "right", 2: "left", 4: "down", 8: "up"},
        **{3: "right and left", 12: "down and up", 15: "straight"},
        **{16: "down-right", 32: "down-left", 64: "up-right", 128: "up-left"},
        **{144: "down-right and up-left", 96: "down-left and up-right", 240: "diagonals"},
        **{255: "all ways", 271: "straight from lone cells", 496: "diagonals from lone cells"},
    }
)
FULL_LINES = named(
    {
        **{1: "rows", 2: "columns", 3: "rows and columns"},
        **{5: "uniform rows only", 6: "uniform columns only", 7: "uniform lines only"},
    }
)
LINKS = named(
    {
        **{1: "rows", 2: "columns", 3: "rows and columns", 4: "diagonals", 7: "all lines"},
        **{9: "links in rows", 10: "links in columns", 11: "links in rows and columns"},
    }
)
SPREADS = crossed(("everywhere", "in holes"), ("", _EIGHT))
FLOODS = words("4 ways", "8 ways")
SIZED_PARTS = again(
    (
        *("all but lone cells", "lone cells", "largest", "all but largest"),
        *("at the edge", "off the edge"),
    ),
    ", one color each",
)
SMOOTHINGS = words("8 ways", "4 ways")
MIRRORS = named(
    {
        **{1: "left-right", 2: "upside down", 3: "both", 4: "transposed", 7: "all"},
        **{9: "left-right in content", 10: "upside down in content"},
        **{11: "both in content", 15: "all in content"},
    }
)
RECTANGLES = words("ground", "one color")
PLACES = words("own place", "middle", "top left", "top right", "bottom left", "bottom right")
FLOWS = words(
    *("all cells by rows", "nonzero cells by rows"),
    *("all cells by columns", "nonzero cells by columns"),
)
REPEATS = words("side by side", "with gaps", "mirrored", "from own place", "mirrored about edges")
CONTINUATIONS = words("rows", "columns", "both", "both from own place")
WITH_INPUT = words(
    *("input where nonzero", "input where ground", "over input", "under input"),
    *("where input is nonzero", "where input is ground"),
)
INPUT_BOXES = words("box", "one cell wider")
INPUT_COPIES = words(
    *("input at nonzero cells", "image at nonzero cells of input"),
    *("input at ground cells", "image at ground cells of input"),
)
COLOR_LISTS = words("full size", "cropped")
COMPONENTS = again(
    ("one color", "one color, 8 ways", "mixed colors", "mixed colors, 8 ways"), ", whole boxes"
)
SEPARATORS = words("separators", "uniform lines")
EVEN_PARTS = table(
    {0: ("squares",), **{arg: (arg // 10, arg % 10) for arg in (12, 21, 13, 31, 22, 33)}}
)
STRIPS = words("rows", "columns", "runs of rows", "runs of columns")
HOLES = words("enclosed", "all")
MARKED = words("inside corners", "with corners", "inside frames", "with frames")
LAYERINGS = words("first on top", "last on top", "smallest on top", "at origin")
STACKS = again(("across", "down", "across with gaps", "down with gaps"), ", reversed")
COMBINATIONS = words(
    *("in all", "in none", "in exactly one", "commonest", "commonest nonzero"),
    *("only in first", "only in last", "equal in all"),
)
OVERVIEWS = words("commonest color", "full ones", "ones with ground")
LIST_COUNTS = words("square", "row", "column", "diagonal", "row of colors", "column of colors")
PICKS = named(_MEASURED | _PLACES)
CHOICES = named(_MEASURED | _PLACES | {64: "distinct", 66: "symmetric"})
ORDERS = named(_ORDERS)
