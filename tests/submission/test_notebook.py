"""The notebook: always the same bytes, the whole solver inside, small enough, well formed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from solver.grid import DataError
from solver.kit import folder_print, package_files
from submission.notebook.build import MAX_BYTES, about_of, build, commit_of, id_of, write_notebook
from submission.notebook.cells import model_cells
from submission.notebook.settings import Settings
from submission.wheels.build import FOLDER, LOCK, read_pins, sha256
from tests.runs import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def text() -> str:
    return build(Settings(), COMMIT)


@pytest.fixture(scope="module")
def notebook(text: str) -> Any:
    return json.loads(text)


def sources(notebook: Any) -> list[str]:
    return [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_same_commit_gives_the_same_bytes_anywhere(text: str, tmp_path: Path) -> None:
    code = (
        "from submission.notebook.build import build\n"
        "from submission.notebook.settings import Settings\n"
        f"print(build(Settings(), {COMMIT!r}), end='')"
    )
    again = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
        capture_output=True,
        check=True,
    )
    assert again.stdout == text.encode()


def test_nothing_of_this_machine_is_inside(text: str) -> None:
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text.replace("/root/.cache", "")


def files_in(notebook: Any) -> dict[str, str]:
    """The files that a notebook's cells write."""
    written = {}
    for source in sources(notebook):
        if found := re.match(r"%%writefile /kaggle/temp/kit/(\S+)\n(.*)", source, re.DOTALL):
            written[found[1]] = found[2] + "\n"
        elif found := re.search(r'SOURCES = """(.*?)"""', source, re.DOTALL):
            packed = base64.b85decode("".join(found[1].split()))
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                written |= {name: archive.read(name).decode() for name in archive.namelist()}
    return written


def test_it_holds_files_of_the_solver_as_they_are() -> None:
    notebook = json.loads(build(RUNS["synth"], COMMIT))
    written, every = files_in(notebook), dict(package_files())
    assert written == {name: every[name].read_text() for name in written}
    needed = {
        "solver/runtime/run.py",
        "solver/runtime/worker.py",
        "solver/synth/grids/search.py",
        "solver/__init__.py",
    }
    assert needed | {f"solver/profiles/{name}.toml" for name in ("cpu", "kaggle-cpu")} < set(
        written
    )
    assert not [name for name in written if name.startswith("solver/lm/")]


MODELS = {"nvarc": "models/o/m/transformers/v/1", "induce": "datasets/o/code-model"}
RUNS = {
    "synth": Settings(engines="synth"),
    "pair": Settings(),
    **{profile: Settings(profile=profile, model=model) for profile, model in MODELS.items()},
}
# Every module of a kit can be imported, what its tables name for these engines is there, and what
# they name for others is refused in words.
USE = """
import importlib, sys
from pathlib import Path
from solver import engines
from solver.config import load_config
from solver.grid import DataError
for path in Path("solver").rglob("*.py"):
    if path.name != "__main__.py":
        importlib.import_module(".".join(path.with_suffix("").parts))
own = set(sys.argv[2].split(","))
config = load_config(sys.argv[1], 1.0, engines=tuple(sys.argv[2].split(",")))
for name in engines.ENGINES:
    if name in own:
        engines._function(engines.ENGINES[name])
    else:
        try:
            engines.check_engine(name, "")
        except DataError as error:
            assert "no such engine" in str(error)
"""


