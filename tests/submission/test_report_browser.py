"""The report in a real browser: nothing is asked for, pictures are right, controls work.

The browser comes from the system (`chromium` on the path); without one these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from solver.data.arcio import Source, read_source
from solver.data.journal import JOURNAL_FILE, Journal, candidate_record, replay
from solver.data.svg import PALETTE
from solver.deadline import Deadline
from solver.grid import Grid
from submission.report.findings import Finding, findings
from submission.report.pagedata import Traced, trace_programs
from submission.report.report import SAFE_PALETTE, render
from submission.report.watch import watched
from submission.runs.recorded import read_run
from tests.control import yardstick_s
from tests.journals import made_up_run
from tests.runs import write_challenges

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
    pytest.skip("needs chromium and playwright", allow_module_level=True)

TRAINING = read_source("arc-agi-1:training")
HOSTILE = """"'><img src=x onerror=hacked=1><script>hacked=1</script></script><script>hacked=1//"""
LOADED = 25  # yardsticks of processor time until a page of 400 tasks stands

# Every cell of a picture as (colour number, colour as shown), by asking which shape is there.
CELLS = """svg => {
  const [,, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const shapes = [...svg.querySelectorAll("path[class^=c]")];
  const at = (x, y) => shapes.filter(s => s.isPointInFill(new DOMPoint(x + 0.5, y + 0.5)));
  return Array.from({length: height}, (_, y) => Array.from({length: width}, (_, x) =>
    at(x, y).map(s => [Number(s.getAttribute("class").slice(1)), getComputedStyle(s).fill])));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], timeout=180_000
        )
        yield chromium
        chromium.close()


class Seen:
    """A page, and what it complained of or asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def shown(self) -> list[str]:
        """The ids of the tasks in the list, in order."""
        ids: list[str] = self.page.locator("#list article .id").all_text_contents()
        return ids


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Seen]]:
    """Opens a file at a width, in a fresh context."""
    pages = []

    def visit(file: Path, width: int = 1200, address: str = "", **options: Any) -> Seen:
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        pages.append(page)
        seen = Seen(page)
        page.goto(file.as_uri() + address)
        return seen

    yield visit
    for page in pages:
        page.close()


def source_of(count: int) -> Source:
    tasks = TRAINING.tasks[:count]
    known = TRAINING.solutions or {}
    return Source(TRAINING.name, tasks, {task.id: known[task.id] for task in tasks})


Large = tuple[Path, list[Finding], Traced]
Opened = Callable[..., Seen]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Large:
    """The report of a made-up run over 400 tasks, what it is about, and some programs' steps."""
    run = read_run(made_up_run(tmp_path_factory.mktemp("large") / "run", source_of(400)))
    found = findings(run)
    steps = trace_programs(found[:12], Deadline.after(120))
    file = run.folder / "report.html"
    file.write_text(render(run, found, steps))
    return file, found, steps


def test_a_page_of_400_tasks_is_small_quick_and_asks_for_nothing(
    large: Large, opened: Opened
) -> None:
    file, *_ = large
    assert file.stat().st_size < 15e6
    seen = opened(file)
    session = seen.page.context.new_cdp_session(seen.page)
    session.send("Performance.enable")
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    assert metrics["ProcessTime"] < LOADED * yardstick_s()
    assert len(seen.shown()) == 400
    seen.page.locator("#task0").scroll_into_view_if_needed()
    seen.page.wait_for_selector("#task0 .thumbs svg")
    assert seen.complaints == []
    assert seen.requests == [file.as_uri()]


