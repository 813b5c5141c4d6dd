"""What ``rowcast serve`` says once the service is ready: where it is, and a command that asks it.

It is said from a thread of its own, and nothing that goes wrong with it is more than a line: the service runs on when
it answers oddly or too late, and when nobody reads what is printed.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rowcast.service.http.unix_socket import SCHEME, FileConnection, file_of_url
from rowcast.service.settings import Settings

READY_WITHIN_SECONDS = 60.0
"""A start that takes longer is told of, and waited for."""
_POLL_SECONDS = 0.05
_TIMEOUT_SECONDS = 5
_TRIES = 3
_STDOUT, _STDERR = 1, 2


def open_standard_streams() -> None:
    """Give a process whose standard streams were closed some that lead nowhere: else its next file would be one."""
    for stream in (0, _STDOUT, _STDERR):
        try:
            os.fstat(stream)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free is this one


def warn(text: str) -> None:
    """Write a line to standard error, if that can be."""
    _write(_STDERR, f"rowcast: {text}\n")


def greet_when_ready(url: str, settings: Settings, runs: Callable[[], bool]) -> None:
    """Wait in a thread of its own until the service is ready, then print the greeting.

    Args:
        url: of the service.
        settings: its.
        runs: whether the service still runs.
    """
    threading.Thread(target=_greet, args=(url, settings, runs), name="greeting", daemon=True).start()


def _greet(url: str, settings: Settings, runs: Callable[[], bool]) -> None:
    if not _is_ready(url, runs):
        return
    for tries_left in reversed(range(_TRIES)):
        try:
            text = greeting(url, settings)
            break
        except Exception as error:  # noqa: BLE001 - whatever it is, the service is not to end of it
            if not runs():
                return
            if not tries_left:
                why = f"did not say what it serves ({_brief(error)})"
                warn(f"the service on {_shown(url)} is ready, but {why}; it runs on")
                return
    if not _write(_STDOUT, f"{text}\n"):
        warn(f"the service on {_shown(url)} is ready; the greeting could not be printed, and it runs on")


def _is_ready(url: str, runs: Callable[[], bool]) -> bool:
    """Wait until the service is ready; False when it ended before."""
    started = time.monotonic()
    warnings = 0
    while runs():
        try:
            _get(url, "/readyz")
        except (OSError, http.client.HTTPException, ValueError) as error:  # nobody listens yet, or not ready
            waited = time.monotonic() - started
            if waited > READY_WITHIN_SECONDS * (warnings + 1):
                warnings += 1
                warn(f"the service on {_shown(url)} is not ready after {waited:.0f} s ({_brief(error)}); still waiting")
            time.sleep(_POLL_SECONDS)
        else:
            return True
    return False


def greeting(url: str, settings: Settings) -> str:
    """Where the service is, and a command for each model that works as pasted."""
    options = "" if settings.certificate is None else f" --cacert {shlex.quote(str(settings.certificate[0]))}"
    if settings.api_keys is not None:  # not even the names of the models are told without one
        command = f"{_curl(url)}/models{options} -H 'authorization: Bearer YOUR_KEY'"
        return f"\nRowcast serves whoever has a key on {_shown(url)} (Ctrl-C stops). What is served:\n\n{command}\n"
    models = json.loads(_get(url, "/models"))["models"]
    lines = [f"\nRowcast serves {', '.join(model['name'] for model in models)} on {_shown(url)} (Ctrl-C stops). Try:\n"]
    for model in models:
        body = json.dumps(model["example"], ensure_ascii=False)
        command = f"{_curl(url)}/models/{model['name']}/predict{options} -H 'content-type: application/json'"
        lines.append(f"{command} -d {shlex.quote(body)}\n")
    return "\n".join(lines)


def _get(url: str, path: str) -> bytes:
    # the certificate is for those who ask from elsewhere: it need not know the name by which this machine asks itself
    context = ssl._create_unverified_context()  # noqa: S323 - as above
    place = file_of_url(url)
    if place is not None:
        return _get_in_file(place[1], path, context if place[0] == "https" else None)
    trusting = urllib.request.HTTPSHandler(context=context)
    # a proxy of the environment is for what lies elsewhere
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting)
    with opener.open(url + path, timeout=_TIMEOUT_SECONDS) as answer:
        return bytes(answer.read())


def _get_in_file(file: Path, path: str, context: ssl.SSLContext | None) -> bytes:
    connection = FileConnection(file, context, _TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"HTTP status {answer.status}")
        return answer.read()
    finally:
        connection.close()


def _shown(url: str) -> str:
    """The URL, or the file that a service listens in."""
    place = file_of_url(url)
    return url if place is None else f"{SCHEME}{place[1]}"


def _curl(url: str) -> str:
    """The beginning of a command that asks a service."""
    place = file_of_url(url)
    return f"curl {url}" if place is None else f"curl --unix-socket {shlex.quote(str(place[1]))} {place[0]}://localhost"


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _write(stream: int, text: str) -> bool:
    """Write to a standard stream, past Python's buffer, which a blocked thread would hold until the process ends."""
    left = text.encode("utf-8", "backslashreplace")
    try:
        while left:
            left = left[os.write(stream, left) :]
    except OSError:
        return False
    return True
