"""Settings in TOML: taken as they are, or refused in one line that names the place."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.config import Stage, load_config
from solver.grid import DataError
from solver.runtime.command import SolveRequest, exit_code, run_solve
from solver.schedule.cost import Work
from solver.schedule.policy import Policy
from submission.kaggle.settings import read_settings
from tests.fakes import toy_tasks
from tests.runs import examples, write_challenges

ENGINE = "tests.fakes:instant"
STAGE = f"[[stages]]\nengine = '{ENGINE}'\n"
AT = rf"stages\[0\] \({ENGINE}\): "


def own(folder: Path, text: str) -> str:
    """A profile of one's own."""
    (folder / "own.toml").write_text(text)
    return str(folder / "own.toml")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"worker = 2\n{STAGE}", "worker: no such setting; did you mean workers?"),
        (f"colour = 2\n{STAGE}", "colour: no such setting; there are stages, workers, "),
        (f"seed = 1\n{STAGE}", "seed: no such setting"),
        (f"steps = 9\n{STAGE}", "steps: no such setting; did you mean stages?"),
        (f"{STAGE}step_s = 0", f"{AT}step_s: must be above 0, is 0"),
        (f"workers = 'four'\n{STAGE}", "workers: must be a whole number, is 'four'"),
        (f"workers = 2.0\n{STAGE}", "workers: must be a whole number, is 2.0"),
        (f"workers = true\n{STAGE}", "workers: must be a whole number, is True"),
        (f"workers = -3\n{STAGE}", "workers: must be at least 0, is -3"),
        (f"workers = 257\n{STAGE}", "workers: must be at most 256, is 257"),
        (f"workers = 1979-05-27\n{STAGE}", "workers: must be a whole number, is datetime"),
        (f"devices = 300\n{STAGE}", "devices: must be at most 256, is 300"),
        (f"memory_mb = 0\n{STAGE}", "memory_mb: must be above 0, is 0"),
        (f"device_memory_mb = -1\n{STAGE}", "device_memory_mb: must be above 0, is -1"),
        (f"memory_mb = 0x{'f' * 5000}\n{STAGE}", "memory_mb: must be at most .*, is a number of"),
        (f"grace_s = '2'\n{STAGE}", "grace_s: must be a number, is '2'"),
        (f"grace_s = -0.5\n{STAGE}", "grace_s: must be at least 0, is -0.5"),
        (f"load_s = inf\n{STAGE}", "load_s: must be at most 1e\\+09, is inf"),
        (f"selector = 'expert'\n{STAGE}", "selector: there is no 'expert'; did you mean experts?"),
        (f"ensemble = 'nope'\n{STAGE}", "ensemble: there is no 'nope'; there are each, likeliest"),
        ("workers = 1", "stages: is missing"),
        ("stages = []", "stages: must not be empty"),
        ("stages = [5]", r"stages\[0\]: must be a table, is 5"),
        ("stages = 'synth'", r"stages: must be a list of tables, each under \[\[stages\]\], is"),
        ("[stages]\nengine = 'synth'", "stages: must be a list of tables"),
        ("[[stages]]\nshare = 1", r"stages\[0\]: engine: is missing"),
        ("[[stages]]\nengine = ['synth']", r"stages\[0\]: engine: must be a text"),
        ("[[stages]]\nengine = ''", r"stages\[0\]: engine: must have 1 to 200 characters, has 0"),
        ("[[stages]]\nengine = 'sinth'", r"\(sinth\): engine: no such engine; did you mean synth"),
        ("[[stages]]\nengine = 'a b:f'", r"\(a b:f\): engine: no such engine"),
        (f"{STAGE}share = 0", f"{AT}share: must be above 0, is 0"),
        (f"{STAGE}share = nan", f"{AT}share: must be a number, is nan"),
        (f"{STAGE}share = inf", f"{AT}share: must be at most"),
        (f"{STAGE}share = 1e300", f"{AT}share: must be at most"),
        (f"{STAGE}max_slice_s = -1", f"{AT}max_slice_s: must be above 0, is -1"),
        (f"{STAGE}max_slice_s = '20'", f"{AT}max_slice_s: must be a number, is '20'"),
        (f"{STAGE}min_slice_s = -1", f"{AT}min_slice_s: must be at least 0"),
        (f"{STAGE}loading_s = [6]", rf"{AT}loading_s: must be a number, is \[6\]"),
        (f"{STAGE}growth = 0.5", f"{AT}growth: must be at least 1, is 0.5"),
        (f"{STAGE}settled = 2", f"{AT}settled: must be at most 1, is 2"),
        (f"{STAGE}least_s = '10m'", f"{AT}least_s: must be a number, is '10m'"),
        (f"{STAGE}repeats = 1", f"{AT}repeats: must be true or false, is 1"),
        (f"{STAGE}device = 'no'", f"{AT}device: must be true or false, is 'no'"),
        (f"{STAGE}ladder = 'batch'", f"{AT}ladder: must be a list, is 'batch'"),
        (f"{STAGE}ladder = ['batch', 'heat']", rf"{AT}ladder\[1\]: there is no 'heat'; there are"),
        (f"{STAGE}needs = 'joint'", f"{AT}needs: 'joint' is no stage with `whole = true`; there"),
        (f"{STAGE}whole = true\nneeds = '{ENGINE}'", f"{AT}needs: goes in a circle"),
        (f"{STAGE}settings = 'none'", f"{AT}settings: must be a table, is 'none'"),
        (f"{STAGE}settings = {{ day = 1979-05-27 }}", f"{AT}settings: must be made of texts"),
        (f"{STAGE}settings.{'.a' * 50}=1".replace("..", "."), f"{AT}settings: must be made of"),
        (f"{STAGE}{STAGE}", rf"stages\[1\] \({ENGINE}\): engine: has a stage before this one"),
        ("[[stages]]\nengine = 'joint'", "whole: must be true: the engine takes all"),
        (
            "[[stages]]\nengine = 'synth'\nwhole = true",
            "whole: must be false: the engine takes a t",
        ),
        ("[[stages]]\nengine = 'synth'\nsettings = { a = 1 }", "settings: synth takes none, not"),
        (
            "[[stages]]\nengine = 'model'\nsettings = { views = 9 }",
            "settings: views: must be at mo",
        ),
        (f'"a\\nb" = 1\n{STAGE}', r"'a\\nb': no such setting"),
        ("workers = ", "not TOML: "),
        ("a = " + "[" * 5000, "not TOML: "),
        ("\ud800", "not TOML: "),
    ],
)
def test_what_a_profile_may_not_say_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError) as refused:
        load_config(str(path), 60.0)
    assert re.match(f"{re.escape(str(path))}: .*{complaint}", str(refused.value))
    assert "\n" not in str(refused.value)


