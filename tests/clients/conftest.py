"""Starts what the SDK tests talk to and ends it: `gemini-balance demo`, one for the session or a fresh one for tests that
make keys cool down, and a gateway with settings of its own before a simulator. The binary is $GEMINI_BALANCE_BIN, else
the release build, else the debug build.

With CLIENTS_GATEWAYS=3 there are three gateways in place of each one, in a cluster on a Redis of their own, and before them a
balancer that gives each *connection* to the next of them. A client that keeps its connection asks one gateway all along; how
many connections each has had is said at the end."""

import asyncio
import contextlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from google import genai
from google.genai import types

TOKEN = "demo-token"
MODEL = "gemini-2.5-flash"
# From Gemini 3 on a tool conversation must come back with its signatures.
SIGNING_MODEL = "gemini-3.7-flash"
TIMEOUT_S = 15
POOL = {
    "AIza-simulated-1": "project-a",
    "AIza-simulated-2": "project-a",
    "AIza-simulated-3": "project-b",
    "AIza-simulated-4": "project-c",
}
# What `gemini-balance demo` has, by labels.
DEMO_POOL = {"demo-1": "project-a", "demo-2": "project-a", "demo-3": "project-b", "demo-4": "project-c"}
GATEWAYS = int(os.environ.get("CLIENTS_GATEWAYS", "1"))
# How many connections each gateway of a cluster has been given.
connections = [0] * GATEWAYS
ROOT = Path(__file__).resolve().parents[2]

# The SDKs read these; a test must say itself where it goes and as whom.
for _name in list(os.environ):
    if _name.startswith(("ANTHROPIC_", "CLAUDE", "CODEX_", "OPENAI_", "GOOGLE_", "GEMINI_API")) or _name.lower() in (
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
    pytest.exit("no gateway binary: run `cargo build --locked --release`, or set GEMINI_BALANCE_BIN", returncode=2)


def program(name: str, package: str) -> str:
    """Where a program of the system's is. A test that needs one which is missing fails, and says how to get it."""
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install {package}"
    return found


def node_file(name: str) -> Path:
    """Where a file of the npm packages in package.json is: in $NODE_CLIENTS, else beside it."""
    folder = Path(os.environ.get("NODE_CLIENTS") or Path(__file__).parent)
    place = folder / "node_modules" / name
    assert place.exists(), f"{name} is missing: npm ci --prefix tests/clients --ignore-scripts"
    return place.resolve()


def node_program(name: str) -> str:
    """A program of these packages."""
    return str(node_file(f".bin/{name}"))


def home(folder: Path, url: str):
    """A person's folders for a program that is to talk to the gateway at `url` and to nobody else: gives its home, the
    folder it works in, and a function that runs it there and gives what it printed."""
    there, work = folder / "home", folder / "work"
    for made in (there, work, folder / "tmp"):
        made.mkdir()

    def run(arguments: list[str], **settings: str) -> subprocess.CompletedProcess:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(there),
            "TMPDIR": str(folder / "tmp"),
            # Nobody listens there.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": urllib.parse.urlsplit(url).hostname,
            **settings,
        }
        with subprocess.Popen(
            arguments,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=4 * TIMEOUT_S)
            except subprocess.TimeoutExpired:
                # What it has started as well.
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return there, work, run


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

    def arrived(self, since: int = -1) -> list[dict]:
        """The requests that the simulator has seen, those up to the one with the number `since` left out."""
        return [request for request in self.control("GET", "requests") if request["seq"] > since]

    def fail(self, status: int, times: int | None = None, **fault):
        """Makes Google answer the next requests with an error, or all of them."""
        rule = {"fault": {"kind": "status", "status": status, **fault}}
        self.control("PUT", "faults", [rule if times is None else {"times": times, **rule}])

    @contextlib.contextmanager
    def watched(self):
        """Keeps what Google is asked within, whole: gives a function that returns the bodies so far."""
        self.control("PUT", "conversations", [{"steps": [{"echo": True}], "then": "repeat"}])
        try:
            yield lambda: self.control("GET", "conversations")[0]["seen"]
        finally:
            self.control("DELETE", "conversations")

    def owners(self, *names: str) -> set[str]:
        """The projects that own these resources."""
        owners = {resource["name"]: resource["project"] for resource in self.control("GET", "resources")}
        return {owners[name] for name in names}