def test_filters_and_sorting_agree_with_the_findings(large: Large, opened: Opened) -> None:
    file, found, _ = large
    seen, ids = opened(file), [finding.task.id for finding in found]
    page = seen.page
    assert seen.shown() == ids
    page.select_option("#fate", "unchosen")
    lost = [f.task.id for f in found if any(o.fate == "unchosen" for o in f.outputs)]
    assert seen.shown() == lost
    assert page.inner_text("#count") == f"{len(lost)} of 400 tasks"
    page.select_option("#state", "program")
    both = [f.task.id for f in found if f.task.id in lost and f.state == "program"]
    assert seen.shown() == both
    page.click("#reset")
    page.check("#trouble")
    assert seen.shown() == [f.task.id for f in found if f.trouble]
    page.uncheck("#trouble")
    page.select_option("#result", "solved")
    assert seen.shown() == [f.task.id for f in found if f.score == 1]
    page.select_option("#result", "")
    page.fill("#search", f"{ids[7]} ")
    assert seen.shown() == [ids[7]]
    page.fill("#search", "SCALE_UP(")
    assert 0 < len(seen.shown()) < 400
    page.fill("#search", "")
    page.select_option("#sort", "confidence")
    by_confidence = sorted(found, key=lambda f: -round(f.confidence, 3))
    assert seen.shown() == [f.task.id for f in by_confidence]
    page.select_option("#sort", "id")
    page.click("#reverse")
    assert seen.shown() == sorted(ids, reverse=True)
    page.click(".part.unfound")
    assert set(seen.shown()) == {
        f.task.id for f in found if any(o.fate == "unfound" for o in f.outputs)
    }
    assert seen.complaints == []


def picture_of(svg: Any) -> tuple[list[list[int]], list[list[str]]]:
    """The numbers and the shown colours of a picture's cells; each cell has one of each."""
    cells = svg.evaluate(CELLS)
    assert all(len(shapes) == 1 for row in cells for shapes in row)
    return [[s[0][0] for s in row] for row in cells], [[s[0][1] for s in row] for row in cells]


def css(color: str) -> str:
    return f"rgb({', '.join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))})"


def test_the_cells_of_pictures_are_those_of_the_grids(large: Large, opened: Opened) -> None:
    file, found, _ = large
    page = opened(file).page
    for number, finding in enumerate(found[:3]):
        page.click(f"#task{number} > .line")
        shown = page.locator(f"#task{number} figure svg.grid").all()
        wanted: list[Grid] = [g for pair in finding.task.train for g in (pair.input, pair.output)]
        for output in finding.outputs:
            assert output.truth is not None
            wanted += [output.input, *output.attempts, output.truth]
        assert [picture_of(svg)[0] for svg in shown] == [grid.tolist() for grid in wanted]
    for palette in (PALETTE, SAFE_PALETTE):
        numbers, colors = picture_of(shown[0])
        assert colors == [[css(palette[n]) for n in row] for row in numbers]
        page.click("#palette")


def test_differences_from_the_truth_are_marked(large: Large, opened: Opened) -> None:
    file, found, _ = large
    page = opened(file).page
    number, output = next(
        (i, f.outputs[0])
        for i, f in enumerate(found)
        if f.outputs[0].truth is not None
        and f.outputs[0].attempts[0].shape == f.outputs[0].truth.shape
        and f.outputs[0].fate == "unfound"
    )
    assert output.truth is not None
    page.evaluate("number => go(number)", number)
    first = page.locator(f"#task{number} .answers").first.locator("figure").nth(1)
    crosses = first.locator("path.mark").last.get_attribute("d") or ""
    wrong = int((output.attempts[0] != output.truth).sum())
    assert crosses.count("M") == wrong
    assert f"✗ {wrong} cell" in first.inner_text()


def test_a_program_is_shown_with_its_steps(large: Large, opened: Opened) -> None:
    file, found, steps = large
    (task, test), by_place = next(iter(steps.items()))
    place, wanted = next(iter(by_place.items()))
    page = opened(file).page
    page.click(f"#task{task} > .line")
    shown = page.locator(f"#task{task} .program").first
    assert shown.locator("li code").all_text_contents() == [text for text, _ in wanted]
    grids = [grid for _, grid in wanted if grid is not None]
    drawn = [picture_of(svg)[0] for svg in shown.locator("svg.grid").all()]
    assert drawn == [grid.tolist() for grid in grids]
    assert found[task].outputs[test].ballots[place].program == shown.locator("pre").text_content()


