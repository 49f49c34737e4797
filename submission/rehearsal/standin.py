"""A stand-in for Kaggle's image: an environment with the image's packages, without the kit."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from solver.deadline import Deadline
from solver.grid import DataError
from submission.owned import reason
from submission.tools import find_python, run_tool, tool_environment
from submission.wheels.build import CONSTRAINTS, FOLDER, PYTHON, read_pins

# The image's packages that the solver and the notebook use, in the versions of `CONSTRAINTS`.
# torch is the image's build, which computes on a processor too.
IMAGE = (
    *("numba", "numpy", "pandas", "safetensors", "transformers"),
    *("accelerate", "peft", "torch", "torchao"),
)
RUNNER = ("ipykernel", "nbclient", "nbformat")  # the image runs a notebook in another way
ROOM = "8 GB"
FOREIGN = ("solver", "submission")  # packages that must come from the notebook only
STANDINS = KIT, KAGGLE = "kit", "image"
VENV_S = 600.0  # time to make an empty environment on a slow disk


@dataclass(frozen=True)
class Base:
    """The interpreter and the packages folder of a stand-in, and their description."""

    python: Path
    packages: Path
    about: str


def base(kind: str, say: Callable[[str], None]) -> Base:
    """The packages of the kit's own environment (`kit`), or of Kaggle's image (`image`).

    The image's packages are installed once, into the user's cache. Raises `DataError` for another
    kind, and for packages that cannot be installed.
    """
    if kind == KIT:
        version = ".".join(map(str, sys.version_info[:3]))
        about = f"Python {version} and the kit's locked packages"
        return Base(Path(sys.executable), Path(sysconfig.get_path("purelib")), about)
    if kind != KAGGLE:
        raise DataError(f"--standin {kind}: there are {KIT} and {KAGGLE}")
    return _image(say)


def cache_folder() -> Path:
    """The folder for expensive files that later rehearsals use again.

    Raises `DataError` if the user has no home folder, or if the folder cannot be made.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise DataError(
            "this user has no home folder to keep compiled kernels in: set HOME or XDG_CACHE_HOME"
        ) from None
    folder = Path(home) / "arc-submission-kit"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written: {reason(error)}; set XDG_CACHE_HOME to a folder that can"
        ) from None
    return folder


def make(base: Base, folder: Path) -> Path:
    """Make a fresh environment in `folder`, which must be new. Returns the interpreter.

    The environment sees the base's packages and can take more wheels. The base's folder is only put
    on the path, so links in the folder (an editable install) do not count. Raises `DataError` if
    the kit could be imported from the environment.
    """
    run_tool([base.python, "-m", "venv", "--without-pip", folder], Deadline.after(VENV_S))
    python = folder / "bin" / "python"
    (packages(folder) / "image.pth").write_text(f"{base.packages}\n", "utf-8")
    for name in FOREIGN:
        looked = (
            "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
        )
        found = subprocess.run([python, "-c", looked, name], cwd="/", env={}, check=False)
        if found.returncode == 0:
            raise DataError(f"{base.packages}: holds {name}; the notebook must bring its own")
    return python


def packages(folder: Path) -> Path:
    """The folder of an environment's own packages."""
    (found,) = folder.glob("lib/python3*/site-packages")
    return found


def _image(say: Callable[[str], None]) -> Base:
    """The packages of Kaggle's image on Python 3.12, in the image's versions.

    Raises `DataError` without Python 3.12, and for packages that cannot be installed.
    """
    try:
        python = find_python(PYTHON)
    except DataError:
        raise DataError(
            f"--standin {KAGGLE}: needs Python {PYTHON} on the PATH; or --standin {KIT}"
        ) from None
    constraints = FOLDER / CONSTRAINTS
    asked = constraints.read_bytes() + repr((IMAGE, RUNNER)).encode()
    folder = cache_folder() / f"image-{hashlib.sha256(asked).hexdigest()[:12]}"
    ready = folder / ".ready"
    if not ready.exists():
        say(f"installing the packages of Kaggle's image into {folder}, once: {ROOM}")
        _install(python, folder, constraints)
        ready.touch()
    pins = read_pins(constraints)
    versions = ", ".join(f"{name} {pins[name]}" for name in IMAGE)
    about = f"Python {PYTHON} and the packages of Kaggle's image: {versions}"
    return Base(folder / "bin" / "python", packages(folder), about)


def _install(python: Path, folder: Path, constraints: Path) -> None:
    """Make the environment. Raises `DataError` if pip cannot install all packages."""
    shutil.rmtree(folder, ignore_errors=True)
    run_tool([python, "-m", "venv", folder], Deadline.after(VENV_S))
    pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "--retries", "1", "install"]
    pip += ["-qq", "--constraint", str(constraints)]
    command = [*pip, *IMAGE, *RUNNER]
    if subprocess.run(command, env=tool_environment(), check=False).returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(f"--standin {KAGGLE}: pip found not all of {', '.join((*IMAGE, *RUNNER))}")
