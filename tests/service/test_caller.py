"""Which requests come from a program on this machine, and which only look so."""

from __future__ import annotations

from typing import Any

import pytest

from rowcast.service.caller import Caller

LOCALHOST = [(b"host", b"localhost:3000")]


@pytest.mark.parametrize(
    ("client", "server", "told"),
    [
        (("127.0.0.1", 5), ("127.0.0.1", 3000), ""),
        (("127.8.9.1", 5), ("0.0.0.0", 3000), ""),
        (("::1", 5), ("::1", 3000), ""),
        (("::ffff:127.0.0.1", 5), ("::", 3000), ""),
        (("10.0.0.1", 5), ("10.0.0.1", 3000), "it comes from 10.0.0.1"),
        (("::ffff:10.0.0.1", 5), ("::", 3000), "it comes from ::ffff:10.0.0.1"),
        (("localhost", 5), ("127.0.0.1", 3000), "it comes from localhost"),
        (("0.0.0.0", 5), ("127.0.0.1", 3000), "it comes from 0.0.0.0"),
        (None, ("127.0.0.1", 3000), "its address is not known any more"),
        (None, None, "its address is not known any more"),
        (None, ("/run/rowcast.sock", None), ""),
    ],
)
def test_a_caller_is_on_this_machine_by_a_loopback_address_or_a_unix_socket(
    client: Any, server: Any, told: str
) -> None:
    assert Caller.of_scope({"client": client, "server": server, "headers": LOCALHOST}).from_elsewhere == told


def test_a_scope_that_says_nothing_of_its_connection_is_of_nobody_here() -> None:
    assert Caller.of_scope({"headers": LOCALHOST}).from_elsewhere == "its address is not known any more"


@pytest.mark.parametrize(
    ("peer", "told"),
    [
        ("ipv4:127.0.0.1:50000", ""),
        ("ipv6:%5B::1%5D:50000", ""),
        ("ipv6:[::ffff:127.0.0.1]:50000", ""),
        ("unix:", ""),
        ("ipv4:10.0.0.1:50000", "it comes from 10.0.0.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:50000", "it comes from fe80::1%eth0"),
        ("unknown", "its address is not known any more"),
        ("", "its address is not known any more"),
        ("vsock:3:50000", "its address is not known any more"),
    ],
)
def test_so_is_one_over_grpc(peer: str, told: str) -> None:
    assert Caller.of_peer(peer, [("user-agent", "grpc-python")]).from_elsewhere == told


@pytest.mark.parametrize(
    "name",
    [
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-client-cert", "x-forwarded", "forwarded", "via"),
        *("x-envoy-external-address", "x-envoy-expected-rq-timeout-ms", "l5d-dst-canonical", "l5d-client-id"),
        *("x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "cf-ray", "cdn-loop", "fastly-client-ip"),
        *("x-original-forwarded-for", "x-amzn-trace-id", "x-azure-clientip", "x_forwarded_for", "tailscale-user-login"),
    ],
)
def test_what_proxies_and_sidecars_add_says_that_somebody_else_asks(name: str) -> None:
    words = f"it has the header {name}, which proxies add"
    header = (name.encode(), b"127.0.0.1")
    local, in_file = ("127.0.0.1", 5), ("/run/rowcast.sock", None)
    for client, server in ((local, ("127.0.0.1", 3000)), (None, in_file)):
        scope = {"client": client, "server": server, "headers": [*LOCALHOST, header]}
        assert Caller.of_scope(scope).from_elsewhere == words
    assert Caller.of_peer("ipv4:127.0.0.1:5", [(name, "127.0.0.1")]).from_elsewhere == words
    assert Caller.of_peer("ipv4:127.0.0.1:5", [(f"{name}-bin", b"\xff")]).from_elsewhere.startswith("it has the header")


@pytest.mark.parametrize("name", ["origin", "referer", "sec-fetch-site"])
def test_what_browsers_add_says_that_a_page_asks(name: str) -> None:
    scope = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 3000)}
    headers = [*LOCALHOST, (name.encode(), b"http://localhost:3000")]
    assert Caller.of_scope({**scope, "headers": headers}).from_elsewhere == (
        f"it has the header {name}, which browsers add"
    )


@pytest.mark.parametrize(
    ("host", "may"),
    [
        *((b"localhost", True), (b"LOCALHOST.:3000", True), (b"api.localhost:3000", True), (b"127.0.0.1:3000", True)),
        *((b"127.1", True), (b"[::1]:3000", True), (b"[::ffff:127.0.0.1]", True), (b" localhost ", True)),
        *(
            (b"", False),
            (b"flights.prod.svc", False),
            (b"evil.example:3000", False),
            (b"localhost.evil.example", False),
        ),
        *((b"10.0.0.1:3000", False), (b"[fd00::1]:3000", False), (b"localhost%00.evil.example", False)),
        *((b"127.0.0.1.evil.example", False), (b"user@localhost", False), (b"localhost, evil.example", False)),
    ],
)
def test_the_name_that_was_asked_for_must_be_one_of_the_loopback(host: bytes, may: bool) -> None:
    words = "" if may else "its Host header must be localhost or a loopback address, such as 127.0.0.1"
    tcp = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 3000)}
    assert Caller.of_scope({**tcp, "headers": [(b"host", host)]}).from_elsewhere == words
    in_file = {"client": None, "server": ("/run/rowcast.sock", None), "headers": [(b"host", host)]}
    assert Caller.of_scope(in_file).from_elsewhere == ""


def test_a_request_without_a_name_and_one_with_two_are_not_from_here() -> None:
    tcp = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 3000)}
    for headers in ([], [*LOCALHOST, (b"host", b"evil.example")]):
        assert Caller.of_scope({**tcp, "headers": headers}).from_elsewhere.startswith("its Host header must be")


def test_what_programs_send_is_no_sign_of_anybody_else() -> None:
    tcp = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 3000)}
    names = (
        *(b"user-agent", b"accept", b"accept-encoding", b"connection", b"content-type", b"content-length", b"expect"),
        *(b"x-request-id", b"traceparent", b"tracestate", b"baggage", b"x-api-key", b"authorization", b"cookie"),
        *(b"x-rowcast-key", b"sec-fetch-mode", b"accept-language"),  # undici, for one, sends such a mode
    )
    headers = [*LOCALHOST, *((name, b"1") for name in names)]
    assert Caller.of_scope({**tcp, "headers": headers}).from_elsewhere == ""
