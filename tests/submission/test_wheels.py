"""Wheels for Kaggle: real uv and pip over an index of three tiny packages in a folder."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

from solver.deadline import Deadline
from solver.grid import DataError
from solver.runtime.run import RunError
from submission.tools import find_python, no_network, run_tool
from submission.wheels.build import (
    CONSTRAINTS,
    FOLDER,
    LOCK,
    MANIFEST,
    PYTHON,
    REQUIREMENTS,
    WHEELS,
    build,
    built_wheels,
    named,
    plain,
    read_manifest,
    read_pins,
    sha256,
)
from submission.wheels.check import verify
from tests.runs import ROOT

PROFILES = sorted(path.parent for path in FOLDER.glob(f"*/{REQUIREMENTS}"))


def wheel(index: Path, name: str, version: str, *requires: str, code: str = "") -> None:
    """Write a pure Python wheel with one module."""
    index.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(index / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile `tiny`, and an index with more than it may take."""
    index, root = tmp_path / "index", tmp_path / "offline_wheels"
    wheel(index, "arc_tool", "1.0", "arc_image>=1")
    wheel(index, "arc_tool", "2.0", "arc_image>=1", "arc_part", code="import arc_image, arc_part")
    wheel(index, "arc_tool", "3.0", "arc_image>=2")  # more than the image has
    wheel(index, "arc_part", "1.0")
    wheel(index, "arc_image", "1.5")
    wheel(index, "arc_image", "2.5")
    wheel(index, "arc_model", "1.0", "torch>=2", code="import torch")
    wheel(index, "torch", "2.10.0", "nvidia-something")
    (root / "tiny").mkdir(parents=True)
    (root / CONSTRAINTS).write_text("# the image\narc-image==1.5\ntorch==2.10.0\n")
    (root / "uv.toml").write_text((FOLDER / "uv.toml").read_text())
    (root / "tiny" / REQUIREMENTS).write_text("arc-tool\narc-model==1.0\n")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(index)}.items():
        monkeypatch.setenv(f"UV_{name}", value)
        monkeypatch.setenv(f"PIP_{name}", value)
    return root


def soon() -> Deadline:
    return Deadline.after(600)


def test_a_build_ships_what_the_image_lacks_and_fits_it(root: Path) -> None:
    said: list[str] = []
    folder = build("tiny", soon(), said.append, root)
    assert read_pins(folder / LOCK) == {"arc-model": "1.0", "arc-part": "1.0", "arc-tool": "2.0"}
    shipped = {
        f"{name}-py3-none-any.whl" for name in ("arc_model-1.0", "arc_part-1.0", "arc_tool-2.0")
    }
    assert {path.name for path in (folder / WHEELS).iterdir()} == shipped
    manifest = read_manifest(folder)
    assert manifest["image"] == {"arc-image": "1.5", "torch": "2.10.0"}
    assert manifest["lock"] == sha256(folder / LOCK)
    assert str(root.parent) not in (folder / LOCK).read_text() + (folder / MANIFEST).read_text()
    assert {path.name for path in folder.iterdir()} == {REQUIREMENTS, LOCK, MANIFEST, WHEELS}


def test_a_second_build_keeps_the_versions_of_the_first(root: Path) -> None:
    folder = build("tiny", soon(), lambda _: None, root)
    files = [folder / LOCK, folder / MANIFEST]
    before = [file.read_bytes() for file in files]
    wheel(root.parent / "index", "arc_part", "1.1")
    build("tiny", soon(), lambda _: None, root)
    assert [file.read_bytes() for file in files] == before
    (folder / LOCK).unlink()
    build("tiny", soon(), lambda _: None, root)
    assert read_pins(folder / LOCK)["arc-part"] == "1.1"


def test_what_contradicts_the_image_is_refused_and_leaves_the_old_wheels(root: Path) -> None:
    folder = build("tiny", soon(), lambda _: None, root)
    (folder / REQUIREMENTS).write_text("arc-tool==3.0\n")
    with pytest.raises(DataError, match=r"requirements\.in: uv failed: .*No solution found"):
        build("tiny", soon(), lambda _: None, root)
    read_manifest(folder)
    (folder / REQUIREMENTS).write_text("arc-tool==3.0\narc-image\n")  # named: shipped itself
    build("tiny", soon(), lambda _: None, root)
    assert read_pins(folder / LOCK) == {"arc-image": "2.5", "arc-tool": "3.0"}


