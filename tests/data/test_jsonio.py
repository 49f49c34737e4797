"""Strict reading, atomic writing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.data import jsonio
from solver.data.jsonio import atomic_write, load_json
from solver.grid import DataError
from tests.strategies import complaint

WRITER = """
import sys
from pathlib import Path
from solver.data.jsonio import atomic_write
print("ready", flush=True)
while True:
    for letter in "ab":
        atomic_write(Path(sys.argv[1]), letter * 300_000)
"""


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.booleans() | st.text(max_size=5)))
def test_what_is_written_is_read(tmp_path: Path, value: dict[str, object]) -> None:
    path = tmp_path / "file.json"
    atomic_write(path, json.dumps(value))
    assert load_json(path) == value


@given(st.binary(max_size=30))
def test_any_bytes_are_json_or_a_data_error_naming_the_file(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bytes.json"
    path.write_bytes(raw)
    said = complaint(DataError, load_json, path)
    assert str(path) in said if said else load_json(path) == json.loads(raw)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(jsonio.MAX_BYTES + 1)
    with pytest.raises(DataError, match=r"huge\.json: over 512 MiB"):
        load_json(path)


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["/bin/sh", "-c", f"echo '[1]' > '{pipe}'"]):
        assert load_json(pipe) == [1]


def test_a_write_that_fails_its_check_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, "old")

    def refuse(beside: Path) -> None:
        assert beside.read_text() == "new"
        raise DataError("not good enough")

    with pytest.raises(DataError, match="not good enough"):
        atomic_write(path, "new", refuse)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "nowhere" / "file", "text")


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, "a" * 300_000)
    seen = set()
    for round_ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        with writer:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.003 * round_)
            writer.send_signal(signal.SIGKILL)
        seen.add(path.read_text())
    assert seen <= {"a" * 300_000, "b" * 300_000}


def test_a_reader_beside_a_writer_always_sees_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, "a" * 300_000)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        seen = {path.read_text() for _ in range(300)}
        writer.kill()
    assert seen <= {"a" * 300_000, "b" * 300_000}
