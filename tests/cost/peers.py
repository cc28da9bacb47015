#!/usr/bin/env python3
"""What a chat costs through this program, and through those of its kind that can be installed from PyPI and npm.

One run on one machine: the simulated Gemini API of this program as the upstream, and in front of it, in turn, this program, LiteLLM
and Portkey, each with five keys of the pool where it has one, in OpenAI's format, which none of them has to translate. wrk asks,
as fast as it is answered. It prints a table of markdown: the processor's time a request, the time that requests took, and memory.
Ratios are what to quote. LiteLLM is one process, as it is by default; Portkey picks no key of a pool, so it is given one.

    cargo build --release --locked
    tests/cost/peers.py [--binary target/release/gemini-balance] [--rounds 3] [--seconds 5] [--folder DIR]

Needs wrk (apt-get install wrk), python3-venv and npm; what it installs goes into the folder (kept if named). Nothing but 127.0.0.1
is spoken to but for that; all that is started is ended.
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
TOKEN = "sk-made-up-token-of-a-client-0123456789"
CONNECTIONS = 32
CHAT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
PATIENCE = 120


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def descendants(pid):
    """The process with all below it."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat[stat.rindex(")") + 2 :].split()[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


def processor_seconds(pid):
    ticks = 0
    for each in descendants(pid):
        try:
            stat = pathlib.Path(f"/proc/{each}/stat").read_text()
        except OSError:
            continue
        fields = stat[stat.rindex(")") + 2 :].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    kib = 0
    for each in descendants(pid):
        try:
            status = pathlib.Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        if found := re.search(r"VmRSS:\s+(\d+)", status):
            kib += int(found[1])
    return kib / 1024


class Run:
    """All that is started, each in a process group of its own, so that it can be ended."""

    def __init__(self, folder):
        self.folder, self.started = folder, []

    def start(self, name, command, port, **variables):
        where = self.folder / name
        where.mkdir(exist_ok=True)
        log = (where / "log").open("wb")
        process = subprocess.Popen(
            command, cwd=where, stdout=log, stderr=log, env=dict(os.environ, **variables), start_new_session=True
        )
        self.started.append(process)
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return process
            except OSError:
                time.sleep(0.05)
        sys.exit(f"{name} did not come up: {(where / 'log').read_text()[-1000:]}")

    def end(self):
        for process in reversed(self.started):
            if process.poll() is None:
                os.killpg(process.pid, 15)
        for process in self.started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)


def install(folder):
    python, node = folder / "litellm-venv", folder / "portkey-npm"
    if not (python / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", python], check=True)
        subprocess.run([python / "bin/pip", "install", "-q", "--disable-pip-version-check", LITELLM], check=True)
        (python / "complete").touch()
    if not (node / "complete").exists():
        node.mkdir(exist_ok=True)
        npm = ["npm", "install", "--prefix", node, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        subprocess.run([*npm, PORTKEY], check=True)
        (node / "complete").touch()
    return python / "bin/litellm", node / "node_modules/@portkey-ai/gateway/build/start-server.js"


def wrk(folder, port, headers, seconds):
    """How many were answered, and what they took: 50 and 99 of 100, in milliseconds."""
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in {"Content-Type": "application/json", **headers}.items()]
    script = folder / "chat.lua"
    script.write_text("\n".join(['wrk.method = "POST"', f"wrk.body = [==[{CHAT}]==]", *lines]))
    load = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", script]
    said = subprocess.run(
        [*load, f"http://127.0.0.1:{port}/v1/chat/completions"], capture_output=True, text=True, check=True
    ).stdout
    if refused := re.search(r"Non-2xx.*: (\d+)", said):
        sys.exit(f"{refused[1]} requests were refused at {port}: {said}")
    times = [re.search(rf"\s{share}%\s+([\d.]+)(us|ms|s)\n", said) for share in (50, 99)]
    scale = {"us": 0.001, "ms": 1, "s": 1000}
    return int(re.search(r"(\d+) requests in", said)[1]), *[float(it[1]) * scale[it[2]] for it in times]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default="target/release/gemini-balance")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path)
    asked = parser.parse_args()
    for tool, package in (("wrk", "wrk"), ("npm", "npm")):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install {package}")
    binary = asked.binary.resolve()
    kept = asked.folder and asked.folder.resolve()
    folder = kept or pathlib.Path(tempfile.mkdtemp(prefix="peers-"))
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder)
    try:
        litellm, portkey = install(folder)
        upstream, ours, theirs, third = (free_port() for _ in range(4))
        keys = [word for key in KEYS for word in ("--key", key)]
        run.start("upstream", [binary, "simulator", "--listen", f"127.0.0.1:{upstream}", "--text-bytes", "700", *keys], upstream)
        base = f"http://127.0.0.1:{upstream}/v1beta/openai"
        gateways = {}
        gateways["gemini-balance"] = (
            run.start(
                "gemini-balance",
                [binary],
                ours,
                GOOGLE_API_KEYS=",".join(KEYS),
                ACCESS_TOKENS=f"alice={TOKEN}",
                GEMINI_API_BASE_URL=f"http://127.0.0.1:{upstream}",
                OPENAI_API_BASE_URL=base,
                GEMINI_BALANCE__SERVER__PORT=str(ours),
            ),
            ours,
            {"Authorization": f"Bearer {TOKEN}"},
        )
        models = [
            {"model_name": MODEL, "litellm_params": {"model": f"openai/{MODEL}", "api_base": base, "api_key": key}} for key in KEYS
        ]
        # What is JSON is YAML as well.
        (folder / "litellm.yaml").write_text(json.dumps({"model_list": models, "general_settings": {"master_key": TOKEN}}))
        gateways["LiteLLM"] = (
            run.start(
                "litellm",
                [litellm, "--config", folder / "litellm.yaml", "--host", "127.0.0.1", "--port", str(theirs), "--telemetry", "False"],
                theirs,
            ),
            theirs,
            {"Authorization": f"Bearer {TOKEN}"},
        )
        gateways["Portkey"] = (
            run.start("portkey", ["node", portkey, f"--port={third}", "--headless"], third, NODE_ENV="production"),
            third,
            {"Authorization": f"Bearer {KEYS[0]}", "x-portkey-provider": "openai", "x-portkey-custom-host": base},
        )
        measured = {name: [] for name in gateways}
        idle = {name: resident_mib(process.pid) for name, (process, _, _) in gateways.items()}
        for _, port, headers in gateways.values():
            wrk(folder, port, headers, 1)
        for _ in range(asked.rounds):
            for name, (process, port, headers) in gateways.items():
                before = processor_seconds(process.pid)
                count, half, most = wrk(folder, port, headers, asked.seconds)
                spent = (processor_seconds(process.pid) - before) * 1e6 / count
                measured[name].append((spent, count / asked.seconds, half, most))
        print("| | CPU a request | ratio | requests a second | 50 of 100 took | 99 of 100 took | memory idle | memory after |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for name, (process, _, _) in gateways.items():
            spent, rate, half, most = (statistics.median(column) for column in zip(*measured[name]))
            pairs = zip(measured[name], measured["gemini-balance"])
            ratio = statistics.median(mine[0] / other[0] for mine, other in pairs)
            print(
                f"| {name} | {spent:.0f} µs | {ratio:.1f} | {rate:.0f} | {half:.1f} ms | {most:.1f} ms"
                f" | {idle[name]:.0f} MiB | {resident_mib(process.pid):.0f} MiB |"
            )
    finally:
        run.end()
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
