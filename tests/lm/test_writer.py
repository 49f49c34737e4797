"""A real code model, as small as can be: it has learned one program, and writes it.

It goes the whole way: loaded from a folder, asked in batches, stopped by the deadline or when
its program is complete, run in the sandbox, to a valid submission.
"""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer

from solver.data.submissions import read_submission
from solver.deadline import Deadline, StepClock
from solver.engines import check_ready
from solver.grid import DataError, as_grid, same
from solver.lm.induce.prompts import STYLES, Chat, ask, extract, is_complete
from solver.lm.induce.settings import Induction
from solver.lm.induce.writer import LocalWriter, load_writer
from solver.lm.vocabulary import TOKENIZER, TOKENIZER_CONFIG
from solver.sandbox.parent import Sandbox
from tests.fakes import toy_tasks
from tests.lm.scripted import RIGHT, fenced
from tests.lm.small import byte_level, new_model
from tests.runs import command, finish, journal_of, start, write_challenges

END, TURN = "<|end|>", "<|turn|>"
CLASS = "PreTrainedTokenizerFast"  # or the class of Qwen adds tokens of its own
TEMPLATE = (
    "{% for m in messages %}" + TURN + "{{ m['role'] }}\n{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}" + TURN + "assistant\n{% endif %}"
)
ANSWER = fenced(RIGHT) + END
LENGTH = 4096
SETTINGS = Induction(max_seq_length=LENGTH, max_new_tokens=200, temperature=0.0, batch=2)


def question(number: int) -> Chat:
    task = toy_tasks(number + 1)[number]
    return ask(task, STYLES["digits"], len(task.train))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 model that answers every question with one program."""
    folder = tmp_path_factory.mktemp("coder")
    tokenizer = save_tokenizer(folder)
    lm = new_model(len(tokenizer), LENGTH, 1e4, eos_token_id=tokenizer.eos_token_id)
    teach(lm, tokenizer)
    lm.save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path):  # type: ignore[no-untyped-def]
    """A tokenizer that knows the words of questions, with a chat template."""
    text = [message["content"] for number in range(4) for message in question(number)]
    part = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level([part], [END, TURN], [*text * 3, ANSWER], 700).save(str(folder / TOKENIZER))
    config = {"eos_token": END, "tokenizer_class": CLASS, "chat_template": TEMPLATE}
    (folder / TOKENIZER_CONFIG).write_text(json.dumps(config))
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def teach(lm: Any, tokenizer, steps: int = 60) -> None:  # type: ignore[no-untyped-def]
    """Loss on the answer alone, whatever the question."""
    answer = tokenizer(ANSWER, return_tensors="pt")["input_ids"][0]
    optimizer = torch.optim.AdamW(lm.parameters(), lr=5e-3)
    for step in range(steps):
        asked = tokenizer.apply_chat_template(
            [dict(message) for message in question(step % 8)], add_generation_prompt=True
        )["input_ids"]
        tokens = torch.cat([torch.tensor(asked), answer])
        logits = lm(input_ids=tokens[None]).logits[0, len(asked) - 1 : -1]
        optimizer.zero_grad()
        cross_entropy(logits, answer).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.fixture(scope="module")
def writer(folder: Path) -> LocalWriter:
    return load_writer(Induction(model=str(folder), **vars_of(SETTINGS)))


def vars_of(settings: Induction):  # type: ignore[no-untyped-def]
    return {k: v for k, v in vars(settings).items() if k != "model"}


def test_it_writes_what_it_has_learned_for_each_chat_in_turn(writer: LocalWriter) -> None:
    chats = [question(number) for number in (20, 21, 22)]  # two batches, none seen before
    texts = list(writer.write(chats, Deadline.after(300), 0))
    assert [extract(text) for text in texts] == [RIGHT] * 3


def test_a_text_ends_with_its_program(writer: LocalWriter) -> None:
    """Nobody waits for the model's text after the program."""
    (text,) = writer.write([question(3)], Deadline.after(300), 0)
    assert is_complete(text)
    assert "That is all." not in text


@pytest.mark.parametrize("tokens", [3, 20])
def test_the_deadline_is_looked_at_after_every_token(writer: LocalWriter, tokens: int) -> None:
    clock = StepClock()
    # One look before the batch, one after each token.
    (text,) = writer.write([question(3)], Deadline(tokens + 1, clock), 0)
    tokenizer = writer._tokenizer
    whole = tokenizer(ANSWER)["input_ids"]
    assert text == tokenizer.decode(whole[:tokens])
    assert clock.steps == tokens + 1


def test_after_the_deadline_nothing_is_written(writer: LocalWriter) -> None:
    chats = [question(number) for number in range(6)]
    assert list(writer.write(chats, Deadline.after(-1), 0)) == []
    clock = StepClock()
    assert len(list(writer.write(chats, Deadline(3, clock), 0))) == 2  # the batch that had begun


