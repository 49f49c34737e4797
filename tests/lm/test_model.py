"""The bundled model: cells it can tell apart, loading, what a token sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from solver.grid import COLORS, DataError, Pair, as_grid
from solver.lm.load import from_folder
from solver.lm.pair.checkpoint import export
from solver.lm.pair.model import (
    CELL,
    CONFIG_FILE,
    WEIGHTS_FILE,
    Size,
    TaskModel,
    build,
    configure,
    load,
    visible,
)
from solver.lm.symbols import SLOTS, TASK, VOCABULARY, Batch, collate, encode
from solver.lm.training.loop import batch_loss, tensors
from tests.lm.plain import as_transformers, plain
from tests.runs import ROOT

TINY = Size(64, 1)
PAIR = Pair(as_grid([[1, 2, 3], [4, 5, 6]]), as_grid([[7, 8], [9, 0]]))


def batch_of(*pairs: Pair) -> Batch:
    return collate([encode(pair, 0) for pair in pairs], [0] * len(pairs))


def logits(model: TaskModel, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        tokens, positions, _, prompts, tasks = tensors(model.eval(), batch)
        result: torch.Tensor = model(tokens, positions, prompts, tasks)
    return result


@pytest.mark.parametrize("axis", [1, 2])
def test_rotary_positions_tell_cells_apart(axis: int) -> None:
    rotary = build(TINY, 0).model.rotary_emb
    cells = torch.zeros(3, 1, 31, dtype=torch.long)
    cells[axis, 0] = torch.arange(31) * CELL
    cos, sin = rotary(torch.zeros(1), cells)  # (1, 31, 64)
    turning = cos.std(1)[0] > 1e-6  # the frequencies of this axis
    near = (cos[0] @ cos[0].T + sin[0] @ sin[0].T - 2 * float((~turning).sum() / 2)) / turning.sum()
    apart = ~torch.eye(31, dtype=torch.bool)
    assert turning.sum() >= 20
    assert near[apart].max() < 0.7


def test_a_saved_model_loads_like_any_other_and_computes_the_same(tmp_path: Path) -> None:
    model = TaskModel(build(TINY, 3), 2)
    export(tmp_path, model)
    assert sorted(os.listdir(tmp_path)) == [CONFIG_FILE, WEIGHTS_FILE]
    loaded = TaskModel(load(tmp_path), 1)
    with torch.no_grad():
        model.tasks[0] = model.tasks.mean(0)
    assert torch.equal(logits(model, batch_of(PAIR)), logits(loaded, batch_of(PAIR)))
    start = loaded.lm.model.embed_tokens.weight[TASK : TASK + SLOTS]
    assert torch.equal(start, loaded.tasks[0])


def test_foreign_or_broken_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json: cannot be read"):
        load(tmp_path / "missing")
    export(tmp_path, TaskModel(build(TINY, 0), 1))
    weights = (tmp_path / WEIGHTS_FILE).read_bytes()
    for broken in (weights[:1000], b"", b"\0" * 100):
        (tmp_path / WEIGHTS_FILE).write_bytes(broken)
        with pytest.raises(DataError, match=r"model\.safetensors: cannot be loaded"):
            load(tmp_path)
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(DataError, match=r"model\.safetensors: no such file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "llama"}, "a llama of 32 tokens"),
        ({"vocab_size": 50000}, "of 50000 tokens; the pair format needs a qwen3_5_text of 32"),
        ({"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}, "another model"),
        ({"hidden_size": 128}, "model.safetensors"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    export(tmp_path, TaskModel(build(TINY, 0), 1))
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**config, **change}))
    with pytest.raises(DataError, match=reason):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", "\xff"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / CONFIG_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"config\.json: no model configuration"):
        load(tmp_path)


def test_a_token_sees_the_prompt_and_its_past() -> None:
    mask = visible(torch.tensor([2, 3]), 4, torch.float32)[:, 0] == 0
    assert mask.tolist() == [
        [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]],
        [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]],
    ]


def test_padding_and_later_tokens_change_nothing() -> None:
    model = TaskModel(build(TINY, 1), 1)
    alone = batch_of(PAIR)
    large = Pair(as_grid(np.ones((9, 9), dtype=np.uint8)), PAIR.output)
    both = batch_of(PAIR, large)
    length = alone.tokens.shape[1]
    torch.testing.assert_close(logits(model, both)[0, :length], logits(model, alone)[0])
    other = Pair(PAIR.input, as_grid([[7, 8], [9, 5]]))
    same_until = length - 1
    assert torch.equal(
        logits(model, batch_of(other))[0, :same_until], logits(model, alone)[0, :same_until]
    )


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_decoder_computes_as_the_class_of_transformers(attention: str) -> None:
    model = TaskModel(build(Size(128, 2), 1), 1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)) / 20)
    other = plain(model, attention)
    small, both = batch_of(PAIR), batch_of(PAIR, Pair(PAIR.output, PAIR.input))
    for batch in (small, both):
        torch.testing.assert_close(logits(model, batch), logits(other, batch), rtol=1e-4, atol=1e-4)
    for each in (model, other):
        torch.autograd.backward(batch_loss(each, both))
    for name, weight in other.named_parameters():
        torch.testing.assert_close(model.get_parameter(name).grad, weight.grad, msg=name)


def test_transformers_loads_what_is_saved(tmp_path: Path) -> None:
    model = TaskModel(build(Size(128, 2), 1), 1)
    export(tmp_path, model)
    loaded, info = from_folder(tmp_path, dtype="auto")
    assert not any(info[f"{kind}_keys"] for kind in ("missing", "unexpected", "mismatched"))
    expected = {**loaded.state_dict()}
    assert expected.keys() == model.lm.state_dict().keys() == model.lm.config.shapes().keys()
    for name, weight in model.lm.state_dict().items():
        assert torch.equal(weight, expected[name])
        assert tuple(weight.shape) == model.lm.config.shapes()[name]
    config = as_transformers(model.lm).config
    for field in ("rope_parameters", "layer_types", "rms_norm_eps", "hidden_act", "head_dim"):
        assert getattr(loaded.config, field) == getattr(config, field)


def test_a_worker_needs_no_transformers_and_no_compiler() -> None:
    """Neither to load the model, nor to learn: a worker would begin seconds later."""
    code = """
import sys
from solver.data.arcio import read_source
from solver.deadline import Deadline
from solver.lm.pair.engine import ADAPTATION
from solver.lm.pair.model import BUNDLE, TaskModel, load
from solver.lm.pair.ttt import Learner
learner = Learner(TaskModel(load(BUNDLE), 1), ADAPTATION)
learner.learn(read_source("arc-agi-1:training").tasks[0], Deadline.after(0.1), 0)
print({"transformers", "bitsandbytes", "peft", "torch._dynamo"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("set()\n", 0), done.stderr


def test_the_seed_decides_the_weights_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    a, b, c = build(TINY, 0), build(TINY, 0), build(TINY, 1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(a.lm_head.weight, b.lm_head.weight)
    assert not torch.equal(a.lm_head.weight, c.lm_head.weight)


def test_the_size_of_the_bundled_model() -> None:
    config = configure(Size())
    assert config.vocab_size == VOCABULARY > COLORS
    assert 3e6 < sum(p.numel() for p in build(Size(), 0).parameters()) < 8e6