def test_a_profile_that_is_refused_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    challenges = write_challenges(tmp_path / "c.json", toy_tasks(1))
    profile, run = own(tmp_path, f"{STAGE}shares = 2\n"), tmp_path / "runs/one"
    request = SolveRequest(str(challenges), profile=profile, run=str(run))

    def action() -> None:
        run_solve(request, 0.0, lambda snapshot: None)

    assert exit_code("arcsub", action) == 2
    (line,) = capsys.readouterr().err.splitlines()
    where = f"arcsub: {profile}: stages[0] ({ENGINE}): shares"
    assert line == f"{where}: no such setting; did you mean share?"
    assert not run.parent.exists()


def test_a_stage_that_takes_no_part_is_checked_all_the_same(tmp_path: Path) -> None:
    late = f"{STAGE}[[stages]]\nengine = 'llm'\nleast_s = 600\nsettings = {{ rank = 0 }}\n"
    with pytest.raises(DataError, match=r"stages\[1\] \(llm\): settings: rank: must be at least 1"):
        load_config(own(tmp_path, late), 1.0)


def test_a_byte_order_mark_and_whole_numbers_of_seconds_are_good(tmp_path: Path) -> None:
    profile = own(tmp_path, f"\ufeffworkers = 2\ngrace_s = 3\n{STAGE}least_s = inf\nshare = 2\n")
    config = load_config(profile, 60.0, engines=(ENGINE,))
    assert config.stages == (Stage(ENGINE, share=2.0, least_s=math.inf),)
    assert (config.workers, config.grace_s) == (2, 3.0)
    assert type(config.grace_s) is float


def test_kaggle_toml_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "kaggle.toml").write_text("\ufeff" + toml(KAGGLE | {"datasets": {}}))
    assert read_settings(tmp_path / "kaggle.toml").owner == "somebody"


# --- whatever a file holds ----------------------------------------------------------------

