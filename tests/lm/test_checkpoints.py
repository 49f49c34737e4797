"""Checkpoints as people have them: what is good is taken, what is not is one line before a run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, Phi3Config, Phi3ForCausalLM

from solver.deadline import Deadline, StepClock
from solver.engines import check_ready
from solver.grid import DataError
from solver.kit import CONFIG_FILE, WEIGHTS_FILE
from solver.lm.files import INDEX, linear_weights, tensors_of
from solver.lm.llm.engine import load_learner
from solver.lm.llm.tryout import try_out
from solver.lm.llm.tune import linear_layers
from solver.lm.load import quantization
from solver.lm.ready import check, look
from solver.lm.settings import PROJECTIONS, adapted, read
from solver.lm.vocabulary import SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG, vocabulary_of
from tests.lm.small import LENGTH, SPECIAL, build_model, copies, make_tokenizer, new_model
from tests.runs import command, finish, start, write_challenges

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
MB = 2000
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("original"))


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def given(model: Path, **more: Any) -> dict[str, Any]:
    return {"model": str(model), "max_seq_length": LENGTH, **more}


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def checked_here(model: Path) -> None:
    """Do as `check` in this process, which has loaded the libraries already."""
    settings = read(given(model))
    look(settings, MB)
    try_out(settings)


def complaint(model: Path, **more: Any) -> str:
    with pytest.raises(DataError) as raised:
        check(given(model, **more), MB)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# --- taken ------------------------------------------------------------------------------


def with_padding(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_padding(length=64, pad_token=SPECIAL[0])
    tokenizer.save(str(folder / TOKENIZER))


def with_truncation(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(max_length=16)
    tokenizer.save(str(folder / TOKENIZER))


def with_a_stale_index(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": {"model.norm.weight": "model-1-of-2.safetensors"}}')


def with_another_eos(folder: Path) -> None:
    (folder / TOKENIZER_CONFIG).write_text("{}")
    (folder / SPECIAL_TOKENS).write_text(json.dumps({"eos_token": {"content": SPECIAL[0]}}))


def without_a_tokenizer_config(folder: Path) -> None:
    (folder / TOKENIZER_CONFIG).unlink()
    (folder / SPECIAL_TOKENS).write_text(json.dumps({"eos_token": SPECIAL[0]}))


def with_unknown_keys(folder: Path) -> None:
    edit(folder / CONFIG_FILE, some_new_key={"a": [1]}, architectures=["Qwen3ForCausalLM", "Other"])


def with_a_broken_generation_config(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{")


def in_float16(folder: Path) -> None:
    weights = {name: w.to(torch.float16) for name, w in load_file(folder / WEIGHTS_FILE).items()}
    save_file(weights, folder / WEIGHTS_FILE, {"format": "pt"})
    edit(folder / CONFIG_FILE, dtype="float16")


def tied(folder: Path) -> None:
    lm = new_model(make_tokenizer(folder).get_vocab_size(), tie_word_embeddings=True)
    lm.to(torch.bfloat16).save_pretrained(folder)
    assert "lm_head.weight" not in {tensor.name for tensor in tensors_of(folder)}


def with_more_rows_than_tokens(folder: Path) -> None:
    size = make_tokenizer(folder).get_vocab_size()
    new_model(size + 50).to(torch.bfloat16).save_pretrained(folder)


def with_a_chat_template(folder: Path) -> None:
    edit(
        folder / TOKENIZER_CONFIG,
        chat_template="{% for m in messages %}{{ m.nothing.at }}{% endfor %}",
    )


def without_a_padding_token(folder: Path) -> None:
    edit(folder / CONFIG_FILE, pad_token_id=None)
    edit(folder / TOKENIZER_CONFIG, pad_token=None)


def read_only(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def of_links(folder: Path) -> None:
    """A folder of links, as in the hub's cache."""
    blobs = folder.with_name("blobs")
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        blob = blobs / f"{number:064x}"
        file.rename(blob)
        file.symlink_to(os.path.relpath(blob, folder))


