"""The record of a notebook's run, `run.json`: what ran, on what, over which data, and how long.

Kaggle keeps no list of a notebook's versions, and shows neither the image nor the data of a run.
The run therefore writes them down itself, and prints them into its log. The record is replaced as
a whole each time, so a run that is cut off leaves a whole record of its beginning.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from solver.data.jsonio import atomic_write, load_json
from solver.grid import DataError
from solver.kit import folder_print
from solver.machine import available_mb, versions
from solver.notebook.mounts import Mount

RUN_FILE = "run.json"
FORMAT = 1
SAID = "run.json "  # the beginning of the log's line with the record
OUTSIDE = ("1.1.1.1", 443)  # an address outside of the machine, which a scored run cannot reach
PATIENCE_S = 2.0
LIST_S = 60.0
# Names of the image in a session: variables of the environment, and files of the image itself.
IMAGE_VARIABLES = ("KAGGLE_DOCKER_IMAGE", "GIT_COMMIT", "BUILD_DATE")
IMAGE_FILES = ("/etc/git_commit", "/etc/build_date")
LONGEST = 200  # characters of a name of the image


@dataclass(frozen=True)
class Record:
    """A run's record in `working`; `started` is the monotonic time of the notebook's first cell.

    Writing never fails: a run is worth more than its record.
    """

    working: Path
    started: float

    def note(self, **facts: Any) -> None:
        """Add facts to the record, or replace facts of the same name."""
        whole = {"format": FORMAT, **read_record(self.working / RUN_FILE), **facts}
        with suppress(OSError):
            atomic_write(self.working / RUN_FILE, json.dumps(whole, indent=1) + "\n")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Surround a stage of the notebook: its begin and end, in seconds since the first cell."""
        begun = self._now()
        self._time(name, {"from_s": begun})
        try:
            yield
        finally:
            self._time(name, {"from_s": begun, "to_s": self._now()})

    def passed(self, name: str) -> None:
        """Note a stage that began with the first cell and ends now."""
        self._time(name, {"from_s": 0.0, "to_s": self._now()})

    def _now(self) -> float:
        return round(time.monotonic() - self.started, 1)

    def _time(self, name: str, times: Mapping[str, float]) -> None:
        stages = read_record(self.working / RUN_FILE).get("stages", {})
        self.note(stages={**stages, name: dict(times)})


def read_record(path: Path) -> dict[str, Any]:
    """The facts of a record; empty for a missing or damaged record."""
    with suppress(DataError):
        value = load_json(path)
        if isinstance(value, dict):
            return value
    return {}


def said_line(facts: Mapping[str, Any]) -> str:
    """The line about a run for its log: the record, but a digest in place of its packages."""
    short = {name: value for name, value in facts.items() if name != "packages"}
    return SAID + json.dumps(short, separators=(",", ":"))


def machine_facts(outside: tuple[str, int] = OUTSIDE) -> dict[str, Any]:
    """The session as this process sees it: machine, devices, image, packages, network.

    No other variable of the environment is read: some hold tokens.
    """
    packages = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
    packages = dict(sorted(packages.items(), key=lambda item: item[0].lower()))
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "devices": device_lines(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": available_mb(),
        "image": image_names(),
        "python": versions()["python"],
        "packages_digest": hashlib.sha256(json.dumps(packages).encode()).hexdigest(),
        "internet": reaches(outside),
        "packages": packages,
    }


def device_lines() -> list[str]:
    """The names of the GPUs that the driver lists, without their serial numbers."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=LIST_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [line.partition(": ")[2].partition(" (UUID")[0].strip() for line in lines]


def image_names() -> dict[str, str]:
    """The image's names, as far as the session tells them."""
    names = {name: os.environ.get(name, "") for name in IMAGE_VARIABLES}
    for file in IMAGE_FILES:
        with suppress(OSError, UnicodeDecodeError):
            names[file] = Path(file).read_text("utf-8").strip()
    return {name: text[:LONGEST] for name, text in names.items() if text}


def reaches(address: tuple[str, int]) -> bool:
    """True if a connection to an address opens within `PATIENCE_S`."""
    try:
        with socket.create_connection(address, PATIENCE_S):
            return True
    except OSError:
        return False


def mount_facts(source: str, mount: Mount | None) -> dict[str, str]:
    """A source, the folder that was taken for it, and the print of the folder's files."""
    if mount is None:
        return {"source": source}
    try:
        printed = folder_print(mount.path)
    except OSError:
        printed = ""
    return {"source": source, "path": str(mount.path), "layout": mount.layout, "print": printed}
