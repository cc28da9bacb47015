"""Google's own command line client. On a pool whose day is spent it must end as it does at Google, and not try on."""

import json
import os
import subprocess
import time

import httpx
import pytest

from conftest import MODEL, TIMEOUT_S, TOKEN, gateway, node_program

# What Google's client takes until it gives up on a spent day, its own start included.
ENDS_WITHIN_S = 10


def ask(folder, url: str) -> tuple[subprocess.CompletedProcess, float]:
    home = folder / "home"
    (home / ".gemini").mkdir(parents=True)
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
    }
    (home / ".gemini" / "settings.json").write_text(json.dumps(settings))
    work = folder / "work"
    work.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GEMINI_API_KEY": TOKEN,
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
    }
    begun = time.monotonic()
    ran = subprocess.run(
        [node_program("gemini"), "--model", MODEL, "--prompt", "Say hi"],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * TIMEOUT_S,
    )
    return ran, time.monotonic() - begun


def test_gemini_cli_is_served(demo, tmp_path):
    ran, _ = ask(tmp_path, demo.url)
    assert ran.returncode == 0, ran.stderr
    assert "Say hi" in ran.stdout, ran.stdout


@pytest.mark.parametrize("keys", [1, 2])
def test_gemini_cli_ends_soon_on_a_pool_whose_day_is_spent(tmp_path, keys):
    secrets = {f"AIza-spent-{at}": f"project-{at}" for at in range(keys)}
    (tmp_path / "gateway").mkdir()
    with gateway(tmp_path / "gateway", secrets, ACCESS_TOKENS=f"cli={TOKEN}", simulate=("--rpd", "1")) as pool:
        body = {"contents": [{"parts": [{"text": "hi"}]}]}
        url = f"{pool.url}/v1beta/models/{MODEL}:generateContent"
        statuses = [
            httpx.post(url, headers={"x-goog-api-key": TOKEN}, json=body, timeout=TIMEOUT_S).status_code
            for _ in range(keys + 2)
        ]
        assert statuses == [200] * keys + [429] * 2
        before = len(pool.arrived())
        ran, took_s = ask(tmp_path, pool.url)
        assert ran.returncode != 0
        assert took_s < ENDS_WITHIN_S, f"{took_s} s, {ran.stderr}"
        assert len(pool.arrived()) == before, "a spent project was asked again"
