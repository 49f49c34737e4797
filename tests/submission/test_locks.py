"""The locks: one version of torch everywhere, a hash for every file, no CUDA libraries."""

from __future__ import annotations

import os
import re
import subprocess

from tests.runs import ROOT

REQUIREMENT = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    return dict(REQUIREMENT.findall((ROOT / name).read_text()))


def test_every_place_names_the_same_torch() -> None:
    named = {
        "setup.cfg": r"^    torch==([\d.]+)$",
        "pyproject.toml": r'^name = "torch"\nversion = "([\d.]+)"$',
        "torch.lock": r"^torch==([\d.]+)\+cpu ",
    }
    found = {
        file: re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)
        for file, pattern in named.items()
    }
    assert len(set(map(tuple, found.values()))) == 1, found
    assert all(len(versions) == 1 for versions in found.values())


def test_what_is_asked_for_is_locked() -> None:
    asked = dict(re.findall(r"^    ([\w-]+)==(\S+)$", (ROOT / "setup.cfg").read_text(), re.M))
    assert {"bitsandbytes", "numpy", "peft", "transformers"} < asked.keys()
    assert asked.items() <= (locked("requirements.lock") | {"torch": asked["torch"]}).items()


def test_every_locked_file_has_a_hash_and_none_is_for_cuda() -> None:
    assert locked("torch.lock").keys() == {"torch"}
    packages = locked("requirements.lock")
    assert not [p for p in packages if p.startswith(("torch", "nvidia", "cuda", "triton"))]
    for file in ("requirements.lock", "torch.lock"):
        text = (ROOT / file).read_text()
        entries = re.findall(r"^\w.*==.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+", text, re.M)
        assert len(entries) == len(re.findall(r"^\w", text, re.MULTILINE))
        assert "://" not in text


def test_torch_has_a_hash_for_each_python_on_linux_and_on_a_mac() -> None:
    entries = (ROOT / "torch.lock").read_text().split("\ntorch==")[1:]
    hashes = [re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries]
    assert ["linux" in entry for entry in entries] == [True, False]
    assert [len(set(found)) for found in hashes] == [4, 2]  # Linux on two processors


def test_a_users_settings_for_pip_choose_sources_and_nothing_else() -> None:
    sources = {"PIP_INDEX_URL": "one", "PIP_FIND_LINKS": "two", "PIP_CERT": "three"}
    rest = {
        "PIP_TARGET": "/four",
        "PIP_PREFIX": "/five",
        "PIP_USER": "1",
        "PIP_REQUIRE_HASHES": "1",
    }
    seen = subprocess.check_output(
        ["make", "--silent", "--eval=show: ; @env", "show"],
        cwd=ROOT,
        env=os.environ | sources | rest,
        text=True,
    ).splitlines()
    assert {f"{name}={value}" for name, value in sources.items()} <= set(seen)
    assert not [line for line in seen if line.partition("=")[0] in rest]