@pytest.mark.parametrize("run", RUNS)
def test_what_it_holds_is_enough_for_its_run(run: str, tmp_path: Path) -> None:
    notebook = json.loads(build(RUNS[run], COMMIT))
    for name, source in files_in(notebook).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    about = notebook["metadata"]["arcsub"]
    done = subprocess.run(
        [sys.executable, "-c", USE, about["profile"], ",".join(about["engines"])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_profile_of_ones_own_comes_along(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("workers = 3\n[[stages]]\nengine = 'synth'\n")
    notebook = json.loads(build(Settings(profile=str(path)), COMMIT))
    assert files_in(notebook)["solver/profiles/mine.toml"] == path.read_text()
    assert 'PROFILE = "mine"' in sources(notebook)[0]
    assert str(tmp_path) not in json.dumps(notebook)
    same_name = tmp_path / "cpu.toml"
    same_name.write_text(path.read_text())
    with pytest.raises(DataError, match="the kit has one of that name"):
        build(Settings(profile=str(same_name)), COMMIT)


def test_every_folder_of_the_solver_is_made_and_has_a_heading(notebook: Any) -> None:
    folders = {str(Path(name).parent) for name in files_in(notebook)} - {"."}
    made = re.search(r"^FOLDERS: .* = \((.*)\)$", sources(notebook)[0], re.MULTILINE)
    assert made
    assert set(re.findall(r'"([^"]+)"', made[1])) == folders
    headings = [c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown"]
    rooms = {"/".join(folder.split("/")[:2]) for folder in folders}
    assert len(headings) == 1 + len(rooms) + 5
    assert not any("/" in heading for heading in headings[1:])  # each has words of its own


def test_its_cells_are_python_and_end_without_a_blank_line(notebook: Any) -> None:
    for source in sources(notebook):
        if not source.startswith("%%"):
            compile(source, "cell", "exec")
        assert source == source.rstrip("\n")


def test_its_metadata_is_what_kaggle_needs(text: str, notebook: Any) -> None:
    nbformat.validate(nbformat.reads(text, as_version=4))
    metadata = notebook["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["language_info"]["name"] == "python"
    assert metadata["kaggle"]["isInternetEnabled"] is False
    assert metadata["kaggle"]["accelerator"] == "none"
    assert metadata["arcsub"]["commit"] == COMMIT
    assert metadata["arcsub"]["profile"] == "kaggle-cpu"
    assert metadata["arcsub"]["engines"] == ["synth", "model"]
    assert metadata["arcsub"]["lock"] == ""
    assert re.fullmatch(r"[0-9a-f]{64}", metadata["arcsub"]["tested"])
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert COMMIT in notebook["cells"][0]["source"]
    assert metadata["arcsub"]["tested"] in notebook["cells"][0]["source"]


def test_its_id_tells_everything_that_it_was_built_from(notebook: Any, tmp_path: Path) -> None:
    about = notebook["metadata"]["arcsub"]
    assert f'ID = "{about["id"]}"' in sources(notebook)[0]
    assert f"| id | `{about['id']}` |" in notebook["cells"][0]["source"]
    assert about["id"] == id_of(about["identity"])
    assert about["identity"]["model"] == folder_print(ROOT / "models/pair")
    own = tmp_path / "mine.toml"
    own.write_text("workers = 3\n[[stages]]\nengine = 'synth'\n")
    others = [
        build(Settings(), "another"),
        build(Settings(seed=1), COMMIT),
        build(Settings(budget="9h"), COMMIT),
        build(Settings(profile=str(own)), COMMIT),
        build(RUNS["nvarc"], COMMIT),
        build(RUNS["synth"], COMMIT),
    ]
    ids = {about["id"], *(json.loads(other)["metadata"]["arcsub"]["id"] for other in others)}
    assert len(ids) == 1 + len(others)


def test_settings_are_constants_of_the_first_cell(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text("six==1.17.0 \\\n    --hash=sha256:" + 64 * "0" + "\n")
    settings = Settings(
        engines="synth,model",
        competition="another-slug",
        budget="9h30m",
        short_budget="2m",
        seed=7,
        model="models/o/m/transformers/v/1",
        wheels="datasets/*/wheels",
        lock=str(lock),
    )
    path = tmp_path / "deep" / "notebook.ipynb"
    assert write_notebook(path, settings, COMMIT) == path.stat().st_size
    names: dict[str, Any] = {}
    lines = sources(json.loads(path.read_text()))[0].splitlines()
    exec("\n".join(line for line in lines if re.match(r"[A-Z_]+ = [\"\d]", line)), names)
    shown = [names[k] for k in ("ENGINES", "COMPETITION", "BUDGET", "SHORT_BUDGET", "SEED")]
    assert shown == ["synth,model", "another-slug", "9h30m", "2m", 7]
    assert (names["MODEL"], names["WHEELS"]) == (settings.model, settings.wheels)
    assert f"%%writefile /kaggle/temp/kit/wheels.lock\n{lock.read_text()}"[:-1] in sources(
        json.loads(path.read_text())
    )
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    assert about_of(path)["lock"] == digest
    assert digest in path.read_text().split("cell-001")[0]
    assert about_of(path)["sources"] == {
        "competition": "competitions/another-slug",
        "wheels": "datasets/*/wheels",
        "model": "models/o/m/transformers/v/1",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "none"}, "no such profile"),
        ({"engines": "nothing"}, "no such engine"),
        ({"engines": "tests.fakes:instant"}, "is not the kit's"),
        ({"profile": "nvarc"}, "llm needs a language model"),
        ({"profile": "nvarc", "model": "inside"}, "llm needs a language model"),
        ({"engines": "model,llm", "model": "datasets/o/m"}, "want two models"),
        ({"machine": "NvidiaH100"}, "--machine NvidiaH100: there are cpu, "),
        ({"budget": "long"}, "--budget"),
        ({"short_budget": "0s"}, "--short-budget"),
        ({"competition": "a/b"}, "no name of a Kaggle source"),
        ({"model": "somewhere"}, "no name of a Kaggle source"),
        ({"wheels": "datasets/a/b", "lock": "/no/such.lock"}, "cannot be read"),
    ],
)
def test_settings_that_cannot_work(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(replace(Settings(), **change), COMMIT)


def test_a_model_that_does_not_fit_is_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"MB, Kaggle takes less .*--model datasets/"):
        build(Settings(engines="synth,model", model="inside"), COMMIT)


def test_a_model_that_fits_travels_inside(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": 1}\n')
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)))
    config, weights = (cell["source"] for cell in model_cells(tmp_path))
    assert config == '%%writefile /kaggle/temp/kit/models/pair/config.json\n{"a": 1}'
    place = tmp_path / "kit"
    (place / "models/pair").mkdir(parents=True)
    exec(weights, {"KIT": place})
    assert (place / "models/pair/model.safetensors").read_bytes() == bytes(range(256))


def test_the_kits_own_model_is_a_dataset_if_it_does_not_fit(notebook: Any) -> None:
    about = notebook["metadata"]["arcsub"]
    assert about["engines"] == ["synth", "model"]
    assert about["sources"].keys() == {"competition", "model"}  # and no packages of the kit's
    assert about["sources"]["model"] == "datasets/*/arc-kit-model"
    synth = json.loads(build(RUNS["synth"], COMMIT))["metadata"]["arcsub"]
    assert synth["sources"].keys() == {"competition"}


@pytest.mark.parametrize("profile", ["nvarc", "poe", "marc", "induce"])
def test_a_language_model_of_ones_own_comes_with_what_peft_needs(profile: str) -> None:
    """peft refuses the image's torchao for layers that bitsandbytes does not hold."""
    notebook = json.loads(build(Settings(profile=profile, model="datasets/o/m"), COMMIT))
    about = notebook["metadata"]["arcsub"]
    assert about["sources"]["wheels"] == "datasets/*/arc-kit-language-wheels"
    assert about["lock"] == sha256(FOLDER / "language" / LOCK)
    pins = read_pins(FOLDER / "language" / LOCK)
    assert {"peft", "torchao", "bitsandbytes", "transformers"} <= set(pins)
    chosen = Settings(profile=profile, model="datasets/o/m", wheels="datasets/me/mine")
    sources = json.loads(build(chosen, COMMIT))["metadata"]["arcsub"]["sources"]
    assert sources["wheels"] == "datasets/me/mine"


@pytest.mark.parametrize(
    ("profile", "machine", "accelerator"),
    [
        ("kaggle-cpu", "", "none"),
        ("", "", "none"),
        ("", "NvidiaL4", "nvidiaL4"),
        ("nvarc", "", "nvidiaL4"),
        ("nvarc", "NvidiaTeslaT4", "nvidiaTeslaT4"),
        ("induce", "", "nvidiaL4"),
    ],
)
def test_its_machine_is_named(profile: str, machine: str, accelerator: str) -> None:
    settings = Settings(profile=profile, machine=machine, model=MODELS.get(profile, ""))
    notebook = json.loads(build(settings, COMMIT))
    kaggle = notebook["metadata"]["kaggle"]
    assert (kaggle["accelerator"], kaggle["isGpuEnabled"]) == (accelerator, accelerator != "none")


@pytest.mark.parametrize(
    ("machine", "engines", "profile"),
    [
        ("", "", "kaggle-cpu"),
        ("cpu", "", "kaggle-cpu"),
        ("NvidiaL4", "", "kaggle-l4x4"),
        ("NvidiaTeslaT4", "synth,joint,model", "kaggle-t4x2"),
        ("NvidiaL4", "llm", "kaggle-cpu"),
    ],
)
def test_the_machine_decides_the_profile(machine: str, engines: str, profile: str) -> None:
    model = MODELS["nvarc"] if engines == "llm" else ""
    chosen = Settings(machine=machine, engines=engines, model=model)
    about = json.loads(build(chosen, COMMIT))["metadata"]["arcsub"]
    assert about["profile"] == profile


@pytest.mark.parametrize("run", RUNS)
def test_there_is_room_below_kaggles_limit(run: str) -> None:
    assert len(build(RUNS[run], COMMIT).encode()) < 0.9 * MAX_BYTES


def test_a_file_that_is_no_notebook_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.ipynb"
    path.write_text('{"metadata": {}}')
    with pytest.raises(DataError, match="no notebook that"):
        about_of(path)


def test_the_commit_is_named_and_an_edit_shows(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    (tmp_path / "solver").mkdir()
    (tmp_path / "solver" / "a.py").write_text("1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    assert re.fullmatch("[0-9a-f]{40}", commit_of(tmp_path))
    (tmp_path / "solver" / "a.py").write_text("2\n")
    assert re.fullmatch("[0-9a-f]{40}-edited", commit_of(tmp_path))
