"""The reader of all settings in TOML: profiles, engines' settings, `kaggle.toml`.

A dataclass describes a table. Its fields are the settings, and their annotations are the allowed
values, as in `share: Annotated[float, Range(above=0)]`. Any other value is refused in one line
that names file, table and key.
"""

from __future__ import annotations

import difflib
import functools
import re
import reprlib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from solver.grid import DataError

LARGEST = 1e9  # no number that a user may set is larger
DEPTH = 20  # of tables and lists within each other, in a table without a dataclass
INTEGER_BITS = 64

Filled = TypeVar("Filled")


# --- what a value may be --------------------------------------------------------------


@dataclass(frozen=True)
class Range:
    """A number within bounds; infinity is allowed only where `endless` is true."""

    above: float = float("-inf")
    least: float = -LARGEST
    most: float = LARGEST
    below: float = float("inf")
    endless: bool = False

    def complaint(self, value: float) -> str:
        """The fault of a number; empty without a fault."""
        if self.endless and value == float("inf"):
            return ""
        bounds = (
            (value == value, "a number"),  # nan is not
            (value > self.above, f"above {self.above:g}"),
            (value >= self.least, f"at least {self.least:g}"),
            (value <= self.most, f"at most {self.most:g}"),
            (value < self.below, f"below {self.below:g}"),
        )
        broken = [words for holds, words in bounds if not holds]
        return f"must be {broken[0]}, is {shown(value)}" if broken else ""


@dataclass(frozen=True)
class OneOf:
    """A name from a table of names."""

    names: tuple[str, ...]

    def complaint(self, value: str) -> str:
        """The fault of a name; empty without a fault."""
        return (
            ""
            if value in self.names
            else f"there is no {shown(value)}; {nearest(value, self.names)}"
        )


@dataclass(frozen=True)
class Text:
    """A text of `least` to `most` characters that matches `pattern`, if there is one.

    `form` describes the pattern in words.
    """

    least: int = 1
    most: int = 200
    pattern: str = ""
    form: str = ""

    def complaint(self, value: str) -> str:
        """The fault of a text; empty without a fault."""
        if not self.least <= len(value) <= self.most:
            return f"must have {self.least} to {self.most} characters, has {len(value)}"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"must be {self.form}, is {shown(value)}"
        return ""


@dataclass(frozen=True)
class NotEmpty:
    """A list with at least one item."""

    def complaint(self, value: Collection[Any]) -> str:
        """The fault of a list; empty without a fault."""
        return "" if value else "must not be empty"


@dataclass(frozen=True)
class ByName:
    """Tables as `[datasets.NAME]`: the name is the first field of each."""

    def complaint(self, value: Collection[Any]) -> str:
        """Nothing: reading the tables finds all faults."""
        return ""


# --- reading --------------------------------------------------------------------------


def read_toml(file: Path | Traversable, name: str, hint: str = "") -> dict[str, Any]:
    """The tables of a file.

    Errors call the file `name`; `hint` helps users without such a file. Raises `DataError`.
    """
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}{hint}") from None
    except RecursionError:
        raise DataError(f"{name}: not TOML: lists or tables too deep in each other") from None
    except ValueError as error:
        raise DataError(f"{name}: not TOML: {error}") from None


