#!/usr/bin/env python3
"""What a request costs through this program beside others, asked in turn in one run, so that a busy machine hurts all alike.

The simulated Gemini API of this program is the upstream, wrk the client, over 32 connections as fast as it is answered. It prints a
table of markdown: the processor's time a request, the median of its ratios to the first of the contestants, what requests took, and
memory. Ratios are what to quote.

    cargo build --locked --release && cargo build --locked --release --example bare_proxy
    tests/cost/beside.py                                      # nginx, the parts alone, gemini-balance
    tests/cost/beside.py --of stream                          # the same with streams of 50 events
    tests/cost/beside.py uncounted gemini-balance             # what counting usage costs
    tests/cost/beside.py uncounted gemini-balance --callers 100 --models 20
    tests/cost/beside.py gemini-balance litellm portkey --of chat --folder /tmp/peers

nginx            a plain reverse proxy: no buffering, connections kept, no log
bare             actix-web and reqwest with nothing in between (tests/cost/bare_proxy.rs)
gemini-balance   with its defaults: five keys, both logs, the store, usage
uncounted        the same with `usage.enabled = false`
litellm          from PyPI, one process, the five keys as five deployments; chats alone, in OpenAI's format, which it need not translate
portkey          from npm; it has no pool, so it is given one key; chats alone

Needs wrk and nginx (apt-get install wrk nginx), for the last two python3-venv and npm; what is installed goes into the folder,
which is kept if it is named. Nothing but 127.0.0.1 is spoken to but for that; all that is started is ended.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LITELLM = "litellm[proxy]==1.108.7"
PORTKEY = "@portkey-ai/gateway@1.15.2"
MODEL = "gemini-2.5-flash"
KEYS = [f"AIza-made-up-key-{n}" for n in range(1, 6)]
CONNECTIONS = 32
EVENTS = 50
NATIVE = json.dumps({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]})
CHAT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
PATIENCE = 120
NGINX = """
worker_processes 2; daemon off; pid nginx.pid; error_log nginx.err;
events { worker_connections 4096; }
http {
  access_log off;
  upstream google { server 127.0.0.1:%(upstream)d; keepalive 1024; }
  server {
    listen 127.0.0.1:%(port)d;
    location / {
      proxy_pass http://google; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header x-goog-api-key "%(native)s"; proxy_set_header Authorization "%(openai)s";
      proxy_buffering off; proxy_request_buffering off;
    }
  }
}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def descendants(pid):
    """The process with all below it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat[stat.rindex(")") + 2 :].split()[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def over_all(pid, file, read):
    """The sum of what `read` finds in a file of each process."""
    total = 0
    for each in descendants(pid):
        try:
            total += read(pathlib.Path(f"/proc/{each}/{file}").read_text())
        except OSError:
            continue
    return total


def processor_seconds(pid):
    def ticks(stat):
        fields = stat[stat.rindex(")") + 2 :].split()
        return int(fields[11]) + int(fields[12])

    return over_all(pid, "stat", ticks) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    def kib(status):
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) if found else 0

    return over_all(pid, "status", kib) / 1024


class Run:
    """All that is started, each in a process group of its own, so that it can be ended."""

    def __init__(self, folder):
        self.folder, self.started = folder, []

    def place(self, name):
        place = self.folder / name
        place.mkdir(exist_ok=True)
        return place

    def start(self, name, command, port, **variables):
        place = self.place(name)
        log = (place / "output").open("wb")
        process = subprocess.Popen(
            command, cwd=place, stdout=log, stderr=log, env=dict(os.environ, **variables), start_new_session=True
        )
        self.started.append(process)
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return process
            except OSError:
                time.sleep(0.05)
        sys.exit(f"{name} did not come up: {(place / 'output').read_text()[-1000:]}")

    def end(self):
        for process in reversed(self.started):
            if process.poll() is None:
                os.killpg(process.pid, 15)
        for process in self.started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)


class Contestants:
    """Starts each by its name: the process, its port, and the credentials of its clients."""

    def __init__(self, run, asked, upstream):
        self.run, self.asked, self.upstream = run, asked, upstream
        self.tokens = [f"made-up-token-of-client-{n:04}" for n in range(asked.callers)]
        self.openai = f"http://127.0.0.1:{upstream}/v1beta/openai"

    def nginx(self, port):
        conf = self.run.place("nginx") / "nginx.conf"
        native, openai = ("", f"Bearer {KEYS[0]}") if self.asked.of == "chat" else (KEYS[0], "")
        conf.write_text(NGINX % {"upstream": self.upstream, "port": port, "native": native, "openai": openai})
        command = ["nginx", "-p", conf.parent, "-e", "nginx.err", "-c", conf]
        return self.run.start("nginx", command, port), KEYS[:1]

    def variables(self, port):
        return {
            "GOOGLE_API_KEYS": ",".join(KEYS),
            "GEMINI_API_BASE_URL": f"http://127.0.0.1:{self.upstream}",
            "OPENAI_API_BASE_URL": self.openai,
            "GEMINI_BALANCE__SERVER__PORT": str(port),
        }

    def bare(self, port):
        binary = self.asked.binary.parent / "examples/bare_proxy"
        return self.run.start("bare", [binary], port, **self.variables(port)), KEYS[:1]

    def gemini_balance(self, port, name="gemini-balance", **more):
        limits = "rpm = 1000000, tpm = 1000000000, rpd = 1000000000"
        budget = "budget = { tokens_month = 1000000000000, money_month = 1000000 }"
        entries = [
            f'{{ name = "client-{n}", secret = "{token}", {limits}, {budget} }}' for n, token in enumerate(self.tokens)
        ]
        config = self.run.place(name) / "config.toml"
        config.write_text(f"auth.tokens = [{', '.join(entries)}]\n")
        config.chmod(0o600)
        process = self.run.start(name, [self.asked.binary], port, **self.variables(port), **more)
        return process, self.tokens or KEYS[:1]

    def uncounted(self, port):
        return self.gemini_balance(port, "uncounted", GEMINI_BALANCE__USAGE__ENABLED="false")

    def litellm(self, port):
        place = self.run.place("litellm")
        if not (place / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            subprocess.run([place / "bin/pip", "install", "-q", "--disable-pip-version-check", LITELLM], check=True)
            (place / "complete").touch()
        token = "sk-made-up-token-0123456789"
        deployment = {"model": f"openai/{MODEL}", "api_base": self.openai}
        models = [{"model_name": MODEL, "litellm_params": {**deployment, "api_key": key}} for key in KEYS]
        # What is JSON is YAML as well.
        (place / "config.yaml").write_text(
            json.dumps({"model_list": models, "general_settings": {"master_key": token}})
        )
        command = [place / "bin/litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
        return self.run.start("litellm", [*command, "--telemetry", "False"], port), [token]

    def portkey(self, port):
        place = self.run.place("portkey")
        if not (place / "complete").exists():
            npm = ["npm", "install", "--prefix", place, "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run([*npm, "--loglevel=error", PORTKEY], check=True)
            (place / "complete").touch()
        server = place / "node_modules/@portkey-ai/gateway/build/start-server.js"
        command = ["node", server, f"--port={port}", "--headless"]
        return self.run.start("portkey", command, port, NODE_ENV="production"), KEYS[:1]

    def extra_headers(self, name):
        if name != "portkey":
            return {}
        return {"x-portkey-provider": "openai", "x-portkey-custom-host": self.openai}


def script(folder, name, kind, credentials, models, headers):
    """What wrk asks: each client with each model, shuffled."""
    method = {"unary": "generateContent", "stream": "streamGenerateContent?alt=sse"}.get(kind)
    header = "Authorization" if kind == "chat" else "x-goog-api-key"
    prefix = "Bearer " if kind == "chat" else ""
    # These two know no other paths than Google's.
    chat = "/v1beta/openai/chat/completions" if name in ("nginx", "bare") else "/v1/chat/completions"
    requests = []
    for at, credential in enumerate(credentials):
        for n in range(models):
            model = f"{MODEL}-{(at + n) % models}" if models > 1 else MODEL
            path = chat if kind == "chat" else f"/v1beta/models/{model}:{method}"
            all_headers = {"Content-Type": "application/json", header: prefix + credential, **headers}
            table = ", ".join(f'["{key}"] = "{value}"' for key, value in all_headers.items())
            body = CHAT if kind == "chat" else NATIVE
            requests.append(f'{{"{path}", {{{table}}}, [==[{body}]==]}}')
    lua = folder / f"{name}.lua"
    lua.write_text(
        f"local asked, made, at = {{{', '.join(requests)}}}, {{}}, 0\n"
        'init = function() for i, it in ipairs(asked) do made[i] = wrk.format("POST", it[1], it[2], it[3]) end\n'
        "  for i = #made, 2, -1 do local j = math.random(i) made[i], made[j] = made[j], made[i] end end\n"
        "request = function() at = at % #made + 1 return made[at] end\n"
    )
    return lua


def wrk(lua, port, seconds):
    """How many were answered, and what 50 and 99 of 100 took, in milliseconds."""
    load = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", lua]
    said = subprocess.run([*load, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True).stdout
    if re.search(r"Non-2xx", said) or not (count := int(re.search(r"(\d+) requests in", said)[1])):
        sys.exit(f"requests were refused at {port}: {said}")
    times = [re.search(rf"\s{share}%\s+([\d.]+)(us|ms|s)\n", said) for share in (50, 99)]
    scale = {"us": 0.001, "ms": 1, "s": 1000}
    return count, *[float(it[1]) * scale[it[2]] for it in times]


def measure(run, asked):
    upstream = free_port()
    keys = [word for key in KEYS for word in ("--key", key)]
    models = [word for n in range(asked.models) for word in ("--model", f"{MODEL}-{n}")]
    events, text = (EVENTS, "200") if asked.of == "stream" else (1, "700")
    command = [asked.binary, "simulator", "--listen", f"127.0.0.1:{upstream}", "--log-requests", "100"]
    run.start("upstream", [*command, "--events", str(events), "--text-bytes", text, *keys, *models], upstream)
    contestants = Contestants(run, asked, upstream)
    running = {}
    for name in asked.contestants:
        port = free_port()
        process, credentials = getattr(contestants, name.replace("-", "_"))(port)
        lua = script(run.folder, name, asked.of, credentials, asked.models, contestants.extra_headers(name))
        running[name] = (process.pid, port, lua)
    for _, port, lua in running.values():
        wrk(lua, port, 1)
    idle = {name: resident_mib(pid) for name, (pid, _, _) in running.items()}
    measured = {name: [] for name in running}
    for turn in range(asked.rounds):
        # Whoever comes first in one round comes last in the next.
        for name in list(running)[:: 1 if turn % 2 == 0 else -1]:
            pid, port, lua = running[name]
            before = processor_seconds(pid)
            count, half, most = wrk(lua, port, asked.seconds)
            spent = (processor_seconds(pid) - before) * 1e6 / count
            measured[name].append((spent, count / asked.seconds, half, most, resident_mib(pid)))
    return idle, measured


def print_table(asked, idle, measured):
    base = asked.contestants[0]
    print(f"| {asked.of} | CPU a request | ratio | requests a second | 50 of 100 took | 99 of 100 took | memory | at its most |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, rounds in measured.items():
        spent, rate, half, most, _ = (statistics.median(column) for column in zip(*rounds))
        ratios = sorted(mine[0] / other[0] for mine, other in zip(rounds, measured[base]))
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})" if name != base else "1"
        print(
            f"| {name} | {spent:.1f} µs | {ratio} | {rate:.0f} | {half:.1f} ms | {most:.1f} ms"
            f" | {idle[name]:.0f} MiB | {max(it[4] for it in rounds):.0f} MiB |"
        )


def main():
    known = ["nginx", "bare", "gemini-balance", "uncounted", "litellm", "portkey"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestants", nargs="*", default=known[:3], metavar="CONTESTANT", help=", ".join(known))
    parser.add_argument("--of", choices=["unary", "chat", "stream"], default="unary")
    parser.add_argument("--callers", type=int, default=0, help="clients with limits and budgets, each with a token")
    parser.add_argument("--models", type=int, default=1, help="how many models each asks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--binary", type=pathlib.Path, default="target/release/gemini-balance")
    parser.add_argument("--folder", type=pathlib.Path, help="where they run, and where what is installed is kept")
    asked = parser.parse_args()
    if unknown := set(asked.contestants) - set(known):
        sys.exit(f"{', '.join(sorted(unknown))}: not known; there are {', '.join(known)}")
    if asked.of != "chat" and {"litellm", "portkey"} & set(asked.contestants):
        sys.exit("litellm and portkey are compared by chats: --of chat")
    if asked.callers and set(asked.contestants) - {"gemini-balance", "uncounted"}:
        sys.exit("--callers is of gemini-balance and uncounted alone")
    for tool in {"wrk", *(tool for tool in ("nginx",) if tool in asked.contestants)}:
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install {tool}")
    asked.binary = asked.binary.resolve()
    folder = asked.folder.resolve() if asked.folder else pathlib.Path(tempfile.mkdtemp(prefix="beside-"))
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder)
    try:
        idle, measured = measure(run, asked)
    finally:
        run.end()
        if not asked.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print_table(asked, idle, measured)


if __name__ == "__main__":
    main()
