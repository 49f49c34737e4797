"""The growing report of a run, served on loopback by a separate process.

The page's address contains a secret, so that no other page or user of the machine can guess the
address. The server ends after the process that started it, whatever ended that process. Open pages
still get the last page of the run.
"""

from __future__ import annotations

import http.server
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from solver.data.journal import JOURNAL_FILE
from solver.deadline import Deadline
from solver.grid import DataError
from submission.report.findings import findings
from submission.report.pagedata import trace_programs
from submission.report.report import Live, render
from submission.runs.recorded import read_run
from submission.tools import kit_python

EVERY_S = 2.0  # between the questions of an open page
PAUSE = 20.0  # between making pages, as a multiple of the time that the last page took
LINGER_S = 15.0  # at most, after the run, to serve open pages
NICENESS = 10  # above 0: the run's workers come first


@dataclass
class Pages:
    """The report of a run so far, made again when the run has news."""

    folder: Path
    source: str | None
    solutions: str | None
    over: bool = False  # the run's process has ended
    seen: bool = False  # a browser has got a page
    told_end: bool = False  # a browser has got the last page
    _state: str = ""
    _page: bytes = b""
    _not_before: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self) -> str:
        """A text for the state that a page made now would show; news changes the text.

        Within the pause after a page was made, this is the state of that page.
        """
        if not self.over and time.monotonic() < self._not_before:
            return self._state
        size = (
            (self.folder / JOURNAL_FILE).stat().st_size
            if (self.folder / JOURNAL_FILE).exists()
            else -1
        )
        return f"{size}{' over' if self.over else ''}"

    def page(self) -> bytes:
        """The page for the present state; made only if the state has changed."""
        with self._lock:
            state = self.state()
            if state != self._state:
                start = time.monotonic()
                self._page, self._state = self._made(state), state
                self._not_before = time.monotonic() + PAUSE * (time.monotonic() - start)
            self.seen, self.told_end = True, self.told_end or self.over
            return self._page

    def _made(self, state: str) -> bytes:
        try:
            run = read_run(self.folder, self.source, self.solutions)
        except DataError as error:
            return _WAITING.format(escape(str(error)), EVERY_S).encode("utf-8", "replace")
        found = findings(run)
        if self.over:
            return render(run, found, trace_programs(found, Deadline.after(LINGER_S / 3))).encode()
        return render(run, found, {}, Live(EVERY_S, state)).encode()


_WAITING = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="{1}">
<link rel="icon" href="data:,"><title>ARC run</title><p>{0}</p>"""


@contextmanager
def watched(folder: Path, source: str, solutions: str | None) -> Iterator[str]:
    """Serve the growing report of a run within a `with` block, which gets the page's address.

    The address works at once, since an early browser waits until the server has started. The end
    of the block waits for the server, which waits `LINGER_S` at most until an open page has got
    the last page. After twice `LINGER_S` the server is killed.
    """
    command, environment = kit_python("submission.report.watch")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        token = secrets.token_urlsafe(16)
        fd = listener.fileno()
        server = subprocess.Popen(
            [*command, str(fd), token, str(folder), source, *([solutions] if solutions else [])],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[fd],
            start_new_session=True,  # Ctrl-C is meant for the run
        )
        port = listener.getsockname()[1]
    assert server.stdin
    try:
        yield f"http://127.0.0.1:{port}/{token}/"
    finally:
        server.stdin.close()
        try:
            server.wait(2 * LINGER_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def main() -> None:
    """Serve until standard input ends, and then a little longer for open pages.

    Arguments: file descriptor of the listening socket, secret of the address, folder of the run,
    source, and optionally solutions.
    """
    os.nice(NICENESS)
    fd, token, folder, source, *solutions = sys.argv[1:]
    pages = Pages(Path(folder), source, solutions[0] if solutions else None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(pages, token), False) as server:
        server.socket.close()
        server.socket = socket.socket(fileno=int(fd))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()  # ends with the run's process, whatever ended that process
        pages.over = True
        end = Deadline.after(LINGER_S)
        while pages.seen and not pages.told_end and not end.passed():
            time.sleep(0.1)
        time.sleep(0.5)  # an open page may still be getting the last page
        server.shutdown()


def handler(pages: Pages, token: str) -> type[http.server.BaseHTTPRequestHandler]:
    """A request handler for the page and for the page's question for news; all else is 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == f"/{token}/":
                self._answer(pages.page(), "text/html")
            elif self.path == f"/{token}/state":
                self._answer(pages.state().encode(), "text/plain")
            else:
                self.send_error(404)

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing: requests are not of interest."""

    return Handler


if __name__ == "__main__":
    main()
