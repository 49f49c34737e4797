"""A disk that takes long, for every Python process of a rehearsal: copied to `sitecustomize.py`."""

import os
import time

_SECONDS = 0.5
_fsync, _replace = os.fsync, os.replace


def _slow_fsync(fd: int) -> None:
    time.sleep(_SECONDS)
    _fsync(fd)


def _slow_replace(source: str, target: str, **places: int) -> None:
    time.sleep(_SECONDS)
    _replace(source, target, **places)


os.fsync, os.replace = _slow_fsync, _slow_replace  # type: ignore[assignment]
