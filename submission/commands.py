"""The common parts of `arcsub`'s commands: their exit codes and the extras that they need."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from solver.grid import DataError
from solver.runtime.command import exit_code
from solver.runtime.run import RunError

CLOSED_PIPE = 128 + signal.SIGPIPE  # a shell's code for a program that a closed pipe ended


_OUTPUT_FAILS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG)


def finish(action: Callable[[], None]) -> None:
    """Run a command's action and end with its exit code."""
    raise typer.Exit(exit_code("arcsub", lambda: _in_one_line(action)))


def end_quietly(run: Callable[[], None]) -> None:
    """Run the program and end it without a traceback if output fails.

    A closed pipe ends the program silently with `CLOSED_PIPE`. Another `OSError`, as of a full
    device, ends the program with code 1 and one line on standard error.
    """
    if sys.stdout is None:  # closed before the start
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        try:
            run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        sys.exit(CLOSED_PIPE)
    except OSError as error:
        _discard_output()
        print(f"arcsub: standard output: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def _in_one_line(action: Callable[[], None]) -> None:
    """Run an action and flush its output. Raises `RunError` for an `OSError`, as one line.

    A `BrokenPipeError` is passed on.
    """
    try:
        action()
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        of_output = error.filename is None and error.errno in _OUTPUT_FAILS
        if of_output:
            _discard_output()
        place = "standard output" if of_output else error.filename or "the system"
        raise RunError(f"{place}: {error.strerror or error}") from error


def _discard_output() -> None:
    """Redirect standard output to nowhere, so that the flush at exit cannot fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Surround imports that need an extra of the kit. Raises `DataError` if a module is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        wanted = f"pip install -e '.[{name}]'"
        raise DataError(f"this needs {error.name}, which is not here: {wanted}") from None
