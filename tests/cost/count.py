#!/usr/bin/env python3
"""Counts what a request costs: the instructions that the release binary executes for it, and how often it takes memory.

Counted by valgrind's callgrind, not timed, so that a busy machine changes nothing. The figures that are expected lie in
`expected.json`; one that grows by more than 3 % fails. They hold for one compiler and kind of processor: with another compiler
they are printed and compared with nothing, which is said.

    cargo build --release --locked
    tests/cost/count.py [--binary target/release/gemini-balance] [--write]
"""

import argparse
import asyncio
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
EXPECTED = HERE / "expected.json"
GROWTH = 1.03
WARM_UP = 300
# The least of some rounds counts, and of some processes if the first seems to take too much: what goes on beside the
# requests only adds to them.
ROUNDS = 4
PROCESSES = 5
REQUESTS = 100
MODEL = "gemini-2.5-flash"
NATIVE = json.dumps({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]})
CHAT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
MESSAGES = json.dumps({"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]})
# What takes memory: each of these names is called once for each piece.
TAKES_MEMORY = re.compile(r"^mi_(malloc|zalloc|realloc)_aligned$")
# Takes memory and gives it back twice a second, whatever is asked.
BY_THE_CLOCK = "memory_return::give_back"

USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 42, "totalTokenCount": 49}


def part(text, **more):
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": MODEL, "responseId": "r"}


ANSWER = json.dumps(part("a" * 700, finishReason="STOP")).encode()
CHAT_ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a" * 700}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 42, "total_tokens": 49},
    }
).encode()
EVENTS = [b"data: " + json.dumps(part("a" * 120)).encode() + b"\r\n\r\n" for _ in range(49)]
EVENTS.append(b"data: " + json.dumps(part("a" * 120, finishReason="STOP")).encode() + b"\r\n\r\n")


class Upstream(asyncio.Protocol):
    """Answers what Google would, and keeps its connections."""

    def connection_made(self, transport):
        self.transport, self.read = transport, b""

    def data_received(self, data):
        self.read += data
        while (end := self.read.find(b"\r\n\r\n")) >= 0:
            head = self.read[:end].lower()
            length = re.search(rb"\ncontent-length: *(\d+)", head)
            whole = end + 4 + int(length[1] if length else 0)
            if len(self.read) < whole:
                return
            path, self.read = head.split(b" ", 2)[1], self.read[whole:]
            self.answer(path)

    def answer(self, path):
        if b":streamgeneratecontent" in path:
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            self.transport.write(head + chunks + b"0\r\n\r\n")
            return
        body = CHAT_ANSWER if b"chat/completions" in path else ANSWER
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=UTF-8\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)


