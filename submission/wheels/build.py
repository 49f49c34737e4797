"""`arcsub wheels`: the packages that Kaggle's image lacks, locked, downloaded, proven complete.

A profile is a folder of `offline_wheels/`. `requirements.in` is written by hand; `build` writes
`lock.txt`, `manifest.json` and the wheels beside. The folder is uploaded, and the notebook installs
from there with `pip install --no-index --no-deps --require-hashes -r lock.txt`.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver import kit
from solver.data.jsonio import atomic_write, load_json
from solver.deadline import Deadline
from solver.grid import DataError
from solver.kit import ROOT
from submission.tools import ToolError, run_tool

FOLDER = ROOT / "offline_wheels"
CONSTRAINTS, REQUIREMENTS = "constraints-kaggle.txt", "requirements.in"
LOCK, MANIFEST, WHEELS = "lock.txt", "manifest.json", "wheels"
PYTHON = "3.12"
PLATFORM = "x86_64-manylinux_2_28"  # target of the resolver
# pip takes a tag literally, without the tags below, so every tag has to be named.
TAGS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(35, 4, -1)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"),
)
_ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: *\\\n +--hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)
_PIN = re.compile(r"^([\w.-]+)==([\w.+!]+)", re.MULTILINE)
_NAMED = re.compile(r"^([A-Za-z0-9][\w.-]*)", re.MULTILINE)
_INCLUDED = re.compile(r"^-r +(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """A package of a lock; `text` is the package's entry with its hashes."""

    name: str
    version: str
    text: str


def plain(name: str) -> str:
    """A package's name in the form in which package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def profile_folder(profile: str, root: Path = FOLDER) -> Path:
    """A profile's folder. Raises `DataError` if no profile has this name."""
    a_name = Path(profile).name == profile != ".."
    if not a_name or not (root / profile / REQUIREMENTS).is_file():
        known = ", ".join(sorted(path.parent.name for path in root.glob(f"*/{REQUIREMENTS}")))
        raise DataError(f"{profile!r} is no profile of {root}; there are {known or 'none'}")
    return root / profile


def build(
    profile: str, deadline: Deadline, say: Callable[[str], None], root: Path = FOLDER
) -> Path:
    """Lock, download and list a profile's wheels. Returns the profile's folder.

    Versions of an existing lock stay as long as they fit. Nothing is replaced before all files are
    downloaded. Raises `DataError` for requirements that contradict each other or the image. Raises
    `DataError` also for files among the wheels that no build made. Raises `ToolError` if uv or pip
    fails.
    """
    folder = profile_folder(profile, root)
    _check_old(folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        shipped, image = resolve(folder, Path(scratch), deadline)
        lock = "".join(f"{entry.text}\n" for entry in shipped)
        (Path(scratch) / LOCK).write_text(lock, "utf-8")
        say(f"locked    {len(shipped)} packages; {len(image)} are the image's")
        wheels = download(Path(scratch) / LOCK, Path(scratch) / WHEELS, deadline)
        atomic_write(folder / LOCK, lock)  # first: the lock proves which wheels a build made
        shutil.rmtree(folder / WHEELS, ignore_errors=True)
        wheels.rename(folder / WHEELS)
    manifest = describe(folder, {entry.name: entry.version for entry in image})
    atomic_write(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    size = sum(wheel["bytes"] for wheel in manifest["wheels"].values())
    say(f"built     {folder}: {len(manifest['wheels'])} wheels, {size / 1e6:.1f} MB")
    return folder


def _check_old(folder: Path) -> None:
    """Raise `DataError` if a build would delete a file that no build made."""
    place = folder / WHEELS
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise DataError(f"{place}: is no folder that a build made; move it away")
    lock = _text(folder / LOCK) if (folder / LOCK).is_file() else ""
    known = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock))
    listed = load_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    made = listed.get("wheels", {}) if isinstance(listed, dict) else {}
    for file in sorted(place.rglob("*")):
        if file.name not in made and not (file.is_file() and sha256(file) in known):
            raise DataError(f"{file}: no build made it, and a build would delete it; move it away")


