"""The installation of attached wheels without a network: only the locked files."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from solver.deadline import Deadline
from solver.kit import sha256
from solver.launch import follow
from solver.notebook.mounts import INPUT, find

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NAME = re.compile(r"^([A-Za-z0-9][\w.-]*)==", re.MULTILINE)


def install(
    source: str,
    lock: Path,
    deadline: Deadline,
    say: Callable[[str], None] = print,
    root: Path = INPUT,
) -> bool:
    """Install the packages in `lock` from the wheels of a Kaggle source; True if all went well.

    pip compares every file with its hash in the lock. Faults are printed; the preflight then finds
    out what works without the missing packages.
    """
    mount = find(source, "*.whl", root)
    if mount is None:
        say(f"no wheels: {source} is not mounted")
        return False
    say(f"wheels    {mount}")
    wheels = sorted(mount.path.rglob("*.whl"))
    locked = set(_HASH.findall(lock.read_text("utf-8")))
    foreign = [wheel.name for wheel in wheels if sha256(wheel) not in locked]
    say(f"          {len(wheels) - len(foreign)} of {len(wheels)} files are in the lock")
    for name in foreign:
        say(f"          not in the lock, or damaged: {name}")
    links = [f"--find-links={folder}" for folder in sorted({wheel.parent for wheel in wheels})]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    options = ["--no-index", "--no-deps", "--require-hashes", "--quiet", "-r", str(lock)]
    if follow([*pip, "install", *links, *options], deadline, say=say) != 0:
        say("the wheels are not installed")
        return False
    _complain(pip, lock, deadline, say)
    return True


def _complain(pip: list[str], lock: Path, deadline: Deadline, say: Callable[[str], None]) -> None:
    """Pass on the lines of `pip check` about the packages just installed."""
    names = {_plain(name) for name in _NAME.findall(lock.read_text("utf-8"))}
    words: list[str] = []
    follow([*pip, "check"], deadline, say=words.append)
    for line in words:
        if _plain(line.partition(" ")[0]) in names:
            say(f"          {line}")
    say(f"          {len(names)} packages installed")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
