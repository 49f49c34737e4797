"""Settings shared by every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A pool of threads does not survive the forks of some tests; workers have one thread anyway.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples every time, and no clock: a busy machine must not fail a property.
settings.register_profile(
    "kit",
    deadline=None,
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("kit")


@pytest.fixture(scope="session")
def small_llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small language model that has learned how tasks are written."""
    from tests.llm import make_model  # where torch is missing, other tests still run

    return make_model(tmp_path_factory.mktemp("small_llm"))
