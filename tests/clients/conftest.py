"""Starts `gemini-balance demo` for the SDK tests and ends it: one for the session, or a fresh one for tests that make
keys cool down. The binary is $GEMINI_BALANCE_BIN, else the release build, else the debug build."""

import json
import os
import queue
import re
import subprocess
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

TOKEN = "demo-token"
MODEL = "gemini-2.5-flash"
TIMEOUT_S = 15
ROOT = Path(__file__).resolve().parents[2]

# The SDKs read these; a test must say itself where it goes and as whom.
for _name in list(os.environ):
    if _name.startswith(("OPENAI_", "GOOGLE_", "GEMINI_API")) or _name.lower() in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        del os.environ[_name]


def binary() -> Path:
    named = os.environ.get("GEMINI_BALANCE_BIN")
    places = [Path(named)] if named else [ROOT / "target" / kind / "gemini-balance" for kind in ("release", "debug")]
    for place in places:
        if place.is_file():
            return place.resolve()
    pytest.exit("no gateway binary: run `cargo build --release`, or set GEMINI_BALANCE_BIN", returncode=2)


@dataclass
class Demo:
    """A running demo: the gateway, and the simulated Gemini API behind it."""

    url: str
    simulator: str

    def control(self, method: str, resource: str, body=None):
        """Asks the simulator's control endpoint."""
        request = urllib.request.Request(
            f"{self.simulator}/_simulator/{resource}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)

    def arrived(self) -> list[dict]:
        """The requests that the simulator has seen."""
        return self.control("GET", "requests")


def run(folder: Path):
    process = subprocess.Popen(
        [binary(), "demo", "--port", "0"],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", "")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str | None] = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        text = ""
        found = {}
        while len(found) < 2:
            line = lines.get(timeout=TIMEOUT_S)
            assert line is not None, f"the demo ended before it listened:\n{text}"
            text += line
            for what, pattern in (
                ("url", r"gateway listens on (http://\S+?),? "),
                ("simulator", r"simulated Gemini API at (http://\S+?)\. "),
            ):
                if match := re.search(pattern, line):
                    found[what] = match[1]
        yield Demo(**found)
    finally:
        process.terminate()
        try:
            status = process.wait(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert status == 0, f"the demo ended with {status} on SIGTERM"


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    yield from run(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def fresh_demo(tmp_path):
    yield from run(tmp_path)