def resolve(
    folder: Path, scratch: Path, deadline: Deadline
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """The packages that a profile needs on Kaggle's Python: those to ship, and those of the image.

    The image's versions bind, except for packages that the requirements name themselves.
    """
    pins = read_pins(folder.parent / CONSTRAINTS)
    own = named(folder / REQUIREMENTS)
    kept = {name: version for name, version in pins.items() if name not in own}
    constraints, output = scratch / "constraints.txt", scratch / "resolved.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in kept.items()))
    if (folder / LOCK).is_file():
        shutil.copyfile(folder / LOCK, output)  # uv keeps versions found in the output file
    options = ["--quiet", "--no-python-downloads", "--generate-hashes", "--only-binary", ":all:"]
    texts = ["--no-header", "--no-annotate", "--no-emit-index-url"]
    target = ["--python-platform", PLATFORM, "--python-version", PYTHON]
    files = [f"{folder.name}/{REQUIREMENTS}", "--constraints", constraints, "--output-file", output]
    try:
        uv = [_uv(), "pip", "compile", *options, *texts, *target, *files]
        run_tool(uv, deadline, folder.parent)
    except ToolError as error:
        if "No solution found" in str(error):
            raise DataError(f"{folder / REQUIREMENTS}: {error}") from None
        raise
    entries = _entries(output.read_text("utf-8"))
    shipped = tuple(entry for entry in entries if entry.name not in kept)
    return shipped, tuple(entry for entry in entries if entry.name in kept)


def _entries(text: str) -> tuple[Entry, ...]:
    found = tuple(Entry(plain(m[1]), m[2], m[0]) for m in _ENTRY.finditer(text))
    lines = re.findall(r"^[^\s#].*", text, re.MULTILINE)
    if len(found) != len(lines):
        raise ToolError(f"uv locked what has no version and hash of its own: {lines}")
    return found


def download(lock: Path, target: Path, deadline: Deadline) -> Path:
    """Download a lock's packages for Kaggle's Python into a folder. Returns the folder.

    pip checks every file against the lock's hashes. Raises `ToolError` if pip fails.
    """
    pip_download(["--require-hashes", "-r", lock], target, deadline)
    return target


def pip_download(what: Iterable[object], target: Path, deadline: Deadline) -> None:
    """Run `pip download` for Kaggle's Python and every platform that Kaggle can load; wheels only.

    Raises `ToolError` if pip fails.
    """
    target.mkdir(parents=True, exist_ok=True)
    tags = [word for tag in TAGS for word in ("--platform", tag)]
    python = ["--python-version", PYTHON, "--implementation", "cp"]
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", target]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    run_tool([*pip, *options, *python, *tags, *what], deadline)


def describe(folder: Path, image: dict[str, str]) -> dict[str, Any]:
    """The manifest of a folder.

    wheels: SHA-256 and size (bytes) of every wheel.
    lock: SHA-256 of the lock.
    image: versions that the image is expected to have.
    """
    wheels = sorted((folder / WHEELS).glob("*.whl"))
    return {
        "profile": folder.name,
        "python": PYTHON,
        "lock": sha256(folder / LOCK),
        "wheels": {w.name: {"sha256": sha256(w), "bytes": w.stat().st_size} for w in wheels},
        "image": dict(sorted(image.items())),
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, after a check of every listed file.

    Raises `DataError` naming the first file that is missing, damaged or not listed.
    """
    if not (folder / MANIFEST).is_file() or not (folder / WHEELS).is_dir():
        raise DataError(f"{folder}: holds no wheels; run: arcsub wheels build {folder.name}")
    written = load_json(folder / MANIFEST)
    try:
        found = describe(folder, written["image"])
        expected = {WHEELS: dict(written["wheels"]), LOCK: written["lock"]}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{folder / MANIFEST}: no manifest of wheels") from None
    for name in sorted(expected[WHEELS].keys() | found["wheels"].keys()):
        if name not in found["wheels"]:
            raise DataError(f"{folder / WHEELS / name}: is missing")
        if found["wheels"][name] != expected[WHEELS].get(name):
            raise DataError(f"{folder / WHEELS / name}: is not the file that {MANIFEST} lists")
    if found["lock"] != expected[LOCK]:
        raise DataError(f"{folder / LOCK}: is not the lock that {MANIFEST} is about")
    return found


def built_wheels(digest: str, root: Path = FOLDER) -> str | None:
    """The folder of the profile whose lock has this SHA-256; None if there is none.

    Raises `DataError` if the profile's wheels are missing or damaged.
    """
    locks = (lock for lock in sorted(root.glob(f"*/{LOCK}")) if sha256(lock) == digest)
    folder = next((lock.parent for lock in locks), None)
    if folder is not None:
        read_manifest(folder)
    return None if folder is None else str(folder)


def read_pins(path: Path) -> dict[str, str]:
    """Name and version of every `name==version` line. Raises `DataError` if unreadable."""
    return {plain(name): version for name, version in _PIN.findall(_text(path))}


def named(path: Path) -> set[str]:
    """The packages named in a requirements file and in the files that it includes."""
    text = _text(path)
    included = (named(path.parent / file) for file in _INCLUDED.findall(text))
    return {plain(name) for name in _NAMED.findall(text)}.union(*included)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises `DataError` if the file cannot be read."""
    try:
        return kit.sha256(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _uv() -> Path:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise DataError("this needs uv, which is not here: pip install -e '.[notebook]'")
    return Path(found)
