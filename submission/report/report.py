"""`arcsub report`: a run as one page that needs no other file."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from solver.answers.ensemble import STATES
from solver.data.svg import PALETTE
from solver.data.versions import version_name
from solver.deadline import Deadline, format_duration
from solver.grid import settled
from submission.owned import check_output, is_page, write_output
from submission.report import charts
from submission.report.findings import (
    FATES,
    Failure,
    Finding,
    engines,
    failures,
    findings,
    outputs_of,
    task_name,
)
from submission.report.pagedata import Traced, page_data, trace_programs
from submission.runs.recorded import Recorded, read_run, table_of

REPORT_FILE = "report.html"
TRACE_S = 60.0  # for the intermediate grids of all programs
SLOWEST = 10

# Colours with the same names as the ARC viewer's, at least 30 CIELAB units apart for every kind of
# colour vision (Machado, Oliveira and Fernandes 2009). For some readers the ARC viewer's red and
# green are only 10 units apart.
SAFE_PALETTE = (
    "#000000", "#3542de", "#ab1315", "#44cd86", "#fff30f",
    "#93869b", "#e783fd", "#e18316", "#ccffff", "#5f005d",
)  # fmt: skip


@dataclass(frozen=True)
class Live:
    """A page that grows with its run.

    every_s: seconds between the page's questions to its server.
    state: the state that the page shows.
    """

    every_s: float
    state: str


def run_report(folder: str, source: str | None, solutions: str | None, out: str | None) -> Path:
    """Write a run's report to `out`, or to the run's folder if `out` is None. Returns the path.

    Raises `DataError` if the folder contains no run, if the run's tasks cannot be read, or if the
    page cannot be written.
    """
    run = read_run(folder, source, solutions)
    path = Path(out) if out is not None else run.folder / REPORT_FILE
    check_output(path, "page", is_page if out is not None else lambda _: True)
    found = findings(run)
    write_output(path, render(run, found, trace_programs(found, Deadline.after(TRACE_S))))
    return path


def render(run: Recorded, found: list[Finding], traced: Traced, live: Live | None = None) -> str:
    """The whole page. With `live`, the page asks its server for a newer page."""
    files = resources.files("submission.report") / "templates"
    style, script = ((files / f"report.{kind}").read_text("utf-8") for kind in ("css", "js"))
    style = style.replace("/*palette*/", _palette_css())
    failed = failures(run.replay)
    bins = charts.calibration(found)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            name=run.folder.resolve().name,
            facts=_facts(run, found),
            written=datetime.now(UTC).isoformat(timespec="seconds"),
            live=live,
            policy=_policy(style, script, live is not None),
            style=style,
            script=script,
            scores=charts.scores(run, found),
            states=_states(found),
            fates=[(fate, charts.fates(outputs_of(found)).get(fate, 0)) for fate in FATES],
            timelines=charts.timelines(run),
            bins=bins,
            calibration_error=charts.calibration_error(bins),
            engines=engines(run, found),
            slowest=_slowest(found),
            failures=[(failure, _where(run, failure)) for failure in failed],
            processes=[_process(header) for header in run.replay.runs],
            data=page_data(found, run.replay.jobs, failed, traced),
        )
    )
    return page.encode("utf-8", "replace").decode()  # a journal may contain half a surrogate pair


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("submission.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "reach": reach}
    environment.filters |= {"duration": format_duration, "plain": plain}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


def percent(value: float) -> str:
    """A fraction in per cent with a thin space, such as `47.5 %`."""
    return f"{value:.1%}".replace("%", "\u2009%")


def reach(row: charts.Whisker) -> str:
    """The interval of a score, such as `38.1 to 57.0 %`."""
    return f"{100 * row.low:.1f} to {percent(row.high)}"


def plain(value: Any) -> str:
    """A setting's value as readable text."""
    if isinstance(value, list):
        return "; ".join(map(plain, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(v)}" for key, v in value.items() if v not in ("", [], {}))
    return str(value)


def _facts(run: Recorded, found: list[Finding]) -> dict[str, Any]:
    """The figures of the page's head."""
    jobs = run.replay.jobs
    return {
        "tasks": len(found),
        "outputs": len(outputs_of(found)),
        "ended": run.ended,
        "cut": sum(not finding.ended for finding in found),
        "attempted": sum(bool(finding.jobs) for finding in found),
        "seconds": sum(job.cost_s for job in jobs),
        "jobs": len(jobs),
        "died": sum(job.error is not None and job.outcome != "error" for job in jobs),
        "failed": sum(job.outcome == "error" for job in jobs),
        "candidates": len(settled(run.replay.candidates)),
    }


def _states(found: list[Finding]) -> list[tuple[str, int, int]]:
    """Each state with the number of its tasks, and the number of its wholly solved tasks."""
    states = Counter(finding.state for finding in found)
    solved = Counter(finding.state for finding in found if finding.score == 1.0)
    return [(state, states[state], solved[state]) for state in reversed(STATES) if states[state]]


def _slowest(found: list[Finding]) -> list[tuple[int, Finding]]:
    """The tasks that took most seconds, each with its number."""
    ranked = sorted(enumerate(found), key=lambda item: (-item[1].seconds, item[0]))
    return [(i, finding) for i, finding in ranked[:SLOWEST] if finding.seconds > 0]


def _where(run: Recorded, failure: Failure) -> dict[str, int]:
    """The number of jobs that a failure ended, by the name of the task."""
    return dict(Counter(task_name(run.replay.jobs[i]) for i in failure.jobs))


def _process(header: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The arguments, configuration and versions of a process of the run, as tables."""
    arguments = header.get("argv")
    command = " ".join(map(str, arguments)) if isinstance(arguments, list) else ""
    begun = {"began": header.get("at", "unknown"), "arguments": command}
    if data := header.get("data"):
        begun["tasks"] = version_name(str(data))
    return {
        "started": begun,
        "configuration": table_of(header, "config"),
        "versions": table_of(header, "versions"),
    }


def _palette_css() -> str:
    """CSS for both sets of cell colours, as custom properties."""
    arc = "".join(f"--c{i}:{color};" for i, color in enumerate(PALETTE))
    safe = "".join(f"--c{i}:{color};" for i, color in enumerate(SAFE_PALETTE))
    fills = "".join(f".c{i}{{fill:var(--c{i})}}" for i in range(len(PALETTE)))
    return f":root{{{arc}}}:root.safe{{{safe}}}{fills}"


def _policy(style: str, script: str, live: bool) -> str:
    """The Content-Security-Policy of the page.

    Only this script and this style are allowed, and no requests. A live page may send requests to
    its own server.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "connect-src 'self'" if live else "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
