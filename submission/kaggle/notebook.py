"""The built notebook on Kaggle: full metadata, saved, then read back and compared."""

from __future__ import annotations

import fnmatch
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver.data.jsonio import load_json, parse_json
from solver.deadline import Deadline
from solver.grid import DataError
from solver.kit import CONFIG_FILE, folder_print
from submission.kaggle.readback import FIELDS, Difference, after_push
from submission.kaggle.service import ServiceError, asking
from submission.kaggle.settings import Settings, slug_of
from submission.wheels.build import LOCK, sha256

METADATA = "kernel-metadata.json"
MAX_BYTES = 1_000_000
MARKERS = (CONFIG_FILE, "*.whl")  # of a model's folder, and of wheels
POLL_S = 5.0
SETTLE_S = 60.0  # Kaggle shows the last session's machine until the new session begins
_KINDS = ("dataset", "competition", "kernel", "model")
_INVALID = ("dataset_sources", "competition_sources", "kernel_sources", "model_sources", "tags")


@dataclass(frozen=True)
class Built:
    """A notebook of `arcsub notebook`.

    id: the notebook's identity; empty for a notebook of an older kit.
    identity: all that the notebook was built from.
    commit, profile: origin of the notebook.
    lock: SHA-256 of the lock of the notebook's wheels; empty without wheels.
    sources: Kaggle sources that the notebook looks for; `*` stands for an owner.
    cells: source text of each cell.
    """

    path: Path
    id: str
    identity: Mapping[str, Any]
    commit: str
    profile: str
    lock: str
    accelerator: str
    sources: tuple[str, ...]
    cells: tuple[str, ...]


