"""Other programs run for us (uv, pip, a fresh Python), within a deadline and without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from solver.deadline import Deadline
from solver.grid import DataError
from solver.kit import ROOT
from solver.runtime.run import RunError

TAIL_LINES = 12  # of what a failed program printed
# Settings of pip that put packages elsewhere than where they are asked for.
_ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_DRY_RUN")


class ToolError(RunError):
    """A program that failed, or that the deadline ended."""


def run_tool(
    command: Sequence[object],
    deadline: Deadline,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> str:
    """Run a program and return its output. `before` are words before it, such as `no_network`.

    Raises `ToolError` with the end of the output if the program fails, and at the deadline.
    """
    name = Path(str(command[0])).name
    try:
        done = subprocess.run(
            [*before, *map(str, command)],
            cwd=folder,
            env=tool_environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=max(0.1, deadline.left()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} did not end in time") from None
    except OSError as error:
        raise ToolError(f"{name} cannot be started: {error.strerror}") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ToolError(f"{name} failed: " + "\n".join(said[-TAIL_LINES:]))
    return done.stdout


def tool_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program that is run for us: this one's if none is given.

    No Python imports from the current folder, and pip installs where it is told to.
    """
    kept = dict(os.environ if given is None else given)
    return {k: v for k, v in kept.items() if k not in _ELSEWHERE} | {"PYTHONSAFEPATH": "1"}


def kit_python(module: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs a module of the kit, and its environment. Nothing is imported from
    the current folder, whatever files are there."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [str(ROOT), *filter(os.path.isabs, given)]
    environment = tool_environment() | {"PYTHONPATH": os.pathsep.join(path)}
    return [sys.executable, "-P", "-m", module], environment


def no_network() -> list[str]:
    """Words before a command that let the command run without a network.

    Raises `DataError` if this user may not make such a namespace.
    """
    # A new namespace has no network device but a loopback that is down.
    return namespace(
        ["--net"],
        "no network namespace can be made here (unshare --net): "
        "without one nothing proves that the wheels are complete",
    )


def namespace(kinds: Sequence[str], refusal: str) -> list[str]:
    """Words before a command that give the command private namespaces of these kinds.

    The namespaces are made as root or by a user namespace. Raises `DataError` with the refusal if
    this user may make neither.
    """
    for users in ([], ["--user", "--map-root-user"]):
        prefix = ["unshare", *users, *kinds]
        with suppress(OSError):
            if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
                return prefix
    raise DataError(refusal)


def find_python(version: str) -> Path:
    """An interpreter of this version, such as 3.12: the running one, or one found on the machine.

    Raises `DataError` if there is none.
    """
    for candidate in _pythons(version):
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        command = [candidate, "-I", "-c", asked]
        with suppress(OSError):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                return Path(candidate)
    raise DataError(f"no Python {version} was found; name one by --python")


def _pythons(version: str) -> Iterator[str]:
    yield sys.executable
    if found := shutil.which(f"python{version}"):
        yield found
    root = Path(os.path.expanduser(os.environ.get("PYENV_ROOT", "~/.pyenv")))
    yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/python")))
