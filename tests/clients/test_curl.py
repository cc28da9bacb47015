"""curl as people paste it: HTTP/1.0, an offer of HTTP/2, `Expect: 100-continue`, several requests on one connection."""

import json
import subprocess

import pytest

from conftest import MODEL, TIMEOUT_S, TOKEN, program

BODY = json.dumps({"contents": [{"parts": [{"text": "hi"}]}]})
KEY = f"x-goog-api-key: {TOKEN}"
WHOLE = f"/v1beta/models/{MODEL}:generateContent"
STREAM = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"


def curl(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [program("curl", "curl"), "-sS", "-m", str(TIMEOUT_S), *arguments], capture_output=True, timeout=2 * TIMEOUT_S
    )


def posted(path: str, *arguments: str) -> tuple[str, bytes]:
    """The head and the body of an answer."""
    ran = curl("-i", "-H", KEY, "-H", "content-type: application/json", "-d", BODY, *arguments, path)
    assert ran.returncode == 0, ran.stderr.decode()
    head, _, body = ran.stdout.partition(b"\r\n\r\n")
    return head.decode().lower(), body


@pytest.mark.parametrize("path", [WHOLE, STREAM])
def test_a_client_of_http_1_0_reads_a_body_without_chunks(demo, path):
    head, body = posted(demo.url + path, "--http1.0", "--raw")
    assert " 200" in head.splitlines()[0]
    assert "transfer-encoding" not in head
    if path == WHOLE:
        assert json.loads(body)["candidates"]
    else:
        events = [event for event in body.split(b"\r\n\r\n") if event]
        assert len(events) == 8 and all(json.loads(event.removeprefix(b"data: ")) for event in events)


@pytest.mark.parametrize("path", [WHOLE, STREAM, "/health", "/nowhere"])
def test_an_offer_of_http_2_is_passed_over_and_the_connection_goes_on(demo, path):
    # What is answered without reading its body ends its connection, offer or not.
    body = ("-H", "content-type: application/json", "-d", BODY) if path in (WHOLE, STREAM) else ()
    ran = curl(
        "--http2", "-w", "%{http_version} %{num_connects}\n", "-o", "/dev/null", "-o", "/dev/null",
        "-H", KEY, *body, demo.url + path, demo.url + path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.decode().splitlines() == ["1.1 1", "1.1 0"]


def test_a_body_that_waits_to_be_asked_for_is_asked_for(demo):
    head, body = posted(demo.url + WHOLE, "-H", "expect: 100-continue")
    assert "100 continue" in head.splitlines()[0] or " 200" in head.splitlines()[0]
    assert b"candidates" in body
