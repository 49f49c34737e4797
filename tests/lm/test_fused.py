"""Fused layers compute what the model's class does: values, every gradient, in any batch."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import Pair, freeze
from solver.lm.pair import product as products
from solver.lm.pair.adapter import Lora, LowRank
from solver.lm.pair.fused import speed_up
from solver.lm.pair.model import Size, TaskModel, build
from solver.lm.pair.packed import Layout
from solver.lm.pair.product import by_numpy, product
from solver.lm.symbols import END, IGNORED, PAD, Batch, collate, encode
from solver.lm.training.loop import batch_loss, tensors
from tests.runs import examples

TASKS = 3


def model_of(dtype: torch.dtype = torch.float32) -> TaskModel:
    """A small model whose norms and vectors differ from what they start as."""
    torch.set_num_threads(1)
    model: TaskModel = TaskModel(build(Size(128, 3), 0), TASKS)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name == "tasks":
                parameter.add_(torch.randn(parameter.shape, generator=random) * 0.3)
    return model.to(dtype)


def batch_of(shapes: list[tuple[int, int, int, int]]) -> Batch:
    """Pairs of random grids with such heights and widths, of tasks in turn."""
    rng = np.random.default_rng(len(shapes))
    pairs = [
        Pair(
            freeze(rng.integers(0, 10, (a, b)).astype(np.uint8)),
            freeze(rng.integers(0, 10, (c, d)).astype(np.uint8)),
        )
        for a, b, c, d in shapes
    ]
    drawn = [encode(pair, i % 8) for i, pair in enumerate(pairs)]
    return collate(drawn, [i % TASKS for i in range(len(pairs))])


MIXED = batch_of([(2, 3, 2, 3), (1, 1, 1, 1), (3, 2, 1, 4), (2, 3, 2, 3), (4, 4, 4, 4)])
side = st.integers(1, 5)


def both(model: TaskModel, batch: Batch) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Losses and gradients by the class and by fused layers, by name."""
    found = []
    for fused in (False, True):
        mine = copy.deepcopy(model)
        sides = {}
        if not any(p.requires_grad for p in mine.lm.parameters()):
            adapter = LowRank(mine, Lora(4, 8))
            adapter.reset(mine.tasks.detach().clone(), 1)
            with torch.no_grad():
                for number, (name, master) in enumerate(sorted(adapter.masters.items())):
                    if name.endswith("lora_B"):
                        random = torch.Generator().manual_seed(number)
                        master.copy_(torch.randn(master.shape, generator=random) * 0.05)
            adapter.publish()
            sides = {n: m for n, m in adapter.masters.items() if ".lora_" in n}
        if fused:
            speed_up(mine)
        loss = batch_loss(mine, batch)
        torch.autograd.backward(loss)
        gradients = {n: p.grad for n, p in [*mine.named_parameters(), *sides.items()]}
        found.append(
            {"loss": loss.detach()} | {n: g for n, g in gradients.items() if g is not None}
        )
    return found[0], found[1]


def test_losses_and_gradients_of_all_weights_are_those_of_the_class() -> None:
    plain, fused = both(model_of(), MIXED)
    assert plain.keys() == fused.keys()
    assert len(plain) == 1 + len(dict(model_of().named_parameters()))
    for name, expected in plain.items():
        torch.testing.assert_close(fused[name], expected, rtol=2e-4, atol=2e-6)


def test_losses_and_gradients_of_an_adapter_are_those_of_the_class() -> None:
    plain, fused = both(model_of().requires_grad_(False), MIXED)
    assert plain.keys() == fused.keys()
    assert len(plain) == 1 + 1 + 3 * 7 * 2  # the loss, the tasks, both sides of every matrix
    for name, expected in plain.items():
        torch.testing.assert_close(fused[name], expected, rtol=2e-4, atol=2e-6)