def connect(demo, version=None, token=TOKEN):
    """The google-genai package's client of a gateway, with the API version it chooses itself unless one is named."""
    return genai.Client(
        api_key=token,
        http_options=types.HttpOptions(base_url=demo.url, api_version=version, timeout=TIMEOUT_S * 1000),
    )


def turn(client):
    """Moves a pool that goes round on to another key, of another project but once in four times: who then finds a
    resource again has looked for it."""
    for _ in range(2):
        client.models.count_tokens(model=MODEL, contents="on")


def finished(operation, get):
    """Polls until it is done; the simulator does not take long."""
    deadline = time.monotonic() + TIMEOUT_S
    while not operation.done:
        assert time.monotonic() < deadline, f"not done: {operation}"
        operation = get(operation)
    return operation


@contextlib.contextmanager
def started(arguments: list[str], environment: dict[str, str], folder: Path, patterns: dict[str, str]):
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

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        text = ""
        found = {}
        while len(found) < len(patterns):
            line = lines.get(timeout=TIMEOUT_S)
            assert line is not None, f"{arguments} ended before it listened:\n{text}"
            text += line
            for what, pattern in patterns.items():
                if match := re.search(pattern, line):
                    found[what] = match[1]
        yield found
    finally:
        process.terminate()
        try:
            status = process.wait(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert status == 0, f"{arguments} ended with {status} on SIGTERM"


def run(folder: Path):
    if GATEWAYS > 1:
        # The demo is one gateway: so many with its keys, which know their projects, and its token stand for it.
        key = '[[keys]]\nlabel = "{0}"\nsecret = "simulated-key-{0}"\nproject = "{1}"\n'
        (folder / "config.toml").write_text("".join(key.format(*item) for item in DEMO_POOL.items()))
        keys = {f"simulated-key-{label}": project for label, project in DEMO_POOL.items()}
        settings = {"GOOGLE_API_KEYS": "", "ACCESS_TOKENS": f"demo={TOKEN}"}
        with gateway(folder, keys, ("--interval-ms", "150"), **settings) as pool:
            yield pool
        return
    patterns = {
        "url": r"gateway listens on (http://\S+?),? ",
        "simulator": r"simulated Gemini API at (http://\S+?)\. ",
    }
    with started(["demo", "--no-traffic", "--port", "0"], {}, folder, patterns) as found:
        yield Demo(**found)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def redis():
    """A Redis of the test's own, which forgets everything when it ends. Gives its port once it answers."""
    server = program("redis-server", "redis-server")
    port = free_port()
    arguments = [server, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None, "redis-server does not start"
                time.sleep(0.01)
        yield port
    finally:
        process.kill()
        process.wait(timeout=TIMEOUT_S)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    """Carries one way of a connection, its end included. What breaks here is broken off there."""
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


@contextlib.contextmanager
def balancer(ports: list[int]):
    """Gives each connection to the next of these ports, and knows nothing of what goes over it. Gives its own port."""
    loop = asyncio.new_event_loop()
    turns = iter(range(1 << 62))

    async def connected(reader, writer):
        turn = next(turns) % len(ports)
        connections[turn] += 1
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", ports[turn])
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))
        except asyncio.CancelledError:
            # The balancer ends.
            writer.transport.abort()
        finally:
            writer.close()
            there_writer.close()

    # A thread of its own, since the tests' may run a loop already.
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(connected, "127.0.0.1", 0), loop)
    server = starting.result(TIMEOUT_S)

    async def end():
        server.close()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_S)
        loop.close()


