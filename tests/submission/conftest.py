"""Kaggle on loopback, and a folder with everything to push."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.submission.kaggle_stub import GUARD, Kaggle, serving
from tests.submission.pushing import NOTEBOOK, SETTINGS


@pytest.fixture
def kaggle() -> Kaggle:
    return Kaggle()


@pytest.fixture
def place(tmp_path: Path, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with settings, a notebook and a model, and a Kaggle that answers on loopback."""
    (tmp_path / "kaggle.toml").write_text(SETTINGS)
    (tmp_path / "notebook.ipynb").write_text(json.dumps(NOTEBOOK))
    (tmp_path / "model/deep").mkdir(parents=True)
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "model/deep/weights.bin").write_bytes(bytes(range(256)) * 40)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with serving(kaggle) as pointed, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's own, at its import
        for name, value in pointed.items():
            monkeypatch.setenv(name, value)
        GUARD.on = True
        try:
            yield tmp_path
        finally:
            GUARD.on = False
