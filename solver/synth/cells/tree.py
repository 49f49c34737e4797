"""Cell rules as values: nested tuples that describe the colour of a cell.

    rule  = ("const", 3) | ("copy", feature) | ("if", test, rule, rule)
            | ("map", feature, ((value, colour), ...))      other values keep their colour
    test  = (feature, "==" or "<=" or "!=" or ">", number or feature)
            | ("and", test, test, ...)

`paint` evaluates a rule on the features of a grid.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solver.synth.features.table import INDEX, Features

Rule = tuple[Any, ...]
NEGATED = {"==": "!=", "<=": ">"}
_COMPARE = {"==": operator.eq, "!=": operator.ne, "<=": operator.le, ">": operator.gt}


def negate(test: Rule) -> Rule:
    """The opposite of a test with `==` or `<=`."""
    return (test[0], NEGATED[test[1]], test[2])


def paint(rule: Rule, table: Features) -> NDArray[np.uint8]:
    """The colour of every cell, (N,); more than 9 if the rule copies a colour that is absent.

    Raises `ValueError` if the rule does not have the form in the module's docstring.
    """
    match rule:
        case ("const", int(color)):
            return np.full(table.shape[1], color, dtype=np.uint8)
        case ("copy", str(name)) if name in INDEX:
            row: NDArray[np.uint8] = table[INDEX[name]]
            return row
        case ("map", str(name), tuple(entries)) if name in INDEX:
            colors: NDArray[np.uint8] = table[INDEX["self"]].copy()
            for value, color in entries:
                colors[table[INDEX[name]] == value] = color
            return colors
        case ("if", tuple(test), tuple(yes), tuple(no)):
            return np.where(holds(test, table), paint(yes, table), paint(no, table))
    raise ValueError(f"no cell rule: {str(rule)[:60]}")


def holds(test: Rule, table: Features) -> NDArray[np.bool_]:
    """True for every cell where a test holds, (N,).

    Raises `ValueError` if the test does not have the form in the module's docstring.
    """
    match test:
        case ("and", *parts):
            both: NDArray[np.bool_] = np.all([holds(part, table) for part in parts], axis=0)
            return both
        case (str(name), str(sign), int() | str() as other) if name in INDEX:
            left = table[INDEX[name]]
            if isinstance(other, str) and other not in INDEX:
                raise ValueError(f"no feature {other!r}")
            right = table[INDEX[other]] if isinstance(other, str) else other
            if sign in _COMPARE:
                where: NDArray[np.bool_] = _COMPARE[sign](left, right)
                return where
    raise ValueError(f"no test: {str(test)[:60]}")
