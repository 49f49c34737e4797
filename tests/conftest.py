"""Settings shared by every test."""

from __future__ import annotations

import fcntl
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
def small_llm(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of a small language model that has learned how tasks are written.

    The first process that needs the model makes it, for all processes of these tests.
    """
    from tests.lm.small import make_model  # torch takes seconds, and few tests need it

    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "small_llm"
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make_model(tmp_path_factory.mktemp("in_the_making")).rename(folder)
    return folder


# The files that take longest, in this order, so that none of them is begun last.
LONGEST = (
    *("submission/test_rehearse", "lm/test_train", "lm/test_run", "lm/test_pair_devices"),
    *(
        "notebook/test_session",
        "runtime/test_starts",
        "runtime/test_exits",
        "submission/test_wheels",
    ),
    *("runtime/test_faults", "test_user_files", "schedule/test_loading"),
    *("submission/test_notebook", "notebook/test_preflight", "test_docs"),
    *("synth/test_compiling", "lm/test_llm", "lm/test_engine", "test_cli"),
    *("submission/test_bundle", "lm/test_cut_off", "synth/test_engine", "lm/test_fused"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    rank = {f"tests/{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))
