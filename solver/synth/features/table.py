"""Names of cell features: families of (name, True if values are colours, bits of a test)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.synth.features.components import COMPONENT_FEATURES
from solver.synth.features.parts import PART_FEATURES
from solver.synth.features.patterns import PATTERN_FEATURES

Features = NDArray[np.uint8]  # (F, H * W)


@dataclass(frozen=True)
class Feature:
    """A cell feature.

    color: True if the values are colours, False if they are numbers.
    bits: cost of a test of the feature.
    """

    name: str
    color: bool
    bits: float
    family: str


_AROUND = ("n", "ne", "e", "se", "s", "sw", "w", "nw")
_FAR = ("nn", "ee", "ss", "ww")
_LOCAL = (
    [("self", True, 1.0)]
    + [(f"at_{d}", True, 4.0) for d in _AROUND]
    + [(f"at_{d}", True, 6.0) for d in _FAR]
    + [("same4", False, 4.0), ("same8", False, 4.0), ("filled4", False, 3.5)]
    + [("filled8", False, 3.5), ("filled_diagonal", False, 4.5)]
    + [(f"count8_{c}", False, 4.0) for c in range(10)]
    + [(f"count4_{c}", False, 4.0) for c in range(10)]
)
_RAYS = (
    [(f"ray_{d}", True, 3.5) for d in _AROUND]
    + [(f"distance_{d}", False, 5.0) for d in _AROUND]
    + [(f"other_{d}", True, 5.0) for d in ("n", "e", "s", "w")]
    + [("between", True, 3.0), ("between_diagonal", True, 4.0), ("nearest", True, 3.5)]
    + [("nearest_axis", True, 3.5), ("rays_hit", False, 4.0), ("corners_hit", False, 4.5)]
    + [("only_axis", True, 4.0), ("only_diagonal", True, 4.0)]
)
_LINES = (
    [("row_filled", False, 4.0), ("column_filled", False, 4.0)]
    + [("row_color", True, 3.5), ("column_color", True, 3.5), ("line_color", True, 4.0)]
    + [("row_full", False, 4.0), ("column_full", False, 4.0)]
    + [("row_same", False, 4.5), ("column_same", False, 4.5)]
    + [(f"edge_{d}", True, 4.0) for d in ("n", "e", "s", "w")]
    + [(f"row_count_{c}", False, 4.5) for c in range(10)]
    + [(f"column_count_{c}", False, 4.5) for c in range(10)]
    + [("diagonal_filled", False, 5.0), ("antidiagonal_filled", False, 5.0)]
    + [("diagonal_color", True, 5.0), ("antidiagonal_color", True, 5.0)]
    + [("row_most", False, 5.0), ("column_most", False, 5.0)]
)
_PLACE = [
    ("row", False, 4.5), ("column", False, 4.5), ("row_end", False, 4.5),
    ("column_end", False, 4.5), ("border", False, 3.5), ("row_mod2", False, 4.0),
    ("column_mod2", False, 4.0), ("sum_mod2", False, 4.0), ("row_mod3", False, 5.0),
    ("column_mod3", False, 5.0), ("sum_mod3", False, 5.0), ("difference_mod3", False, 5.0),
    ("sum_mod4", False, 6.0), ("row_end_mod2", False, 5.0), ("column_end_mod2", False, 5.0),
    ("difference", False, 5.5), ("sum", False, 6.0),
]  # fmt: skip
_GLOBAL = [
    ("background", True, 2.5), ("most", True, 3.0), ("second", True, 4.5), ("least", True, 3.0),
    ("corner_nw", True, 5.0), ("corner_ne", True, 5.0), ("corner_se", True, 5.0),
    ("corner_sw", True, 5.0), ("center", True, 5.0), ("rank", False, 4.0), ("rarity", False, 4.0),
    ("color_cells", False, 5.0), ("colors", False, 5.0), ("height", False, 6.0),
    ("width", False, 6.0),
]  # fmt: skip
# Rows that only some frames (`cells.frames`) and states (`cells.states`) fill; elsewhere constant.
_FRAME = (
    [("inner", True, 2.5), ("swing", True, 2.5), ("copy_row", False, 3.0)]
    + [("copy_column", False, 3.0), ("copy_sum", False, 4.5), ("copy_sum_mod2", False, 3.5)]
    + [("copy_difference", False, 4.5)]
    + [(f"layer_{i}", True, 2.0) for i in range(9)]
    + [("layers_filled", False, 2.5), ("layer_first", True, 2.5), ("layer_last", True, 2.5)]
    + [("layer_most", True, 3.0), ("layer_color", True, 3.0), ("layer_fullest", True, 3.5)]
    + [("layer_emptiest", True, 4.0), ("layer_odd", True, 3.5), ("layer_usual", True, 4.0)]
    + [("block_filled", False, 2.5), ("block_colors", False, 3.0), ("block_most", True, 2.5)]
    + [("block_rare", True, 3.0), ("block_rank", False, 2.5), ("block_rank_up", False, 3.0)]
    + [("block_same", False, 3.0), ("block_corner", True, 4.0), ("block_center", True, 4.0)]
    + [(f"block_count_{c}", False, 3.5) for c in range(10)]
)
_FAMILIES = {
    "local": _LOCAL,
    "rays": _RAYS,
    "lines": _LINES,
    "place": _PLACE,
    "global": _GLOBAL,
    "pattern": PATTERN_FEATURES,
    "component": COMPONENT_FEATURES,
    "part": PART_FEATURES,
    "frame": _FRAME,
}
FEATURES = tuple(Feature(*row, family) for family, rows in _FAMILIES.items() for row in rows)
INDEX = {feature.name: i for i, feature in enumerate(FEATURES)}
START = {family: INDEX[rows[0][0]] for family, rows in _FAMILIES.items()}

# Colour rows that only some grids and frames fill.
ABSENT = [i for i, f in enumerate(FEATURES) if f.color and f.family in ("part", "frame")]
