"""Settings of `kaggle.toml`: the owner, competition, machine and data of a notebook.

The file contains no secrets; credentials are left to the `kaggle` client.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from solver.grid import DataError
from solver.settings import ByName, OneOf, Text, fill, read_toml
from submission.kaggle.editions import Edition, Machine, edition_of, machines_of

SETTINGS_FILE = "kaggle.toml"
_NAME = r"[A-Za-z0-9][\w-]*"
_WORD = r"[\w.-]+"
Name = Annotated[str, Text(pattern=_NAME, form="letters, digits and dashes")]
Source = Annotated[str, Text(pattern=f"{_NAME}/{_NAME}", form="owner/slug")]
Model = Annotated[
    str,
    Text(
        pattern=rf"[\w-]+/{_WORD}/{_WORD}/{_WORD}/\d+",
        form="owner/model/framework/variation/version",
    ),
]


@dataclass(frozen=True)
class Dataset:
    """A folder of this machine as a dataset of the owner."""

    slug: Annotated[str, Text(6, 50, "[a-z0-9]+(-[a-z0-9]+)*", "words of a-z and 0-9 with dashes")]
    title: Annotated[str, Text(6, 50)]
    licence: Annotated[str, Text()]
    folder: Path


@dataclass(frozen=True)
class Settings:
    """The settings of one notebook.

    edition: a TOML file with the competition's edition; empty if the kit knows the competition.
    attach: datasets that are on Kaggle already.
    models: Kaggle models, each by five parts.
    image: the container to pin; empty for Kaggle's choice.
    datasets: folders of this machine to bring to Kaggle.
    """

    owner: Name
    title: Annotated[
        str,
        Text(5, 50, "[A-Za-z0-9][A-Za-z0-9 -]*[A-Za-z0-9]", "letters, digits, spaces and dashes"),
    ]
    competition: Name
    machine: Annotated[str, Text()]
    edition: Annotated[str, Text(0)] = ""
    image: Annotated[str, Text(0)] = ""
    attach: tuple[Source, ...] = ()
    models: tuple[Model, ...] = ()
    datasets: Annotated[tuple[Dataset, ...], ByName()] = ()

    @property
    def kernel(self) -> str:
        """The notebook's name on Kaggle: the owner, and the title as an address."""
        return f"{self.owner}/{slug_of(self.title)}"

    @property
    def rules(self) -> Edition:
        """The edition of the competition."""
        return edition_of(self.edition or self.competition)

    @property
    def hardware(self) -> Machine:
        """The machine."""
        return machines_of(self.rules)[self.machine]

    @property
    def dataset_sources(self) -> tuple[str, ...]:
        """Every dataset that the notebook sees."""
        return (*(f"{self.owner}/{dataset.slug}" for dataset in self.datasets), *self.attach)


def slug_of(title: str) -> str:
    """The address that Kaggle makes of a title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def read_settings(path: Path) -> Settings:
    """The settings in a file. Raises `DataError` naming the file and the wrong setting."""
    table = read_toml(path, str(path), "; docs/kaggle.md has one")
    settings = fill(Settings, table, str(path))
    datasets = tuple(replace(one, folder=path.parent / one.folder) for one in settings.datasets)
    for one in datasets:
        if not _holds_files(one.folder):
            where = f"{path}: datasets.{one.slug}: folder"
            raise DataError(f"{where}: {one.folder} is no folder with files in it")
    edition = str(path.parent / settings.edition) if settings.edition else ""
    settings = replace(settings, datasets=datasets, edition=edition)
    known = machines_of(settings.rules)
    if complaint := OneOf(tuple(known)).complaint(settings.machine):
        raise DataError(f"{path}: machine: {complaint}")
    if settings.rules.slug != settings.competition:
        raise DataError(f"{path}: competition: {edition} is about {settings.rules.slug}")
    twice = [s for s in settings.dataset_sources if settings.dataset_sources.count(s) > 1]
    if twice:
        raise DataError(f"{path}: attach: {twice[0]} is there twice")
    return settings


def _holds_files(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False
