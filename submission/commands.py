"""What the commands of `arcsub` share: how they end, and what they need installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from solver.command import exit_code
from solver.grid import DataError


def finish(action: Callable[[], None]) -> None:
    """Run a command's action and end with its exit code."""
    raise typer.Exit(exit_code("arcsub", action))


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around imports that need an extra of the kit, which an installation may lack."""
    try:
        yield
    except ModuleNotFoundError as error:
        wanted = f"pip install -e '.[{name}]'"
        raise DataError(f"this needs {error.name}, which is not here: {wanted}") from None