def test_wheels_that_are_missing_damaged_or_foreign_are_named(root: Path) -> None:
    folder = build("tiny", soon(), lambda _: None, root)
    tool = folder / WHEELS / "arc_tool-2.0-py3-none-any.whl"
    whole = tool.read_bytes()
    tool.write_bytes(whole + b" ")
    with pytest.raises(DataError, match=r"arc_tool-2\.0.*is not the file that"):
        read_manifest(folder)
    tool.unlink()
    with pytest.raises(DataError, match=r"arc_tool-2\.0.*is missing"):
        read_manifest(folder)
    tool.write_bytes(whole)
    (folder / WHEELS / "other-1.0-py3-none-any.whl").write_bytes(b"")
    with pytest.raises(DataError, match=r"other-1\.0.*is not the file that"):
        read_manifest(folder)
    with pytest.raises(DataError, match=r"no profile of .*there are tiny"):
        build("huge", soon(), lambda _: None, root)


@pytest.fixture
def python() -> Path:
    try:
        return find_python(PYTHON)
    except DataError:
        pytest.skip(f"no Python {PYTHON} on this machine")


def test_complete_wheels_install_and_import_without_a_network(root: Path, python: Path) -> None:
    build("tiny", soon(), lambda _: None, root)
    report = verify("tiny", soon(), lambda _: None, python, root)
    assert report["imported"] == {"arc-part": "1.0", "arc-tool": "2.0"}
    assert report["unproven"] == {"arc-model": "1.0"}


def test_an_incomplete_set_of_wheels_does_not_pass(root: Path, python: Path) -> None:
    folder = build("tiny", soon(), lambda _: None, root)
    lock = (folder / LOCK).read_text()
    (folder / LOCK).write_text(re.sub(r"arc-part==.*\n.*\n", "", lock))
    (folder / WHEELS / "arc_part-1.0-py3-none-any.whl").unlink()
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["wheels"]["arc_part-1.0-py3-none-any.whl"]
    manifest["lock"] = sha256(folder / LOCK)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"arc-tool 2\.0 requires arc-part, which is not installed"):
        verify("tiny", soon(), lambda _: None, python, root)


def test_without_a_network_nothing_is_reached(python: Path) -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    with pytest.raises(RunError, match=r"unreachable|refused"):
        run_tool([python, "-c", code], soon(), before=no_network())
    code = "import socket; print([name for _, name in socket.if_nameindex()])"
    assert run_tool([python, "-c", code], soon(), before=no_network()).strip() == "['lo']"


@pytest.mark.parametrize("folder", PROFILES, ids=lambda folder: folder.name)
def test_what_is_kept_of_a_profile_fits_together(folder: Path) -> None:
    lock, manifest = (folder / LOCK).read_text(), json.loads((folder / MANIFEST).read_text())
    pins = read_pins(folder / LOCK)
    assert manifest["lock"] == sha256(folder / LOCK)
    files = {plain(name.partition("-")[0]) for name in manifest["wheels"]}
    assert files == set(pins)
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    assert {wheel["sha256"] for wheel in manifest["wheels"].values()} <= hashes
    assert "://" not in lock
    assert not [name for name in pins if re.match("torch$|torchvision|nvidia|triton|cuda", name)]
    assert named(folder / REQUIREMENTS) <= set(pins)
    image = read_pins(FOLDER / CONSTRAINTS)
    assert manifest["image"].items() <= image.items()
    asked = dict(re.findall(r"^    ([\w-]+)==(\S+)$", (ROOT / "setup.cfg").read_text(), re.M))
    ours = {name: version for name, version in pins.items() if name in asked}
    assert ours.items() <= asked.items()
    assert {"transformers", "bitsandbytes"} <= set(ours)


def test_the_folder_of_a_lock_is_found(root: Path) -> None:
    folder = build("tiny", soon(), lambda _: None, root)
    assert built_wheels(sha256(folder / LOCK), root) == str(folder)
    assert built_wheels("", root) is None
    next((folder / WHEELS).glob("*.whl")).unlink()
    with pytest.raises(DataError, match="is missing"):
        built_wheels(sha256(folder / LOCK), root)
