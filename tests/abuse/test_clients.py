"""Clients as they come: what Java, curl and Node send unasked changes no answer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.abuse.exchange import Answer, request, say
from tests.service.hostile_payloads import GOOD
from tests.service.servers import Server

JAVA = """
import java.net.URI;
import java.net.http.*;
import java.nio.file.*;
import java.util.function.Supplier;

public class Ask {
    public static void main(String[] words) throws Exception {
        Path body = Path.of(words[1]);
        HttpClient client = HttpClient.newHttpClient();
        Supplier<java.io.InputStream> stream = () -> {
            try { return Files.newInputStream(body); } catch (java.io.IOException e) { throw new RuntimeException(e); }
        };
        HttpRequest.BodyPublisher[] publishers = {
            HttpRequest.BodyPublishers.ofFile(body), HttpRequest.BodyPublishers.ofInputStream(stream)
        };
        for (HttpRequest.BodyPublisher publisher : publishers) {
            for (int again = 0; again < 3; again++) {
                HttpRequest request = HttpRequest.newBuilder(URI.create(words[0]))
                    .header("content-type", "application/json").POST(publisher).build();
                HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                System.out.println(answer.statusCode() + " " + answer.body());
            }
        }
    }
}
"""
"""Java's client as it comes offers h2c with every request; once its body has a length, once it comes in chunks."""


@pytest.fixture
def body(tmp_path: Path) -> Path:
    file = tmp_path / "body.json"
    file.write_bytes(GOOD)
    return file


def output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} on this machine")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "option --http2" in done.stderr:
        pytest.skip("this curl knows no HTTP/2")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_javas_client_is_answered(service: Server, good_answer: Answer, body: Path, tmp_path: Path) -> None:
    source = tmp_path / "Ask.java"
    source.write_text(JAVA)
    expected = f"200 {good_answer.body.decode()}\n"
    assert output("java", str(source), f"{service.url}/predict", str(body)) == expected * 6


@pytest.mark.parametrize("more", [[], ["-H", "transfer-encoding: chunked"], ["-H", "expect: 100-continue"]])
def test_curl_that_offers_http_2_is_answered(service: Server, good_answer: Answer, body: Path, more: list[str]) -> None:
    ask = ["curl", "-sS", "--http2", "-H", "content-type: application/json", "--data-binary", f"@{body}", *more]
    one = f"{service.url}/predict"
    assert output(*ask, one, one) == good_answer.body.decode() * 2


def test_a_client_that_knows_of_http_2_beforehand_is_refused(service: Server) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
    assert say(service, preface).status == 400


def test_a_body_that_looks_like_a_request_is_none(service: Server) -> None:
    offered = request(b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n", "/predict", "connection: upgrade", "upgrade: h2c")
    for cut in (len(offered) - 31, len(offered) - 5):
        answer = say(service, offered[:cut], offered[cut:])
        assert answer.status == 400
        assert b"JSON" in answer.body
