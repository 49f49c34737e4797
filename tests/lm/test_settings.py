"""Settings of a language model, and what is looked at before a run: one line, at once."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from solver.config import Stage, load_config, ready_stages
from solver.engines import Context, check_settings
from solver.grid import DataError
from solver.kit import CONFIG_FILE, WEIGHTS_FILE
from solver.lm import ready
from solver.lm import settings as described
from solver.lm.files import INDEX, tensors_of
from solver.lm.ready import check
from solver.lm.search.strategies import STRATEGIES
from solver.lm.settings import Settings, read
from solver.lm.vocabulary import TOKENIZER
from tests.lm.small import build_model

MB = 2000


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("original"))


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def given(model: Path, **more: Any) -> dict[str, Any]:
    return {"model": str(model), "max_seq_length": 2048, **more}


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_settings_are_read_from_a_profile() -> None:
    settings = read({"rank": 8, "rate": 1, "targets": ["q_proj"], "model": "x"})
    assert settings == Settings(model="x", rank=8, rate=1.0, targets=("q_proj",))
    assert set(described.STRATEGIES) == set(STRATEGIES)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"rang": 8}, "rang: no such setting; did you mean rank"),
        ({"colour": 8}, "colour: no such setting; there are model, backend"),
        ({"rank": 8.0}, "rank: must be a whole number, is 8.0"),
        ({"rank": True}, "rank: must be a whole number, is True"),
        ({"rslora": 1}, "rslora: must be true or false, is 1"),
        ({"targets": "q_proj"}, "targets: must be a list, is 'q_proj'"),
        ({"targets": [1]}, "targets[0]: must be a text, is 1"),
        ({"targets": []}, "targets: must not be empty"),
        ({"backend": "vllm"}, "backend: there is no 'vllm'; there are transformers, unsloth"),
        ({"quantization": "4bit"}, "there are none, nf4, int8"),
        ({"max_seq_length": 1024}, "max_seq_length: must be at least 2048, is 1024"),
        ({"learning": 1.0}, "learning: must be below 1, is 1.0"),
        ({"reshaped": 1.0}, "reshaped: must be below 1, is 1.0"),
        ({"rate": 0.0}, "rate: must be above 0, is 0.0"),
        ({"threshold": 1.5}, "threshold: must be below 1, is 1.5"),
    ],
)
def test_a_setting_that_is_none_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=re.escape(complaint)):
        check_settings("llm", wrong)


def test_an_engine_without_settings_takes_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="synth takes none, not 'rank' either"):
        check_settings("synth", {"rank": 1})
    check_settings("tests.fakes:instant", {"anything": 1})
    profile = tmp_path / "own.toml"
    profile.write_text('[[stages]]\nengine = "llm"\nsettings = { rankk = 2 }\n')
    with pytest.raises(
        DataError, match=r"stages\[0\] \(llm\): settings: rankk: no such setting; did you mean"
    ):
        load_config(str(profile), 1.0)


def test_a_profile_of_one_s_own(tmp_path: Path) -> None:
    profile = tmp_path / "own.toml"
    profile.write_text('workers = 2\n[[stages]]\nengine = "llm"\n[stages.settings]\nrank = 2\n')
    config = load_config(str(profile), 1.0, model="elsewhere")
    assert config.stages == (Stage("llm", settings={"rank": 2, "model": "elsewhere"}),)
    assert Context(0, 0, settings=config.stages[0].settings).settings["rank"] == 2
    with pytest.raises(DataError, match="--model x: no engine of this run takes a model"):
        load_config("cpu", 1.0, model="x")
    for text, complaint in (
        ("workers =", "own.toml: not TOML"),
        ("workers = 1", "own.toml: stages: is missing"),
        ("[[stages]]\nengin = 'x'", r"stages\[0\]: engin: no such setting; did you mean engine"),
    ):
        profile.write_text(text)
        with pytest.raises(DataError, match=complaint):
            load_config(str(profile), 1.0)
    with pytest.raises(DataError, match="cannot be read"):
        load_config(str(tmp_path / "none.toml"), 1.0)


@pytest.mark.parametrize("profile", ["nvarc", "poe", "marc"])
def test_a_recipe_needs_a_model_before_it_starts(profile: str) -> None:
    with pytest.raises(DataError, match="no language model: name its folder with --model"):
        ready_stages(load_config(profile, 1.0))
    with pytest.raises(DataError, match="nowhere: no such folder"):
        ready_stages(load_config(profile, 1.0, model="nowhere"))


def test_a_whole_checkpoint_is_ready(model: Path) -> None:
    check(given(model), MB)
    check(given(model, quantization="nf4", style="io"), MB)
    weights = load_file(model / WEIGHTS_FILE)
    shapes = {tensor.name: tensor.shape for tensor in tensors_of(model)}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in weights.items()}


def test_shards_must_be_there_and_whole(model: Path) -> None:
    weights = load_file(model / WEIGHTS_FILE)
    names = sorted(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, model / file, {"format": "pt"})
    (model / WEIGHTS_FILE).unlink()
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be read: No such file"):
        check(given(model), MB)
    places = {name: file for file, part in shards.items() for name in part}
    (model / INDEX).write_text(json.dumps({"weight_map": places}))
    check(given(model), MB)
    whole = (model / "b.safetensors").read_bytes()
    (model / "b.safetensors").write_bytes(whole[:-7])
    with pytest.raises(DataError, match=r"b\.safetensors: torn: \d+ bytes where"):
        check(given(model), MB)
    (model / "b.safetensors").write_bytes(b"\0\1" * 40)
    with pytest.raises(DataError, match=r"b\.safetensors: "):
        check(given(model), MB)
    (model / "b.safetensors").write_bytes((model / "a.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"b\.safetensors: has no \S+, which model\.saf\S+ places"):
        check(given(model), MB)
    (model / "b.safetensors").unlink()
    with pytest.raises(DataError, match=r"b\.safetensors: cannot be read: No such file"):
        check(given(model), MB)
    (model / INDEX).write_text("{}")
    with pytest.raises(DataError, match=r"index\.json: names no files"):
        check(given(model), MB)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"quantization_config": {"quant_method": "awq"}}, "by awq, and gptqmodel is not inst"),
        ({"quantization_config": {"quant_method": "magic"}}, "by magic, which is not known"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "has layers of linear_attention"),
        ({"sliding_window": 512, "use_sliding_window": True}, "sliding_window is 512, less than"),
        ({"max_position_embeddings": 1024}, "max_position_embeddings is 1024, less than max_seq"),
        ({"vocab_size": 200}, r"tokens up to \d+, where the model has 200"),
    ],
)
def test_a_checkpoint_that_cannot_serve_is_named(
    model: Path, values: dict[str, Any], complaint: str
) -> None:
    edit(model / CONFIG_FILE, **values)
    with pytest.raises(DataError, match=complaint):
        check(given(model), MB)


def test_other_things_that_are_missing_are_named(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"take 7\d\d MB at least, and a worker .* has 700: quant"):
        check(given(model), 700)
    monkeypatch.setattr(ready, "gpu_mb", lambda: 16_000)
    with pytest.raises(DataError, match=r"take \d{5} MB at least, and the GPU has 16000"):
        check(given(model, rank=1_000_000), 700)
    (model / TOKENIZER).unlink()
    with pytest.raises(DataError, match=r"tokenizer\.json: no such file"):
        check(given(model), MB)
    (model / CONFIG_FILE).write_text("[]")
    with pytest.raises(DataError, match=r"config\.json: no configuration"):
        check(given(model), MB)
    monkeypatch.setattr(ready, "NEEDED", ("torch", "no_such_library"))
    with pytest.raises(DataError, match="no_such_library is not installed"):
        check(given(model), MB)
