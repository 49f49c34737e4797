"""A loopback server that answers as Kaggle does, for the real client, and a guard that lets no
connection go anywhere else."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

USER, KEY = "me", "secret-of-the-test"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class LeftTheMachineError(Exception):
    """Something was about to be sent to another machine."""


class Guard:
    """Raises at every look-up and connection outside of this machine, once it is switched on."""

    def __init__(self) -> None:
        self.on = False
        self.connections: Counter[str] = Counter()
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in ("socket.connect", "socket.getaddrinfo"):
            return
        address = arguments[1] if event == "socket.connect" else arguments[0]
        host = address[0] if isinstance(address, tuple) else address
        host = host.decode() if isinstance(host, bytes) else host
        if host not in LOOPBACK:
            raise LeftTheMachineError(f"{event} to {host}")
        self.connections[str(host)] += event == "socket.connect"


GUARD = Guard()


@dataclass
class Kaggle:
    """The contents of the service, and its faults.

    A fault is for one call, by the name of the call's method: a status code or an answer. Faults
    are used up in the order of the list.
    """

    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    kernels: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    polls: int = 2  # how often a dataset is asked for before it is ready
    expired: bool = False
    upload: str = ""  # what goes wrong with the bytes: broken, half, refused, stuck
    run: dict[str, Any] = field(default_factory=lambda: {"status": "COMPLETE"})
    log: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    outputs: dict[str, dict[str, bytes]] = field(default_factory=dict)  # by version label
    page: int = 1000  # files or submissions of a page
    quota: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)
    stuck: str = ""  # a method that answers nobody, and whether somebody waits for it
    held: bool = False
    cuts: int = 0  # how often the stream of a log breaks off, each time after a line more
    limits: dict[str, Any] = field(default_factory=lambda: {"numAllowedNow": 1, "numTotal": 3})
    submissions: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""
    saving: Any = field(default_factory=threading.Lock)

    def made(self, name: str) -> list[dict[str, Any]]:
        """The requests of one method, in order."""
        return [body for method, body in self.calls if method == name]

    def answer(self, method: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a call."""
        self.calls.append((method, body))
        if method == self.stuck:
            self.held = True
            while self.stuck:
                time.sleep(0.01)
        if self.expired:
            return 401, {"code": 401, "message": "Unauthenticated"}
        if self.faults.get(method):
            fault = self.faults[method].pop(0)
            if isinstance(fault, int):
                return fault, {"code": fault, "message": f"fault {fault}"}
            return 200, fault
        found = getattr(self, f"on_{method}")(body)
        return (404, {"code": 404, "message": "Not found"}) if found is None else (200, found)

    def on_GetDatasetStatus(self, body: dict[str, Any]) -> dict[str, Any] | None:  # noqa: N802
        dataset = self.datasets.get(f"{body['ownerSlug']}/{body['datasetSlug']}")
        if dataset is None:
            return None
        dataset["polls"] -= 1
        return {"status": "READY" if dataset["polls"] < 0 else "BLOBS_RECEIVED"}

    def on_GetDataset(self, body: dict[str, Any]) -> dict[str, Any] | None:  # noqa: N802
        return {"description": self.datasets[f"{body['ownerSlug']}/{body['datasetSlug']}"]["text"]}

    def on_CreateDataset(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self._dataset(f"{body['ownerSlug']}/{body['slug']}", body)

    def on_CreateDatasetVersion(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self._dataset(f"{body['ownerSlug']}/{body['datasetSlug']}", body["body"])

    def _dataset(self, ref: str, body: dict[str, Any]) -> dict[str, Any]:
        files = {self.names[f["token"]]: self.blobs[f["token"]] for f in body.get("files", [])}
        self.datasets[ref] = {"files": files, "text": body["description"], "polls": self.polls}
        return {"status": "ok", "url": f"https://www.kaggle.com/datasets/{ref}"}

    def on_StartBlobUpload(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        token = f"token-{len(self.names)}"
        self.names[token], self.sizes[token] = body["name"], body["contentLength"]
        return {"token": token, "createUrl": f"{self.address}/upload/{token}"}

    def on_SaveKernel(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        with self.saving:
            version = self.kernels.get(body["slug"], {"version": 0})["version"] + 1
            self.kernels[body["slug"]] = {**body, "version": version}
        return {"ref": body["slug"], "versionNumber": version, "url": "x"}

    def on_GetKernel(self, body: dict[str, Any]) -> dict[str, Any] | None:  # noqa: N802
        ref = f"{body['userName']}/{body['kernelSlug']}"
        kernel = self.kernels.get(ref)
        if kernel is None:
            return None
        same = ("language", "kernelType", "isPrivate", "enableGpu", "enableTpu", "enableInternet")
        lists = [f"{kind}DataSources" for kind in ("dataset", "competition", "kernel", "model")]
        names = (*same, *lists, "machineShape", "dockerImage")
        about = {name: kernel[name] for name in names if name in kernel}
        about["currentVersionNumber"] = kernel["version"]
        blob = {"source": kernel["text"], "language": "python", "kernelType": "notebook"}
        return {
            "metadata": {"ref": ref, "title": kernel["newTitle"], **about},
            "blob": {**blob, "slug": body["kernelSlug"]},
        }

    def on_GetKernelSessionStatus(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self.run

    def on_ListKernelSessionOutput(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        label = body.get("versionLabel") or "last"
        there = sorted(self.outputs.get(label, self.files))
        files = [{"fileName": n, "url": f"{self.address}/file/{label}/{n}"} for n in there]
        page, more = self._page(files, body)
        return {"files": page, "log": "", **more}

    def _page(self, items: list[Any], body: dict[str, Any]) -> tuple[list[Any], dict[str, str]]:
        """The items of the page that is asked for, and where the next one begins."""
        begin = int(body.get("pageToken") or 0)
        end = begin + self.page
        return items[begin:end], {"nextPageToken": str(end)} if end < len(items) else {}

    def on_GetAcceleratorQuotaStatistics(  # noqa: N802
        self, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        return self.quota or None

    def on_ListSubmissions(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        newest = sorted(self.scores, key=lambda one: -int(one["ref"]))
        page, more = self._page(newest, body)
        return {"submissions": page, **more}

    def on_GetSubmission(self, body: dict[str, Any]) -> dict[str, Any] | None:  # noqa: N802
        return next((one for one in self.scores if one["ref"] == body["ref"]), None)

    def on_GetSubmissionLimits(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self.limits

    def on_CreateCodeSubmission(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.submissions.append(body)
        return {"message": "Successfully submitted", "ref": len(self.submissions)}


class _Handler(BaseHTTPRequestHandler):
    """Both the proxy that the client is pointed at and the server behind it."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self._read() or b"{}")
        expected = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        assert self.headers["Authorization"] == f"Basic {expected}"
        path = urlsplit(self.path).path
        assert path.startswith("/api/v1/"), self.path
        self._json(*self.server.kaggle.answer(path.rpartition("/")[2], body))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/api/v1/kernels/logs/stream/"):
            self._stream()
        else:
            label, name = path.removeprefix("/file/").split("/", 1)
            kaggle = self.server.kaggle
            self._send(200, kaggle.outputs.get(label, kaggle.files)[name], {})

    def _stream(self) -> None:
        """The log's events; the connection breaks off as often as the test wants."""
        kaggle = self.server.kaggle
        lines = [f"data: {json.dumps(event)}\n\n" for event in kaggle.log]
        text = "".join([*lines, "data: END_OF_LOG\n\n"]).encode()
        if kaggle.cuts:
            kaggle.cuts -= 1
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write("".join(lines[: len(lines) - kaggle.cuts - 1]).encode())
            self.close_connection = True
        else:
            self._send(200, text, {"Content-Type": "text/event-stream"})

    def do_PUT(self) -> None:
        kaggle, token = self.server.kaggle, urlsplit(self.path).path.rpartition("/")[2]
        have, size = kaggle.blobs.setdefault(token, b""), kaggle.sizes[token]
        mode, asked = kaggle.upload, self.headers.get("Content-Range", "")
        if mode == "stuck":
            os.kill(os.getpid(), signal.SIGALRM)
            self.server.leave.wait(60)
            self.close_connection = True
        elif asked.startswith("bytes */"):
            self._send(308, b"", {"Range": f"bytes=0-{len(have) - 1}"} if have else {})
        elif mode == "broken":  # in the middle of the bytes, once
            self.rfile.read(size // 2)
            kaggle.upload = ""
            self.close_connection = True
            self.connection.close()
        elif mode == "half":  # the service kept half of the bytes, once
            kaggle.upload = ""
            kaggle.blobs[token] = self._read()[: size // 2]
            self._send(503, b"", {})
        elif mode == "refused":
            self._read()
            self._send(400, b"no", {})
        else:
            kaggle.blobs[token] = (have if asked else b"") + self._read()
            self._send(200, b"", {})

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, kaggle: Kaggle) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kaggle, self.leave = kaggle, threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests; anything else is to be seen."""
        if not isinstance(sys.exc_info()[1], ConnectionError | ValueError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serving(kaggle: Kaggle) -> Iterator[dict[str, str]]:
    """Serve on loopback; yields the environment that points the unmodified client there."""
    server = _Server(kaggle)
    port = server.server_address[1]
    kaggle.address = f"http://127.0.0.1:{port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield environment(kaggle.address)
    finally:
        server.leave.set()
        server.shutdown()
        server.server_close()
        thread.join()


def environment(address: str) -> dict[str, str]:
    """The environment in which the client asks only `address`."""
    return {
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLE_USERNAME": USER,
        "KAGGLE_KEY": KEY,
        "http_proxy": address,
        "https_proxy": "http://127.0.0.1:1",
        "no_proxy": "",
        "NO_PROXY": "",
    }