def sharded(folder: Path) -> None:
    lm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    (folder / WEIGHTS_FILE).unlink()
    lm.save_pretrained(folder, max_shard_size="100KB")
    assert (folder / INDEX).exists()


TAKEN = [
    *(with_padding, with_truncation, with_a_stale_index, with_another_eos),
    *(without_a_tokenizer_config, with_unknown_keys, with_a_broken_generation_config),
    *(in_float16, tied, with_more_rows_than_tokens, with_a_chat_template),
    *(without_a_padding_token, read_only, of_links, sharded),
]


@pytest.mark.parametrize("change", TAKEN, ids=lambda change: change.__name__)
def test_a_good_checkpoint_is_taken_and_learns(change: Change, model: Path) -> None:
    """Looked at as before a run, loaded as by a worker, and taught a step."""
    change(model)
    try:
        settings = read(given(model, style="io", rank=4, sequences=2))
        look(settings, MB)
        learner = load_learner(settings)
        assert learner.learn(copies(0), Deadline.after(60, StepClock()), 0).steps
    finally:
        model.chmod(0o755)


def test_a_path_of_spaces_and_signs_is_taken(original: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(original, tmp_path / "mein Modell ü ✓ 'x'"))
    of_links(model)
    check(given(model), MB)
    assert load_learner(read(given(model, rank=4))).model.vocabulary


def test_padding_and_truncation_change_no_token(original: Path, model: Path) -> None:
    with_padding(model)
    with_truncation(model)
    for style in ("chat", "io"):
        mine, theirs = vocabulary_of(model, style), vocabulary_of(original, style)
        assert mine.kept.tolist() == theirs.kept.tolist()


def test_an_adapter_of_packed_weights_is_as_large_as_of_plain_ones(
    original: Path, tmp_path: Path
) -> None:
    """Weights of four bits are packed into one long column."""
    packed = tmp_path / "nf4"
    shutil.copytree(original, packed)
    lm = AutoModelForCausalLM.from_pretrained(
        original, dtype=torch.bfloat16, quantization_config=quantization("nf4", torch.bfloat16)
    )
    lm.save_pretrained(packed)

    def sizes(folder: Path) -> dict[str, list[tuple[int, ...]]]:
        found = linear_weights(list(tensors_of(folder)))
        return {name: sorted(t.shape for t in some) for name, some in found.items()}

    assert sizes(packed) == sizes(original)
    assert set(sizes(packed)) == set(PROJECTIONS)
    look(read(given(packed, rank=16)), 800)
    assert (
        load_learner(read(given(packed, rank=4)))
        .learn(copies(0), Deadline.after(30, StepClock()), 0)
        .steps
    )


# --- fused projections -------------------------------------------------------------------


def phi3(folder: Path) -> Path:
    folder.mkdir()
    config = Phi3Config(
        vocab_size=make_tokenizer(folder).get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=LENGTH,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    lm: Any = Phi3ForCausalLM(config)  # type: ignore[no-untyped-call]
    lm.to(torch.bfloat16).save_pretrained(folder)
    return folder


def test_fused_projections_are_adapted_like_others(tmp_path: Path) -> None:
    folder = phi3(tmp_path / "phi3")
    checked_here(folder)
    learner = load_learner(read(given(folder, rank=4, targets=[*PROJECTIONS, "lm_head"])))
    adapters = {name.split(".")[-4] for name in learner._trained}
    assert adapters == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head"}
    assert learner.learn(copies(0), Deadline.after(30, StepClock()), 0).steps


def test_targets_are_those_that_there_are() -> None:
    assert adapted(PROJECTIONS, set(PROJECTIONS)) == PROJECTIONS
    assert adapted(("q_proj",), {"q_proj", "other"}) == ("q_proj",)
    assert adapted((*PROJECTIONS, "embed_tokens"), {"b", "a"}) == ("a", "b", "embed_tokens")
    with pytest.raises(DataError, match="targets nothing: no such layer; there are a, b"):
        adapted(("nothing", "a"), {"b", "a"})


def test_layers_are_told_by_files_as_by_the_loaded_model(original: Path, tmp_path: Path) -> None:
    for folder in (original, phi3(tmp_path / "phi3")):
        lm = AutoModelForCausalLM.from_pretrained(folder)
        assert linear_layers(lm) == set(linear_weights(list(tensors_of(folder))))


# --- refused, in a line -------------------------------------------------------------------


def test_an_adapter_s_folder_is_told_from_a_model_s(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "Qwen/Qwen3-4B"}')
    said = complaint(tmp_path)
    assert "an adapter of Qwen/Qwen3-4B, no whole model: merge" in said
    (tmp_path / "adapter_config.json").write_text("[]")
    assert "an adapter of an unnamed model" in complaint(tmp_path)


def test_the_folder_of_a_cache_is_told_from_a_model_s(model: Path, tmp_path: Path) -> None:
    inner = tmp_path / "models--a--b" / "snapshots" / "0123"
    inner.parent.mkdir(parents=True)
    model.rename(inner)
    assert f"a cache, which holds the model in {inner}" in complaint(tmp_path / "models--a--b")
    look(read(given(inner)), MB)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "q4_k_m.gguf"])
