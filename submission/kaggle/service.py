"""The unchanged `kaggle` client, with a deadline, clear errors, and no incomplete uploads.

Only the client reads and keeps the credentials. Importing the client already asks Kaggle for the
user's name, so the client is imported only when needed.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

from solver.deadline import Deadline
from solver.grid import DataError
from solver.runtime.run import RunError

AGAIN_S = 5.0  # seconds between signals of a deadline: the client swallows some exceptions
_NO_CREDENTIALS = (
    "no valid Kaggle credentials: create a token in Kaggle's settings and put it where the kaggle "
    "client looks (~/.kaggle/access_token or kaggle.json, or KAGGLE_API_TOKEN)"
)
_NO_CLIENT = "this needs {}, which is not here: pip install -e '.[push]'"
_USERS_FAULTS = {
    400: "refused as malformed",
    401: "credentials are expired or revoked; create a new token in Kaggle's settings",
    403: "not allowed; is it yours, and have you accepted the competition's rules?",
    404: "is not on Kaggle",
    409: "is in conflict with what Kaggle has",
    422: "refused as malformed",
}


class ServiceError(RunError):
    """An error of Kaggle: refused, failed, or not reached."""


class RefusedError(DataError):
    """Kaggle's answer to a fault of the user; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _TimeUpError(BaseException):
    """The deadline passed.

    Not an `Exception`, since the client would catch an `Exception` and continue.
    """


def connect(deadline: Deadline) -> Any:
    """A client that is signed in: the `KaggleApi` of the `kaggle` package.

    Raises `DataError` without client or credentials, `ServiceError` if Kaggle does not answer.
    """
    hidden = io.StringIO()  # discards the client's advice, which is about other commands
    try:
        with asking("signing in", deadline), contextlib.redirect_stdout(hidden):
            api = _careful_client()
            api.authenticate()
    except ModuleNotFoundError as error:
        raise DataError(_NO_CLIENT.format(error.name)) from None
    except SystemExit:
        raise DataError(_NO_CREDENTIALS) from None
    return api


def _careful_client() -> Any:
    from kaggle.api.kaggle_api_extended import KaggleApi

    class CarefulApi(KaggleApi):  # type: ignore[misc]
        """The client, which here publishes no dataset without all of its files."""

        def upload_files(
            self, request: Any, resources: Any, folder: str, *args: Any, **kwargs: Any
        ) -> None:
            reason = ""
            try:
                super().upload_files(request, resources, folder, *args, **kwargs)
            except ValueError as error:
                reason = f" ({_reason(error)})"
            wanted = len(os.listdir(folder)) - 1  # all but the metadata
            if reason or len(request.files) != wanted:
                raise ServiceError(
                    f"the upload was interrupted{reason}: {len(request.files)} of {wanted} files "
                    "arrived; nothing was published, so push again"
                )

    return CarefulApi()


@contextlib.contextmanager
def asking(what: str, deadline: Deadline | None = None) -> Iterator[None]:
    """Surround calls of the client: each error becomes one line that begins with `what`.

    Raises `DataError` for faults of the user, and `ServiceError` for faults of the service. The
    client's output goes to standard error. The deadline ends a call by a signal, so a deadline
    works in the main thread only.
    """
    from requests.exceptions import HTTPError, RequestException

    try:
        with _until(deadline), contextlib.redirect_stdout(sys.stderr):
            yield
    except _TimeUpError:
        raise ServiceError(f"{what}: Kaggle took too long (--timeout)") from None
    except HTTPError as error:
        _raise_for(what, error)
    except RequestException as error:
        raise ServiceError(f"{what}: Kaggle cannot be reached: {_reason(error)}") from None
    except ValueError as error:  # faults that the client finds before sending
        raise DataError(f"{what}: {_reason(error)}") from None
    except (KeyError, TypeError) as error:  # an answer in a form unknown to the client
        raise ServiceError(f"{what}: the client cannot read the answer: {error!r}") from error


def _raise_for(what: str, error: Any) -> NoReturn:
    status = error.response.status_code if error.response is not None else 0
    if status in _USERS_FAULTS:
        text = f"{what}: {_USERS_FAULTS[status]} ({status}: {_reason(error)})"
        raise RefusedError(text, status) from None
    if status == 429:
        raise ServiceError(f"{what}: Kaggle asks to wait: too many requests (429)") from None
    raise ServiceError(f"{what}: Kaggle failed ({status}: {_reason(error)})") from None


@contextlib.contextmanager
def _until(deadline: Deadline | None) -> Iterator[None]:
    """End a call at the deadline, since the client waits for sockets without a limit."""
    if deadline is None:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TimeUpError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, deadline.left()), AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
