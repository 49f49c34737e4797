"""What `kaggle.toml` says: whose notebook, for which competition, on which machine, with what data.

Nothing in it is secret; credentials are the `kaggle` client's own affair.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver.grid import DataError

FILE = "kaggle.toml"
# Kaggle's machine shapes, and what notebooks call the same accelerators.
MACHINES = {"cpu": "none", "NvidiaTeslaT4": "nvidiaTeslaT4", "NvidiaL4": "nvidiaL4"}
_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
_DATASET = re.compile(rf"{_NAME.pattern}/{_NAME.pattern}")
_MODEL = re.compile(r"[\w-]+/[\w.-]+/[\w.-]+/[\w.-]+/\d+")
_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 -]*[A-Za-z0-9]")
_KEYS = {"owner", "title", "competition", "machine", "image", "attach", "models", "datasets"}
_DATASET_KEYS = {"folder", "title", "licence"}


@dataclass(frozen=True)
class Dataset:
    """A folder of this machine as a dataset of the owner's."""

    slug: str
    title: str
    licence: str
    folder: Path


@dataclass(frozen=True)
class Settings:
    """The settings of one notebook. `attach` names datasets that are on Kaggle already,
    `models` Kaggle models by their five parts; `image` pins a container, empty takes Kaggle's."""

    owner: str
    title: str
    competition: str
    machine: str
    image: str
    attach: tuple[str, ...]
    models: tuple[str, ...]
    datasets: tuple[Dataset, ...]

    @property
    def kernel(self) -> str:
        """The notebook's name on Kaggle: the owner's, and the title as an address."""
        return f"{self.owner}/{slug_of(self.title)}"

    @property
    def dataset_sources(self) -> tuple[str, ...]:
        """Every dataset that the notebook sees."""
        return (*(f"{self.owner}/{dataset.slug}" for dataset in self.datasets), *self.attach)


def slug_of(title: str) -> str:
    """What Kaggle makes of a title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def read_settings(path: Path) -> Settings:
    """Raises `DataError` naming the file and the setting that is wrong."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; docs/kaggle.md has one"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML: {error}") from None
    try:
        return _settings(raw, path.parent)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _settings(raw: Mapping[str, Any], base: Path) -> Settings:
    _only(raw, _KEYS, "")
    machine = _text(raw, "machine")
    if machine not in MACHINES:
        raise DataError(f"machine: {machine!r} is none of {', '.join(MACHINES)}")
    settings = Settings(
        owner=_matching(_text(raw, "owner"), _NAME, "owner"),
        title=_matching(_text(raw, "title", 5, 50), _TITLE, "title"),
        competition=_matching(_text(raw, "competition"), _NAME, "competition"),
        machine=machine,
        image=_text(raw, "image", 0) if "image" in raw else "",
        attach=_list(raw, "attach", _DATASET, "owner/slug"),
        models=_list(raw, "models", _MODEL, "owner/model/framework/variation/version"),
        datasets=_datasets(raw.get("datasets", {}), base),
    )
    twice = [s for s in settings.dataset_sources if settings.dataset_sources.count(s) > 1]
    if twice:
        raise DataError(f"attach: {twice[0]} is one of datasets already")
    return settings


def _datasets(raw: Any, base: Path) -> tuple[Dataset, ...]:
    if not isinstance(raw, dict):
        raise DataError("datasets: expected tables such as [datasets.arc-kit-wheels]")
    return tuple(_dataset(slug, table, base) for slug, table in raw.items())


def _dataset(slug: str, table: Any, base: Path) -> Dataset:
    field = f"datasets.{slug}"
    if not isinstance(table, dict):
        raise DataError(f"{field}: expected a table with {', '.join(sorted(_DATASET_KEYS))}")
    _only(table, _DATASET_KEYS, f"{field}.")
    if not 6 <= len(slug) <= 50 or slug_of(slug) != slug:
        raise DataError(f"{field}: 6 to 50 of a-z, 0-9 and - make a dataset's address")
    try:
        title, licence = _text(table, "title", 6, 50), _text(table, "licence")
        folder = base / _text(table, "folder")
    except DataError as error:
        raise DataError(f"{field}.{error}") from None
    if not folder.is_dir() or not any(folder.iterdir()):
        raise DataError(f"{field}.folder: {folder} is no folder with files in it")
    return Dataset(slug, title, licence, folder)


def _only(table: Mapping[str, Any], known: set[str], prefix: str) -> None:
    for key in table:
        if key not in known:
            raise DataError(f"{prefix}{key}: no such setting; there are {', '.join(sorted(known))}")


def _text(table: Mapping[str, Any], key: str, least: int = 1, most: int = 200) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise DataError(f"{key}: expected a text of {least} to {most} characters")
    return value


def _matching(value: str, pattern: re.Pattern[str], key: str) -> str:
    if not pattern.fullmatch(value):
        raise DataError(f"{key}: {value!r} has characters that Kaggle's names have not")
    return value


def _list(
    table: Mapping[str, Any], key: str, pattern: re.Pattern[str], form: str
) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list):
        raise DataError(f"{key}: expected a list of {form}")
    for value in values:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise DataError(f"{key}: {value!r} is not of the form {form}")
    return tuple(values)
