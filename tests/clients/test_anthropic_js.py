"""Anthropic's JavaScript SDK: js/anthropic.mjs asks, here is what must have come."""

import json
import subprocess

import pytest

from conftest import MODEL, SIGNING_MODEL, TIMEOUT_S, TOKEN, node_file, program
from errands import ALL_ERRANDS, ERRANDS_BY_STEP, LAST_RESULT

CLAUDE = "claude-sonnet-5"
MODELS = [MODEL, SIGNING_MODEL, CLAUDE]
SOURCE = "js/anthropic.mjs"


@pytest.fixture
def play(request):
    def play(demo, scenario, model=MODEL):
        node = program("node", "nodejs")
        folder = node_file("@anthropic-ai/sdk").parents[2]
        ran = subprocess.run(
            [node, request.path.parent / SOURCE, folder, demo.url, TOKEN, model, scenario],
            capture_output=True,
            text=True,
            timeout=4 * TIMEOUT_S,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return play


def pairs(calls):
    return [tuple(call) for call in calls]


def test_a_message_comes_whole_and_tokens_and_models_are_told(signed_pool, play):
    told = play(signed_pool, "whole", CLAUDE)
    assert (told["model"], told["text"]) == (CLAUDE, "You said: Hello")
    assert told["counted"]["input_tokens"] == told["usage"]["input_tokens"] > 0
    assert MODEL in told["models"]


@pytest.mark.parametrize("model", MODELS)
def test_a_message_streams_piece_by_piece(signed_pool, play, model):
    told = play(signed_pool, "stream", model)
    assert len(told["pieces"]) > 1
    assert "".join(told["pieces"]) == told["text"]
    assert told["text"].startswith("You said: Hello")
    assert (told["model"], told["stop_reason"]) == (model, "end_turn")


@pytest.mark.parametrize("scenario", ["loop", "loop_streamed"])
@pytest.mark.parametrize("model", MODELS)
def test_a_tool_loop_keeps_its_signatures_at_every_step(signed_pool, play, scenario, model):
    told = play(signed_pool, scenario, model)
    assert [pairs(step) for step in told["steps"]] == ERRANDS_BY_STEP
    assert LAST_RESULT in told["text"]
    assert told["stop_reason"] == "end_turn"


@pytest.mark.parametrize("scenario", ["runner", "runner_streamed"])
@pytest.mark.parametrize("model", MODELS)
def test_the_sdks_tool_runner_goes_on_without_threads(signed_pool, play, scenario, model):
    told = play(signed_pool, scenario, model)
    # Calls of one step run at once.
    assert sorted(pairs(told["ran"])) == sorted(ALL_ERRANDS)
    assert LAST_RESULT in told["text"]


@pytest.mark.parametrize("kind", ["reset", "truncate", "error_event"])
def test_a_stream_that_breaks_off_raises_what_the_gateway_said(fresh_demo, play, kind):
    framed = {"framed": True} if kind == "error_event" else {}
    fresh_demo.control("PUT", "faults", [{"fault": {"kind": kind, "after_events": 3, **framed}}])
    told = play(fresh_demo, "failing")
    assert told["pieces"]
    assert told.get("error", "").endswith("Error"), told
    assert told["type"] in ("api_error", "overloaded_error"), told


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (503, "overloaded_error")])
def test_an_error_before_the_stream_has_its_type(fresh_demo, play, status, kind):
    fresh_demo.fail(status)
    told = play(fresh_demo, "failing")
    assert told["pieces"] == [] and told["type"] == kind, told
