"""Pushing with the real, unmodified `kaggle` client against a server of ours on loopback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from solver.deadline import Deadline
from solver.grid import DataError
from solver.runtime.run import RunError
from submission.kaggle import datasets as kaggle_datasets
from submission.kaggle import notebook as kaggle_notebook
from submission.kaggle import runs as kaggle_runs
from submission.kaggle import scores as kaggle_scores
from submission.kaggle.ledger import LEDGER_FILE, Ledger
from submission.kaggle.service import asking, connect
from submission.kaggle.settings import read_settings
from submission.wheels.build import sha256
from tests.runs import ROOT
from tests.submission.kaggle_stub import GUARD, KEY, Kaggle, environment
from tests.submission.pushing import NOTEBOOK, SETTINGS, pushed, soon


def test_a_new_dataset_and_the_notebook_arrive_whole(place: Path, kaggle: Kaggle) -> None:
    said = pushed(place)
    files = kaggle.datasets["me/arc-kit-model"]["files"]
    assert files.keys() == {"config.json", "deep.zip"}
    with zipfile.ZipFile(io.BytesIO(files["deep.zip"])) as archive:
        assert archive.read("weights.bin") == (place / "model/deep/weights.bin").read_bytes()
    (created,) = kaggle.made("CreateDataset")
    assert (created["licenseName"], created["isPrivate"]) == ("apache-2.0", True)
    (saved,) = kaggle.made("SaveKernel")
    assert saved["machineShape"] == "NvidiaL4"
    assert (saved["enableInternet"], saved["enableGpu"], saved["isPrivate"]) == (False, True, True)
    assert saved["dockerImagePinningType"] == "original"
    assert saved["datasetDataSources"] == ["me/arc-kit-model"]
    assert saved["competitionDataSources"] == ["arc-prize-2026-arc-agi-2"]
    assert "version 1 saved" in "\n".join(said)
    methods = [method for method, _ in kaggle.calls]
    ready = len(methods) - 1 - methods[::-1].index("GetDatasetStatus")
    assert methods.index("CreateDataset") < ready < methods.index("SaveKernel")


def test_an_unchanged_dataset_is_not_sent_again_and_a_changed_one_gets_a_version(
    place: Path, kaggle: Kaggle
) -> None:
    pushed(place)
    assert "dataset   me/arc-kit-model: unchanged" in pushed(place)
    assert not kaggle.made("CreateDatasetVersion")
    (place / "model/config.json").write_text('{"wider": true}')
    pushed(place)
    (version,) = kaggle.made("CreateDatasetVersion")
    assert len(version["body"]["files"]) == 2
    assert kaggle.datasets["me/arc-kit-model"]["files"]["config.json"] == b'{"wider": true}'
    assert len(kaggle.made("CreateDataset")) == 1
    assert kaggle.kernels["me/arc-kit"]["version"] == 3


def test_a_dataset_that_kaggle_cannot_process_stops_the_push(place: Path, kaggle: Kaggle) -> None:
    kaggle.faults["GetDatasetStatus"] = [404, 404, {"status": "FAILED"}]
    with pytest.raises(RunError, match="could not process it: failed; the notebook was not pushed"):
        pushed(place)
    assert not kaggle.made("SaveKernel")


def test_a_dataset_that_is_never_ready_ends_at_the_deadline(place: Path, kaggle: Kaggle) -> None:
    kaggle.polls = 10**6
    with pytest.raises(RunError, match="not ready in time, still blobs_received"):
        pushed(place)
    assert 100 < len(kaggle.made("GetDatasetStatus")) < 130


def test_a_dataset_that_kaggle_refuses(place: Path, kaggle: Kaggle) -> None:
    kaggle.faults["CreateDataset"] = [{"status": "error", "error": "The title is in use"}]
    with pytest.raises(RunError, match="refused it: The title is in use"):
        pushed(place)


def test_a_push_that_the_plain_client_takes_for_a_success(place: Path, kaggle: Kaggle) -> None:
    kaggle.faults["SaveKernel"] = [{"error": "Maximum batch GPU session count of 2 reached"}]
    with pytest.raises(RunError, match="refused it: Maximum batch GPU") as refused:
        pushed(place)
    assert "kaggle.com/code/me/arc-kit" in str(refused.value)


@pytest.mark.parametrize("kind", ["Dataset", "Competition", "Kernel", "Model"])
def test_sources_that_kaggle_does_not_find(place: Path, kaggle: Kaggle, kind: str) -> None:
    kaggle.faults["SaveKernel"] = [{"versionNumber": 4, f"invalid{kind}Sources": ["me/gone"]}]
    with pytest.raises(DataError, match=rf"version 4 .*{kind.lower()}_sources: me/gone"):
        pushed(place)


def test_a_push_without_a_version_is_no_success(place: Path, kaggle: Kaggle) -> None:
    kaggle.faults["SaveKernel"] = [{"ref": "me/arc-kit"}]
    with pytest.raises(RunError, match="named no version"):
        pushed(place)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("machineShape", "NvidiaTeslaP100", "machine_shape is 'NvidiaTeslaP100', not 'NvidiaL4'"),
        ("enableInternet", True, "enable_internet is True, not False"),
        ("datasetDataSources", [], r"dataset_sources is \[\], not \['me/arc-kit-model'\]"),
        ("text", '{"cells": []}', "its cells are not the ones sent"),
    ],
)
def test_what_kaggle_changes_without_a_word_is_read_back(
    place: Path, kaggle: Kaggle, field: str, value: Any, said: str
) -> None:
    pushed(place)
    kaggle.kernels["me/arc-kit"][field] = value
    kaggle.faults["SaveKernel"] = [{"versionNumber": 2}]  # and keeps what it had
    with pytest.raises(RunError, match=said) as changed:
        pushed(place)
    assert "version 2 is saved and runs: do not submit it unseen" in str(changed.value)


def test_a_notebook_without_an_accelerator_in_an_image_of_its_own(
    place: Path, kaggle: Kaggle
) -> None:
    text = SETTINGS.replace(
        'machine = "NvidiaL4"', 'machine = "cpu"\nimage = "registry/one@sha256:1"'
    )
    (place / "kaggle.toml").write_text(text)
    notebook = json.loads(json.dumps(NOTEBOOK))
    notebook["metadata"]["kaggle"]["accelerator"] = "none"
    (place / "notebook.ipynb").write_text(json.dumps(notebook))
    assert "image     registry/one@sha256:1" in pushed(place)
    (saved,) = kaggle.made("SaveKernel")
    assert (saved["enableGpu"], saved.get("machineShape")) == (False, None)
    assert saved["dockerImage"] == "registry/one@sha256:1"


def test_a_machine_that_is_shown_late_is_waited_for(place: Path, kaggle: Kaggle) -> None:
    pushed(place)
    late = kaggle.on_GetKernel({"userName": "me", "kernelSlug": "arc-kit"})
    assert late
    late["metadata"]["machineShape"] = ""
    kaggle.faults["GetKernel"] = [late, late]
    pushed(place)
    assert len(kaggle.made("GetKernel")) == 4


def edited(place: Path, **about: Any) -> None:
    """The notebook with something else in what it says about itself."""
    notebook = json.loads(json.dumps(NOTEBOOK))
    notebook["metadata"]["arcsub"] |= about
    (place / "notebook.ipynb").write_text(json.dumps(notebook))


def test_notebook_and_settings_must_fit_before_anything_is_sent(
    place: Path, kaggle: Kaggle
) -> None:
    edited(place, sources={"model": "models/a/b/transformers/c/1"})
    with pytest.raises(DataError, match="looks for models/a/b/transformers/c/1, which the settin"):
        pushed(place)
    (place / "model/lock.txt").write_text("one\n")
    edited(place, lock=sha256(place / "model/config.json"))
    with pytest.raises(DataError, match=r"built for other wheels than .*lock\.txt"):
        pushed(place)
    edited(place, lock=sha256(place / "model/lock.txt"))
    pushed(place)
    text = SETTINGS.replace("NvidiaL4", "cpu")
    (place / "kaggle.toml").write_text(text)
    with pytest.raises(DataError, match=r"accelerator 'nvidiaL4', but machine is cpu \('none'\)"):
        pushed(place)
    (place / "notebook.ipynb").write_text(json.dumps({"cells": [], "metadata": {}}))
    with pytest.raises(DataError, match=r"no notebook of `arcsub notebook`: 'arcsub' is missing"):
        pushed(place)
    assert len(kaggle.made("SaveKernel")) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'machine = "NvidiaL4"',
            'machine = "NvidiaH100"',
            "machine: there is no 'NvidiaH100'; did you mean N",
        ),
        ('owner = "me"', "", "owner: is missing"),
        (
            'owner = "me"',
            'owner = "me/you"',
            "owner: must be letters, digits and dashes, is 'me/you'",
        ),
        ('title = "ARC kit"', 'title = "ARC"', "title: must have 5 to 50 characters, has 3"),
        ('folder = "model"', 'folder = "gone"', r"datasets\.arc-kit-model: folder: .*gone is no"),
        ('licence = "apache-2.0"', "", r"datasets\.arc-kit-model: licence: is missing"),
        ("arc-kit-model]", "Arc_Kit]", r"datasets\.Arc_Kit: must be words of a-z and 0-9"),
        (
            'owner = "me"',
            'owner = "me"\nmodels = ["a/b"]',
            r"models\[0\]: must be owner/model/.*, is 'a/b'",
        ),
        (
            'owner = "me"',
            'owner = "me"\nattach = ["me/arc-kit-model"]',
            "attach: me/arc-kit-model is there twice",
        ),
        ('owner = "me"', 'owner = "me"\ntoken = "x"', "token: no such setting; there are owner"),
        ('owner = "me"', "owner = me", "not TOML"),
    ],
)
def test_settings_that_are_wrong_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    file = tmp_path / "kaggle.toml"
    file.write_text(SETTINGS.replace(old, new))
    with pytest.raises(DataError, match=f"{re.escape(str(file))}: {said}"):
        read_settings(file)


def test_the_settings_of_the_documentation_are_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs/kaggle.md").read_text()
    (text,) = re.findall(r"```toml\n(# kaggle\.toml\n.*?)```", page, re.DOTALL)
    (tmp_path / "models/pair").mkdir(parents=True)
    (tmp_path / "models/pair/file").write_text("x")
    (tmp_path / "kaggle.toml").write_text(text)
    settings = read_settings(tmp_path / "kaggle.toml")
    assert {dataset.slug for dataset in settings.datasets} == {"arc-kit-model"}


def test_expired_credentials_are_the_users_affair(place: Path, kaggle: Kaggle) -> None:
    kaggle.expired = True
    with pytest.raises(DataError, match="credentials are expired") as expired:
        pushed(place)
    assert KEY not in str(expired.value)
    assert "the notebook was not pushed" in str(expired.value)


@pytest.mark.parametrize("method", ["GetDatasetStatus", "CreateDataset", "SaveKernel", "GetKernel"])
def test_server_errors_say_what_was_left_undone(place: Path, kaggle: Kaggle, method: str) -> None:
    kaggle.faults[method] = [500] if method != "GetDatasetStatus" else [500, 500]
    with pytest.raises(RunError, match=r"Kaggle failed \(500: .*\); ") as failed:
        pushed(place)
    undone = {"SaveKernel": "before you push again", "GetKernel": "version 1 is saved and runs"}
    assert undone.get(method, "the notebook was not pushed") in str(failed.value)


def test_a_connection_that_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match="cannot be reached"):
        pushed(place)


@pytest.mark.parametrize("fault", ["broken", "half"])
def test_an_upload_that_breaks_off_is_taken_up_again(
    place: Path, kaggle: Kaggle, fault: str
) -> None:
    kaggle.upload = fault
    pushed(place)
    files = kaggle.datasets["me/arc-kit-model"]["files"]
    with zipfile.ZipFile(io.BytesIO(files["deep.zip"])) as archive:
        assert archive.read("weights.bin") == (place / "model/deep/weights.bin").read_bytes()
    assert files["config.json"] == b"{}"


def test_a_file_that_does_not_arrive_is_not_left_out(place: Path, kaggle: Kaggle) -> None:
    kaggle.upload = "refused"
    with pytest.raises(RunError, match="0 of 2 files arrived; nothing was published"):
        pushed(place)
    assert not kaggle.made("CreateDataset")


def test_an_upload_that_stands_still_ends_at_the_deadline(place: Path, kaggle: Kaggle) -> None:
    kaggle.upload = "stuck"  # until the deadline's signal comes
    with pytest.raises(RunError, match=r"took too long .*the notebook was not pushed"):
        pushed(place)
    assert kaggle.made("StartBlobUpload")
    assert not kaggle.made("CreateDataset")


def swallow() -> None:
    with contextlib.suppress(Exception):
        time.sleep(60)
    time.sleep(60)


def test_a_deadline_ends_a_call_that_never_returns_even_one_that_swallows_exceptions() -> None:
    late = pytest.raises(RunError, match=r"the call: Kaggle took too long \(--timeout\)")
    with late, asking("the call", Deadline.after(0.2)):
        swallow()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_nothing_left_the_machine_and_no_secret_was_printed(
    place: Path, kaggle: Kaggle, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sum(GUARD.connections.values())
    said = pushed(place)
    assert sum(GUARD.connections.values()) > before
    assert set(GUARD.connections) <= {"127.0.0.1", "localhost", "::1"}
    out, err = capfd.readouterr()
    assert out == ""  # the client's chatter goes to standard error
    assert KEY not in out + err + "".join(said)
    sent = json.dumps([body for _, body in kaggle.calls])
    assert KEY not in sent + str(kaggle.blobs)


def test_the_run_is_looked_at_followed_and_fetched(place: Path, kaggle: Kaggle) -> None:
    settings = read_settings(place / "kaggle.toml")
    said: list[str] = []
    kaggle.run = {"status": "ERROR", "failureMessage": "out of memory"}
    ledger, api = Ledger(place / LEDGER_FILE), connect(soon())
    said_state = kaggle_runs.status(api, settings, ledger, soon(), wait=False)
    assert said_state == "me/arc-kit: error: out of memory"
    kaggle.log = [{"stream_name": "stdout", "time": 1.5, "data": "12 tasks\n"}]
    kaggle_runs.logs(settings, soon(), said.append)
    assert said == ["12 tasks\n"]
    two = {"attempt_1": [[1]], "attempt_2": [[2]]}
    kaggle.files = {"submission.json": json.dumps({"a": [two], "b": [two]}).encode()}
    kaggle_runs.output(settings, place / "out", ledger, soon(), said.append)
    assert said[-1].endswith("submission.json is valid: 2 tasks")
    kaggle.files["submission.json"] = b"<html>Not found</html>"
    with pytest.raises(RunError, match="left no valid submission"):
        kaggle_runs.output(settings, place / "out", ledger, soon(), said.append)


def test_a_submission_is_asked_about_first(place: Path, kaggle: Kaggle) -> None:
    settings = read_settings(place / "kaggle.toml")
    asked: list[str] = []

    def entered(answer: bool) -> list[str]:
        said: list[str] = []

        def confirm(question: str) -> bool:
            asked.append(question)
            return answer

        ledger = Ledger(place / LEDGER_FILE)
        kaggle_scores.submit(settings, 7, "wider", ledger, confirm, soon(), said.append)
        return said

    with pytest.raises(DataError, match="nothing was submitted"):
        entered(False)
    assert kaggle.submissions == []
    assert "version 7" in asked[0]
    assert "1 left" in asked[0]
    assert "Beware: it was not pushed from here" in asked[0]
    assert entered(True) == ["submitted me/arc-kit, version 7: Successfully submitted"]
    (sent,) = kaggle.submissions
    assert (sent["kernelOwner"], sent["kernelSlug"], sent["kernelVersion"]) == ("me", "arc-kit", 7)
    assert sent["fileName"] == "submission.json"
    assert sent["submissionDescription"] == "wider [arcsub  v7]"
    kaggle.limits = {"numAllowedNow": 0, "numToday": 1, "numTotal": 4}
    with pytest.raises(DataError, match="no submission is left today"):
        entered(True)
    kaggle.limits = {}
    with pytest.raises(DataError, match="accepted its rules"):
        entered(True)
    kaggle.limits, kaggle.faults = {"numAllowedNow": 1}, {"CreateCodeSubmission": [502]}
    with pytest.raises(RunError, match="it may have counted: see"):
        entered(True)
    assert len(kaggle.submissions) == 1


GUARDED = "from tests.submission.kaggle_stub import GUARD; GUARD.on = True"


def arcsub(place: Path, *words: str, before: str = GUARDED) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, after some code; by default it cannot get out."""
    code = f"{before}\nfrom submission.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


