"""Programs as values: expression trees that print, parse back and run on any grid.

A program is a `Call`: a name and arguments. Arguments are calls, integers, strings or nested
tuples of them. The leaf `input` is the grid that the program runs on. Everything that a search
has learned (colour maps, decision trees) is in the arguments. The printed text is therefore the
whole program: `parse(str(call)) == call`, and both calls give the same grids.

Costs: a `Solution.cost` is a description length in bits. `description_length` counts
- 8 bits for a name, which is one of about 256;
- 4 bits for an integer or a short string, which is one of about 16;
- 1 bit for each entry of a tuple ("there is another entry") in addition to the entry's own bits.

A sub-engine with a shorter code for its parameters may count the bits of that code instead. If
programs of a sub-engine are right less often than their length says, it adds a penalty.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solver.grid import Grid, freeze, is_grid

NAME_BITS = 8.0
LITERAL_BITS = 4.0
ENTRY_BITS = 1.0


@dataclass(frozen=True)
class Call:
    """An operation and its arguments: calls, integers, strings, or nested tuples of them."""

    name: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self == INPUT:
            return self.name
        return f"{self.name}({', '.join(map(_text, self.args))})"

    def calls(self) -> Iterator[Call]:
        """Every call in the tree, arguments before the call that uses them."""
        yield from _calls(self)


INPUT = Call("input")


@dataclass(frozen=True)
class Solution:
    """A program that reproduces every demonstration, with its outputs for the test inputs.

    outputs: one grid for each test input.
    cost: description length in bits.
    """

    program: Call
    outputs: tuple[Grid, ...]
    cost: float


@dataclass(frozen=True, eq=False)
class Image:
    """Cells with a place, such as an object, a part or a layer. `y` and `x` may be negative."""

    cells: Grid  # (h, w)
    y: int = 0
    x: int = 0


@dataclass(frozen=True)
class Op:
    """An operation: a pure function of evaluated arguments, and its meaning in one line.

    Arguments are grids, `Image`s, tuples, integers and strings. The function returns None if it
    does not apply. The function never raises for arguments of the right types.
    """

    function: Callable[..., Any]
    meaning: str


def position(words: Sequence[str], word: str | int) -> int:
    """The position of a mode's word. Raises `ValueError` for a word that is not in the list.

    Journals of versions before 0.3 write the position itself.
    """
    return word if isinstance(word, int) else words.index(word)


def parse(text: str) -> Call:
    """The program that prints as `text`. Raises `ValueError` for any other text."""
    try:
        program = _arg(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"no program: {error}") from None
    if isinstance(program, Call):
        return program
    raise ValueError("no program: a bare literal")


def description_length(arg: Any) -> float:
    """Bits of a program or argument by this module's convention; the input itself costs none."""
    if isinstance(arg, Call):
        return NAME_BITS + sum(map(description_length, arg.args)) if arg != INPUT else 0.0
    if isinstance(arg, tuple):
        return sum(ENTRY_BITS + description_length(entry) for entry in arg)
    return LITERAL_BITS


def substitute(arg: Any, leaf: Call) -> Any:
    """A program or an argument of a program, with `leaf` instead of the input."""
    if arg == INPUT:
        return leaf
    if isinstance(arg, Call):
        return Call(arg.name, tuple(substitute(entry, leaf) for entry in arg.args))
    if isinstance(arg, tuple):
        return tuple(substitute(entry, leaf) for entry in arg)
    return arg


def as_output(value: Any) -> Grid | None:
    """The legal output grid that a value represents; None if the value is not a legal grid.

    The value may be cells, an `Image`, or a tuple of exactly one of them.
    """
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    cells = value.cells if isinstance(value, Image) else value
    if not isinstance(cells, np.ndarray) or cells.ndim != 2 or cells.size == 0:
        return None
    return freeze(cells) if is_grid(cells) else None


def _calls(arg: Any) -> Iterator[Call]:
    if isinstance(arg, Call):
        for entry in arg.args:
            yield from _calls(entry)
        yield arg
    elif isinstance(arg, tuple):
        for entry in arg:
            yield from _calls(entry)


def _text(arg: Any) -> str:
    if isinstance(arg, tuple):
        inner = ", ".join(map(_text, arg))
        return f"({inner},)" if len(arg) == 1 else f"({inner})"
    return str(arg) if isinstance(arg, Call) else repr(arg)


def _arg(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return Call(name, tuple(map(_arg, args)))
        case ast.Name(id="input"):
            return INPUT
        case ast.Tuple(elts=entries):
            return tuple(map(_arg, entries))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return -value
        case ast.Constant(value=value) if type(value) in (int, str):
            return value
    raise ValueError(f"no program: {ast.dump(node)[:60]}")