def test_in_bfloat16_the_loss_is_as_near_to_the_exact_one_as_the_class_comes() -> None:
    exact, _ = both(model_of(), MIXED)
    plain, fused = both(model_of(torch.bfloat16), MIXED)
    assert abs(fused["loss"] - exact["loss"]) < 0.02 + abs(plain["loss"] - exact["loss"])
    name = "tasks"
    far = (plain[name].float() - exact[name]).norm() / exact[name].norm()
    assert (fused[name].float() - exact[name]).norm() / exact[name].norm() < 0.02 + far


@examples(20)
@given(st.lists(st.tuples(side, side, side, side), min_size=1, max_size=6))
def test_logits_are_those_of_the_class_where_the_loss_asks(
    shapes: list[tuple[int, int, int, int]],
) -> None:
    batch = batch_of(shapes)
    plain, fused = model_of(), model_of()
    speed_up(fused)
    tokens, positions, targets, prompts, tasks = tensors(plain, batch)
    asked = targets != IGNORED
    with torch.no_grad():
        expected = plain(tokens, positions, prompts, tasks)
        found = fused(tokens, positions, prompts, tasks)
    torch.testing.assert_close(found[asked], expected[asked], rtol=1e-3, atol=1e-4)
    assert not found[~asked].any()


@given(st.lists(st.tuples(side, side, side, side), min_size=1, max_size=8))
def test_a_layout_holds_every_token_once_and_asks_as_the_loss_does(
    shapes: list[tuple[int, int, int, int]],
) -> None:
    batch = batch_of(shapes)
    tokens, prompts = torch.from_numpy(batch.tokens), torch.from_numpy(batch.prompts)
    layout = Layout.of(tokens, prompts)
    places = set(zip(layout.row.tolist(), layout.column.tolist(), strict=True))
    read = (batch.tokens != PAD) & (batch.tokens != END)
    assert places == set(map(tuple, np.argwhere(read).tolist()))
    assert len(places) == len(layout.row) == batch.real
    some = layout.row[layout.asked], layout.column[layout.asked]
    asked = set(zip(*(part.tolist() for part in some), strict=True))
    assert asked == set(map(tuple, np.argwhere(batch.targets != IGNORED).tolist()))
    for group in layout.groups:
        assert group.of(layout.column).tolist() == [list(range(group.length))] * group.size
        assert group.of_asked(layout.column[layout.asked])[:, 0].tolist() == (
            [group.prompt - 1] * group.size
        )


@pytest.mark.parametrize("numpys", [True, False])
def test_products_are_the_same_by_either_library(
    numpys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "by_numpy", lambda: numpys)
    a, b = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4)
    torch.testing.assert_close(product(a, b.transpose(2, 3)), a @ b.transpose(2, 3))
    torch.testing.assert_close(product(a[0, 0].t(), a[0, 0]), a[0, 0].t() @ a[0, 0])
    half = product(a, b.transpose(2, 3).bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, a @ b.transpose(2, 3), rtol=0.05, atol=0.1)


@pytest.mark.parametrize(
    ("threads", "vendor", "expected"),
    [("1", "AuthenticAMD", True), ("1", "GenuineIntel", False), ("2", "AuthenticAMD", False)],
)
def test_numpy_multiplies_on_amd_with_one_thread(
    threads: str, vendor: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n", encoding="utf-8")
    monkeypatch.setattr(products, "CPU_INFO", info)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", threads)
    assert by_numpy.__wrapped__() is expected
    monkeypatch.setattr(products, "CPU_INFO", info / "missing")
    assert by_numpy.__wrapped__() is False


@pytest.mark.parametrize("isa", ["AVX2", "DEFAULT"])
def test_the_first_steps_compile_nothing(isa: str) -> None:
    code = (
        "import torch; from torch._dynamo.utils import counters\n"
        "from tests.lm.test_fused import *\n"
        "model = model_of(); speed_up(model)\n"
        "torch.autograd.backward(batch_loss(model, MIXED))\n"
        "print(counters['stats']['unique_graphs'])\n"
    )
    switches = (
        {} if isa == "DEFAULT" else {"ONEDNN_MAX_CPU_ISA": isa, "ATEN_CPU_CAPABILITY": "avx2"}
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **switches},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "0"