PROFILE: dict[str, Any] = {
    "workers": 2,
    "memory_mb": 3000,
    "grace_s": 2.5,
    "selector": "kgmon",
    "ensemble": "fused",
    "stages": [
        {"engine": "synth", "share": 2, "max_slice_s": 20, "growth": 2.0},
        {"engine": "joint", "whole": True, "least_s": math.inf, "optional": True},
        {
            "engine": "model",
            "needs": "joint",
            "ladder": ["batch", "views"],
            "settings": {"views": 4},
        },
        {"engine": "llm", "device": False, "settings": {"rank": 8, "targets": ["q_proj"]}},
        {"engine": ENGINE, "settings": {"mine": [1, {"deep": "x"}]}, "settled": 0.9},
    ],
}
KAGGLE: dict[str, Any] = {
    "owner": "somebody",
    "title": "A kit of mine",
    "competition": "arc-prize",
    "machine": "cpu",
    "attach": ["other/wheels"],
    "models": ["a/b/transformers/c/1"],
    "datasets": {"my-model": {"folder": "model", "title": "My model", "licence": "mit"}},
}
WORDS = st.sampled_from(
    [*PROFILE, *PROFILE["stages"][0], *KAGGLE, "synth", "batch", "needs", "settings", "", "a\nb"]
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-300, 300),
    st.integers(),
    st.just(16**3000),
    st.floats(),
    WORDS,
    st.text(max_size=8),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC)),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def toml(value: Any, *, outer: bool = True) -> str:
    """A value as TOML; a table within another in one line."""
    if isinstance(value, dict):
        pairs = (
            f"{json.dumps(k, ensure_ascii=False)} = {toml(v, outer=False)}"
            for k, v in value.items()
        )
        return "\n".join(pairs) if outer else f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(toml(item, outer=False) for item in value)}]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, date | datetime):
        return value.isoformat()
    return hex(value) if isinstance(value, int) and value > 2**70 else repr(value)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every table and list within a value, with each of its keys."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def spoiled(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """Good settings of which some have another value, are gone, renamed, nested or twice there."""
    table = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(table))
        if not found:
            break
        inside, key = found[draw(st.integers(0, len(found) - 1))]
        match draw(st.sampled_from(["swap", "drop", "rename", "nest", "copy"])):
            case "swap":
                inside[key] = draw(VALUES)
            case "nest":
                inside[key] = {draw(WORDS): inside[key]}
            case "drop":
                del inside[key]
            case "rename" if isinstance(inside, dict):
                inside[draw(WORDS)] = inside.pop(key)
            case _:
                other, there = found[draw(st.integers(0, len(found) - 1))]
                inside[key] = copy.deepcopy(other[there])
    return table


@st.composite
def damaged(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """The text of good settings with some bytes lost or others in their place."""
    raw = toml(good).encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + 20)))
        raw = raw[:start] + draw(st.binary(max_size=4) | st.just(b"[[")) + raw[end:]
    return raw


def texts(good: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Arbitrary TOML, good settings spoiled, their text damaged."""
    arbitrary = st.dictionaries(
        st.sampled_from(sorted(good)) | st.text(max_size=5), VALUES, max_size=4
    )
    return (arbitrary | spoiled(good)).map(lambda table: toml(table).encode()) | damaged(good)


def read_or_refuse(read: Callable[[str], Any], path: Path, raw: bytes) -> Any:
    """The settings of a file; None if it is refused, in one line that names the file."""
    path.write_bytes(raw)
    said = ""
    try:
        return read(str(path))
    except DataError as error:
        said = str(error)
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    return None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "model").mkdir()
    (folder / "model/weights").write_text("x")
    return folder


@given(raw=texts(PROFILE))
@examples(200)
def test_any_profile_can_be_run_or_is_refused(place: Path, raw: bytes) -> None:
    config = read_or_refuse(lambda name: load_config(name, 60.0), place / "own.toml", raw)
    if config:
        json.dumps(dataclasses.asdict(config))  # as the journal records it
        plan = Policy([Work(1), Work(2)], config.stages, config.workers, config.devices)
        plan.take(60.0)


@given(raw=texts(KAGGLE))
@examples(200)
def test_any_kaggle_toml_is_read_or_refused(place: Path, raw: bytes) -> None:
    read_or_refuse(lambda name: read_settings(Path(name)), place / "kaggle.toml", raw)


def test_what_is_spoiled_was_good(place: Path) -> None:
    profile = read_or_refuse(
        lambda name: load_config(name, 60.0), place / "own.toml", toml(PROFILE).encode()
    )
    assert len(profile.stages) == 4
    assert read_or_refuse(
        lambda name: read_settings(Path(name)), place / "kaggle.toml", toml(KAGGLE).encode()
    )
