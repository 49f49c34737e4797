"""Lines for whoever started a command, who may have stopped listening.

A closed pipe, a full device or a terminal that is gone costs the lines, never the run.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def say(text: str, *, error: bool = False) -> None:
    """Print to standard output, or to standard error. A stream that cannot be written is silent
    from then on; characters that it does not know are written as escapes."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # the command was started without it
        return
    try:
        encoding = stream.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except (OSError, ValueError):  # ValueError: it is closed
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Let what waits in a stream, and what is written to it later, go nowhere: the interpreter
    would otherwise fail on it at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def hold_standard_streams() -> None:
    """Open descriptors 0 to 2 where the command was started without: the run's own files would
    otherwise get these numbers, and with them whatever a library prints."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
