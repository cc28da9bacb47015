"""Claude Code, Anthropic's own agent, as its users run it in scripts: it calls its tools through the gateway over several
turns, goes on with a session, and gets over an overloaded Google."""

import json

import pytest

from conftest import MODEL, POOL, SIGNING_MODEL, TOKEN, gateway, home, lost_signatures, node_file, program

# A step of two calls between two of one.
PROMPT = (
    'Please call Bash {{"command":"echo first > one.txt; cat one.txt"}}, '
    'then call Bash {{"command":"echo second > two.txt"}} and call Read {{"file_path":"{work}/one.txt"}}, '
    'then call Bash {{"command":"echo the $((40 + 2))nd"}}'
)


@pytest.fixture
def pool(tmp_path):
    (tmp_path / "gateway").mkdir()
    with gateway(tmp_path / "gateway", POOL, ACCESS_TOKENS=f"claude={TOKEN}") as pool:
        yield pool


@pytest.fixture
def claude(pool, tmp_path):
    """Runs Claude Code in a folder of its own; gives what it ends with, and the folder."""
    _, work, run = home(tmp_path, pool.url)
    # Where npm ran no scripts of the package's, the launcher is not in its place.
    launcher = [program("node", "nodejs"), str(node_file("@anthropic-ai/claude-code/cli-wrapper.cjs"))]

    def ask(prompt, *flags, ends_well=True, credential="ANTHROPIC_AUTH_TOKEN"):
        flags = ["--output-format", "json", "--allowedTools", "Bash", "Read", *flags]
        ran = run(
            [*launcher, "-p", prompt.format(work=work), *flags],
            ANTHROPIC_BASE_URL=pool.url,
            DISABLE_TELEMETRY="1",
            DISABLE_AUTOUPDATER="1",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            **{credential: TOKEN},
        )
        assert (ran.returncode == 0) == ends_well, ran.stdout + ran.stderr
        return json.loads(ran.stdout)

    ask.work = work
    return ask


def answered(pool):
    return [request for request in pool.arrived() if request["status"] == 200]


@pytest.mark.parametrize("model", [None, "claude-sonnet-4-6", MODEL, SIGNING_MODEL])
def test_claude_code_calls_its_tools_over_several_turns(pool, claude, model):
    told = claude(PROMPT, *([] if model is None else ["--model", model]))
    assert told["subtype"] == "success" and not told["is_error"]
    # Four calls' results among what it said and was told.
    assert told["num_turns"] == 5
    assert "the 42nd" in told["result"]
    assert (claude.work / "one.txt").read_text() == "first\n"
    assert (claude.work / "two.txt").read_text() == "second\n"
    assert len(answered(pool)) == 4
    assert {request["path"].rsplit(":")[-1] for request in pool.arrived()} == {"streamGenerateContent"}
    # What it says of its session keeps it on a project, which has the prompt cached.
    assert len({request["project"] for request in pool.arrived()}) == 1
    assert set(lost_signatures(pool).values()) == {0}
    assert told["usage"]["input_tokens"] > 0 and told["usage"]["output_tokens"] > 0


def test_claude_code_sends_its_credential_as_a_key_as_well(claude):
    told = claude("Please call Bash {{\"command\":\"echo hi\"}}", "--model", "haiku", credential="ANTHROPIC_API_KEY")
    assert told["subtype"] == "success" and told["num_turns"] == 2


def test_claude_code_searches_the_web(pool, claude):
    """Its tool makes a request of its own, with the server's tool alone."""
    told = claude('Please call WebSearch {{"query":"who won"}}', "--model", SIGNING_MODEL, "--allowedTools", "WebSearch")
    assert told["subtype"] == "success" and not told["permission_denials"]
    assert "https://vertexaisearch.cloud.google.com/grounding-api-redirect/simulated-1" in told["result"]
    assert set(lost_signatures(pool).values()) == {0}


def test_claude_code_goes_on_with_a_session(pool, claude):
    first = claude(PROMPT, "--model", SIGNING_MODEL)
    second = claude('Please call Bash {{"command":"echo the $((40 + 3))rd"}}', "--model", SIGNING_MODEL, "--continue")
    assert second["session_id"] == first["session_id"]
    assert "the 43rd" in second["result"]
    assert set(lost_signatures(pool).values()) == {0}


def test_claude_code_gets_over_an_overloaded_google_in_the_middle(pool, claude):
    # More of them than the gateway hides.
    pool.control("PUT", "faults", [{"after": 2, "times": 4, "fault": {"kind": "status", "status": 503}}])
    told = claude(PROMPT, "--model", SIGNING_MODEL)
    assert told["subtype"] == "success" and "the 42nd" in told["result"]
    assert pool.control("GET", "stats")["by_status"]["503"] == 4
    assert len(answered(pool)) == 4
    assert set(lost_signatures(pool).values()) == {0}


def test_claude_code_shows_a_stream_that_broke_off_as_an_error(pool, claude):
    pool.control("PUT", "faults", [{"times": 1, "fault": {"kind": "truncate", "after_events": 3}}])
    told = claude("Hello", "--model", MODEL, ends_well=False)
    assert told["is_error"] and "broke off" in told["result"]
    assert len(pool.arrived()) == 1, "what it had shown was asked for again"


def test_claude_code_names_a_model_that_is_not_there(pool, claude):
    told = claude("Hello", "--model", "no-such-model", ends_well=False)
    assert told["is_error"] and "no-such-model" in told["result"]
    assert {request["path"] for request in pool.arrived()} == {"/v1beta/models"}, "more than a look at what there is"
