"""Settings shared by every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.runs import NIGHTLY

pytest_plugins = ("tests.skips",)

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
# Other examples each night, and many more of them: what they find becomes a test.
settings.register_profile(
    "nightly", settings.get_profile("kit"), max_examples=1000, derandomize=False, print_blob=True
)
settings.load_profile("nightly" if NIGHTLY else "kit")


@pytest.fixture(scope="session")
def small_llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small language model that has learned how tasks are written."""
    from tests.lm.small import make_model  # torch takes seconds, and few tests need it

    return make_model(tmp_path_factory.mktemp("small_llm"))
