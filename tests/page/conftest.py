"""Starts gateways with the operator's page and a browser that looks at it. Whatever a page writes to its console as an error,
and each violation of its content policy, fails the test that saw it. The binary is $GEMINI_BALANCE_BIN, else the release
build, else the debug build; axe-core is in $NODE_PAGE, else beside this file."""

import contextlib
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import threading
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ADMIN = "operator-token-for-the-page"
TOKEN = "a-client-token"
MODEL = "gemini-2.5-flash"
TIMEOUT_S = 20
ROOT = Path(__file__).resolve().parents[2]


def binary() -> Path:
    named = os.environ.get("GEMINI_BALANCE_BIN")
    places = [Path(named)] if named else [ROOT / "target" / kind / "gemini-balance" for kind in ("release", "debug")]
    for place in places:
        if place.is_file():
            return place.resolve()
    pytest.exit("no gateway binary: run `cargo build --locked --release`, or set GEMINI_BALANCE_BIN", returncode=2)


def axe() -> str:
    folder = Path(os.environ.get("NODE_PAGE") or Path(__file__).parent)
    place = folder / "node_modules" / "axe-core" / "axe.min.js"
    assert place.exists(), "axe-core is missing: npm ci --prefix tests/page"
    return place.read_text()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass
class Gateway:
    """A running gateway: where clients, the operator and the simulator's control are."""

    clients: str
    operator: str
    simulator: str
    process: subprocess.Popen = field(repr=False)
    lines: list[str] = field(repr=False)

    def api(self, path: str, method: str = "GET", body=None):
        request = urllib.request.Request(
            self.operator + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {ADMIN}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)

    def generate(self, text="hello", model=MODEL, token=TOKEN) -> int:
        request = urllib.request.Request(
            f"{self.clients}/v1beta/models/{model}:generateContent",
            data=json.dumps({"contents": [{"parts": [{"text": text}]}]}).encode(),
            headers={"x-goog-api-key": token, "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            return refused.code


@contextlib.contextmanager
def started(arguments, environment, folder, patterns):
    """Runs the gateway's binary; gives what the patterns find in its first lines."""
    process = subprocess.Popen(
        [binary(), *arguments],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", ""), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str | None] = queue.Queue()
    kept: list[str] = []

    def read():
        for line in process.stdout:
            kept.append(line)
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        found = {}
        while len(found) < len(patterns):
            line = lines.get(timeout=60)
            assert line is not None, f"{arguments} ended before it listened:\n{''.join(kept)}"
            for what, pattern in patterns.items():
                if match := re.search(pattern, line):
                    found[what] = match[1]
        yield found, process, kept
    finally:
        process.terminate()
        try:
            process.wait(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@contextlib.contextmanager
def gateway(folder: Path, keys: dict[str, str], config: str = "", simulate: tuple[str, ...] = ()):
    """A gateway before a simulator on these keys (secret to project), with a page."""
    given = [argument for key, project in keys.items() for argument in ("--key", f"{key}={project}")]
    port = free_port()
    (folder / "config.toml").write_text(config)
    with started(
        ["simulator", "--listen", "127.0.0.1:0", *given[:400], *simulate], {}, folder, {"at": r"simulator on (http://\S+)"}
    ) as (simulator, _, _):
        environment = {
            "GEMINI_API_BASE_URL": simulator["at"],
            "GEMINI_BALANCE__SERVER__HOST": "127.0.0.1",
            "GEMINI_BALANCE__SERVER__PORT": "0",
            "GEMINI_BALANCE__SERVER__DRAIN_ACCEPT_MS": "50",
            "GEMINI_BALANCE__ADMIN__PORT": str(port),
            "ADMIN_TOKEN": ADMIN,
        }
        if "[[keys]]" not in config:
            environment["GOOGLE_API_KEYS"] = ",".join(keys)
        if "auth" not in config:
            environment["ACCESS_TOKENS"] = f"tester={TOKEN}"
        with started(["serve"], environment, folder, {"at": r"listening on (https?://[^\s\"}]+)"}) as (found, process, lines):
            yield Gateway(found["at"], f"http://127.0.0.1:{port}", simulator["at"], process, lines)


@contextlib.contextmanager
def redis(port: int):
    """A Redis of the test's own, which forgets everything when it ends."""
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if server is None:
        assert "CI" not in os.environ, "redis-server is missing: apt-get install redis-server"
        pytest.skip("redis-server is not installed")
    process = subprocess.Popen(
        [server, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(timeout=TIMEOUT_S)


@pytest.fixture(scope="session")
def browser():
    shell = shutil.which("chromium-headless-shell")
    assert shell, "chromium-headless-shell is missing: apt-get install chromium-headless-shell"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shell, args=["--no-sandbox"])
        yield browser
        browser.close()


class Site:
    """The page in a browser's context of its own, and what it has complained of."""

    def __init__(self, browser, gateway: Gateway, **context):
        context = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US", **context}
        self.gateway = gateway
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT_S * 1000)
        self.complaints: list[str] = []
        # What the test itself brings about.
        self.expected: list[str] = []
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def log_in(self):
        self.page.goto(self.gateway.operator + "/")
        self.page.fill("input[type=password]", ADMIN)
        self.page.click("form button.main")
        self.page.wait_for_selector("#menu", state="attached")
        return self

    def view(self, address: str):
        """Shows a view, and waits until it has what it shows."""
        self.page.goto(f"{self.gateway.operator}/#/{address}")
        self.page.wait_for_selector("main h1")
        self.page.wait_for_selector(".busy[role=status]", state="detached")
        return self.page

    def leave(self):
        """Closes the page, where its gateway ends before the test does."""
        self.page.close()

    def no_complaints(self):
        rest = [text for text in self.complaints if not any(part in text for part in self.expected)]
        assert not rest, rest


@pytest.fixture
def open_site(browser):
    sites = []

    def open_(gateway, **context):
        site = Site(browser, gateway, **context)
        sites.append(site)
        return site

    yield open_
    for site in sites:
        site.context.close()
    for site in sites:
        site.no_complaints()


POOL = {"AIza-page-1": "project-a", "AIza-page-2": "project-a", "AIza-page-3": "project-b"}
MARKUP = "a<img src=x onerror=alert(1)>b"
CONFIG = f"""
[[auth.tokens]]
name = "tester"
secret = "{TOKEN}"
rpm = 1000
[[auth.tokens]]
name = "{MARKUP}"
secret = "another-client-token"
note = "{MARKUP}"
rpm = 2
[[limits]]
model = "{MODEL}"
rpm = 500
rpd = 5000
""" + "".join(
    f'[[keys]]\nlabel = "{label}"\nsecret = "{secret}"\nproject = "{MARKUP if number == 2 else project}"\n'
    for number, (label, (secret, project)) in enumerate(zip(["one", MARKUP, "three"], POOL.items()))
)


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """A gateway that has something to show in every view."""
    with gateway(tmp_path_factory.mktemp("filled"), POOL, CONFIG) as running:
        for number in range(12):
            running.generate(f"request {number}")
        for _ in range(4):
            running.generate(token="another-client-token")
        running.generate(model="a%3Cimg%20src=x%20onerror=alert(1)%3Eb")
        running.api("/api/keys/three/disable", "POST")
        yield running


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A gateway that nobody has asked anything yet."""
    with gateway(tmp_path_factory.mktemp("empty"), {"AIza-page-9": "project-z"}) as running:
        yield running
