"""What becomes of one request that was sent: an answer, read no further than it may go, or trouble."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from http import HTTPStatus
from typing import Literal, NamedTuple, NoReturn

import httpcore

from rowcast.client.answers import Response
from rowcast.client.errors import Failed, Unreachable
from rowcast.client.exchange import RetryPolicy, Sent
from rowcast.client.wire import Attempt

_ERROR_BYTES = 2**16
"""Of an answer other than 200: what is longer is not read."""
_NO_KEY = b"[API key]"


class Arrival:
    """An answer whose body is coming.

    Args:
        status: of the answer.
        headers: as they came.
        sent: what was asked.
        url: the same, without a secret.
        key: the API key, which is taken out of whatever the answer says.
    """

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]], sent: Sent, url: str, key: str) -> None:
        self._status = status
        self._key = key.encode()
        self._headers = {
            name.lower().decode("latin-1"): self._cleaned(value).decode("latin-1") for name, value in headers
        }
        self._url = url
        self._good = status == HTTPStatus.OK
        self._most = sent.most_bytes if self._good else _ERROR_BYTES
        self._rows = sent.asked.rows
        self._pieces: list[bytes] = []
        self._size = 0
        self._fault = ""
        encoding = self._headers.get("content-encoding", "identity")
        length = self._headers.get("content-length", "0")
        if encoding.lower() not in ("", "identity"):
            self._fault = f"must not be compressed, for that was not asked for, got {encoding[:40]!r}"
        elif length.isascii() and length.isdigit() and int(length[:20]) > self._most:
            self._fault = self._too_long(f"{int(length[:20]):,}")

    @property
    def is_wanted(self) -> bool:
        """Whether its body is to be read."""
        return not self._fault

    def add(self, piece: bytes) -> bool:
        """Take a piece of its body; False: there is more of it than there may be."""
        self._size += len(piece)
        if self._size > self._most:
            self._fault = self._too_long("more")
            self._pieces.clear()
            return False
        self._pieces.append(piece)
        return True

    def wait(self, policy: RetryPolicy) -> float | None:
        """Seconds to wait before its request is sent again; None when it is not to be."""
        return policy.wait_after(self._status, self._headers)

    def is_repeated(self, _: RetryPolicy) -> bool:
        """Whether its request is to be sent again at once: never."""
        return False

    def settled(self, _: RetryPolicy) -> Response:
        """The answer.

        Raises:
            Failed: it is longer than it may be, or compressed.
        """
        if self._fault and self._good:
            raise Failed(f"the answer {self._fault}: is this a Rowcast service?", self._status)
        body = b"" if self._fault else b"".join(self._pieces)
        return Response(self._status, self._headers, body if self._good else self._cleaned(body), self._url)

    def _too_long(self, came: str) -> str:
        return f"must take at most {self._most:,} bytes for {self._rows:,} rows, got {came}"

    def _cleaned(self, text: bytes) -> bytes:
        return text.replace(self._key, _NO_KEY) if self._key else text


class Trouble(NamedTuple):
    """There is no answer."""

    kind: Literal["unsent", "stale", "dropped", "late", "broken"]
    """``unsent``: nothing of the request has reached anybody; ``dropped``: the connection was closed before a byte of
    an answer came; ``stale``: and it had been used before; ``late``: the time was up; ``broken``: anything else."""
    message: str

    def wait(self, policy: RetryPolicy) -> float | None:
        """Seconds to wait before its request is sent again; None when it is not to be."""
        return policy.wait_unconnected() if self.kind == "unsent" else None

    def is_repeated(self, policy: RetryPolicy) -> bool:
        """Whether its request is to be sent again at once, on a new connection."""
        return self.kind in ("stale", "dropped") and policy.may_repeat(counts=self.kind == "dropped")

    def settled(self, policy: RetryPolicy) -> NoReturn:
        """Raise what came of it.

        Raises:
            Unreachable: always.
        """
        raise policy.out_of_time() if self.kind == "late" else Unreachable(self.message)


def trouble_of(error: Exception, attempt: Attempt, service: str, key: str) -> Trouble:
    """What an error on the way means.

    Args:
        error: of the connection.
        attempt: what had become of the request.
        service: its address, as errors name it.
        key: the API key, which is taken out of the error's words.
    """
    reason = " ".join(str(error).split()) or type(error).__name__
    if key:
        reason = reason.replace(key, _NO_KEY.decode())
    message = f"no answer from {service}: {reason[:500]}"
    if isinstance(error, httpcore.ConnectTimeout | httpcore.ConnectError) and attempt.in_time:
        untrusted = isinstance(error.__context__, ssl.SSLError)  # it would be so again
        return Trouble("broken" if untrusted else "unsent", message)
    if isinstance(error, httpcore.TimeoutException | TimeoutError):
        return Trouble("late", message)
    dropped = isinstance(error, httpcore.ReadError | httpcore.WriteError | httpcore.RemoteProtocolError)
    if not dropped or attempt.received:
        return Trouble("broken", message)
    return Trouble("stale" if attempt.reused else "dropped", message)
