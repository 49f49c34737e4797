"""`arcsub wheels verify`: the wheels install and import on Kaggle's Python without a network.

Packages of the image are replaced by the same versions from the package index. These versions are
kept beside the profiles and never shipped. torch, torchvision and triton take gigabytes, so only
their names and versions are installed. A package that needs torch is therefore not imported; only
its completeness and its fit with other packages are proven.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from solver.deadline import Deadline
from solver.runtime.run import RunError
from submission.tools import find_python, no_network, run_tool
from submission.wheels.build import (
    FOLDER,
    LOCK,
    PYTHON,
    WHEELS,
    pip_download,
    plain,
    profile_folder,
    read_manifest,
    read_pins,
)

IMAGE = ".image"  # folder beside the profiles, with wheels in place of the image's packages
BY_NAME_ONLY = ("torch", "torchvision", "triton")
SCRIPT = Path(__file__).with_name("importing.py")


def verify(
    profile: str,
    deadline: Deadline,
    say: Callable[[str], None],
    python: Path | None = None,
    root: Path = FOLDER,
) -> dict[str, dict[str, str]]:
    """Install a profile's wheels as the notebook does, without a network, and import them.

    The environment is fresh. Returns the versions of packages that were imported, and of packages
    that only fit. Raises `DataError` for wheels that are missing or damaged, or without a Python or
    a network namespace. Raises `RunError` for wheels that do not work.
    """
    folder = profile_folder(profile, root)
    manifest = read_manifest(folder)
    say(f"hashes    {len(manifest['wheels'])} wheels are those of the manifest")
    interpreter = python or find_python(PYTHON)
    offline = no_network()
    image = {k: v for k, v in manifest["image"].items() if k not in BY_NAME_ONLY}
    _fetch(image, root / IMAGE, deadline)
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "venv"
        run_tool([interpreter, "-m", "venv", fresh], deadline)
        alone = partial(run_tool, deadline=deadline, environment=_alone(), before=offline)
        pip = [fresh / "bin/python", "-m", "pip", "--disable-pip-version-check"]
        install = [*pip, "install", "--no-index", "--no-deps", "--quiet"]
        if image:
            pins = [f"{name}=={version}" for name, version in image.items()]
            alone([*install, "--find-links", root / IMAGE, *pins])
        locked = ["--find-links", folder / WHEELS, "--require-hashes", "-r", folder / LOCK]
        alone([*install, *locked])
        say("installed by their hashes, without a network")
        _stand_in(fresh, {k: v for k, v in manifest["image"].items() if k in BY_NAME_ONLY})
        alone([*pip, "check"])
        say("pip check finds nothing missing and no version that does not fit")
        names = [plain(name) for name in read_pins(folder / LOCK)]
        printed = alone([fresh / "bin/python", SCRIPT, *names])
    report: dict[str, dict[str, str]] = json.loads(printed.splitlines()[-1])
    _tell(report, say)
    return report


def _fetch(image: Mapping[str, str], target: Path, deadline: Deadline) -> None:
    """Download the image's packages, except packages that were downloaded before."""
    here = {tuple(file.name.split("-")[:2]) for file in target.glob("*.whl")}
    known = {(plain(name), version) for name, version in here}
    missing = [f"{k}=={v}" for k, v in image.items() if (k, v) not in known]
    if missing:
        pip_download(missing, target, deadline)


def _stand_in(fresh: Path, packages: Mapping[str, str]) -> None:
    """Write only the names and versions of packages into an environment, without their code."""
    site = next(fresh.glob("lib/python*/site-packages"))
    for name, version in packages.items():
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (folder / "METADATA").write_text(text, "utf-8")


def _tell(report: Mapping[str, Mapping[str, str]], say: Callable[[str], None]) -> None:
    if report["failed"]:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in report["failed"].items())
        raise RunError(f"installed, but not to be imported: {reasons}")
    for what in ("imported", "unproven"):
        listed = ", ".join(f"{name} {version}" for name, version in report[what].items())
        note = "" if what == "imported" else " (they need torch: installed, not imported)"
        if listed:
            say(f"{what:9} {listed}{note}")


def _alone() -> dict[str, str]:
    """An environment in which pip and Python ignore the settings of this machine."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    return {**own, **quiet, "PIP_CONFIG_FILE": os.devnull, "PYTHONNOUSERSITE": "1"}