@contextlib.contextmanager
def cluster(folder: Path, environment: dict[str, str]):
    """So many gateways on one Redis, all with these settings, and a balancer before them. Gives its address."""
    with contextlib.ExitStack() as stack:
        shared = {
            "GEMINI_BALANCE__CLUSTER__URL": f"redis://127.0.0.1:{stack.enter_context(redis())}",
            **environment,
        }
        patterns = {"url": r"listening on (https?://\S+)", "joined": r"(\S+) has joined the cluster"}
        urls = []
        for number in range(1, GATEWAYS + 1):
            # Each has a store of its own.
            place = folder / f"gw-{number}"
            place.mkdir()
            if (folder / "config.toml").exists():
                shutil.copy(folder / "config.toml", place)
            own = {**shared, "GEMINI_BALANCE__CLUSTER__NODE": place.name}
            if number > 1 and "GEMINI_BALANCE__ADMIN__PORT" in own:
                # The operator asks the first.
                own["GEMINI_BALANCE__ADMIN__PORT"] = str(free_port())
            urls.append(urllib.parse.urlsplit(stack.enter_context(started(["serve"], own, place, patterns))["url"]))
        port = stack.enter_context(balancer([url.port for url in urls]))
        yield f"{urls[0].scheme}://{urls[0].hostname}:{port}"


def pytest_terminal_summary(terminalreporter):
    if GATEWAYS > 1:
        terminalreporter.write_line(f"connections of {GATEWAYS} gateways: {', '.join(map(str, connections))}")


@contextlib.contextmanager
def gateway(folder: Path, keys: dict[str, str], simulate: tuple[str, ...] = (), **settings: str):
    """A gateway before a simulator, on these keys (secret to project). Settings are as in the environment, `simulate` is
    what else the simulator is told."""
    given = [argument for key, project in keys.items() for argument in ("--key", f"{key}={project}")]
    with started(
        ["simulator", "--listen", "127.0.0.1:0", "--events", "8", *given, *simulate],
        {},
        folder,
        {"simulator": r"simulator on (http://\S+)"},
    ) as simulator:
        environment = {
            "GOOGLE_API_KEYS": ",".join(keys),
            "GEMINI_API_BASE_URL": simulator["simulator"],
            "GEMINI_BALANCE__SERVER__HOST": "127.0.0.1",
            "GEMINI_BALANCE__SERVER__PORT": "0",
            **settings,
        }
        if GATEWAYS > 1:
            with cluster(folder, environment) as url:
                yield Demo(url=url, simulator=simulator["simulator"])
            return
        with started(["serve"], environment, folder, {"url": r"listening on (https?://\S+)"}) as found:
            yield Demo(url=found["url"], simulator=simulator["simulator"])


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    yield from run(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def fresh_demo(tmp_path):
    yield from run(tmp_path)


@pytest.fixture(scope="session")
def shared_pool(tmp_path_factory):
    with gateway(tmp_path_factory.mktemp("pool"), POOL, ACCESS_TOKENS=f"tester={TOKEN}") as pool:
        yield pool


@pytest.fixture
def pool(shared_pool):
    """A gateway on keys of several projects, of which none may be asked for what another owns."""
    before = shared_pool.control("GET", "wrong_owners")
    yield shared_pool
    assert shared_pool.control("GET", "wrong_owners") == before


def lost_signatures(pool: Demo) -> dict[str, int]:
    """What tells that a conversation has lost what Gemini signed, placeholders in its stead included."""
    counts = pool.control("GET", "stats")["signatures"]
    return {name: counts[name] for name in ("skipped", "missing", "corrupted", "ids_missing")}


@pytest.fixture
def signed_pool(shared_pool):
    """A gateway on keys of several projects, through which no conversation may lose a signature."""
    before = lost_signatures(shared_pool)
    yield shared_pool
    assert lost_signatures(shared_pool) == before


@pytest.fixture
def client(pool):
    with connect(pool) as client:
        yield client
