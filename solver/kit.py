"""Locations and hashes of the kit's own files and of the bundled model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from solver.data.jsonio import load_json
from solver.grid import DataError

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "pair"
IMPORTABLE = {"PYTHONPATH": str(ROOT)}  # the environment of a process that imports the kit
PRINT_BYTES = 2**20  # at either end of a file
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z")
CONFIG_FILE, WEIGHTS_FILE, PROVENANCE = "config.json", "model.safetensors", "provenance.json"


def package_files(root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Every file of the solver by its name below `root`, in one order on every machine."""
    files = (file for file in (root / "solver").rglob("*") if file.suffix in (".py", ".toml"))
    yield from sorted((file.relative_to(root).as_posix(), file) for file in files)


def files_digest(files: Iterable[tuple[str, Path]] | None = None) -> str:
    """A hash that is equal for equal files under the same names.

    Left out, `files` are the files of the solver.
    """
    digest = hashlib.sha256()
    for name, file in package_files() if files is None else files:
        digest.update(f"{name}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def folder_print(folder: Path) -> str:
    """A hash of a folder's files: their names, sizes, first and last bytes.

    Large weights are hashed in milliseconds. Hidden files and archives do not count: Kaggle takes
    no hidden files and unpacks archives. Raises `OSError`.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in name.split("/")) or file.suffix in ARCHIVES:
            continue
        with open(file, "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            ends = opened.read(PRINT_BYTES)
            opened.seek(max(0, size - PRINT_BYTES))
            ends += opened.read(PRINT_BYTES)
        digest.update(f"{name}\0{size}\0{hashlib.sha256(ends).hexdigest()}\n".encode())
    return digest.hexdigest()


def settle_times(root: Path = ROOT) -> None:
    """Give every file the same date.

    Compiled kernels are kept by the contents of their sources. But numba also looks at the date,
    and would compile the kernels again for each copy of the kit.
    """
    for _, file in package_files(root):
        os.utime(file, (0, 0))


def link_model(source: Path, place: Path = MODEL) -> None:
    """Let the engines find a model that lies elsewhere."""
    if place.is_symlink():
        place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(source, place)


def weights_fault(model: Path = MODEL) -> str | None:
    """The fault of a model's files, in one line; None if there is none.

    Weights must have the hash that the provenance beside them names. Without a provenance, the
    weights only have to exist.
    """
    if not (model / CONFIG_FILE).is_file() or not any(model.glob("*.safetensors")):
        return f"no model in {model}"
    try:
        if not fits_provenance(model):
            return f"{model / WEIGHTS_FILE} is not the file that {PROVENANCE} is about"
    except (DataError, OSError) as error:
        return f"the model cannot be read: {error}"
    return None


def fits_provenance(model: Path) -> bool:
    """False for weights with another hash than the provenance beside them names.

    True without a provenance: there is no hash to compare with. Raises `DataError` or `OSError`
    for a file that cannot be read.
    """
    if not (model / PROVENANCE).is_file():
        return True
    written = load_json(model / PROVENANCE)
    expected = written.get("sha256") if isinstance(written, dict) else None
    return sha256(model / WEIGHTS_FILE) == expected


def sha256(file: Path) -> str:
    """The SHA-256 hash of a file's bytes, in hexadecimal. Raises `OSError`."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
