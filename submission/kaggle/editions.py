"""The editions of the competition: what differs from year to year, in one table.

`editions.toml` has the editions that the kit knows. Another edition is a TOML file with its slug
and whatever is different: file names, attempts, hidden tasks, limit, machines.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from solver.data.submissions import Form
from solver.deadline import duration_of
from solver.grid import DataError
from solver.notebook.mounts import CHALLENGES
from solver.settings import ByName, NotEmpty, Range, Text, fill, nearest, read_toml

TABLE = Path(__file__).with_name("editions.toml")
MAX_ATTEMPTS, MAX_TASKS, MAX_GPUS = 10, 100_000, 64
Name = Annotated[str, Text(pattern=r"[A-Za-z0-9][\w-]*", form="letters, digits and dashes")]
FileName = Annotated[str, Text(pattern=r"[A-Za-z0-9][\w.-]*\.json", form="a name such as a.json")]


@dataclass(frozen=True)
class Machine:
    """A machine of Kaggle.

    name: Kaggle's machine shape.
    accelerator: the name of the same machine in a notebook.
    gpu: a word in the names of its GPUs; empty without a GPU.
    gpus: the number of its GPUs.
    """

    name: Name
    accelerator: Annotated[str, Text()]
    gpu: Annotated[str, Text(0)] = ""
    gpus: Annotated[int, Range(least=0, most=MAX_GPUS)] = 0


@dataclass(frozen=True)
class Edition:
    """An edition of the competition.

    name: its year, or the name of the file that has it.
    slug: the last part of its address.
    challenges, sample: names of the files of the hidden tasks and of a sample submission.
    submission: name of the file that is handed in.
    attempts: number of attempts for each test input.
    tasks: number of hidden tasks.
    limit: time after which Kaggle ends a notebook.
    machines: names of the machines; a name that the kit does not know has a table in `machine`.
    """

    name: Name
    slug: Name
    challenges: FileName = CHALLENGES
    sample: FileName = "sample_submission.json"
    submission: FileName = Form().file
    attempts: Annotated[int, Range(least=1, most=MAX_ATTEMPTS)] = Form().attempts
    tasks: Annotated[int, Range(least=1, most=MAX_TASKS)] = 240
    limit: str = "12h"
    machines: Annotated[tuple[Name, ...], NotEmpty()] = ("cpu", "NvidiaTeslaT4", "NvidiaL4")
    machine: Annotated[tuple[Machine, ...], ByName()] = ()

    @property
    def form(self) -> Form:
        """The form of a submission."""
        return Form(self.submission, self.attempts)

    @property
    def limit_s(self) -> float:
        """The limit in seconds."""
        return duration_of("limit", self.limit)


@dataclass(frozen=True)
class _Table:
    machines: Annotated[tuple[Machine, ...], ByName()]
    editions: Annotated[tuple[Edition, ...], ByName()]


def edition_of(text: str) -> Edition:
    """The edition that a text names: by year, by slug, or by a file that ends in .toml.

    A slug that the kit does not know has the rules of the newest edition. Raises `DataError` for
    a file that cannot be read, and names its wrong setting.
    """
    if text.endswith(".toml"):
        return _own(Path(text))
    known = {edition.name: edition for edition in editions()}
    known |= {edition.slug: edition for edition in editions()}
    return known.get(text) or replace(editions()[-1], name=text, slug=text)


def edition_facts(edition: Edition) -> dict[str, Any]:
    """The edition as a built notebook records it."""
    names = ("name", "slug", "challenges", "sample", "submission", "attempts", "tasks", "limit")
    return {name: getattr(edition, name) for name in names}


def recorded_edition(facts: Mapping[str, Any]) -> Edition:
    """The inverse of `edition_facts`; the newest edition for a notebook that records none."""
    return Edition(**facts) if facts else editions()[-1]


def _own(file: Path) -> Edition:
    table = read_toml(file, str(file), "; docs/kaggle.md has an example")
    edition = fill(Edition, table, str(file), name=file.stem)
    duration_of(f"{file}: limit", edition.limit)
    known = machines_of(edition)
    for name in edition.machines:
        if name not in known:
            hint = nearest(name, known)
            raise DataError(f"{file}: machines: no table [machine.{name}] says what it is; {hint}")
    return edition


def machines_of(edition: Edition) -> dict[str, Machine]:
    """The machines that an edition allows, by name."""
    every = {machine.name: machine for machine in (*_table().machines, *edition.machine)}
    allowed = (*edition.machines, *(machine.name for machine in edition.machine))
    return {name: every[name] for name in allowed if name in every}


def editions() -> tuple[Edition, ...]:
    """The editions that the kit knows, the newest last."""
    return _table().editions


@functools.cache
def _table() -> _Table:
    return fill(_Table, read_toml(TABLE, TABLE.name), TABLE.name)
