"""Folders of this machine as datasets on Kaggle: created, or given a new version, until ready."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from solver.deadline import Deadline
from solver.grid import DataError
from submission.kaggle.service import RefusedError, ServiceError, asking
from submission.kaggle.settings import Dataset
from submission.wheels.build import MANIFEST, WHEELS, read_manifest, sha256

METADATA = "dataset-metadata.json"
POLL_S = 5.0


def content(dataset: Dataset) -> list[Path]:
    """The files and folders to upload: all in the dataset's folder that are not hidden.

    The client's metadata file is left out: a user may have such a file, and each upload has
    another. Raises `DataError` if nothing is left, and for wheels that differ from their manifest.
    """
    if (dataset.folder / MANIFEST).is_file() or (dataset.folder / WHEELS).is_dir():
        read_manifest(dataset.folder)
    found = sorted(path for path in dataset.folder.iterdir() if not path.name.startswith("."))
    kept = [path for path in found if path.name != METADATA]
    if not kept:
        raise DataError(f"{dataset.folder}: holds no files to upload")
    return kept


def fingerprint(dataset: Dataset) -> str:
    """A SHA-256 digest of the content and its names; equal for equal content."""
    digest = hashlib.sha256()
    for top in content(dataset):
        files = [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file())
        for file in files:
            name = file.relative_to(dataset.folder).as_posix()
            digest.update(f"{name}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def metadata(dataset: Dataset, owner: str, digest: str) -> dict[str, Any]:
    """The client's `dataset-metadata.json`; the description contains the digest of the content."""
    return {
        "id": f"{owner}/{dataset.slug}",
        "title": dataset.title,
        "licenses": [{"name": dataset.licence}],
        "description": f"{dataset.title}, uploaded by the ARC submission kit.\n\n{_mark(digest)}",
    }


def publish(
    api: Any,
    dataset: Dataset,
    owner: str,
    deadline: Deadline,
    say: Callable[[str], None],
) -> None:
    """Bring a dataset to Kaggle and wait until notebooks can see the dataset.

    Nothing is sent if Kaggle has the same content. Raises `DataError` for a dataset deleted on
    Kaggle and other faults of the user. Raises `ServiceError` if Kaggle fails or takes too long.
    """
    ref, digest = f"{owner}/{dataset.slug}", fingerprint(dataset)
    state = _state(api, ref, deadline)
    if state == "deleted":
        raise DataError(f"dataset {ref} was deleted on Kaggle: give it another name")
    if state is None or state == "failed" or not _has(api, ref, digest, deadline):
        say(f"dataset   {ref}: uploading {'a new one' if state is None else 'a new version'}")
        _upload(api, dataset, owner, digest, deadline, new=state is None)
    else:
        say(f"dataset   {ref}: unchanged")
    _wait(api, ref, deadline)
    say(f"dataset   {ref}: ready")


def _state(api: Any, ref: str, deadline: Deadline) -> str | None:
    """Kaggle's state of a dataset's last version, in lower case; None if there is no dataset."""
    try:
        with asking(f"dataset {ref}", deadline):
            return str(api.dataset_status(ref))
    except RefusedError as error:
        # Both codes may mean a missing dataset; creating another user's dataset fails later.
        if error.status in (403, 404):
            return None
        raise


def _has(api: Any, ref: str, digest: str, deadline: Deadline) -> bool:
    """True if the dataset on Kaggle was uploaded from this content."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = ref.split("/")
    with asking(f"dataset {ref}", deadline), api.build_kaggle_client() as client:
        there = client.datasets.dataset_api_client.get_dataset(request)
    return _mark(digest) in (there.description or "")


def _upload(
    api: Any, dataset: Dataset, owner: str, digest: str, deadline: Deadline, new: bool
) -> None:
    ref = f"{owner}/{dataset.slug}"
    with _staged(dataset, owner, digest) as folder, asking(f"dataset {ref}", deadline):
        if new:
            answer = api.dataset_create_new(folder, dir_mode="zip")
        else:
            answer = api.dataset_create_version(folder, _mark(digest), dir_mode="zip")
    if answer.error or (answer.status or "").lower() not in ("", "ok"):
        raise ServiceError(f"dataset {ref}: Kaggle refused it: {answer.error or answer.status}")


@contextmanager
def _staged(dataset: Dataset, owner: str, digest: str) -> Iterator[str]:
    """A temporary folder with links to the content, and with the metadata for the client."""
    with tempfile.TemporaryDirectory(prefix="arc-dataset-") as folder:
        for path in content(dataset):
            os.symlink(path.resolve(), Path(folder) / path.name)
        text = json.dumps(metadata(dataset, owner, digest), indent=1)
        (Path(folder) / METADATA).write_text(text, "utf-8")
        yield folder


def _wait(api: Any, ref: str, deadline: Deadline) -> None:
    while (state := _state(api, ref, deadline)) != "ready":
        if state in ("failed", "deleted"):
            raise ServiceError(f"dataset {ref}: Kaggle could not process it: {state}")
        if deadline.left() <= POLL_S:
            raise ServiceError(
                f"dataset {ref}: not ready in time, still {state or 'not there'}; push later"
            )
        deadline.clock.sleep(POLL_S)


def _mark(digest: str) -> str:
    return f"sha256 {digest}"
