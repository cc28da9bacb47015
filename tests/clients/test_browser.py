"""A page of another origin in a real browser: what web front ends do with the gateway, refusals and streams included."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import sync_playwright

from conftest import MODEL, TIMEOUT_S, TOKEN, gateway, program

NATIVE = f"/v1beta/models/{MODEL}"
BODY = {"contents": [{"parts": [{"text": "hi"}]}]}
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
# What OpenAI's SDK for browsers adds to each request.
STAINLESS = {"x-stainless-lang": "js", "x-stainless-os": "Unknown", "x-stainless-retry-count": "0"}

ASK = """async ({url, method, headers, body}) => {
    const answer = await fetch(url, {method, headers, body: body && JSON.stringify(body)});
    const pieces = [];
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
        const {done, value} = await reader.read();
        if (done) break;
        pieces.push(value);
    }
    return {
        status: answer.status,
        id: answer.headers.get('x-request-id'),
        retryAfter: answer.headers.get('retry-after'),
        pieces: pieces.length,
        text: pieces.join(''),
    };
}"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><title>A front end</title>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def page():
    shell = program("chromium-headless-shell", "chromium-headless-shell")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shell, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT_S * 1000)
        page.goto(f"http://localhost:{server.server_port}/")
        yield page
        browser.close()
    server.shutdown()
    server.server_close()


def ask(page, url, headers, body=None, method="POST"):
    headers = {"content-type": "application/json", **headers}
    return page.evaluate(ASK, {"url": url, "method": method, "headers": headers, "body": body})


@pytest.mark.parametrize(
    ("path", "headers", "body", "word"),
    [
        (f"{NATIVE}:generateContent", {"x-goog-api-key": TOKEN, "x-goog-api-client": "x"}, BODY, '"candidates"'),
        (f"{NATIVE}:generateContent?key={TOKEN}", {}, BODY, '"candidates"'),
        ("/v1/chat/completions", {"authorization": f"Bearer {TOKEN}", **STAINLESS}, CHAT, '"choices"'),
        ("/v1beta/openai/chat/completions", {"authorization": f"Bearer {TOKEN}"}, CHAT, '"choices"'),
    ],
    ids=["native", "native, key in the query", "openai", "openai, google's path"],
)
def test_a_page_of_another_origin_is_served(demo, page, path, headers, body, word):
    answer = ask(page, demo.url + path, headers, body)
    assert answer["status"] == 200
    assert word in answer["text"]
    assert answer["id"], "the page cannot read the request's id"


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        (f"{NATIVE}:streamGenerateContent?alt=sse", {"x-goog-api-key": TOKEN}, BODY),
        ("/v1/chat/completions", {"authorization": f"Bearer {TOKEN}"}, {**CHAT, "stream": True}),
    ],
    ids=["native", "openai"],
)
def test_a_page_reads_a_stream_as_it_comes(demo, page, path, headers, body):
    answer = ask(page, demo.url + path, headers, body)
    assert answer["status"] == 200
    assert answer["text"].count("data: ") >= 8
    assert answer["pieces"] >= 4, "the events came at once"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{NATIVE}:generateContent", 401),
        ("POST", "/v1/chat/completions", 401),
        ("GET", "/v1beta/models", 401),
        ("GET", "/nowhere", 401),
        ("GET", "/health", 200),
    ],
)
def test_a_page_reads_what_it_is_told_without_a_token(demo, page, method, path, status):
    answer = ask(page, demo.url + path, {"x-goog-api-key": "not-a-token"}, BODY if method == "POST" else None, method)
    assert answer["status"] == status
    assert answer["text"]


def test_a_page_reads_why_a_spent_pool_refuses_it_and_for_how_long(page, tmp_path):
    settings = {"ACCESS_TOKENS": f"page={TOKEN}", "simulate": ("--rpd", "1")}
    with gateway(tmp_path, {"AIza-spent-1": "project-1"}, **settings) as pool:
        url = f"{pool.url}{NATIVE}:generateContent"
        answers = [ask(page, url, {"x-goog-api-key": TOKEN}, BODY) for _ in range(3)]
        assert [answer["status"] for answer in answers] == [200, 429, 429]
        assert int(answers[2]["retryAfter"]) > 0
        assert "RESOURCE_EXHAUSTED" in answers[2]["text"]


def test_a_page_of_an_origin_that_is_not_named_learns_nothing(page, tmp_path):
    origins = {"GEMINI_BALANCE__SERVER__CORS_ORIGINS": '["https://front.example"]'}
    with gateway(tmp_path, {"AIza-1": "project-1"}, ACCESS_TOKENS=f"page={TOKEN}", **origins) as pool:
        with pytest.raises(Exception, match="Failed to fetch"):
            ask(page, f"{pool.url}{NATIVE}:generateContent", {"x-goog-api-key": TOKEN}, BODY)
