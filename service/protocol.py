"""What uvicorn answers on its own, before there is a request: in the words and the shape of every other answer."""

from __future__ import annotations

from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http import error_body


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, whose refusal of bytes that are no HTTP is JSON."""

    def send_400_response(self, msg: str) -> None:
        """Answer 400 and close."""
        body = error_body("the bytes are no valid HTTP request")
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        self.transport.close()


def install() -> None:
    """Have uvicorn use it in this process. BentoML starts uvicorn itself, and passes no choice of protocol on."""
    auto.AutoHTTPProtocol = Protocol