def read_built(path: Path) -> Built:
    """The facts of a built notebook.

    Raises `DataError` for another file, and for a notebook that Kaggle would refuse or could not
    start.
    """
    raw = load_json(path)
    if path.stat().st_size >= MAX_BYTES:
        raise DataError(f"{path}: {path.stat().st_size:,} bytes; Kaggle refuses 1 MB and more")
    try:
        about, kaggle = raw["metadata"]["arcsub"], raw["metadata"]["kaggle"]
        raw["metadata"]["kernelspec"]["name"]  # Kaggle's runner needs this name to start
        return Built(
            path=path,
            id=str(about.get("id") or ""),
            identity=dict(about.get("identity") or {}),
            commit=str(about["commit"]),
            profile=str(about["profile"]),
            lock=str(about.get("lock") or ""),
            accelerator=str(kaggle["accelerator"]),
            sources=tuple(map(str, about.get("sources", {}).values())),
            cells=tuple("".join(cell["source"]) for cell in raw["cells"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no notebook of `arcsub notebook`: {error} is missing") from None


def check(built: Built, settings: Settings) -> None:
    """Raise `DataError` if notebook and settings contradict each other."""
    if built.accelerator != settings.hardware.accelerator:
        raise DataError(
            f"{built.path}: built for the accelerator {built.accelerator!r}, but machine is "
            f"{settings.machine} ({settings.hardware.accelerator!r}); build it for that machine"
        )
    attached = [
        f"competitions/{settings.competition}",
        *(f"datasets/{source}" for source in settings.dataset_sources),
        *(f"models/{source}" for source in settings.models),
    ]
    for source in built.sources:
        if not fnmatch.filter(attached, source):  # `*` stands for an owner
            raise DataError(f"{built.path}: looks for {source}, which the settings do not attach")
    for dataset in settings.datasets:
        lock = dataset.folder / LOCK
        if built.lock and lock.is_file() and sha256(lock) != built.lock:
            raise DataError(f"{built.path}: built for other wheels than {lock}; build it again")


def asked_of(built: Built, settings: Settings) -> dict[str, Any]:
    """The request of a push for the ledger, with the prints of the folders to upload."""
    wanted = metadata(built, settings)
    return {
        "identity": {"commit": built.commit, "profile": built.profile, **built.identity},
        "machine": settings.machine,
        "gpu": settings.hardware.gpu,
        "gpus": settings.hardware.gpus,
        "image": settings.image,
        "competition": settings.competition,
        "tasks": settings.rules.tasks,
        "datasets": list(settings.dataset_sources),
        "models": list(settings.models),
        "prints": dict(_prints(settings)),
        "settings": {name: wanted[name] for name in (*FIELDS, "docker_image")},
    }


def _prints(settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """The prints of each dataset's folders that hold weights or wheels, as a run takes them."""
    for dataset in settings.datasets:
        found = []
        for marker in MARKERS:
            places = {file.parent for file in dataset.folder.rglob(marker)}
            if places:
                found.append(folder_print(min(places, key=lambda p: (len(p.parts), p))))
        yield f"datasets/{settings.owner}/{dataset.slug}", found


def metadata(built: Built, settings: Settings) -> dict[str, Any]:
    """The client's `kernel-metadata.json`, with every field set.

    The client's defaults are not used, since one default is internet access.
    """
    return {
        "id": settings.kernel,
        "title": settings.title,
        "code_file": f"{slug_of(settings.title)}.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": settings.machine != "cpu",
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": None if settings.machine == "cpu" else settings.machine,
        "docker_image": settings.image or None,
        "docker_image_pinning_type": "original",  # not Kaggle's latest image at each run
        "keywords": [],
        "dataset_sources": list(settings.dataset_sources),
        "competition_sources": [settings.competition],
        "kernel_sources": [],
        "model_sources": list(settings.models),
    }


def save(api: Any, built: Built, settings: Settings, deadline: Deadline) -> int:
    """Save a new version, which starts to run. Returns the version's number.

    Raises `DataError` for sources that Kaggle does not find. Raises `ServiceError` if Kaggle
    refuses the notebook or names no version.
    """
    wanted = metadata(built, settings)
    what = f"notebook {settings.kernel}"
    with tempfile.TemporaryDirectory() as folder, asking(what, deadline):
        shutil.copyfile(built.path, Path(folder) / wanted["code_file"])
        (Path(folder) / METADATA).write_text(json.dumps(wanted, indent=1), "utf-8")
        answer = api.kernels_push(folder)
    if answer is None or answer.error:
        raise ServiceError(f"{what}: Kaggle refused it: {answer.error if answer else 'no reason'}")
    found = {name: getattr(answer, f"invalid_{name}") for name in _INVALID}
    if invalid := {name: values for name, values in found.items() if values}:
        listed = "; ".join(f"{name}: {', '.join(values)}" for name, values in invalid.items())
        raise DataError(
            f"{what}: version {answer.version_number} was saved without what Kaggle does not "
            f"find ({listed}): do not submit it"
        )
    if not answer.version_number:
        raise ServiceError(f"{what}: Kaggle named no version: it may not have been saved")
    return int(answer.version_number)


def read_back(
    api: Any, built: Built, settings: Settings, version: int, deadline: Deadline
) -> tuple[list[Difference], str]:
    """Compare Kaggle's version with the version sent: Kaggle replaces some settings silently.

    Returns the differences that stay for `SETTLE_S`, and Kaggle's name of the image that the
    notebook runs in; empty if Kaggle names no image.
    """
    wanted = {**metadata(built, settings), "version": version, "cells": built.cells}
    settled = deadline.slice(SETTLE_S)
    while True:
        there = on_kaggle(api, settings.kernel, deadline)
        found = after_push(wanted, there)
        if not found or settled.left() <= POLL_S:
            return found, str(there.get("docker_image") or "")
        deadline.clock.sleep(POLL_S)


def on_kaggle(api: Any, kernel: str, deadline: Deadline) -> dict[str, Any]:
    """The last version of a notebook as Kaggle holds it: metadata, `version` and `cells`."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelRequest

    request = ApiGetKernelRequest()
    request.user_name, request.kernel_slug = kernel.split("/")
    what = f"notebook {kernel}, reading it back"
    with asking(what, deadline), api.build_kaggle_client() as client:
        answer = client.kernels.kernels_api_client.get_kernel(request)
    about = answer.metadata
    sources = {f"{kind}_sources": getattr(about, f"{kind}_data_sources") for kind in _KINDS}
    same = ("is_private", "enable_gpu", "enable_tpu", "enable_internet", "machine_shape")
    cells = _cells(parse_json(what, answer.blob.source.encode()))
    return {
        "id": about.ref,
        **{name: getattr(about, name) for name in (*same, "docker_image")},
        **{name: list(values or ()) for name, values in sources.items()},
        "version": about.current_version_number or 0,
        "cells": tuple("".join(cell["source"]) for cell in cells),
    }


def _cells(source: Any) -> list[Mapping[str, Any]]:
    cells = source.get("cells") if isinstance(source, dict) else None
    return cells if isinstance(cells, list) else []
