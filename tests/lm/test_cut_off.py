"""A model's job that is cut off keeps what it had found: out of time or memory in any pass, or
killed while it measures."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from solver.data.submissions import check_submission, read_submission
from solver.deadline import Deadline, OutOfTimeError, StepClock
from solver.grid import Candidate, Grid, Pair, Task, as_grid, freeze, key, settled
from solver.lm.llm.causal import ContextModel, cut_vocabulary
from solver.lm.llm.reader import Reader
from solver.lm.pair.cache import PairModel
from solver.lm.pair.checkpoint import export
from solver.lm.pair.model import BUNDLE, Size, TaskModel, build, load
from solver.lm.search.language import LanguageModel, LogProbs, Prompt
from solver.lm.search.rescore import rescore
from solver.lm.search.searches import Options, Question
from solver.lm.search.strategies import STRATEGIES, propose
from solver.lm.symbols import Tokens
from solver.lm.vocabulary import vocabulary_of
from solver.views import View, sample_views
from tests.fakes import toy_tasks
from tests.lm.small import make_tokenizer, new_model
from tests.lm.toys import TableCache, TableModel
from tests.runs import (
    command,
    finish,
    journal_of,
    start,
    wait_for,
    workers_of,
    write_challenges,
)

TASK = toy_tasks(1)[0]
ASKED = Question(TASK, 0, sample_views(TASK, 8, 0))
LONG = Deadline.after(1e9)
OPTIONS = Options(side=3, width=8, samples=12, threshold=0.01, beams=2, tries=2, finalists=3)
LARGE = freeze(np.random.default_rng(0).integers(0, 10, (30, 30)).astype(np.uint8))
LARGE_TASK = Task("large", (Pair(LARGE, LARGE),), (LARGE,))


class Failing(TableModel):
    """A model whose passes end by an error from the `last` one on."""

    def __init__(self, last: int, error: type[Exception]) -> None:
        super().__init__(0, 6.0)
        self.passes, self._last, self._error = 0, last, error

    def count(self) -> None:
        self.passes += 1
        if self.passes > self._last:
            raise self._error

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[TableCache, LogProbs]:
        self.count()
        cache, first = super().read(prompts, width, room, deadline)
        return FailingCache(self, cache.rows), first


@dataclass
class FailingCache(TableCache):
    model: Failing
    rows: list[tuple[int, ...]]

    def extend(self, symbols: Tokens, counts: Tokens) -> LogProbs:
        self.model.count()
        return super().extend(symbols, counts)


def evidence(candidates: Sequence[Candidate]) -> set[tuple[object, ...]]:
    return {candidate.identity for candidate in candidates}


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_time_that_runs_out_within_any_pass_costs_only_what_comes_after(name: str) -> None:
    endless = Failing(10**9, OutOfTimeError)
    whole = evidence(list(propose(STRATEGIES[name], endless, ASKED, LONG, OPTIONS)))
    found: list[int] = []
    for last in range(endless.passes):
        model = Failing(last, OutOfTimeError)
        cut = evidence(list(propose(STRATEGIES[name], model, ASKED, LONG, OPTIONS)))
        assert cut <= whole or name == "dfs"  # which may fall back on its first view's
        assert len(cut) >= max(found, default=0)
        found.append(len(cut))
    assert found[0] == 0
    assert found[-1] == len(whole) if STRATEGIES[name].measured else found[-1] > 0


@pytest.mark.parametrize("name", [n for n, s in sorted(STRATEGIES.items()) if s.measured])
def test_memory_that_runs_out_in_measuring_costs_no_grid(name: str) -> None:
    endless = Failing(10**9, MemoryError)
    *found, last = propose(STRATEGIES[name], endless, ASKED, LONG, OPTIONS)
    assert last.scores or any(candidate.scores for candidate in found)
    sent: list[Candidate] = []
    short = Failing(endless.passes - 1, MemoryError)
    with pytest.raises(MemoryError):
        sent.extend(propose(STRATEGIES[name], short, ASKED, LONG, OPTIONS))
    assert evidence(sent) == evidence([*found, last])
    assert all(candidate.provisional for candidate in sent)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_what_a_job_leaves_in_the_end_is_not_provisional(name: str) -> None:
    sent = list(propose(STRATEGIES[name], TableModel(0, 6.0), ASKED, LONG, OPTIONS))
    assert sent[0].provisional
    assert not any(candidate.provisional for candidate in settled(sent))
    assert evidence(settled(sent)) == evidence(sent)


def test_measuring_keeps_the_views_that_it_came_to() -> None:
    grids = [as_grid([[1, 2]]), as_grid([[3]])]
    model = Failing(10**9, OutOfTimeError)
    whole = rescore(model, TASK, 0, grids, ASKED.views, LONG, width=2)
    each = model.passes // len(ASKED.views)
    for views in range(len(ASKED.views)):
        model = Failing(each * views + 1, OutOfTimeError)
        part = rescore(model, TASK, 0, grids, ASKED.views, LONG, width=2)
        assert part == pytest.approx(whole[:, :views])
        assert part.shape == (2, views)


# --- parts of a pass --------------------------------------------------------------------


def pair_model() -> LanguageModel:
    torch.set_num_threads(1)
    return PairModel(TaskModel(build(Size(64, 3), 0), 1), {LARGE_TASK.id: 0})


@pytest.fixture(scope="module")
def context_model(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("context")
    lm = new_model(make_tokenizer(folder).get_vocab_size(), 8192)
    vocabulary = vocabulary_of(folder, "chat")
    cut_vocabulary(lm, vocabulary.kept)
    return Reader(ContextModel(lm, vocabulary, 8192), 0)


def looks_in_reading(model: LanguageModel, layers: int, prompts: int) -> None:
    """Every layer of a long prompt is a part, and no part is begun after the deadline."""
    some = [model.prompt(LARGE_TASK, 0, View(d8)) for d8 in range(prompts)]
    clock = StepClock()
    model.read(some, prompts, 10, Deadline(1e9, clock))
    assert clock.steps == layers * prompts
    for looks in (0, 1, clock.steps - 1):
        again = StepClock()
        with pytest.raises(OutOfTimeError):
            model.read(some, prompts, 10, Deadline(looks + 0.5, again))
        assert again.steps == looks + 1


def test_reading_long_prompts_looks_at_the_time_in_every_layer() -> None:
    looks_in_reading(pair_model(), 3, 8)


def test_a_language_model_looks_at_the_time_in_every_layer(context_model: Reader) -> None:
    looks_in_reading(context_model, 2, 3)


@pytest.mark.parametrize("kind", ["pair", "context"])
def test_reading_long_outputs_looks_at_the_time_too(kind: str, context_model: Reader) -> None:
    model = pair_model() if kind == "pair" else context_model
    clock = StepClock()
    prompt = model.prompt(LARGE_TASK, 0, View())
    cache, _ = model.read([prompt], 8, 930, Deadline(20.0, clock))
    read = clock.steps
    cache.gather([0] * 8, [0] * 8)
    clock.steps = 18
    with pytest.raises(OutOfTimeError):
        cache.extend(np.full((8, 900), 3), np.full(8, 900))
    assert read < 18 < clock.steps == 20


def test_one_symbol_a_row_takes_no_look() -> None:
    model, clock = pair_model(), StepClock()
    prompt = model.prompt(LARGE_TASK, 0, View())
    cache, _ = model.read([prompt], 8, 10, Deadline(1e9, clock))
    read = clock.steps
    cache.gather([0] * 8, [0] * 8)
    cache.extend(np.full((8, 1), 3), np.full(8, 1))
    assert clock.steps == read


# --- killed -----------------------------------------------------------------------------

PROFILE = """
workers = 1
grace_s = 60
[[stages]]
engine = "model"
settings = {{ folder = "{folder}", learning = 0.0, views = 4, strategy = "best-of-n" }}
"""


def mirrored(number: int, side: int = 8) -> Task:
    rng = np.random.default_rng(number)
    grids: list[Grid] = [as_grid(rng.integers(0, 10, (side, side))) for _ in range(4)]
    pairs = tuple(Pair(grid, as_grid(grid[::-1])) for grid in grids[:3])
    return Task(f"mirror{number}", pairs, (grids[3],))


def quiet(folder: Path) -> Iterator[bool]:
    """True once something was found and nothing more came for a second: it measures."""
    counted, since = 0, time.monotonic()
    while True:
        count = len(journal_of(folder).candidates)
        if count != counted:
            counted, since = count, time.monotonic()
        yield bool(counted) and time.monotonic() - since > 1.0


@pytest.mark.parametrize("victim", ["worker", "run"])
def test_a_job_that_is_killed_while_it_measures_keeps_what_it_found(
    victim: str, tmp_path: Path
) -> None:
    """The bundled model's real weights, in the precision that every processor is fast in."""
    export(tmp_path / "model", TaskModel(load(BUNDLE, torch.float32), 1))
    (tmp_path / "own.toml").write_text(PROFILE.format(folder=tmp_path / "model"))
    tasks = (mirrored(0),)
    folder = tmp_path / "run"
    arguments = command(write_challenges(tmp_path / "c.json", tasks), folder, "synth", "4m")
    arguments[arguments.index("synth")] = "model"
    arguments += ["--profile", str(tmp_path / "own.toml")]
    run = start(arguments)
    wait_for((folder / "candidates.jsonl").exists)
    states = quiet(folder)
    wait_for(lambda: next(states))
    (worker,) = workers_of(run.pid)
    os.kill(worker if victim == "worker" else run.pid, signal.SIGKILL)
    before = journal_of(folder).candidates
    assert before
    assert all(candidate.provisional and not candidate.scores for candidate in before)
    if victim == "worker":
        wait_for(lambda: bool(journal_of(folder).jobs))
        run.send_signal(signal.SIGTERM)
        assert finish(run)[0] == 0
    else:
        finish(run)
        code, _, err = finish(start([*arguments, "--resume", "--engines", "synth"]), 300)
        assert code == 0, err
    replayed = journal_of(folder)
    assert evidence(before) <= evidence(replayed.candidates)
    if victim == "worker":
        assert replayed.jobs[0].outcome == "died"
        first = read_submission(folder / "submission.json")[tasks[0].id][0][0]
        assert key(first) in {key(candidate.grid) for candidate in replayed.candidates}
    check_submission(folder / "submission.json", tasks)
