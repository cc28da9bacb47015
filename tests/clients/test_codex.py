"""Codex, OpenAI's own agent, as its users run it in scripts: it runs commands through the gateway over several turns, goes on
with a session, and gets over an overloaded Google."""

import json

import pytest

from conftest import MODEL, POOL, SIGNING_MODEL, TOKEN, gateway, home, lost_signatures, node_program, program

# A step of two calls between two of one.
PROMPT = (
    'Please call exec_command {"cmd":"echo first > one.txt; cat one.txt"}, '
    'then call exec_command {"cmd":"echo second > two.txt"} and call exec_command {"cmd":"cat one.txt"}, '
    'then call exec_command {"cmd":"echo the $((40 + 2))nd"}'
)
SETTINGS = """
model_provider = "gateway"

[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_TOKEN"
wire_api = "responses"
"""


@pytest.fixture
def pool(tmp_path):
    (tmp_path / "gateway").mkdir()
    with gateway(tmp_path / "gateway", POOL, ACCESS_TOKENS=f"codex={TOKEN}") as pool:
        yield pool


@pytest.fixture
def codex(pool, tmp_path):
    """Runs Codex in a folder of its own; gives its events."""
    there, work, run = home(tmp_path, pool.url)
    (there / "config.toml").write_text(SETTINGS.format(url=pool.url))

    def ask(prompt, *resume, model=SIGNING_MODEL, ends_well=True):
        # What it runs is what these prompts say; a sandbox is not to be had everywhere.
        flags = ["--skip-git-repo-check", "--json", "--dangerously-bypass-approvals-and-sandbox", "--model", model]
        ran = run(
            [program("node", "nodejs"), node_program("codex"), "exec", *flags, *resume, prompt],
            CODEX_HOME=str(there),
            GATEWAY_TOKEN=TOKEN,
        )
        assert (ran.returncode == 0) == ends_well, ran.stdout + ran.stderr
        return [json.loads(line) for line in ran.stdout.splitlines()]

    ask.work = work
    return ask


def done(events, kind):
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item for item in items if item["type"] == kind]


def answered(pool):
    return [request for request in pool.arrived() if request["status"] == 200]


@pytest.mark.parametrize("model", [MODEL, SIGNING_MODEL])
def test_codex_runs_commands_over_several_turns(pool, codex, model):
    events = codex(PROMPT, model=model)
    ran = done(events, "command_execution")
    assert [command["exit_code"] for command in ran] == [0] * 4
    assert sorted(command["aggregated_output"] for command in ran) == ["", "first\n", "first\n", "the 42nd\n"]
    (last,) = done(events, "agent_message")
    assert "the 42nd" in last["text"]
    assert (codex.work / "one.txt").read_text() == "first\n"
    assert (codex.work / "two.txt").read_text() == "second\n"
    assert events[-1]["type"] == "turn.completed"
    assert events[-1]["usage"]["input_tokens"] > 0 and events[-1]["usage"]["reasoning_output_tokens"] > 0
    assert len(answered(pool)) == 4
    # What it says of its session keeps it on a project, which has the prompt cached.
    assert len({request["project"] for request in pool.arrived()}) == 1
    assert set(lost_signatures(pool).values()) == {0}


def test_codex_patches_files_with_a_tool_of_plain_text(pool, codex):
    """For names of OpenAI's models it declares a custom tool, whose input is no JSON."""
    patch = json.dumps({"input": "*** Begin Patch\n*** Add File: new.txt\n+made by a patch\n*** End Patch\n"})
    prompt = f'Please call apply_patch {patch}, then call exec_command {{"cmd":"cat new.txt"}}'
    events = codex(prompt, model="gpt-5.5")
    assert (codex.work / "new.txt").read_text() == "made by a patch\n"
    (ran,) = done(events, "command_execution")
    assert ran["aggregated_output"] == "made by a patch\n"
    assert len(answered(pool)) == 3
    assert set(lost_signatures(pool).values()) == {0}


def test_codex_goes_on_with_a_session(pool, codex):
    first = codex(PROMPT)
    second = codex('Please call exec_command {"cmd":"echo the $((40 + 3))rd"}', "resume", "--last")
    assert second[0]["thread_id"] == first[0]["thread_id"]
    (last,) = done(second, "agent_message")
    assert "the 43rd" in last["text"]
    assert set(lost_signatures(pool).values()) == {0}


def test_codex_gets_over_an_overloaded_google_in_the_middle(pool, codex):
    # More of them than the gateway hides.
    pool.control("PUT", "faults", [{"after": 2, "times": 4, "fault": {"kind": "status", "status": 503}}])
    events = codex(PROMPT)
    assert len(done(events, "command_execution")) == 4 and events[-1]["type"] == "turn.completed"
    assert pool.control("GET", "stats")["by_status"]["503"] == 4
    assert len(answered(pool)) == 4
    assert set(lost_signatures(pool).values()) == {0}


def test_codex_gets_over_a_stream_that_breaks_off_in_the_middle(pool, codex):
    pool.control("PUT", "faults", [{"after": 1, "times": 1, "fault": {"kind": "truncate", "after_events": 2}}])
    events = codex(PROMPT)
    assert len(done(events, "command_execution")) == 4 and events[-1]["type"] == "turn.completed"
    assert set(lost_signatures(pool).values()) == {0}


def test_codex_names_a_model_that_is_not_there(pool, codex):
    events = codex("Hello", model="no-such-model", ends_well=False)
    assert events[-1]["type"] == "turn.failed" and "no-such-model" in events[-1]["error"]["message"]
    assert {request["path"] for request in pool.arrived()} == {"/v1beta/models"}, "more than a look at what there is"
