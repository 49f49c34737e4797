"""Runs of other programs (uv, pip, a fresh Python), within a deadline and, if wanted, offline."""

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

TAIL_LINES = 12  # of a failed program's output, for the error message
# Settings of pip that install packages in another place, or nowhere.
_ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_DRY_RUN")


class ToolError(RunError):
    """A program that failed, that could not be started, or that the deadline ended."""


def run_tool(
    command: Sequence[object],
    deadline: Deadline,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> str:
    """Run a program in `folder`. Returns the program's standard output.

    `before`: a command that starts the program, such as `no_network()`. `environment`: see
    `tool_environment`. Raises `ToolError` if the program fails, with the end of its output. Raises
    `ToolError` also if the program cannot be started, or runs past the deadline.
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
    """The environment of a program that the kit runs: from `given`, or else from this process.

    Python imports nothing from the current folder. Settings of pip for another place are left out.
    """
    kept = dict(os.environ if given is None else given)
    return {k: v for k, v in kept.items() if k not in _ELSEWHERE} | {"PYTHONSAFEPATH": "1"}


def kit_python(module: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs a module of the kit, and the command's environment.

    Nothing is imported from the current folder, whatever files it contains.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [str(ROOT), *filter(os.path.isabs, given)]
    environment = tool_environment() | {"PYTHONPATH": os.pathsep.join(path)}
    return [sys.executable, "-P", "-m", module], environment


def no_network() -> list[str]:
    """The words before a command that let the command run without a network.

    Raises `DataError` if this user may not make a network namespace.
    """
    # The only network device of a new namespace is a loopback that is down.
    return namespace(
        ["--net"],
        "no network namespace can be made here (unshare --net): "
        "without one nothing proves that the wheels are complete",
    )


def namespace(kinds: Sequence[str], refusal: str) -> list[str]:
    """The words before a command that give the command new namespaces of these kinds.

    The namespaces are made directly, as root, or else through a user namespace. Raises `DataError`
    with the text `refusal` if this user may do neither.
    """
    for users in ([], ["--user", "--map-root-user"]):
        prefix = ["unshare", *users, *kinds]
        with suppress(OSError):
            if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
                return prefix
    raise DataError(refusal)


def find_python(version: str) -> Path:
    """An interpreter of a version such as 3.12: the running interpreter, or another on the machine.

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