def test_a_seed_samples_the_same_again(writer: LocalWriter) -> None:
    hot = Induction(**vars_of(SETTINGS) | {"temperature": 5.0, "top_p": 1.0, "max_new_tokens": 20})
    wild = LocalWriter(writer._lm, writer._tokenizer, hot)

    def texts(seed: int) -> list[str]:
        return list(wild.write([question(3), question(4)], Deadline.after(300), seed))

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_what_is_too_long_does_not_fit(writer: LocalWriter) -> None:
    assert writer.fits(question(3))
    long = ({"role": "user", "content": "many words " * LENGTH},)
    assert not writer.fits(long)
    read = len(writer._tokenizer(writer._text(question(3)))["input_ids"])
    tight = Induction(max_seq_length=read + 100, max_new_tokens=100)
    assert LocalWriter(writer._lm, writer._tokenizer, tight).fits(question(3))
    tight = Induction(max_seq_length=read + 99, max_new_tokens=100)
    assert not LocalWriter(writer._lm, writer._tokenizer, tight).fits(question(3))


def test_a_model_without_a_chat_template_reads_plain_text(folder: Path, tmp_path: Path) -> None:
    plain = shutil.copytree(folder, tmp_path / "plain")
    (plain / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": END, "tokenizer_class": CLASS})
    )
    writer = load_writer(Induction(model=str(plain), **vars_of(SETTINGS)))
    system, user = question(0)
    assert writer._text((system, user)) == f"{system['content']}\n\n{user['content']}\n"


def test_a_real_run_with_a_real_model(folder: Path, tmp_path: Path) -> None:
    tasks = toy_tasks(2)
    profile = tmp_path / "own.toml"
    profile.write_text(
        "workers = 1\n[[stages]]\nengine = 'induce'\nmax_slice_s = 100\n[stages.settings]\n"
        f"model = '{folder}'\nmax_seq_length = {LENGTH}\nmax_new_tokens = 200\n"
        "samples = 2\nrounds = 1\nrevisions = 2\nenough = 1\ntemperature = 0\n"
    )
    challenges = write_challenges(tmp_path / "c.json", tasks)
    arguments = command(challenges, tmp_path / "run", "synth", "300s", "--profile", str(profile))
    at = arguments.index("--engines")
    del arguments[at : at + 2]
    code, _, err = finish(start(arguments), timeout=300)
    assert (code, err) == (0, "")
    answers = read_submission(tmp_path / "run" / "submission.json")
    for task in tasks:
        assert same(answers[task.id][0][0], as_grid(task.tests[0][::-1]))
    journal = journal_of(tmp_path / "run")
    assert {candidate.program for candidate in journal.candidates} == {RIGHT}
    assert [job.outcome for job in journal.jobs] == ["finished"] * 2


# --- what is wrong with a folder is said before the run -----------------------------------


def broken(folder: Path, to: Path, name: str, content: bytes | None) -> Path:
    copy = shutil.copytree(folder, to)
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    return copy


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", None, "tokenizer.json: no such file"),
        ("config.json", None, "config.json: cannot be read"),
        ("config.json", b"{", "config.json: not JSON"),
        ("config.json", b'{"max_position_embeddings": 9}', "less than max_seq_length"),
        ("config.json", b'{"quantization_config": {"quant_method": "gptq"}}', "not installed"),
        ("model.safetensors", None, "model.safetensors: cannot be read"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}", "torn"),
    ],
)
def test_a_broken_folder_is_refused_before_the_run(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    copy = broken(folder, tmp_path / "broken", name, content)
    with pytest.raises(DataError, match=message):
        check_ready("induce", {"model": str(copy), "max_seq_length": LENGTH}, 2000)


def test_too_little_memory_is_said_before_the_run(folder: Path) -> None:
    given = {"model": str(folder), "max_seq_length": LENGTH}
    check_ready("induce", given, 2000)
    with pytest.raises(DataError, match="weights take"):
        check_ready("induce", given, 0)


def test_a_tokenizer_of_another_model_is_named(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "other")
    config = {"eos_token": END, "tokenizer_class": CLASS, "extra_special_tokens": ["<|more|>"]}
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="one of them belongs to another checkpoint"):
        load_writer(Induction(model=str(copy), **vars_of(SETTINGS)))


def test_a_machine_that_cannot_hold_programs_is_refused_before_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = functools.partial(Sandbox, layers=("limits",))
    monkeypatch.setattr("solver.lm.induce.settings.Sandbox", few)
    with pytest.raises(DataError, match="cannot keep programs from files"):
        check_ready("induce", {"model": str(folder), "max_seq_length": LENGTH}, 2000)


def test_a_broken_tokenizer_is_named(folder: Path, tmp_path: Path) -> None:
    copy = broken(folder, tmp_path / "broken", "tokenizer.json", b"{}")
    with pytest.raises(DataError, match="broken: its tokenizer cannot be loaded"):
        load_writer(Induction(model=str(copy), **vars_of(SETTINGS)))
