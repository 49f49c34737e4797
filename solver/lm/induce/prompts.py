"""Prompts for a code model: the question for a program, and the question for a revision.

The structure is that of BARC (arXiv:2411.02272): every demonstration as text, the test inputs
without outputs, then the request for one function. A revision shows one of the model's programs
and the results of the program, as in SOAR (arXiv:2507.14172).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from solver.grid import Grid, Task, same

Chat = tuple[Mapping[str, str], ...]  # messages, each with a role and a content

COLORS = ("black", "blue", "red", "green", "yellow", "gray", "pink", "orange", "purple", "brown")
MAX_PROGRAM = 20_000  # characters
SHOWN_WRONG = 2  # wrong outputs that a revision prompt shows in full

SYSTEM = (
    "You find the rule behind puzzles of coloured grids, and write it down as a short Python "
    "program that is right for every grid."
)
BEGIN = """\
In the examples below one and the same rule makes each output grid from its input grid. \
A grid is written row by row, and each cell is {cells}.
"""
TESTS = "\nThe rule must also fit these inputs, whose outputs nobody has:\n"
WISH = """
Write a Python function `transform(grid)` that follows the rule. It gets an input as a numpy \
array of integers of shape (rows, columns){numbers} and returns the output as one. Import \
nothing but numpy and what the standard library has for computing (math, itertools, collections, \
functools, copy ...); there are no files and there is no network. Say in a few sentences what the \
rule is, then give the whole program in one ```python block.
"""
AGAIN = """\
I ran `transform` on the examples:

{report}

Find out what the program has wrong about the rule, or where it fails. Then give the whole \
program again, corrected, in one ```python block.
"""


@dataclass(frozen=True)
class Style:
    """A way to write grids.

    words: a word for each colour.
    cells: the explanation of the words in the prompt.
    numbers: the number of each colour in arrays, if the words do not show the number.
    """

    words: tuple[str, ...]
    cells: str
    numbers: str = ""

    def grid(self, grid: Grid) -> str:
        """A grid as text, with a line for each row."""
        return "\n".join(" ".join(self.words[cell] for cell in row) for row in grid.tolist())


STYLES = {
    "digits": Style(tuple("0123456789"), "a colour, written as a digit from 0 to 9"),
    # The style that the published BARC checkpoints were trained on.
    "colors": Style(
        tuple(color.capitalize() for color in COLORS),
        "a colour by its name",
        " (" + ", ".join(f"{number} for {color}" for number, color in enumerate(COLORS)) + ")",
    ),
}


def ask(task: Task, style: Style, shown: int) -> Chat:
    """The question for a program, with the last `shown` demonstrations."""
    parts = [BEGIN.format(cells=style.cells)]
    for number, pair in list(enumerate(task.train, start=1))[-shown:]:
        parts.append(f"\nExample {number}\nInput ({_size(pair.input)}):\n{style.grid(pair.input)}")
        parts.append(f"\nOutput ({_size(pair.output)}):\n{style.grid(pair.output)}\n")
    parts.append(TESTS)
    parts += [f"\nInput ({_size(grid)}):\n{style.grid(grid)}\n" for grid in task.tests]
    parts.append(WISH.format(numbers=style.numbers))
    return (
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "\n".join(part.rstrip("\n") for part in parts) + "\n"},
    )


def ask_again(
    asked: Chat, program: str, task: Task, outcomes: Sequence[Grid | str], style: Style
) -> Chat:
    """The question for a revision: the question `asked`, a program, and the program's results."""
    report = _report(task, outcomes, style)
    return (
        *asked,
        {"role": "assistant", "content": f"```python\n{program.strip()}\n```"},
        {"role": "user", "content": AGAIN.format(report=report)},
    )


def _report(task: Task, outcomes: Sequence[Grid | str], style: Style) -> str:
    lines, shown = [], 0
    for number, (pair, outcome) in enumerate(zip(task.train, outcomes, strict=False), start=1):
        lines.append(f"Example {number}: {_verdict(pair.output, outcome)}")
        if not isinstance(outcome, str) and not same(pair.output, outcome) and shown < SHOWN_WRONG:
            shown += 1
            lines[-1] += f" The program's output:\n{style.grid(outcome)}"
    return "\n".join(lines)


def _verdict(right: Grid, outcome: Grid | str) -> str:
    if isinstance(outcome, str):
        return f"no output: {outcome}"
    if outcome.shape != right.shape:
        return f"wrong: {_size(outcome)}, where {_size(right)} belong."
    wrong = int((outcome != right).sum())
    return f"wrong in {wrong} of {right.size} cells." if wrong else "right."


def _size(grid: Grid) -> str:
    rows, columns = grid.shape
    return f"{rows} row{'s' * (rows > 1)}, {columns} column{'s' * (columns > 1)}"


# --- the answer -------------------------------------------------------------------------

_BLOCK = re.compile(r"```[^\n`]*\n(.*?)(```|\Z)", re.DOTALL)
_DEFINITION = re.compile(r"^def transform\b", re.MULTILINE)
_CODE = re.compile(r"^(import |from |def |class |@)", re.MULTILINE)


def extract(text: str) -> str | None:
    """The program in a model's text; None if there is none, or only one that is too long.

    The program is the last fenced block that defines `transform`, even if the block was cut off.
    In a text without fences, the program is everything from the first import or definition on.
    """
    blocks = [block for block, _ in _BLOCK.findall(text) if _DEFINITION.search(block)]
    start = _CODE.search(text)
    if not blocks and start and "```" not in text and _DEFINITION.search(text):
        blocks = [text[start.start() :]]
    return blocks[-1].strip() + "\n" if blocks and len(blocks[-1]) <= MAX_PROGRAM else None


def is_complete(text: str) -> bool:
    """True if a text contains a whole fenced program, so that the rest is not needed."""
    return any(end and _DEFINITION.search(block) for block, end in _BLOCK.findall(text))