def test_the_keyboard_walks_opens_and_closes(large: Large, opened: Opened) -> None:
    file, found, _ = large
    seen = opened(file)
    page, keys = seen.page, seen.page.keyboard
    keys.press("/")
    keys.type(found[5].task.id)
    assert seen.shown() == [found[5].task.id]
    page.fill("#search", "")
    for key in ("Escape", "j", "j", "Enter"):
        keys.press(key)
    assert page.locator("#body1").is_visible()
    assert page.get_attribute("#task1 > .line", "aria-expanded") == "true"
    assert found[1].task.id in page.url
    keys.press("k")
    assert page.evaluate("document.activeElement.closest('article').id") == "task0"
    keys.press("j")
    keys.press("Escape")
    assert page.locator("#body1").is_hidden()
    keys.press("d")
    keys.press("Enter")
    assert page.locator("#task1 figure text.digit").count() > 0
    keys.press("?")
    assert page.locator("#help").is_visible()
    assert seen.complaints == []


def test_the_address_keeps_what_is_shown(large: Large, opened: Opened) -> None:
    file, found, _ = large
    task = next(f for f in found if f.score == 1)
    seen = opened(file, address=f"#result=solved&sort=id&task={task.task.id}")
    assert seen.shown() == sorted(f.task.id for f in found if f.score == 1)
    assert seen.page.locator("article .body:visible").count() == 1


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_fits_its_window(large: Large, opened: Opened, width: int) -> None:
    file, *_ = large
    page = opened(file, width).page
    page.evaluate("[0, 1, 2].forEach(number => toggle(number, true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_names_programs_and_errors_stay_text(tmp_path: Path, opened: Opened) -> None:
    tasks = tuple(replace(task, id=f"{i}{HOSTILE}") for i, task in enumerate(TRAINING.tasks[:3]))
    challenges = write_challenges(tmp_path / "c.json", tasks)
    folder = made_up_run(tmp_path / HOSTILE.replace("/", "")[:60], Source(str(challenges), tasks))
    found = replay(folder / JOURNAL_FILE)
    journal = Journal(folder / JOURNAL_FILE)
    bad = {"program": HOSTILE, "engine": HOSTILE, "view": f"d0.{HOSTILE}", "logprob": 0.0}
    journal.append(candidate_record(replace(found.candidates[0], **bad)))  # type: ignore[arg-type]
    job = vars(found.jobs[0]) | {"engine": HOSTILE, "outcome": HOSTILE, "error": HOSTILE}
    journal.append({"kind": "job", **job})
    run = found.runs[0] | {"at": HOSTILE, "argv": [HOSTILE], "versions": {HOSTILE: "\ud800"}}
    journal.append({"kind": "run", **run})
    journal.close()
    page_file = tmp_path / "page.html"
    recorded = read_run(folder)
    page_file.write_text(render(recorded, findings(recorded), {}))
    seen = opened(page_file)
    page = seen.page
    page.evaluate("data.tasks.forEach((_, number) => toggle(number, true))")
    assert seen.shown() == [task.id for task in tasks]
    assert HOSTILE in page.locator("pre.code").all_text_contents()
    assert HOSTILE in page.locator(".failure pre").all_text_contents()
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert seen.complaints == []
    assert seen.requests == [page_file.as_uri()]


def test_a_growing_run_is_seen_to_its_end(tmp_path: Path, browser: Browser) -> None:
    folder = made_up_run(tmp_path / "run", source_of(3), cut=True)
    whole = made_up_run(tmp_path / "whole", source_of(3))
    page = browser.new_page()
    seen = Seen(page)
    with watched(folder, TRAINING.name, None) as address:  # its end waits for the open page
        page.goto(address)
        assert page.inner_text(".status") == "running"
        assert page.evaluate("fetch('../').then(answer => answer.status)") == 404
        shutil.copy(whole / JOURNAL_FILE, folder / JOURNAL_FILE)
    page.locator(".status", has_text="ended").wait_for()
    assert page.locator("meta[name=live]").count() == 0
    assert len(seen.shown()) == 3
    page.close()
