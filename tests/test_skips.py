"""Skips are said, and fail CI unless they are listed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import ROOT
from tests.skips import LISTED

TESTS = """
import pytest
pytest.importorskip({module!r}, reason={reason!r})
@pytest.mark.parametrize("n", (1, 2))
def test_it(n): pass
"""
WORKS = "def test_works(): pass\n"


@pytest.mark.parametrize(
    ("reason", "ci", "code"), [("broken", "1", 1), (LISTED[0], "1", 0), ("broken", "", 0)]
)
def test_a_skip_fails_where_ci_runs_unless_it_is_listed(
    tmp_path: Path, reason: str, ci: str, code: int
) -> None:
    (tmp_path / "test_a.py").write_text(TESTS.format(module="no_such_library", reason=reason))
    (tmp_path / "test_b.py").write_text(WORKS + TESTS.format(module="json", reason=reason))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", tmp_path, "-n", "1",
         "-p", "tests.skips", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert f"not tried: test_a.py: {reason}" in done.stdout
    assert "2 test functions ran" in done.stdout