def test_other_formats_of_weights_are_named(name: str, model: Path) -> None:
    (model / WEIGHTS_FILE).rename(model / name)
    assert f"{model / name}: weights are read from safetensors only" in complaint(model)


def test_a_gguf_without_anything_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert "model.gguf: weights are read from safetensors only" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "brand_new"}, "cannot be followed: The checkpoint you are trying to load"),
        ({"model_type": "t5"}, "cannot be followed: Unrecognized configuration class"),
        ({"model_type": "gpt2", "n_layer": 1}, "a gpt2 cannot be decoded with here"),
        ({"hidden_size": "wide"}, "cannot be followed: "),
        ({"num_attention_heads": 3, "num_key_value_heads": 2, "head_dim": 32}, "cannot be"),
        ({"vocab_size": "300"}, "no configuration of a language model"),
        ({"model_type": 7}, "no configuration of a language model"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantized by fp8, which is not known"),
        ({"quantization_config": {"quant_method": ["a"]}}, "quantized by ['a'], which is not"),
        ({"quantization_config": {"quant_method": "gptq"}}, "gptqmodel is not installed"),
    ],
)
def test_what_no_worker_could_use_is_found_before_a_run(
    values: dict[str, Any], words: str, model: Path
) -> None:
    edit(model / CONFIG_FILE, **values)
    with pytest.raises(DataError) as raised:
        checked_here(model)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_eos_in_any_file_is_named(model: Path) -> None:
    (model / TOKENIZER_CONFIG).write_text("{}")
    assert f"names no eos_token, nor does {SPECIAL_TOKENS}" in complaint(model, style="io")


def test_a_tokenizer_that_is_not_fast_is_named(model: Path) -> None:
    (model / TOKENIZER).unlink()
    (model / "tokenizer.model").write_bytes(b"\n")
    assert "tokenizer.json: no such file; the checkpoint needs its (fast) tokenizer" in complaint(
        model
    )


def test_code_models_are_looked_at_alike(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "x/y"}')
    with pytest.raises(DataError, match="an adapter of x/y, no whole model"):
        check_ready("induce", {"model": str(tmp_path)}, MB)


def test_an_unknown_architecture_ends_the_command(model: Path, tmp_path: Path) -> None:
    edit(model / CONFIG_FILE, model_type="brand_new")
    given = command(
        write_challenges(tmp_path / "c.json", (copies(0),)), tmp_path / "r", "synth", "1m"
    )
    given[given.index("synth")] = "llm"
    profile = tmp_path / "own.toml"
    profile.write_text('[[stages]]\nengine = "llm"\nsettings = { max_seq_length = 2048 }\n')
    code, out, err = finish(start([*given, "--profile", str(profile), "--model", str(model)]), 120)
    assert (code, out) == (2, "")
    assert "brand_new" in err
    assert len(err.splitlines()) == 1
