"""A pytest plugin: what was skipped is said, and where `CI` is set only listed reasons pass.

A test that is skipped tries nothing, so a library that does not load would be a green build.
"""

from __future__ import annotations

import os

import pytest

LISTED = (
    "unsloth is not installed",  # it needs a GPU: scripts/test_unsloth.sh
    "this very Python would do",  # a test of another Python than Kaggle's
)


def reasons(reporter: pytest.TerminalReporter) -> list[str]:
    """Why tests or modules were skipped, with the place of each."""
    found = []
    for report in reporter.stats.get("skipped", []):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found.append(f"{report.nodeid}: {why.removeprefix('Skipped: ')}")
    return sorted(found)


def unlisted(reporter: pytest.TerminalReporter) -> list[str]:
    """The skips that CI does not accept; none elsewhere."""
    if not os.environ.get("CI"):
        return []
    return [why for why in reasons(reporter) if not any(listed in why for listed in LISTED)]


def _reporter(config: pytest.Config) -> pytest.TerminalReporter | None:
    found = config.pluginmanager.getplugin("terminalreporter")
    return found if isinstance(found, pytest.TerminalReporter) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count test functions, not their parameters, and say what was not tried."""
    ran = {
        report.nodeid.partition("[")[0]
        for kind in ("passed", "failed", "error")
        for report in terminalreporter.stats.get(kind, [])
    }
    terminalreporter.write_line(f"{len(ran)} test functions ran")
    for why in reasons(terminalreporter):
        terminalreporter.write_line(f"not tried: {why}")
    for why in unlisted(terminalreporter):
        terminalreporter.write_line(f"no listed reason to skip: {why}", red=True)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of CI that skipped what is not listed."""
    reporter = _reporter(session.config)
    if reporter and unlisted(reporter) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
