"""`arcsub push`: datasets first, then the notebook, which needs the datasets."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from solver.deadline import Deadline
from solver.grid import DataError
from solver.runtime.run import RunError
from submission.kaggle import datasets as kaggle_datasets
from submission.kaggle import notebook as kaggle_notebook
from submission.kaggle.ledger import Ledger
from submission.kaggle.notebook import Built, asked_of, check, read_back, read_built, save
from submission.kaggle.service import ServiceError, asking, connect
from submission.kaggle.settings import Settings, read_settings

ADDRESS = "https://www.kaggle.com/code"
HOUR_S = 3600.0


def push(
    notebook: Path, settings_file: Path, deadline: Deadline, say: Callable[[str], None]
) -> int:
    """Bring everything to Kaggle and start the notebook there. Returns the version's number.

    Each step is reported when done; an error says which steps are left undone. Raises `DataError`
    for faults of the user, `ServiceError` for faults of the service.
    """
    settings, built = _prepared(notebook, settings_file)
    ledger, name = Ledger.beside(settings_file), secrets.token_hex(6)
    api = connect(deadline)
    if settings.hardware.gpus:
        _say_quota(api, deadline, say)
    with _consequence("the notebook was not pushed"):
        for dataset in settings.datasets:
            kaggle_datasets.publish(api, dataset, settings.owner, deadline, say)
        which = {"push": name, "kernel": settings.kernel, "id": built.id}
        ledger.add("pushing", **which, asked=asked_of(built, settings))
    with _consequence(f"see {ADDRESS}/{settings.kernel} before you push again"):
        try:
            version = save(api, built, settings, deadline)
        except (DataError, RunError) as error:
            ledger.add("refused", **which, why=str(error))
            raise
        ledger.add("pushed", **which, version=version)
    say(f"notebook  {settings.kernel}: version {version} saved, its run has begun")
    with _consequence(f"version {version} is saved and runs: do not submit it unseen"):
        found, image = read_back(api, built, settings, version, deadline)
        words = list(map(str, found))
        read = {"after": "push", "image": image, "differences": words}
        ledger.add("read", **which, version=version, **read)
        if found:
            raise ServiceError(f"notebook {settings.kernel}: Kaggle changed it: {'; '.join(words)}")
    say(f"machine   {settings.machine}, no internet, private: as Kaggle has it")
    if image:
        say(f"image     {image}")
    say(f"next      arcsub output --wait, then arcsub submit --version {version}")
    return version


def _say_quota(api: Any, deadline: Deadline, say: Callable[[str], None]) -> None:
    """Say how many hours of GPU are left this week, if Kaggle tells."""
    try:
        with asking("quota", deadline):
            quota = api.quota_view().gpu_quota
    except (DataError, RunError):
        return
    if quota and quota.total_time_allowed:
        left = quota.total_time_allowed - quota.time_used
        total = quota.total_time_allowed.total_seconds() / HOUR_S
        say(f"quota     {left.total_seconds() / HOUR_S:.1f} of {total:.1f} h of GPU left this week")


def dry_run(notebook: Path, settings_file: Path, say: Callable[[str], None]) -> None:
    """Report everything that `push` would send, without the client or the network.

    Raises `DataError` for faults in the notebook, the settings or the datasets.
    """
    settings, built = _prepared(notebook, settings_file)
    say("nothing is sent; a push would send, in this order:")
    for dataset in settings.datasets:
        digest = kaggle_datasets.fingerprint(dataset)
        say(f"dataset   {settings.owner}/{dataset.slug}, unless it is there unchanged")
        for path in kaggle_datasets.content(dataset):
            say(f"          {_sized(path)}")
        say(_json(kaggle_datasets.metadata(dataset, settings.owner, digest)))
    size = built.path.stat().st_size
    say(f"notebook  {built.path}, {size / 1e3:.1f} kB, {len(built.cells)} cells")
    say(f"          commit {built.commit}, profile {built.profile}, lock {built.lock or 'none'}")
    say(_json(kaggle_notebook.metadata(built, settings)))


def _prepared(notebook: Path, settings_file: Path) -> tuple[Settings, Built]:
    settings, built = read_settings(settings_file), read_built(notebook)
    check(built, settings)
    for dataset in settings.datasets:
        kaggle_datasets.content(dataset)
    return settings, built


@contextmanager
def _consequence(text: str) -> Iterator[None]:
    """Add to an error its consequence for the push that was begun."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}; {text}") from None
    except RunError as error:
        raise ServiceError(f"{error}; {text}") from None


def _sized(path: Path) -> str:
    if path.is_file():
        return f"{path.name}, {path.stat().st_size / 1e6:.2f} MB"
    files = [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return f"{path.name}/ as {path.name}.zip: {len(files)} files, {size / 1e6:.2f} MB"


def _json(value: object) -> str:
    return "\n".join(f"          {line}" for line in json.dumps(value, indent=1).splitlines())
