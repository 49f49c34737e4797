"""All operations of the language by name, merged from the parts of the synthesizer.

The parts are imported on first use, because the parts import `solver.synth.program` themselves.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from types import MappingProxyType

from solver.synth.program import Op

# Modules that define a dictionary `OPS`.
PARTS = (
    "solver.synth.grids.primitives",
    "solver.synth.grids.sizes",
    "solver.synth.grids.pieces",
    "solver.synth.grids.search",
    "solver.synth.views",
    "solver.synth.cells.search",
    "solver.synth.cells.states",
    "solver.synth.fit",
    "solver.synth.lattice",
    "solver.synth.objects.rule_select",
    "solver.synth.objects.rule_summary",
    "solver.synth.objects.rules",
    "solver.synth.patterns.parts",
    "solver.synth.patterns.completion",
    "solver.synth.patterns.placement",
)


@functools.cache
def all_ops() -> Mapping[str, Op]:
    """Every operation by name.

    Raises `ValueError` if two parts define different operations of the same name.
    """
    merged: dict[str, Op] = {}
    for part in PARTS:
        ops: dict[str, Op] = getattr(importlib.import_module(part), "OPS", {})
        twice = {name for name in merged.keys() & ops.keys() if merged[name] is not ops[name]}
        if twice:
            raise ValueError(f"{part} defines {sorted(twice)} again")
        merged.update(ops)
    return MappingProxyType(merged)
