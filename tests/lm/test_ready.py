"""The memory that a run is refused for is the memory that a worker would need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from solver.grid import DataError
from solver.lm import ready
from solver.lm.files import read_config, tensors_of
from solver.lm.llm.causal import ContextModel, cut_vocabulary
from solver.lm.llm.tune import ContextLearner
from solver.lm.load import load_causal
from solver.lm.memory import size_of
from solver.lm.precision import CPU
from solver.lm.ready import read_vocabulary
from solver.lm.settings import Settings
from solver.lm.training.loop import Dense
from tests.lm.small import LENGTH, build_model, settings_of

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model"))


def loaded(settings: Settings) -> ContextLearner:
    """The model with its adapter in 16 bits, as on a GPU."""
    lm: Any = load_causal(settings, CPU)
    vocabulary = read_vocabulary(Path(settings.model), settings.style)
    cut_vocabulary(lm, vocabulary.kept)
    model = ContextModel(lm.to(torch.bfloat16).requires_grad_(False), vocabulary, LENGTH)
    return ContextLearner(model, settings)


def test_an_adapter_s_parameter_takes_twenty_bytes(folder: Path) -> None:
    settings = settings_of(folder)
    learner = loaded(settings)
    trained = dict(learner._trained)
    count = sum(parameter.numel() for parameter in trained.values())
    assert ready._adapter(settings, list(tensors_of(folder))) == count
    weights = Dense(trained)
    optimizer = torch.optim.AdamW(weights.masters.values(), fused=True)
    for parameter in trained.values():
        parameter.grad = torch.ones_like(parameter)
    weights.collect()
    optimizer.step()
    moments = [t for state in optimizer.state.values() for t in state.values() if t.dim()]
    gradients = [master.grad for master in weights.masters.values() if master.grad is not None]
    values = [*trained.values(), *learner._start.values(), *weights.masters.values()]
    held = sum(tensor.nbytes for tensor in (*values, *moments, *gradients))
    assert held == ready.TRAINED * count


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_a_pass_keeps_is_told_from_the_configuration(
    folder: Path, checkpointing: bool
) -> None:
    """At least so much, and not much more: the adapter and the ends of the model are left out."""
    learner = loaded(settings_of(folder, checkpointing=checkpointing))
    length, kept = 500, dict[int, int]()
    weights = {p.untyped_storage().data_ptr() for p in learner.model.parameters()}
    alive: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        learner.model.train()(torch.zeros(1, length, dtype=torch.long))
    config = read_config(folder)
    told = ready._activations(config, length, checkpointing)
    if checkpointing:  # and the layer that is computed again
        told -= ready._activations(config | {"num_hidden_layers": 1}, length, False)
    assert told <= sum(kept.values()) < 2 * told + 20 * length * 64


def test_keys_and_values_are_told_from_the_configuration(folder: Path) -> None:
    lm = loaded(settings_of(folder)).model.lm
    expected = size_of(lm.config, 1, LENGTH, torch.bfloat16)
    assert ready._keys_and_values(read_config(folder), LENGTH) == expected


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"rank": 4096}, {"rank": 8}),
        ({"max_seq_length": 1 << 20}, {"max_seq_length": 1 << 20, "checkpointing": True}),
    ],
)
def test_what_is_needed_decides(
    folder: Path,
    changed: dict[str, Any],
    remedy: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ready, "gpu_mb", lambda: 60 if "rank" in changed else 4000)
    tensors = list(tensors_of(folder))
    with pytest.raises(DataError, match=r"tokens take \d+ MB at least, and the GPU has \d+: quant"):
        ready._check_memory(folder, settings_of(folder, **changed), tensors, 0)
    ready._check_memory(folder, settings_of(folder, **remedy), tensors, 0)