def fill(kind: type[Filled], table: Any, at: str = "", **given: Any) -> Filled:
    """A dataclass from a table that a user wrote.

    `at` is the table's place, for errors. `given` are the fields that the user may not set.
    Raises `DataError` for an unknown key, a missing key, or a value that is not allowed.
    """
    _be(isinstance(table, Mapping), "a table", table, at)
    about: Any = kind
    known = {field.name: field for field in fields(about) if field.name not in given}
    for key in table:
        if key not in known:
            raise DataError(f"{_in(at, key)}: no such setting; {nearest(key, known)}")
    for key, field in known.items():
        if key not in table and field.default is field.default_factory is MISSING:
            raise DataError(f"{_in(at, key)}: is missing")
    hints = _hints(about)
    read = {key: _value(hints[key], value, _in(at, key)) for key, value in table.items()}
    return kind(**given, **read)


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that was probably meant, or all known names, in words."""
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60

    def repr_int(self, x: int, level: int) -> str:
        """An integer of any size: Python itself prints none of over 4,300 digits."""
        return str(x) if x.bit_length() <= INTEGER_BITS else f"a number of {x.bit_length()} bits"


def shown(value: Any) -> str:
    """A value as an error shows it, in one short line."""
    return _Short().repr(value)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _in(at: str, key: str) -> str:
    plain = key.isascii() and key.replace("-", "_").isidentifier()
    name = key if plain else shown(key)
    return f"{at}: {name}" if at else name


def _be(right: bool, what: str, value: Any, at: str) -> None:
    if not right:
        raise DataError(f"{at}: must be {what}, is {shown(value)}" if at else f"must be {what}")


def _value(hint: Any, value: Any, at: str) -> Any:
    """A value of the type in a field's annotation, checked by the annotation's other parts."""
    checks = getattr(hint, "__metadata__", ())
    kind = hint.__origin__ if checks else hint
    if get_origin(kind) is tuple:
        read = _named if ByName() in checks else _listed
        value = read(get_args(kind)[0], value, at)
    else:
        value = _plain(kind, value, at)
    for check in checks or ([Range()] if kind in (int, float) else []):
        if complaint := check.complaint(value):
            raise DataError(f"{at}: {complaint}")
    return float(value) if kind is float else value


def _plain(kind: Any, value: Any, at: str) -> Any:
    if kind is bool:
        _be(type(value) is bool, "true or false", value, at)
    elif kind is int:
        _be(type(value) is int, "a whole number", value, at)
    elif kind is float:
        _be(type(value) in (int, float), "a number", value, at)
    elif kind in (str, Path):
        legal = isinstance(value, str) and not any(ord(letter) < ord(" ") for letter in value)
        _be(legal, "a text", value, at)
        return kind(value)
    else:
        _be(isinstance(value, Mapping), "a table", value, at)
        _be(_is_json(value, DEPTH), "made of texts, numbers, lists and tables", value, at)
    return value


def _listed(kind: Any, value: Any, at: str) -> tuple[Any, ...]:
    of_tables = is_dataclass(kind)
    what = f"a list of tables, each under [[{at.rpartition(' ')[2]}]]" if of_tables else "a list"
    _be(isinstance(value, list | tuple), what, value, at)
    if of_tables:
        first = fields(kind)[0].name
        return tuple(fill(kind, item, place(at, i, item, first)) for i, item in enumerate(value))
    return tuple(_value(kind, item, f"{at}[{i}]") for i, item in enumerate(value))


def place(at: str, i: int, table: Any, first: str) -> str:
    """The name of a table of a list in errors: its number, and its first setting if legible."""
    name = table.get(first) if isinstance(table, Mapping) else None
    good = isinstance(name, str) and name.isprintable() and 0 < len(name) <= 60
    return f"{at}[{i}] ({name})" if good else f"{at}[{i}]"


def _named(kind: Any, value: Any, at: str) -> tuple[Any, ...]:
    _be(isinstance(value, Mapping), f"tables such as [{at.rpartition(' ')[2]}.NAME]", value, at)
    first = fields(kind)[0].name
    read = []
    for name, table in value.items():
        inside = f"{at}.{name}" if name.isprintable() else f"{at}.{shown(name)}"
        _value(_hints(kind)[first], name, inside)
        read.append(fill(kind, table, inside, **{first: name}))
    return tuple(read)


def _is_json(value: Any, depth: int) -> bool:
    """True for a value that a journal can hold: a journal records the settings of its run."""
    if isinstance(value, Mapping):
        return depth > 0 and all(_is_json(item, depth - 1) for item in value.values())
    if isinstance(value, list | tuple):
        return depth > 0 and all(_is_json(item, depth - 1) for item in value)
    if type(value) is int:
        return value.bit_length() <= INTEGER_BITS
    return isinstance(value, str | bool | float)
