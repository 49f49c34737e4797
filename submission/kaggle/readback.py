"""The read-back: machine, image, network and data as Kaggle has them, against what was asked.

Kaggle replaces some settings without a word, and attaches old data. Two comparisons find this:
after a push, of the settings that Kaggle holds; after a run, of what the run itself saw
(`run.json`). Every difference comes with a way out.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

_AGAIN = "push again"
_WAYS = {
    "id": "the notebook was renamed on Kaggle: set owner and title in kaggle.toml to its address",
    "is_private": "make the notebook private on its page, and push again",
    "enable_gpu": "choose the accelerator on the notebook's page, and push again",
    "enable_tpu": "choose the accelerator on the notebook's page, and push again",
    "enable_internet": "switch the internet off on the notebook's page, and push again",
    "machine_shape": "Kaggle gave another machine: push again, or build for a machine that it has",
    "dataset_sources": "attach the datasets on the notebook's page, and push again",
    "model_sources": "attach that version of the model on the notebook's page, and push again",
    "competition_sources": "join the competition and accept its rules, and push again",
    "kernel_sources": "detach the other notebook on the notebook's page, and push again",
    "docker_image": "Kaggle has another image: name one that it has as image, and push again",
    "version": "another push came between: see the notebook's page, and push again",
    "cells": "the notebook was edited on Kaggle meanwhile: push again",
}
FIELDS = (
    *("id", "is_private", "enable_gpu", "enable_tpu", "enable_internet", "machine_shape"),
    *("dataset_sources", "competition_sources", "kernel_sources", "model_sources"),
)


@dataclass(frozen=True)
class Difference:
    """Something that Kaggle has otherwise than asked, and the way out."""

    what: str
    way: str

    def __str__(self) -> str:
        return f"{self.what} ({self.way})"


def after_push(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> list[Difference]:
    """The differences between settings sent and settings that Kaggle holds.

    Both are as in `kernel-metadata.json`, with `cells` and `version`. An image counts if one was
    asked for; a version counts if Kaggle names one.
    """
    fields = [*FIELDS, *(["docker_image"] if wanted["docker_image"] else [])]
    found = [
        Difference(f"{name} is {there.get(name)!r}, not {wanted[name]!r}", _WAYS[name])
        for name in fields
        if _plain(there.get(name)) != _plain(wanted[name])
    ]
    if there["version"] and there["version"] != wanted["version"]:
        text = f"its version is {there['version']}, not {wanted['version']}"
        found.append(Difference(text, _WAYS["version"]))
    if there["cells"] != wanted["cells"]:
        found.append(Difference("its cells are not the ones sent", _WAYS["cells"]))
    return found


def after_run(asked: Mapping[str, Any], seen: Mapping[str, Any]) -> list[Difference]:
    """The differences between what a push asked for and what the run saw.

    `asked` is that of the ledger, `seen` is the run's record. Facts that a record lacks, such as
    the image of a session that does not name it, make no difference.
    """
    return [*_machine(asked, seen), *_image(asked, seen), *_data(asked, seen)]


def _machine(asked: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Difference]:
    kind, number = str(asked["gpu"]), int(asked["gpus"])
    devices = [str(name) for name in seen.get("devices", ())]
    right = [name for name in devices if kind and kind in name.replace("-", " ").split()]
    if len(right) != number or len(devices) != number:
        text = f"it ran on {', '.join(devices) or 'no GPU'}, not on {asked['machine']}"
        yield Difference(text, f"{_AGAIN}; if it stays, build for a machine that Kaggle has")
    if seen.get("internet"):
        yield Difference("it had the internet", _WAYS["enable_internet"])


def _image(asked: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Difference]:
    image = str(seen.get("image", {}).get("KAGGLE_DOCKER_IMAGE", ""))
    wanted = str(asked.get("image") or "")
    if wanted and image and not _same_image(wanted, image):
        way = "pin the image that you want as image in kaggle.toml, and push again"
        yield Difference(f"it ran in the image {image}, not {wanted}", way)


def _same_image(one: str, other: str) -> bool:
    """True for the same image, which may have another registry before its digest."""
    digests = [name.partition("@")[2] for name in (one, other)]
    return digests[0] == digests[1] if all(digests) else one == other


def _data(asked: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Difference]:
    tasks = seen.get("tasks", {})
    competition = asked["competition"]
    if not tasks.get("path"):
        way = "join the competition, accept its rules, and push again"
        yield Difference(f"it found no tasks of {competition}", way)
    elif competition not in PurePosixPath(tasks["path"]).parts:
        way = "detach the other data on the notebook's page, and push again"
        yield Difference(f"its tasks came from {tasks['path']}, not {competition}", way)
    for one in seen.get("sources", ()):
        yield from _source(asked, one)


def _source(asked: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[Difference]:
    source = str(seen["source"])
    if not seen.get("path"):
        yield Difference(f"{source} was not mounted", f"attach it on the page, and {_AGAIN}")
        return
    prints: Mapping[str, Sequence[str]] = asked.get("prints", {})
    wanted = [one for name in prints if fnmatch.fnmatch(name, source) for one in prints[name]]
    if wanted and seen.get("print") not in (*wanted, "", None):
        way = "Kaggle attached another version: remove it on the notebook's page, and push again"
        yield Difference(f"{source} at {seen['path']} has other files than were uploaded", way)
    parts = PurePosixPath(source).parts
    if parts[0] == "models":
        *name, version = parts[-3:]  # framework, variation, version
        mounted = _version(PurePosixPath(seen["path"]).parts, name)
        if mounted not in (version, ""):
            text = f"{source} is mounted as version {mounted}"
            yield Difference(text, _WAYS["model_sources"])


def _version(parts: Sequence[str], name: Sequence[str]) -> str:
    """The version in a model's path, after framework and variation; empty if it has none."""
    for place in range(len(parts) - len(name)):
        if list(parts[place : place + len(name)]) == list(name):
            return parts[place + len(name)]
    return ""


def _plain(value: Any) -> list[str]:
    """A value without differences that do not matter: capitals, order, and kinds of empty value."""
    items = value if isinstance(value, list) else [value]
    return sorted(str(item).lower() for item in items if item)
