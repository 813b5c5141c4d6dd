"""An address and a key are checked when they are given, and no error repeats what could be a secret."""

from __future__ import annotations

from typing import Any

import pytest

from rowcast.models.access import Address, checked_address, checked_key, is_loopback, key_of_environment
from rowcast.models.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:3000", Address("http", "127.0.0.1", 3000, "")),
        (" http://127.0.0.1:3000/\n", Address("http", "127.0.0.1", 3000, "")),
        ("https://Example.com", Address("https", "example.com", 443, "")),
        ("HTTP://example.com/a/b/", Address("http", "example.com", 80, "/a/b")),
        ("http://example.com/ä%20b", Address("http", "example.com", 80, "/%C3%A4%20b")),
        ("http://[::1]:3000/p", Address("http", "::1", 3000, "/p")),
        ("http://bücher.example", Address("http", "xn--bcher-kva.example", 80, "")),
        ("unix:/run/rowcast.sock", Address("http", "localhost", 80, "", "/run/rowcast.sock")),
        ("unix:///run/rowcast.sock", Address("http", "localhost", 80, "", "/run/rowcast.sock")),
    ],
)
def test_an_address_is_taken_apart(url: str, address: Address) -> None:
    assert checked_address(url)._replace(shown="") == address


@pytest.mark.parametrize(
    ("url", "authority"),
    [("http://h", "h"), ("http://h:3000", "h:3000"), ("https://h:443", "h"), ("http://[::1]:3", "[::1]:3")],
)
def test_the_host_is_named_as_the_header_has_it(url: str, authority: str) -> None:
    assert checked_address(url).authority == authority


HOSTILE_ADDRESSES: list[Any] = [
    "",
    "127.0.0.1:3000",
    "localhost",
    "//h",
    "http://",
    "http:///path",
    "http://:3000",
    "file:///etc/passwd",
    "ftp://h",
    "javascript:alert(1)",
    "http://[::1",
    "http://[zz]",
    "http://h:port",
    "http://h:0",
    "http://h:99999",
    "http://h:-1",
    "http://h:41 00",
    "http://h/a b",
    "http://h\nX: y",
    "http://h\x00",
    "http://h/?a=1",
    "http://h/#a",
    "http://h?",
    "http://" + "ü" * 70 + ".example",
    "unix:",
    "unix:/a\nb",
    None,
    3000,
    b"http://h",
]


@pytest.mark.parametrize("url", HOSTILE_ADDRESSES, ids=repr)
def test_what_is_no_address_is_told(url: Any) -> None:
    with pytest.raises(ConfigError, match="address"):
        checked_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@h:3000",
        "http://hunter2@h",
        "http://user:hunt/hunter2@h",
        "http://user:hunter2?@h",
        "http://user:hunter2#@h",
        "http://user:hunter2@x@h",
        "user:hunter2@h",
        "http://user:hunter2@[::1",
        "http://h/?token=hunter2",
        "http://h/#hunter2",
        "http://h:port?hunter2",
        "unix:hunter2@h",
    ],
)
def test_what_may_be_a_secret_in_an_address_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_address(url)
    assert "hunt" not in str(caught.value)


@pytest.mark.parametrize("key", ["rowcast_key", "rowcast_key\n", "\t rowcast_key\r\n", b"rowcast_key\n"])
def test_a_key_loses_the_white_space_around_it(key: Any) -> None:
    assert checked_key(key) == "rowcast_key"


@pytest.mark.parametrize(
    "key", ["", " ", "\n", "hunt er2", "hunter2\nX: y", "hunter2\x00", "hünter2", "hunter2\x7f", b"hunter\xff", 3, None]
)
def test_what_is_no_key_is_told_and_not_repeated(key: Any) -> None:
    with pytest.raises(ConfigError, match="an API key must be") as caught:
        checked_key(key)
    assert "hunt" not in str(caught.value)


def test_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROWCAST_API_KEY", raising=False)
    assert key_of_environment() is None
    monkeypatch.setenv("ROWCAST_API_KEY", "k\n")
    assert key_of_environment() == "k"
    monkeypatch.setenv("ROWCAST_API_KEY", "")
    with pytest.raises(ConfigError, match="ROWCAST_API_KEY unset"):
        key_of_environment()


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("127.1", True),
        ("2130706433", True),
        ("0x7f000001", True),
        ("0.0.0.0", True),
        ("::1", True),
        ("::", True),
        ("::ffff:127.0.0.1", True),
        ("localhost.example.com", False),
        ("128.0.0.1", False),
        ("10.0.0.1", False),
        ("::2", False),
        ("example.com", False),
    ],
)
def test_which_hosts_are_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) == local