NO_SOCKETS = """
import sys
def hook(event, arguments):
    if event.startswith("socket."):
        raise SystemExit("a socket: " + event)
sys.addaudithook(hook)
sys.modules["kaggle"] = sys.modules["kagglesdk"] = sys.modules["requests"] = None
"""


def test_a_dry_run_says_what_a_push_sends_without_client_or_socket(
    place: Path, kaggle: Kaggle
) -> None:
    done = arcsub(place, "push", "notebook.ipynb", "--dry-run", before=NO_SOCKETS)
    assert (done.returncode, done.stderr) == (0, "")
    settings = read_settings(place / "kaggle.toml")
    built = kaggle_notebook.read_built(place / "notebook.ipynb")
    kernel = kaggle_notebook.metadata(built, settings)
    (dataset,) = settings.datasets
    about = kaggle_datasets.metadata(dataset, "me", kaggle_datasets.fingerprint(dataset))
    printed = " ".join(done.stdout.split())
    for value in (kernel, about):
        assert " ".join(json.dumps(value, indent=1).split()) in printed
    assert "deep/ as deep.zip: 1 files, 0.01 MB" in done.stdout
    assert kaggle.calls == []
    # and that is what the real push then sends
    pushed(place)
    (saved,) = kaggle.made("SaveKernel")
    assert saved["slug"] == kernel["id"]
    assert saved["machineShape"] == kernel["machine_shape"]
    assert kaggle.made("CreateDataset")[0]["description"] == about["description"]


def test_the_command_pushes_and_ends_with_its_codes(place: Path, kaggle: Kaggle) -> None:
    kaggle.polls = 0
    done = arcsub(place, "push", "notebook.ipynb")
    assert done.returncode == 0, done.stderr
    assert "version 1 saved, its run has begun" in done.stdout
    assert KEY not in done.stdout + done.stderr
    kaggle.faults["SaveKernel"] = [{"error": "no"}]
    done = arcsub(place, "push", "notebook.ipynb")
    assert done.returncode == 1
    assert "Kaggle refused it: no" in done.stderr
    done = arcsub(place, "submit", "--version", "1")
    assert (done.returncode, kaggle.submissions) == (2, [])
    assert "nothing was submitted" in done.stderr


def test_without_credentials_the_command_says_what_to_do(
    place: Path, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_KEY")
    done = arcsub(place, "status")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("arcsub: no valid Kaggle credentials: create a token")
    assert kaggle.calls == []


def test_without_the_client_the_command_says_what_to_install(place: Path) -> None:
    done = arcsub(place, "status", before="import sys; sys.modules['kaggle'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("pip install -e '.[push]'\n")
