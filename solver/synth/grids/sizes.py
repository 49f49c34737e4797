"""Output sizes: rules that give the size of every demonstration's output.

The order of rules: the input's size, a constant size, fractions of the input's size, its sides
exchanged, offsets, squares, and sizes of parts between separators. If no such rule fits,
the search looks for a state that has the outputs' sizes. A rule is a program step with the value
(height, width).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.grid import MAX_SIDE, Grid, Task
from solver.synth.program import INPUT, Call, Image, Op

Shape = tuple[int, int]


@dataclass(frozen=True)
class SizeRule:
    """A rule, and its output size for every demonstration and test."""

    program: Call
    shapes: tuple[Shape, ...]


def size_rules(task: Task) -> Iterator[SizeRule]:
    """Rules from the input's size or a constant that are right for every demonstration."""
    inputs = [pair.input.shape for pair in task.train] + [grid.shape for grid in task.tests]
    outputs = [pair.output.shape for pair in task.train]
    seen = set()
    for program in _candidates(inputs, outputs):
        shapes = tuple(_apply(program, shape) for shape in inputs)
        fits = shapes[: len(outputs)] == tuple(outputs)
        if fits and all(map(_legal, shapes)) and shapes not in seen:
            seen.add(shapes)
            yield SizeRule(program, shapes)


def _candidates(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> Iterator[Call]:
    (h, w), (th, tw) = inputs[0], outputs[0]
    yield Call("size_times", (INPUT, 1, 1, 1, 1))
    yield Call("size_fixed", (th, tw))
    yield Call("size_times", (INPUT, *_ratio(th, h), *_ratio(tw, w)))
    yield Call("size_turned", (INPUT,))
    yield Call("size_plus", (INPUT, th - h, tw - w))
    yield Call("size_squared", (INPUT,))
    for gap in (1, 2, 3):  # separators between parts
        if h > gap and w > gap:
            down, across = _ratio(th + gap, h + gap), _ratio(tw + gap, w + gap)
            yield Call("size_gapped", (INPUT, gap, *down, *across))


def _apply(program: Call, shape: Shape) -> Shape:
    arguments = [Image(np.zeros(shape, np.uint8)) if arg == INPUT else arg for arg in program.args]
    result: Shape | None = OPS[program.name].function(*arguments)
    return result or (0, 0)


def _ratio(a: int, b: int) -> tuple[int, int]:
    divisor = int(np.gcd(a, b))
    return a // divisor, b // divisor


def _legal(shape: Shape) -> bool:
    return 1 <= shape[0] <= MAX_SIDE and 1 <= shape[1] <= MAX_SIDE


# --- operations -------------------------------------------------------------------------


def _shape(value: Any) -> Shape | None:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    cells: Grid | Any = value.cells if isinstance(value, Image) else value
    return (cells.shape[0], cells.shape[1]) if isinstance(cells, np.ndarray) else None


def _size_of(value: Any) -> Shape | None:
    return _shape(value)


def _times(value: Any, a: int, b: int, c: int, d: int) -> Shape | None:
    shape = _shape(value)
    if shape is None or shape[0] * a % b or shape[1] * c % d:
        return None
    return shape[0] * a // b, shape[1] * c // d


def _plus(value: Any, dy: int, dx: int) -> Shape | None:
    shape = _shape(value)
    return (shape[0] + dy, shape[1] + dx) if shape else None


def _gapped(value: Any, gap: int, a: int, b: int, c: int, d: int) -> Shape | None:
    shape = _shape(value)
    if shape is None:
        return None
    h, w = shape[0] + gap, shape[1] + gap
    return None if h * a % b or w * c % d else (h * a // b - gap, w * c // d - gap)


def _turned(value: Any) -> Shape | None:
    shape = _shape(value)
    return (shape[1], shape[0]) if shape else None


def _squared(value: Any) -> Shape | None:
    shape = _shape(value)
    return (shape[0] ** 2, shape[1] ** 2) if shape else None


OPS: dict[str, Op] = {
    "size_of": Op(_size_of, "the size of an image"),
    "size_fixed": Op(lambda h, w: (h, w), "a constant size"),
    "size_times": Op(_times, "the size times fractions a/b and c/d"),
    "size_plus": Op(_plus, "the size plus constants"),
    "size_gapped": Op(_gapped, "the size of a part between separators"),
    "size_turned": Op(_turned, "height and width exchanged"),
    "size_squared": Op(_squared, "the squares of height and width"),
}
