"""The guard of a user's files: the kit replaces and deletes only files that the kit made.

A folder is the kit's if the folder is new or empty, or contains the mark that the kit leaves. A
file may be replaced if the file is empty, or of the kind that is to be written.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from solver.data.journal import JOURNAL_FILE as JOURNAL
from solver.data.jsonio import atomic_write
from solver.grid import DataError
from solver.runtime.run import SHARED

RUN_FILES = ("submission.json", "run.log", SHARED)  # written by a run beside its journal
MARK = ".arcsub"  # file with the maker's name, in a folder that the kit made
PAGE_MARK = '<meta name="generator" content="arcsub">'
_HEAD_BYTES = 2000  # bytes at the start of a page, which contain the mark


def claim(folder: Path, maker: str, proof: str = MARK) -> None:
    """Make a folder the kit's, so that `maker` may replace files in the folder.

    `proof` is a file that only this maker leaves, if the proof is not the mark. Raises `DataError`
    for a folder with files that the maker did not make, and for a folder that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _made_by(folder, maker, proof) and any(folder.iterdir()):
            raise DataError(
                f"{folder}: holds files that no {maker} of the kit made; "
                "choose a folder that is new or empty"
            )
        with tempfile.TemporaryFile(dir=folder):
            pass
        if proof == MARK:
            (folder / MARK).write_text(f"{maker}\n", "utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {reason(error)}") from None


def check_new_run(folder: Path) -> None:
    """Raise `DataError` if a new run would replace files that no run of the kit left."""
    if os.path.lexists(folder / JOURNAL):
        return  # the run itself reports the earlier run
    for name in RUN_FILES:
        if os.path.lexists(folder / name):
            raise DataError(f"{folder / name}: not made by a run of the kit; choose another --run")


def delete(folder: Path, name: str) -> None:
    """Delete `name`, if there, inside a folder that the kit made.

    Deletes a link, but not the link's target. Raises `DataError` if the folder is not the kit's, or
    if something cannot be deleted.
    """
    if not (folder / MARK).is_file():
        raise DataError(f"{folder}: is not the kit's, so nothing is deleted there")
    try:
        if (folder / name).is_symlink():
            (folder / name).unlink()
        elif (folder / name).exists():
            _make_deletable(folder / name)
            shutil.rmtree(folder / name)
    except OSError as error:
        raise DataError(f"{folder / name}: cannot be deleted: {reason(error)}") from None


def check_output(path: Path, kind: str, is_ours: Callable[[Path], bool]) -> None:
    """Check before the work that a file can be written, and replaced if there already.

    `kind` names the kind of file, such as "report"; `is_ours` is true for a file of this kind.
    Missing folders above the file are made. Raises `DataError` if the file cannot be written or
    replaced.
    """
    place = _real(path)
    try:
        if place.is_dir():
            raise DataError(f"{path}: cannot be written: it is a folder")
        if place.is_file() and place.stat().st_size and not is_ours(place):
            raise DataError(f"{path}: is no {kind} of the kit and would be lost; name another file")
        if not _is_device(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place.parent):
                pass
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {reason(error)}") from None


def write_output(path: Path, text: str, check: Callable[[Path], None] | None = None) -> None:
    """Write a file as a whole; a link's target is written in place of the link.

    `check` is called with the new file before the old file is replaced. Raises `DataError` if the
    file cannot be written; then the old file remains.
    """
    place = _real(path)
    try:
        if _is_device(place):  # such as /dev/stdout, which cannot be replaced
            place.write_text(text, "utf-8")
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(place, text, check)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {reason(error)}") from None


def is_page(path: Path) -> bool:
    """True if a file is a page that the kit made."""
    with open(path, "rb") as file:
        return PAGE_MARK.encode() in file.read(_HEAD_BYTES)


def reads(reader: Callable[[Path], object]) -> Callable[[Path], bool]:
    """A test for files: true if `reader` takes the file, false if `reader` raises `DataError`."""

    def does(path: Path) -> bool:
        try:
            reader(path)
        except DataError:
            return False
        return True

    return does


def reason(error: OSError) -> str:
    """The reason for an `OSError`, in a few words."""
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))


def _make_deletable(folder: Path) -> None:
    """Make folders writable, since copies of read-only folders cannot be emptied."""
    for place, _, _ in os.walk(folder):
        os.chmod(place, stat.S_IRWXU)


def _made_by(folder: Path, maker: str, proof: str) -> bool:
    if proof != MARK:
        return (folder / proof).is_file()
    try:
        return (folder / MARK).read_text("utf-8").strip() == maker
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _real(path: Path) -> Path:
    """A path with all links followed. Raises `DataError` for a path that no system takes."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:  # ValueError: a null byte
        raise DataError(f"{str(path)!r}: cannot be written: {error}") from None


def _is_device(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