def start_upstream():
    started, address = threading.Event(), []

    async def serve():
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
        address.append(server.sockets[0].getsockname()[1])
        started.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    started.wait(10)
    return address[0]


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Gateway:
    """The binary under callgrind, with its defaults, one caller with limits, and five keys."""

    def __init__(self, binary, folder):
        self.folder, self.port, upstream = pathlib.Path(folder), free_port(), start_upstream()
        (self.folder / "config.toml").write_text(
            '[auth]\ntokens = [{ name = "alice", secret = "count-alice-0123456789abcdef", rpm = 10000000, '
            "tpm = 1000000000000, budget = { tokens_day = 1000000000000, money_month = 100000 } }]\n"
        )
        environment = {
            **os.environ,
            "GOOGLE_API_KEYS": ",".join(f"count-key-{n}-0123456789abcdef" for n in range(5)),
            "GEMINI_API_BASE_URL": f"http://127.0.0.1:{upstream}",
            "OPENAI_API_BASE_URL": f"http://127.0.0.1:{upstream}",
            "GEMINI_BALANCE__SERVER__PORT": str(self.port),
            "GEMINI_BALANCE__SERVER__WORKERS": "1",
            "GEMINI_BALANCE__ADMIN__PORT": str(free_port()),
        }
        self.log = open(self.folder / "out", "wb")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.folder}/counted", str(binary)]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self.dumps = 0
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for _ in range(600):
            try:
                self.connection.request("GET", "/health/ready")
                if self.connection.getresponse().read() is not None:
                    return
            except OSError:
                self.connection.close()
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        self.end()
        sys.exit("the gateway did not start under valgrind:\n" + (self.folder / "out").read_text(errors="replace")[-2000:])

    def ask(self, path, body):
        headers = {"content-type": "application/json", "x-goog-api-key": "count-alice-0123456789abcdef"}
        self.connection.request("POST", path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{path} was answered {answer.status}: {text[:300]!r}")

    def control(self, *words):
        subprocess.run(["callgrind_control", *words, str(self.process.pid)], check=True, capture_output=True)

    def counted(self, work):
        """Returns what is executed while `work` goes on: instructions, and pieces of memory."""
        self.control("--zero")
        work()
        self.control("--dump")
        self.dumps += 1
        return read_dump(self.folder / f"counted.{self.dumps}")

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def read_dump(path):
    """Returns the instructions in a dump of callgrind's, and how often memory was taken: without what goes on by the clock."""
    names, instructions, taken, caller, callee, is_call = {}, 0, 0, "", "", False
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("totals:"):
            instructions += int(line.split()[1])
        elif line.startswith(("fn=", "cfn=")):
            number, _, name = line.split("=", 1)[1].partition(" ")
            name = names.setdefault(number, name or number)
            if line.startswith("cfn="):
                callee = name
            else:
                caller = name
        elif line.startswith("calls="):
            is_call = True
            if TAKES_MEMORY.match(callee.split("'")[0]) and BY_THE_CLOCK not in caller:
                taken += int(line[6:].split()[0])
        elif is_call:
            # The line behind a call says what it came to.
            is_call = False
            if BY_THE_CLOCK in callee and BY_THE_CLOCK not in caller:
                instructions -= int(line.split()[1])
    return instructions, taken


KINDS = {
    "unary": (f"/v1beta/models/{MODEL}:generateContent", NATIVE),
    "chat": ("/v1/chat/completions", CHAT),
    "stream of 50 events": (f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", NATIVE),
    "message": ("/v1/messages", MESSAGES),
}


def measure(binary):
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(binary, folder)
        try:
            found = {}
            for name, (path, body) in KINDS.items():
                for _ in range(WARM_UP):
                    gateway.ask(path, body)
                ask = lambda: [gateway.ask(path, body) for _ in range(REQUESTS)]
                rounds = [gateway.counted(ask) for _ in range(ROUNDS)]
                found[name] = {
                    "instructions": round(min(instructions for instructions, _ in rounds) / REQUESTS),
                    "pieces of memory": round(min(memory for _, memory in rounds) / REQUESTS, 1),
                }
            return found
        finally:
            gateway.end()


def compiler():
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
    arguments.add_argument("--binary", type=pathlib.Path, default=target / "release/gemini-balance")
    arguments.add_argument("--write", action="store_true", help="write the figures down as the ones to expect")
    asked = arguments.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing: apt-get install valgrind")
    made = {"compiler": compiler(), "machine": platform.machine()}
    if not asked.write and not EXPECTED.exists():
        sys.exit(f"{EXPECTED} is missing: --write makes it")
    expected = made if asked.write else json.loads(EXPECTED.read_text())
    comparable = not asked.write and all(made[what] == expected[what] for what in made)

    def too_much(figures):
        limits = expected["a request"]
        return [
            (kind, what)
            for kind in figures
            for what in figures[kind]
            if comparable and figures[kind][what] > limits[kind][what] * GROWTH
        ]

    figures = measure(asked.binary.resolve())
    for _ in range(PROCESSES - 1):
        if not asked.write and not too_much(figures):
            break
        again = measure(asked.binary.resolve())
        figures = {kind: {what: min(figures[kind][what], again[kind][what]) for what in figures[kind]} for kind in figures}
    if asked.write:
        expected = {**made, "a request": figures}
        EXPECTED.write_text(json.dumps(expected, indent=2) + "\n")
    failed = too_much(figures)
    print(f"{'a request':<22}{'':<18}{'now':>12}{'expected':>12}{'growth':>9}")
    for kind, counts in figures.items():
        for what, now in counts.items():
            before = expected["a request"][kind][what]
            verdict = "  TOO MUCH" if (kind, what) in failed else ""
            print(f"{kind:<22}{what:<18}{now:>12,}{before:>12,}{now / before - 1:>8.1%}{verdict}")
    if not comparable and not asked.write:
        print(f"compared with nothing: these figures are of {expected['compiler']} on {expected['machine']}")
    print(f"{2 * len(KINDS) - len(failed)} passed, {len(failed)} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
