"""The end of a process together with its parent, even if a signal kills the parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_libc = ctypes.CDLL(None, use_errno=True)
_SET_PARENT_DEATH_SIGNAL = 1


def die_with(parent: int) -> None:
    """Let this process end when its parent ends; end it now if the parent has ended.

    Only Linux can watch the parent. Raises `OSError` if the kernel refuses.
    """
    if sys.platform == "linux" and _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:
        os._exit(1)
