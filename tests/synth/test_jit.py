"""Compiled kernels: the folder that keeps them, and the reasons to compile them again."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from solver.synth import jit


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    jit.cache_root.cache_clear()
    yield
    jit.cache_root.cache_clear()


def test_the_environment_chooses_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert jit.cache_root() == tmp_path


def test_a_read_only_package_uses_a_private_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(**kwargs: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = jit.cache_root()
    assert folder
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_others_can_write_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trap = jit._private_temp()
    trap.chmod(0o777)
    assert jit._private_temp() != trap


def test_a_kernel_depends_on_the_modules_it_imports() -> None:
    needs = {"grids.space", "grids.dispatch", "grids.kernels_list", "grids.kernels_color", "jit"}
    search = "solver.synth.grids.search"
    assert {f"solver.synth.{name}" for name in needs} <= jit._closure(search)
    assert search not in jit._closure("solver.synth.grids.space")


def test_division_by_zero_does_not_raise() -> None:
    assert jit.kernel(_divided)(1, 0) == 0


def _divided(a: int, b: int) -> int:
    return a // b
