"""What the open page costs: CPU time of the gateway a request with the page open in a browser, beside the same load with it closed.
Rounds go closed, open, open, closed, so that whatever else the machine does hurts both alike; the median of the paired ratios
counts. Wants a release build and a quiet machine:

    GEMINI_BALANCE_BIN=target/release/gemini-balance python tests/page/cost.py --rounds 6 --view keys

Ends with status 1 where the ratio is above --most."""

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

from playwright.sync_api import sync_playwright

from conftest import ADMIN, MODEL, TOKEN, gateway

TICKS = os.sysconf("SC_CLK_TCK")
BODY = json.dumps({"contents": [{"parts": [{"text": "hello"}]}]}).encode()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def answer_is_whole(connection: socket.socket) -> None:
    """Reads one answer to its end; anything but a 200 ends the measurement."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(65536)
        assert piece, "the gateway closed the connection"
        read += piece
    head, rest = read.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200"), head[:200]
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"content-length" in lines:
        left = int(lines[b"content-length"]) - len(rest)
        while left > 0:
            left -= len(connection.recv(65536))
    else:
        while not rest.endswith(b"0\r\n\r\n"):
            rest += connection.recv(65536)


def client(address: tuple[str, int], requests: int) -> None:
    """Sends requests one after the other on one connection."""
    text = (
        f"POST /v1beta/models/{MODEL}:generateContent HTTP/1.1\r\nhost: {address[0]}\r\nx-goog-api-key: {TOKEN}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(requests):
            connection.sendall(text)
            answer_is_whole(connection)


def load(address: tuple[str, int], clients: int, requests: int) -> None:
    each = [multiprocessing.Process(target=client, args=(address, requests // clients)) for _ in range(clients)]
    for process in each:
        process.start()
    for process in each:
        process.join()
    assert all(process.exitcode == 0 for process in each), "a client failed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="pairs of rounds")
    parser.add_argument("--requests", type=int, default=20_000, help="requests of a round")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--view", default="keys", help="the view that is open: overview, keys, requests ...")
    parser.add_argument("--most", type=float, default=1.05, help="the ratio that is allowed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        (folder / "keys.txt").write_text("\n".join(f"AIza-many-{number:05}" for number in range(given.keys - 1)))
        (folder / "run").mkdir()
        config = (
            f'[pool]\nkeys_file = "{folder / "keys.txt"}"\n[auth]\ntokens = [{{ name = "tester", secret = "{TOKEN}" }}]\n'
            '[[keys]]\nlabel = "last"\nsecret = "AIza-last"\n'
        )
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium-headless-shell"), args=["--no-sandbox"])
        # Without a key the simulator takes all of them.
        with gateway(folder / "run", {}, config) as running:
            place = urllib.parse.urlsplit(running.clients)
            address = (place.hostname, place.port)
            page = browser.new_page()
            page.goto(running.operator + "/")
            page.fill("input[type=password]", ADMIN)
            page.click("form button.main")
            page.wait_for_selector("#menu")

            def round_(is_open: bool) -> float:
                page.goto(f"{running.operator}/#/{given.view}" if is_open else "about:blank")
                if is_open:
                    page.wait_for_selector("main h1")
                time.sleep(2)
                before, began = cpu_seconds(running.process.pid), time.monotonic()
                load(address, given.clients, given.requests)
                used, took = cpu_seconds(running.process.pid) - before, time.monotonic() - began
                each = used / given.requests * 1e6
                print(f"{'open  ' if is_open else 'closed'} {each:7.1f} µs CPU a request, {given.requests / took:6.0f} requests a second", flush=True)
                return each

            round_(False)  # everything is warm from here on
            ratios = []
            for pair in range(given.rounds):
                if pair % 2 == 0:
                    closed, opened = round_(False), round_(True)
                else:
                    opened, closed = round_(True), round_(False)
                ratios.append(opened / closed)
        browser.close()
    median = statistics.median(ratios)
    print(f"the page open ({given.view}, {given.keys} keys) beside closed: {median:.3f} ({', '.join(f'{one:.3f}' for one in ratios)})")
    return 0 if median <= given.most else 1


if __name__ == "__main__":
    sys.exit(main())
