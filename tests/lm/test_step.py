"""The copied layers answer as the library's layers do, in fewer operations and less memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from solver.deadline import Deadline
from solver.lm.llm.attention import attend, by_group
from solver.lm.llm.causal import ContextModel, cut_vocabulary
from solver.lm.llm.engine import load_learner, verify
from solver.lm.llm.reader import Reader
from solver.lm.llm.step import Stepper, copied_bytes, fits
from solver.lm.llm.tune import ContextLearner
from solver.lm.search.decode import greedy
from solver.lm.search.language import LogProbs
from solver.lm.settings import EMBEDDINGS, PROJECTIONS, Settings
from solver.lm.vocabulary import STYLES, Vocabulary, vocabulary_of
from solver.views import View
from tests.lm.small import LENGTH, build_model, copies, make_tokenizer, new_model, settings_of

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
LONG = Deadline.after(1e9)
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),  # with biases
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 24}),
}


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Vocabulary]:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return {style: vocabulary_of(folder, style) for style in STYLES}


def taught(kind: str, vocabulary: Vocabulary, dtype: torch.dtype = torch.float32) -> ContextModel:
    """A decoder of a kind with random weights, norms and biases, and an adapter for every layer."""
    config, decoder, more = KINDS[kind]
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    lm = decoder(config(vocab_size=400, **sizes, **heads, max_position_embeddings=LENGTH, **more))
    cut_vocabulary(lm, vocabulary.kept)
    model = ContextModel(lm.to(dtype), vocabulary, LENGTH)
    settings = Settings(rank=4, targets=(*PROJECTIONS, *EMBEDDINGS))
    ContextLearner(model, settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora" in name or "norm" in name or "bias" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def written(reader: Reader, count: int = 3) -> list[LogProbs]:
    """Log-probabilities after prompts, after single symbols, and after some symbols at once."""
    prompts = [reader.prompt(copies(n), 0, View(n)) for n in range(count)]
    cache, first = reader.read(prompts, count + 1, 100, LONG)
    one, symbols = np.ones(count, dtype=np.int64), np.full((count, 40), 3)
    found = [first]
    found += [cache.extend(symbols[:, :1] + n, one)[:, 0] for n in range(3)]
    cache.gather([2, 0, 1, 1], [1, 2, 3, 0])
    some = np.array([40, 1, 17, 3])
    after = cache.extend(np.full((4, 40), 5), some)
    return [*found, *(row[:n] for row, n in zip(after, some, strict=True))]


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_copied_layers_compute_what_the_library_does(
    kind: str, style: str, vocabularies: dict[str, Vocabulary]
) -> None:
    model = taught(kind, vocabularies[style])
    assert fits(model.lm)
    for mine, plain in zip(
        written(Reader(model)), written(Reader(model, copied=False)), strict=True
    ):
        assert mine == pytest.approx(plain, abs=1e-3)
    prompts = [model.prompt(copies(n), 0, View(n)) for n in range(4)]
    both = [greedy(Reader(model, copied=c), prompts, LONG, 4) for c in (True, False)]
    assert [d.tokens.tolist() for d in both[0]] == [d.tokens.tolist() for d in both[1]]


def test_in_sixteen_bits_the_copy_differs_by_rounding(vocabularies: dict[str, Vocabulary]) -> None:
    exact = taught("qwen3", vocabularies["chat"])
    expected = written(Reader(exact))
    rounded = taught("qwen3", vocabularies["chat"], torch.bfloat16)
    copied, plain = (written(Reader(rounded, copied=copied)) for copied in (True, False))
    for mine, theirs, wanted in zip(copied, plain, expected, strict=True):
        finite = np.isfinite(wanted)
        off = [np.abs(found[finite] - wanted[finite]).max() for found in (mine, theirs)]
        assert off[0] < max(0.1, 2 * off[1])


def test_four_bits_are_unpacked_into_the_copy(tmp_path: Path) -> None:
    learner = load_learner(settings_of(build_model(tmp_path), quantization="nf4"))
    packed = learner.model.lm.base_model.model.model.layers[0].mlp.up_proj.base_layer
    assert type(packed.weight) is not nn.Parameter
    with torch.no_grad():
        for parameter in learner._trained.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    copied, plain = (written(Reader(learner.model, copied=c)) for c in (True, False))
    for mine, theirs in zip(copied, plain, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that are started, also without views, and the numbers in their largest
    new result."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = self.real = self.largest = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        told = [result.alias_info for result in function._schema.returns]
        self.count += 1
        self.real += all(alias is None or alias.is_write for alias in told)
        found = function(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and told == [None]:
            self.largest = max(self.largest, found.numel())
        return found


def test_a_step_starts_a_fifth_of_the_operations(vocabularies: dict[str, Vocabulary]) -> None:
    """With an adapter for every layer, in a model of three layers; more layers save more."""
    counts = []
    for copied in (False, True):
        reader = Reader(taught("qwen3", vocabularies["chat"]), copied=copied)
        prompts = [reader.prompt(copies(n), 0, View(n)) for n in range(4)]
        cache, _ = reader.read(prompts, 4, 10, LONG)
        symbols, one = np.full((4, 1), 3), np.ones(4, dtype=np.int64)
        cache.extend(symbols, one)
        with Counted() as counted:
            cache.extend(symbols, one)
        counts.append((counted.count, counted.real))
    (every, real), (fewer, fewer_real) = counts
    assert fewer <= every / 5
    assert fewer_real <= real / 5


@pytest.mark.parametrize("new", [1, 3])
@pytest.mark.parametrize("share", [1, 4])
def test_grouped_queries_see_what_repeated_keys_would_show(new: int, share: int) -> None:
    torch.manual_seed(0)
    rows, groups, length, size = 2, 3, 50, 8
    query = torch.randn(rows, new, groups, share, size)
    keys, values = torch.randn(2, rows, groups, length, size)
    mask = torch.zeros(rows, 1, new, length).masked_fill_(
        torch.rand(rows, 1, new, length) < 0.3, torch.finfo(torch.float32).min
    )
    with Counted() as counted:
        found = attend(by_group(query), keys, values, mask)
    heads = query.flatten(2, 3).transpose(1, 2)
    more, less = keys.repeat_interleave(share, 1), values.repeat_interleave(share, 1)
    expected = scaled_dot_product_attention(heads, more, less, mask).transpose(1, 2)
    torch.testing.assert_close(found, expected.reshape(rows * new, -1))
    assert counted.largest < keys.numel()


def test_the_library_s_layers_attend_in_the_same_way(vocabularies: dict[str, Vocabulary]) -> None:
    """The way is registered, and takes no memory for repeated keys."""
    reader = Reader(taught("qwen3", vocabularies["chat"]), copied=False)
    prompt = reader.prompt(copies(0), 0, View())
    cache, _ = reader.read([prompt] * 8, 8, 600, LONG)
    symbols, counts = np.full((8, 1), 3), np.ones(8, dtype=np.int64)
    keys: Sequence[int] = cache.memory.layers[0][:, 0].shape
    with Counted() as counted:
        cache.extend(symbols, counts)
    assert keys[2] > 64
    assert counted.largest < int(np.prod(keys))


def test_what_cannot_be_copied_is_left_to_the_library(
    vocabularies: dict[str, Vocabulary], caplog: pytest.LogCaptureFixture
) -> None:
    config = Phi3Config(vocab_size=400, hidden_size=64, num_attention_heads=2, pad_token_id=0)
    config.num_hidden_layers, config.intermediate_size = 1, 96
    assert not fits(Phi3ForCausalLM(config))  # type: ignore[no-untyped-call]
    lm = new_model(400)
    lm.model.layers[0].mlp.act_fn = nn.Sigmoid()  # unlike what its configuration says
    cut_vocabulary(lm, vocabularies["chat"].kept)
    model = ContextModel(lm, vocabularies["chat"], LENGTH)
    assert model.copied
    logger = logging.getLogger("solver")
    before, logger.propagate = logger.propagate, True
    verify(model)
    logger.propagate = before
    assert not model.copied
    assert Reader(model).stepper is None
    assert "the model's own layers answer: a copy differs by" in caplog.text


def test_the_size_of_a_copy_is_known_before(vocabularies: dict[str, Vocabulary]) -> None:
    model = taught("qwen2", vocabularies["chat"])
    stepper = Stepper.of(model.lm, LENGTH)
    matrices = [m for x in stepper.layers for m in (x.fan, x.out, x.wide, x.down)]
    assert copied_bytes(model.lm) == sum(matrix.nbytes for matrix in matrices)
