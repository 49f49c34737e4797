"""Lines for the user who started a command and may have stopped listening.

A closed pipe, a full device or a terminal that is gone loses lines, but never ends the run.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def say(text: str, *, error: bool = False) -> None:
    """Print to standard output, or to standard error.

    A stream that cannot be written is silent from then on. Characters that the stream's encoding
    lacks are written as escapes.
    """
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # the command was started without it
        return
    try:
        encoding = stream.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except (OSError, ValueError):  # ValueError: it is closed
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Send the waiting and the later output of a stream nowhere.

    Otherwise the interpreter would fail on this output when it ends.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def hold_standard_streams() -> None:
    """Open those of the descriptors 0 to 2 that the command was started without.

    Otherwise the run's own files would get these numbers, and a library would print into them.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
