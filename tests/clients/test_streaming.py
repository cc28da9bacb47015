"""Streams as they arrive on the wire: the demo's simulator pauses 150 ms between events, and so must what a client sees."""

import json
import time

import httpx
import pytest

from conftest import MODEL, TIMEOUT_S, TOKEN

NATIVE = {"contents": [{"parts": [{"text": "Hello"}]}]}
OPENAI = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
STREAMS = [
    (f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", {"x-goog-api-key": TOKEN}, NATIVE),
    (f"/v1beta/models/{MODEL}:streamGenerateContent", {"x-goog-api-key": TOKEN}, NATIVE),
    ("/v1/chat/completions", {"authorization": f"Bearer {TOKEN}"}, OPENAI),
]


@pytest.mark.parametrize(("path", "headers", "body"), STREAMS, ids=["native sse", "native array", "openai"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_events_arrive_when_they_are_sent(demo, path, headers, body, encoding):
    text, read_while = "", []
    headers = {**headers, "accept-encoding": encoding}
    with httpx.stream("POST", demo.url + path, headers=headers, json=body, timeout=TIMEOUT_S) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_text():
            if piece.strip():
                read_while.append(demo.arrived()[-1]["end"])
                text += piece
    # A busy machine joins some of the eight, but most are read while others are yet to be sent.
    assert read_while.count("open") >= 4, read_while
    if "alt=sse" in path:
        events = [event for event in text.split("\r\n\r\n") if event]
        assert len(events) == 8 and all(json.loads(event.removeprefix("data: ")) for event in events)
    elif path.startswith("/v1beta"):
        assert len(json.loads(text)) == 8
    else:
        events = [event for event in text.split("\n\n") if event]
        assert len(events) == 9 and events[-1] == "data: [DONE]"


def test_a_client_that_leaves_ends_the_upstream_stream(demo):
    path, headers, body = STREAMS[0]
    with httpx.stream("POST", demo.url + path, headers=headers, json=body, timeout=TIMEOUT_S) as answer:
        next(answer.iter_raw())
    deadline = time.monotonic() + 0.7  # the whole stream would take longer
    while (last := demo.arrived()[-1])["end"] == "open" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert last["end"] == "client_left", last["end"]
