"""How a service is reached: from which process, thread and event loop, with which key, through which proxy."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from rowcast.client import AsyncClient, Client, ClientError, Failed, Refused, Unreachable, Unusable
from tests.client.conftest import GOOD_BODY, RawStub, answer, ask_blocking, both, raw_stub, stub
from tests.service.servers import free_port

KEY = "rowcast_SECRETSECRET"
GOOD = (200, {"content-type": "application/json"}, GOOD_BODY)
PREDICTED = [{"prediction": 1.5}]
ROW = [{"x": 1}]


def good(_: RawStub, connection: socket.socket, __: bytes) -> None:
    connection.sendall(answer(GOOD_BODY))


def echo(_: RawStub, connection: socket.socket, head: bytes) -> None:
    """Predicts the number of the model that is asked."""
    name = head.split()[1].split(b"/")[2]
    connection.sendall(answer(orjson.dumps({"predictions": [{"prediction": float(name.removeprefix(b"m"))}]})))


# Processes, threads, event loops


def test_a_forked_process_makes_connections_of_its_own() -> None:
    with raw_stub(echo) as service, Client(service.url, "m0", timeout=10) as client:
        assert client.predict(ROW) == [{"prediction": 0.0}]
        children = []
        for number in range(1, 5):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                client._speaker = Client(service.url, f"m{number}")._speaker
                wrong = sum(client.predict(ROW) != [{"prediction": float(number)}] for _ in range(30))
                client.close()
                os._exit(wrong)
            children.append(pid)
        own = [client.predict(ROW) for _ in range(30)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        assert codes == [0] * 4
        assert own == [[{"prediction": 0.0}]] * 30
        assert client.predict(ROW) == [{"prediction": 0.0}]
        assert service.connections == 5  # the parent's one, which no child has closed or used, and one of each child


def test_a_process_forked_while_another_thread_asks_is_not_stuck() -> None:
    with raw_stub(good) as service, Client(service.url, timeout=10) as client:
        stopped = threading.Event()

        def ask() -> None:
            while not stopped.is_set():
                client.predict(ROW)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        codes = []
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                os._exit(0 if client.predict(ROW) == PREDICTED else 1)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        stopped.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 10


def test_an_awaited_client_goes_on_in_a_forked_process() -> None:
    with raw_stub(good) as service:
        client = AsyncClient(service.url, timeout=10)

        async def main() -> Any:
            answered = await client.predict(ROW)
            await client.close()
            client._closed = False
            return answered

        assert asyncio.run(main()) == PREDICTED
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            os._exit(0 if asyncio.run(main()) == PREDICTED else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert asyncio.run(main()) == PREDICTED


def test_many_threads_share_a_client_and_each_gets_its_own_answer() -> None:
    with raw_stub(echo) as service:
        clients = [Client(service.url, f"m{i}") for i in range(40)]
        shared = clients[0]._pool
        for client in clients[1:]:
            client._pool.close()
            client._pool = shared
        with ThreadPoolExecutor(40) as pool:
            got = list(pool.map(lambda i: clients[i % 40].predict(ROW), range(400)))
        clients[0].close()
    assert got == [[{"prediction": float(i % 40)}] for i in range(400)]


def test_an_awaited_client_serves_one_event_loop_after_the_other() -> None:
    with raw_stub(good) as service:

        async def main(client: AsyncClient, *, last: bool) -> Any:
            answers = await asyncio.gather(*(client.predict(ROW) for _ in range(3)))
            if last:
                await client.close()
            return answers

        client = AsyncClient(service.url)
        loops = [asyncio.new_event_loop() for _ in range(2)]
        for loop in (*loops, loops[0]):
            assert loop.run_until_complete(main(client, last=False)) == [PREDICTED] * 3
        for loop in loops:
            client._closed = False
            assert loop.run_until_complete(main(client, last=True)) == [PREDICTED] * 3
            loop.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_awaited_client_may_be_used_with_asyncio_run_again_and_again() -> None:
    with raw_stub(good) as service:
        client = AsyncClient(service.url)
        assert [asyncio.run(client.predict(ROW)) for _ in range(3)] == [PREDICTED] * 3
        del client
        with pytest.warns(ResourceWarning):
            gc.collect()


def test_a_closed_client_says_so() -> None:
    client = Client("http://127.0.0.1:9")
    client.close()
    client.close()
    for ask in (lambda: client.predict(ROW), client.describe):
        with pytest.raises(Unusable, match="the client is closed: make another"):
            ask()

    async def main() -> None:
        awaited = AsyncClient("http://127.0.0.1:9")
        await awaited.close()
        await awaited.close()
        with pytest.raises(ClientError, match="the client is closed"):
            await awaited.predict(ROW)
        with pytest.raises(ClientError, match="the client is closed"):
            await awaited.describe()

    asyncio.run(main())


# Connections that break


@both
def test_a_connection_that_is_dropped_without_a_byte_is_tried_again_once(ask: Any) -> None:
    def drop_first(state: RawStub, connection: socket.socket, _: bytes) -> None:
        if len(state.heads) == 1:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(answer(GOOD_BODY))

    with raw_stub(drop_first) as service:
        assert ask(service.url) == PREDICTED
        assert (len(service.heads), service.connections) == (2, 2)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


@both
@pytest.mark.parametrize("end", [lambda c: c.shutdown(socket.SHUT_RDWR), reset], ids=["closed", "reset"])
def test_and_no_more_than_once(ask: Any, end: Any) -> None:
    with raw_stub(lambda _, connection, __: end(connection)) as service:
        with pytest.raises(Unreachable, match="no answer from"):
            ask(service.url)
        assert len(service.heads) == 2
    with raw_stub(lambda _, connection, __: end(connection)) as service:
        with pytest.raises(Unreachable, match="no answer from"):
            ask(service.url, retries=0)
        assert len(service.heads) == 1


@pytest.mark.parametrize("retries", [0, 5])
@pytest.mark.parametrize("end", [lambda c: c.shutdown(socket.SHUT_RDWR), reset], ids=["closed", "reset"])
def test_a_connection_that_was_idle_for_too_long_is_not_noticed(end: Any, retries: int) -> None:
    def one_each(state: RawStub, connection: socket.socket, head: bytes) -> None:
        if b"first" in head or state.connections > 1:
            connection.sendall(answer(GOOD_BODY))
        else:
            end(connection)  # when the second request has come: as a service that had just given the connection up

    with raw_stub(one_each) as service, Client(service.url, "first", retries=retries) as client:
        assert client.predict(ROW) == PREDICTED
        client._speaker = Client(service.url, "second")._speaker
        assert client.predict(ROW) == PREDICTED
        assert service.connections == 2


def test_an_awaited_connection_that_was_idle_for_too_long_is_not_noticed_either() -> None:
    def one_each(state: RawStub, connection: socket.socket, _: bytes) -> None:
        if len(state.heads) == 2:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(answer(GOOD_BODY))

    async def main(url: str) -> list[Any]:
        async with AsyncClient(url, retries=0) as client:
            return [await client.predict(ROW) for _ in range(3)]

    with raw_stub(one_each) as service:
        assert asyncio.run(main(service.url)) == [PREDICTED] * 3
        assert (len(service.heads), service.connections) == (4, 3)


@both
@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"HTTP/1.1 103 Hint\r\n\r\n"])
def test_what_broke_after_a_byte_of_the_answer_is_not_sent_again(ask: Any, said: bytes) -> None:
    def script(_: RawStub, connection: socket.socket, __: bytes) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_RDWR)

    with raw_stub(script) as service:
        with pytest.raises(Unreachable, match="no answer from"):
            ask(service.url)
        assert len(service.heads) == 1


@both
@pytest.mark.parametrize(
    "said",
    [
        b"\0\1\2 nonsense\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_http_is_a_client_error(ask: Any, said: bytes) -> None:
    def script(_: RawStub, connection: socket.socket, __: bytes) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)

    with raw_stub(script) as service, pytest.raises(ClientError):
        ask(service.url, timeout=5)


@both
@pytest.mark.parametrize("host", ["nosuch.invalid", "a" * 64 + ".example", "xn--zz.invalid", "1.2.3.4.5"])
def test_a_name_that_nobody_has_is_a_client_error(ask: Any, host: str) -> None:
    with pytest.raises(ClientError, match="no answer from"):
        ask(f"http://{host}:9", retries=0, timeout=5)


@both
def test_a_certificate_that_nobody_vouches_for_is_told_at_once(ask: Any, tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=evil"]
    subprocess.run([*made, "-keyout", "k.pem", "-out", "c.pem"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    tried: list[bytes] = []

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                tried.append(b"")
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        tried.append(secure.recv(1000))
                except OSError:
                    connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        with pytest.raises(Unreachable, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
            ask(f"https://127.0.0.1:{listener.getsockname()[1]}", api_key=KEY)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert tried == [b""]


# Keys


def quoting(_: RawStub, connection: socket.socket, __: bytes) -> None:
    said = orjson.dumps({"error": f"{KEY} is no key", "errors": [{"path": KEY, "message": f"{KEY}!"}]})
    connection.sendall(answer(said, "401 No", f"location: /{KEY}", f"x-{KEY}: {KEY}"))


def with_nonsense(_: RawStub, connection: socket.socket, __: bytes) -> None:
    connection.sendall(b"Bearer " + KEY.encode() + b"\r\n\r\n")
    connection.shutdown(socket.SHUT_RDWR)


def with_redirect(_: RawStub, connection: socket.socket, __: bytes) -> None:
    connection.sendall(answer(b"", "302 Elsewhere", f"location: https://h/{KEY}/predict?key={KEY}"))


def with_other(_: RawStub, connection: socket.socket, __: bytes) -> None:
    connection.sendall(answer(orjson.dumps({"predictions": [{"prediction": KEY}]})))


@both
@pytest.mark.parametrize("script", [quoting, with_nonsense, with_redirect, with_other])
def test_the_key_is_in_no_error_whatever_a_service_answers(ask: Any, script: Any) -> None:
    with raw_stub(script) as service, pytest.raises(ClientError) as caught:
        ask(service.url, api_key=KEY + "\n", retries=0)
    error = caught.value
    assert KEY not in "\n".join([str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)])
    assert error.__context__ is None
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    ours = "\n".join(
        str(frame.locals) for frame in frames if "/tests/" not in frame.filename and "__init__" not in frame.name
    )
    assert KEY not in ours
    assert b"authorization: bearer " + KEY.lower().encode() + b"\r\n" in service.heads[0].lower() + b"\r\n"


@both
@pytest.mark.parametrize("key", ["hunter2\nX: y", "hünter2", "hunter2\0", "hunter 2", "", "\n"])
def test_what_is_no_key_is_refused_when_it_is_given(ask: Any, key: str) -> None:
    with raw_stub(good) as service:
        with pytest.raises(Unusable, match="an API key must be printable ASCII") as caught:
            ask(service.url, api_key=key)
        assert "hunt" not in "\n".join(traceback.format_exception(caught.value))
        assert service.connections == 0


@both
def test_a_password_in_the_address_is_refused_and_not_repeated(ask: Any) -> None:
    with raw_stub(good) as service:
        url = service.url.replace("//", "//user:hunter2@")
        with pytest.raises(Unusable, match=r"must hold no user or password.* give a key as api_key=") as caught:
            ask(url, api_key=KEY)
        assert "hunter2" not in "\n".join(traceback.format_exception(caught.value))
        assert service.connections == 0


def test_no_repr_shows_the_key() -> None:
    with Client("http://127.0.0.1:9", api_key=KEY) as client:
        assert KEY not in repr(client) + repr(vars(client))


def test_the_log_does_not_hold_the_key(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(0), raw_stub(good) as service:
        assert ask_blocking(service.url, api_key=KEY) == PREDICTED
    assert KEY not in caplog.text


# Addresses, names and proxies


@both
@pytest.mark.parametrize(
    "url", ["127.0.0.1:9", "file:///etc/passwd", "http://[::1", "http://h:41 00", "http://h/?a=1", ""]
)
def test_what_is_no_address_is_a_client_error(ask: Any, url: str) -> None:
    with pytest.raises(ClientError, match="an address must"):
        ask(url)


@both
@pytest.mark.parametrize(
    "model",
    [
        "../../metrics",
        "m?x=1",
        "m#f",
        "m/../x",
        "m\r\nX: y",
        "M",
        "ä",
        "",
        ":1",
        "m:",
        "m:latest",
        "m:0",
        "m:-1",
        "m@",
        "m@A",
    ],
)
def test_what_no_model_is_called_is_a_client_error(ask: Any, model: str) -> None:
    with raw_stub(good) as service:
        with pytest.raises(ClientError, match="a model is NAME, NAME@ALIAS or NAME:VERSION"):
            ask(service.url, model=model)
        assert service.connections == 0


def test_an_address_may_have_a_path() -> None:
    with raw_stub(good) as service:
        assert ask_blocking(service.url + "/a/b%20c/", model="m") == PREDICTED
        assert service.heads[0].startswith(b"POST /a/b%20c/models/m/predict HTTP/1.1\r\n")


@both
def test_a_service_may_listen_on_a_unix_socket(ask: Any, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer(GOOD_BODY))
            connection.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ask(f"unix:{path}") == PREDICTED
    thread.join(5)
    listener.close()
    with pytest.raises(Unreachable, match=f"no answer from unix:{tmp_path}/none"):
        ask(f"unix:{tmp_path}/none", retries=0)


PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@both
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0.0.0.0"])
def test_no_proxy_sees_what_is_for_this_machine(
    ask: Any, variable: str, host: str, no_proxies: pytest.MonkeyPatch
) -> None:
    with raw_stub(good) as proxy, raw_stub(good) as service:
        no_proxies.setenv(variable, proxy.url)
        url = service.url.replace("127.0.0.1", host)
        assert ask(url, api_key=KEY) == PREDICTED
        assert (proxy.connections, service.connections) == (0, 1)


@both
@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_other_machines_are_asked_through_the_proxy_of_the_environment(
    ask: Any, variable: str, no_proxies: pytest.MonkeyPatch
) -> None:
    with raw_stub(good) as proxy:
        no_proxies.setenv(variable, proxy.url.replace("//", "//user:hunter2@"))
        assert ask("http://service.invalid:3000", model="m") == PREDICTED
        assert proxy.heads[0].startswith(b"POST http://service.invalid:3000/models/m/predict HTTP/1.1\r\n")
        no_proxies.setenv("no_proxy", "other.example, .invalid")
        with pytest.raises(Unreachable, match=r"no answer from http://service\.invalid:3000: "):
            ask("http://service.invalid:3000", retries=0)
        assert proxy.connections == 1


@both
def test_a_proxy_that_is_not_there_is_named_without_its_password(ask: Any, no_proxies: pytest.MonkeyPatch) -> None:
    port = free_port()
    no_proxies.setenv("http_proxy", f"http://user:hunter2@127.0.0.1:{port}")
    with pytest.raises(
        Unreachable, match=f"from http://service.invalid through the proxy http://127.0.0.1:{port}"
    ) as caught:
        ask("http://service.invalid", retries=0)
    assert "hunter2" not in str(caught.value)
    no_proxies.setenv("http_proxy", "gopher://user:hunter2@127.0.0.1")
    with pytest.raises(ClientError, match="a proxy must be http://HOST:PORT") as caught:
        ask("http://service.invalid", retries=0)
    assert "hunter2" not in str(caught.value)


def test_a_busy_service_says_for_how_long_in_digits() -> None:
    with stub((429, {"retry-after": "²"}, b"{}"), GOOD) as service:
        assert ask_blocking(service.url) == PREDICTED


def test_no_data_frame_library_is_loaded_by_the_client() -> None:
    code = "import rowcast.client, sys; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "rowcast" in loaded
    assert not {"pandas", "polars", "pyarrow"} & set(loaded)


def test_retries_are_a_number() -> None:
    for retries in (-1, None, "5", True):
        with pytest.raises(ClientError, match="retries are 0 or more, got"):
            Client("http://127.0.0.1:9", retries=retries)  # type: ignore[arg-type]
    with pytest.raises(ClientError, match="a protocol is auto, json or arrow"):
        Client("http://127.0.0.1:9", protocol="xml")


def test_an_unknown_status_is_told() -> None:
    with stub((418, {}, b"")) as service, pytest.raises(Refused, match="status 418"):
        ask_blocking(service.url)
    with stub((502, {"content-type": "text/html"}, b"<html>")) as service, pytest.raises(Failed, match="status 502"):
        ask_blocking(service.url)


@both
def test_requests_of_one_key_say_so_and_so_do_those_of_one_table(ask: Any) -> None:
    def heads(rows: int, **options: Any) -> set[bytes]:
        with raw_stub(rows_of) as service:
            ask(service.url, [{"x": 1}] * rows, model="m@champion", protocol="json", **options)
            assert all(head.startswith(b"POST /models/m@champion/predict") for head in service.heads)
            return {head.partition(b"x-rowcast-key: ")[2].partition(b"\r\n")[0] for head in service.heads}

    assert heads(1, key="customer 7") == {b"customer 7"}
    assert heads(1) == {b""}
    (drawn,) = heads(2049)  # which are two requests
    assert (len(drawn), drawn.isalnum()) == (16, True)


def rows_of(_: RawStub, connection: socket.socket, head: bytes) -> None:
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    rows = (length - len('{"rows":[]}') + 1) // len('{"x":1},')
    connection.sendall(answer(orjson.dumps({"model": "m", "version": 1, "predictions": [{"prediction": 1.0}] * rows})))
