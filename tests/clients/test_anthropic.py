"""Anthropic's Python SDK: answers whole and streamed, tool loops that keep Gemini's signatures, the SDK's own tool runner,
counting, listing, errors as its users catch them."""

import asyncio
import base64
import json
import os
import subprocess
import time
from typing import Literal

import anthropic
import httpx
import pydantic
import pytest

from conftest import (
    MODEL,
    POOL,
    SIGNING_MODEL,
    TIMEOUT_S,
    TOKEN,
    binary,
    free_port,
    gateway,
    lost_signatures,
)
from errands import ALL_ERRANDS, CITY, ERRANDS, ERRANDS_BY_STEP, LAST_RESULT, run_errand

# A name that stands for a model of Google's (`formats.models`), one that signs.
CLAUDE = "claude-sonnet-5"
MODELS = [MODEL, SIGNING_MODEL, CLAUDE]
HELLO = [{"role": "user", "content": "Hello"}]
DOT_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOLS = [
    {"name": "get_weather", "description": "How the weather is", "input_schema": CITY},
    {"name": "get_time", "description": "What time it is", "input_schema": CITY},
]


def connect(demo, token=TOKEN, **options):
    given = {"api_key": token, "max_retries": 0, "timeout": TIMEOUT_S, **options}
    return anthropic.Anthropic(base_url=demo.url, **given)


@pytest.fixture
def client(signed_pool):
    with connect(signed_pool) as client:
        yield client


def ask(client, messages, model=MODEL, streamed=False, **options):
    """One answer as a message, however it came."""
    given = {"model": model, "max_tokens": 2000, "messages": messages, **options}
    if not streamed:
        return client.messages.create(**given)
    with client.messages.stream(**given) as stream:
        return stream.get_final_message()


def results(message):
    return [
        {"type": "tool_result", "tool_use_id": block.id, "content": run_errand(block.name, block.input["city"])}
        for block in message.content
        if block.type == "tool_use"
    ]


def run_errands(client, prompt=ERRANDS, kept=lambda block: True, **options):
    """Answers calls until there are no more; gives the model's messages and the whole history."""
    history = [{"role": "user", "content": prompt}]
    said = []
    while len(said) < 10:
        message = ask(client, history, tools=TOOLS, **options)
        said.append(message)
        blocks = [block.model_dump(exclude_none=True) for block in message.content if kept(block)]
        history.append({"role": "assistant", "content": blocks})
        if message.stop_reason != "tool_use":
            break
        history.append({"role": "user", "content": results(message)})
    return said, history


def calls(messages):
    return [
        [(block.name, block.input["city"]) for block in message.content if block.type == "tool_use"]
        for message in messages
    ]


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.parametrize("model", MODELS)
def test_a_message_is_answered_under_the_name_that_was_asked_for(client, model):
    message = ask(client, HELLO, model)
    assert text_of(message) == "You said: Hello"
    assert (message.type, message.role, message.model) == ("message", "assistant", model)
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert len(message._request_id) == 16


@pytest.mark.parametrize("model", MODELS)
def test_a_message_streams_piece_by_piece_and_becomes_the_same(client, model):
    whole = ask(client, HELLO, model)
    with client.messages.stream(model=model, max_tokens=2000, messages=HELLO) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 1
    assert "".join(pieces) == text_of(message)
    assert text_of(message).startswith("You said: Hello")
    assert (message.model, message.stop_reason, message.usage.input_tokens) == (
        whole.model,
        whole.stop_reason,
        whole.usage.input_tokens,
    )


def test_events_come_in_anthropics_order_and_the_first_counts_the_input(client):
    events = list(client.messages.create(model=MODEL, max_tokens=2000, messages=HELLO, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert events[0].message.usage.input_tokens > 0
    assert events[-2].usage.output_tokens > 0


def test_the_async_client(signed_pool):
    async def talk():
        options = {"base_url": signed_pool.url, "api_key": TOKEN, "max_retries": 0, "timeout": TIMEOUT_S}
        async with anthropic.AsyncAnthropic(**options) as client:
            messages = [[{"role": "user", "content": f"number {n}"}] for n in range(8)]
            answers = await asyncio.gather(
                *(client.messages.create(model=MODEL, max_tokens=100, messages=message) for message in messages)
            )
            async with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
                pieces = [piece async for piece in stream.text_stream]
            return answers, pieces

    answers, pieces = asyncio.run(talk())
    for n, answer in enumerate(answers):
        assert f"number {n}" in text_of(answer)
    assert "".join(pieces).startswith("You said: Hello")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_tool_loop_keeps_its_signatures_at_every_step(client, model, streamed):
    said, _ = run_errands(client, model=model, streamed=streamed)
    assert calls(said) == ERRANDS_BY_STEP
    assert [message.stop_reason for message in said] == ["tool_use"] * 3 + ["end_turn"]
    assert LAST_RESULT in text_of(said[-1])
    ids = [block.id for message in said for block in message.content if block.type == "tool_use"]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_loop_goes_on_over_many_steps(client, streamed):
    steps = 12
    prompt = ", then ".join(f'call get_time {{"city":"number {n}"}}' for n in range(steps))
    history = [{"role": "user", "content": prompt}]
    for n in range(steps):
        message = ask(client, history, SIGNING_MODEL, streamed, tools=TOOLS)
        assert calls([message]) == [[("get_time", f"number {n}")]]
        history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results(message)}]
    assert f"number {steps - 1}: fine" in text_of(ask(client, history, SIGNING_MODEL, streamed, tools=TOOLS))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 2000}])
@pytest.mark.parametrize("model", MODELS)
def test_thinking_is_shown_with_a_signature_and_sent_back(client, model, thinking, streamed):
    said, history = run_errands(client, model=model, streamed=streamed, thinking=thinking)
    assert calls(said) == ERRANDS_BY_STEP
    first = said[0].content[0]
    assert first.type == "thinking" and first.thinking
    assert first.signature, "a thinking block without a signature is refused elsewhere"
    assert "thinking" in [block["type"] for block in history[1]["content"]]


@pytest.mark.parametrize("streamed", [False, True])
def test_thinking_that_is_not_to_be_shown_is_signed_alone(client, streamed):
    said, _ = run_errands(
        client, model=SIGNING_MODEL, streamed=streamed, thinking={"type": "adaptive", "display": "omitted"}
    )
    assert calls(said) == ERRANDS_BY_STEP
    thoughts = [block for message in said for block in message.content if block.type == "thinking"]
    assert thoughts and all(block.thinking == "" and block.signature for block in thoughts)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_drops_thinking_loses_no_signature(client, streamed):
    said, history = run_errands(
        client,
        model=SIGNING_MODEL,
        streamed=streamed,
        thinking={"type": "enabled", "budget_tokens": 2000},
        kept=lambda block: block.type != "thinking",
    )
    assert calls(said) == ERRANDS_BY_STEP
    assert "thinking" not in json.dumps(history)


def test_a_tool_loop_changes_its_key_at_every_step(client, signed_pool):
    last = signed_pool.arrived()[-1:]
    said, _ = run_errands(client, model=SIGNING_MODEL)
    assert calls(said) == ERRANDS_BY_STEP
    keys = [request["key"] for request in signed_pool.arrived(last[0]["seq"] if last else -1)]
    assert len(keys) == len(said)
    assert all(before != after for before, after in zip(keys, keys[1:])), keys


def test_a_conversation_that_says_its_session_stays_on_a_project(tmp_path):
    user = json.dumps({"device_id": "d", "account_uuid": "", "session_id": "5ad9d3cb-1df4-4e9f-9a3a-6a1b9a7d9e11"})
    # On a pool of its own: one that is busy shares its load out.
    with gateway(tmp_path, POOL, ACCESS_TOKENS=f"tester={TOKEN}") as pool, connect(pool) as client:
        said, _ = run_errands(client, model=SIGNING_MODEL, metadata={"user_id": user})
        assert calls(said) == ERRANDS_BY_STEP
        assert len({request["project"] for request in pool.arrived()}) == 1


def test_a_conversation_may_move_to_another_model_in_the_middle(client):
    """From one that does not insist on signatures, or to it."""
    for first, second in ((MODEL, SIGNING_MODEL), (SIGNING_MODEL, MODEL)):
        history = [{"role": "user", "content": 'call get_time {"city":"Oslo"}, then call get_time {"city":"Rome"}'}]
        message = ask(client, history, first, tools=TOOLS)
        history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results(message)}]
        message = ask(client, history, second, tools=TOOLS)
        assert calls([message]) == [[("get_time", "Rome")]]


def test_a_conversation_that_began_elsewhere_goes_on_with_placeholders(tmp_path):
    history = [
        {"role": "user", "content": 'call get_time {"city":"Oslo"}, then call get_time {"city":"Rome"}'},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "EqQBCgIYAhIkMGU2"},
                {"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "get_time", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_01A09q90qw90lq917835lq9", "content": "noon"}],
        },
    ]
    with gateway(tmp_path, POOL, ACCESS_TOKENS=f"tester={TOKEN}") as pool, connect(pool) as client:
        message = ask(client, history, SIGNING_MODEL, tools=TOOLS)
        assert calls([message]) == [[("get_time", "Rome")]]
        lost = lost_signatures(pool)
        assert lost["skipped"] > 0 and lost["missing"] == lost["corrupted"] == 0


def test_a_tool_that_fails_and_one_that_shows_an_image_are_told_to_the_model(client, signed_pool):
    history = [{"role": "user", "content": 'call get_weather {"city":"Oslo"} and call get_time {"city":"Oslo"}'}]
    message = ask(client, history, SIGNING_MODEL, tools=TOOLS)
    weather, clock = [block for block in message.content if block.type == "tool_use"]
    picture = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(DOT_PNG).decode()}
    answered = [
        {"type": "tool_result", "tool_use_id": clock.id, "is_error": True, "content": "no clock here"},
        {"type": "tool_result", "tool_use_id": weather.id, "content": [{"type": "image", "source": picture}]},
        {"type": "text", "text": "Go on."},
    ]
    history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": answered}]
    with signed_pool.watched() as seen:
        ask(client, history, SIGNING_MODEL, tools=TOOLS)
        body = json.dumps(seen()[-1])
    assert "no clock here" in body and base64.b64encode(DOT_PNG).decode() in body


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "none"}, []),
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
    ],
)
def test_a_tool_may_be_forbidden_or_demanded(client, choice, called):
    message = ask(client, HELLO, SIGNING_MODEL, tools=TOOLS, tool_choice=choice)
    assert [block.name for block in message.content if block.type == "tool_use"] == called


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_the_sdks_tool_runner_goes_on_without_threads(client, model, streamed):
    ran = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Say how the weather is.

        Args:
            city: Where.
        """
        ran.append(("get_weather", city))
        return run_errand("get_weather", city)

    @anthropic.beta_tool
    def get_time(city: str) -> str:
        """Say what time it is.

        Args:
            city: Where.
        """
        ran.append(("get_time", city))
        return run_errand("get_time", city)

    runner = client.beta.messages.tool_runner(
        model=model,
        max_tokens=2000,
        tools=[get_weather, get_time],
        messages=[{"role": "user", "content": ERRANDS}],
        stream=streamed,
    )
    if streamed:
        said = [stream.get_final_message() for stream in runner]
    else:
        said = list(runner)
    assert ran == ALL_ERRANDS
    assert len(said) == len(ERRANDS_BY_STEP)
    assert LAST_RESULT in text_of(said[-1])


def test_tokens_are_counted_as_the_answer_counts_them_and_cost_no_generation(client, signed_pool):
    asked = {"model": CLAUDE, "messages": HELLO, "system": "Be brief.", "tools": TOOLS}
    last = signed_pool.arrived()[-1:]
    counted = client.messages.count_tokens(**asked).input_tokens
    (request,) = signed_pool.arrived(last[0]["seq"] if last else -1)
    assert request["path"].endswith(":countTokens")
    assert counted == client.messages.create(max_tokens=100, **asked).usage.input_tokens
    assert client.beta.messages.count_tokens(**asked).input_tokens == counted


@pytest.mark.parametrize("version", [None, "2023-06-01"])
def test_models_are_listed_and_retrieved_in_anthropics_form(signed_pool, version):
    headers = {} if version is None else {"anthropic-version": version}
    with connect(signed_pool, default_headers=headers) as client:
        models = {model.id: model for model in client.models.list()}
        assert MODEL in models and SIGNING_MODEL in models
        for model in models.values():
            assert model.type == "model" and model.lifecycle == "active" and model.display_name
        one = client.models.retrieve(MODEL)
        assert one.id == MODEL
        assert one.max_input_tokens > 0 and one.max_tokens > 0
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("no-such-model")


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21", None])
@pytest.mark.parametrize(
    "credential",
    [
        {"x-api-key": TOKEN},
        {"authorization": f"Bearer {TOKEN}"},
        {"x-api-key": TOKEN, "authorization": f"Bearer {TOKEN}"},
        {"x-api-key": "", "authorization": f"Bearer {TOKEN}"},
    ],
)
@pytest.mark.parametrize("prefix", ["", "/anthropic"])
def test_each_form_of_the_credential_and_each_version_is_taken(pool, prefix, credential, version):
    headers = credential if version is None else {**credential, "anthropic-version": version}
    answer = httpx.post(
        f"{pool.url}{prefix}/v1/messages?beta=true",
        headers=headers,
        json={"model": MODEL, "max_tokens": 100, "messages": HELLO},
        timeout=TIMEOUT_S,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["content"] == [{"type": "text", "text": "You said: Hello"}]
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


def test_nothing_of_the_clients_goes_to_google(client, signed_pool):
    ask(client, HELLO)
    headers = dict(signed_pool.arrived()[-1]["headers"])
    assert set(headers) <= {"accept-encoding", "content-length", "content-type", "host", "x-goog-api-key"}, headers
    assert headers["x-goog-api-key"] in POOL


def test_the_sdk_takes_its_settings_from_the_environment(signed_pool, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", signed_pool.url)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", TOKEN)
    with anthropic.Anthropic(max_retries=0, timeout=TIMEOUT_S) as client:
        assert text_of(ask(client, HELLO)) == "You said: Hello"


def test_system_prompts_reach_the_model_and_claude_codes_billing_line_does_not(client, signed_pool):
    blocks = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197.a1b; cc_entrypoint=cli;"},
        {"type": "text", "text": "You are brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "You are kind."},
    ]
    later = [*HELLO, {"role": "assistant", "content": "Hi."}, {"role": "system", "content": "The day is over."}]
    with signed_pool.watched() as seen:
        ask(client, HELLO, system="You are brief.")
        ask(client, HELLO, system=blocks)
        ask(client, [*later, {"role": "user", "content": "Bye"}], CLAUDE)
        plain, blocked, middle = seen()
    texts = [[part["text"] for part in body["systemInstruction"]["parts"]] for body in (plain, blocked)]
    assert texts == [["You are brief."], ["You are brief.", "You are kind."]]
    assert [content["role"] for content in middle["contents"]] == ["user", "model", "user"]
    said = [part["text"] for part in middle["contents"][2]["parts"]]
    assert any("The day is over." in text for text in said) and "Bye" in said


def test_images_and_documents_reach_the_model(client, signed_pool):
    data = base64.b64encode(DOT_PNG).decode()
    content = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/dot.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}},
        {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain", "data": "So it is."}},
        {"type": "text", "text": "What is this?"},
    ]
    with signed_pool.watched() as seen:
        assert "What is this?" in text_of(ask(client, [{"role": "user", "content": content}]))
        parts = seen()[-1]["contents"][0]["parts"]
    assert [part["inlineData"] for part in parts if "inlineData" in part] == [
        {"mimeType": "image/png", "data": data},
        {"mimeType": "application/pdf", "data": data},
    ]
    (linked,) = [part["fileData"] for part in parts if "fileData" in part]
    assert linked == {"mimeType": "image/png", "fileUri": "https://pictures.example/dot.png"}
    texts = "".join(part.get("text", "") for part in parts)
    assert "Notes" in texts and "So it is." in texts


class Visit(pydantic.BaseModel):
    city: str
    days: int
    mood: Literal["glad", "sad"]


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_is_parsed_into_a_model_of_pydantics(client, model):
    message = client.messages.parse(model=model, max_tokens=2000, messages=HELLO, output_format=Visit)
    assert isinstance(message.parsed_output, Visit)


def test_an_answer_that_is_streamed_is_parsed_as_well(client):
    with client.messages.stream(model=CLAUDE, max_tokens=2000, messages=HELLO, output_format=Visit) as stream:
        assert isinstance(stream.get_final_message().parsed_output, Visit)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_web_search_shows_its_sources_and_may_be_sent_back(client, model, streamed):
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]
    history = [{"role": "user", "content": "Who won?"}]
    message = ask(client, history, model, streamed, tools=tools)
    kinds = [block.type for block in message.content]
    assert "server_tool_use" in kinds and "web_search_tool_result" in kinds and "text" in kinds
    used = next(block for block in message.content if block.type == "server_tool_use")
    found = next(block for block in message.content if block.type == "web_search_tool_result")
    assert used.name == "web_search" and used.input["query"]
    assert found.tool_use_id == used.id
    assert found.content and all(result.url.startswith("https://") and result.title for result in found.content)
    cited = [place for block in message.content if block.type == "text" for place in block.citations or []]
    assert cited and all(place.type == "web_search_result_location" and place.url for place in cited)
    assert message.stop_reason == "end_turn"
    history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": "And before?"}]
    assert ask(client, history, model, streamed, tools=tools).stop_reason == "end_turn"


def test_an_answer_that_is_cut_says_so(client, signed_pool):
    script = [{"steps": [{"parts": [{"text": "It is "}, {"text": "gr"}], "finish": "MAX_TOKENS"}], "then": "repeat"}]
    signed_pool.control("PUT", "conversations", script)
    try:
        assert [ask(client, HELLO, streamed=streamed).stop_reason for streamed in (False, True)] == ["max_tokens"] * 2
        script[0]["steps"] = [{"block": "SAFETY"}]
        signed_pool.control("PUT", "conversations", script)
        assert [ask(client, HELLO, streamed=streamed).stop_reason for streamed in (False, True)] == ["refusal"] * 2
    finally:
        signed_pool.control("DELETE", "conversations")


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_the_model_failed_to_form_is_asked_for_once_more_then_an_error(fresh_demo, streamed):
    malformed = {"finish": "MALFORMED_FUNCTION_CALL", "finish_message": "Malformed function call: f("}
    with connect(fresh_demo) as client:
        fresh_demo.control("PUT", "conversations", [{"steps": [malformed]}])
        assert text_of(ask(client, HELLO, streamed=streamed)).startswith("You said: Hello")
        fresh_demo.control("PUT", "conversations", [{"steps": [malformed], "then": "repeat"}])
        with pytest.raises(anthropic.InternalServerError) as raised:
            ask(client, HELLO, streamed=streamed)
    assert raised.value.type == "api_error"


def test_a_wrong_token_is_an_authentication_error(pool):
    with connect(pool, token="wrong") as client, pytest.raises(anthropic.AuthenticationError) as raised:
        ask(client, HELLO)
    error = raised.value
    assert error.type == "authentication_error" and "wrong" not in str(error)
    assert error.request_id and error.body["request_id"] == error.request_id


@pytest.mark.parametrize("model", ["no-such-model", "gemini-0-none"])
def test_a_model_that_is_not_there_is_a_not_found_error(client, model):
    for streamed in (False, True):
        with pytest.raises(anthropic.NotFoundError) as raised:
            ask(client, HELLO, model, streamed)
        assert raised.value.type == "not_found_error" and model in raised.value.api_message
    if not model.startswith("gemini-"):
        assert "formats.models" in raised.value.api_message


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("mcp_servers", {"mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "m"}]}),
        ("container", {"container": "c1"}),
        ("tools.0", {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}),
        ("tools.0", {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        ("messages.0.role", {"messages": [{"role": "robot", "content": "Hello"}]}),
        (
            "messages.0.content.0",
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]},
        ),
        ("max_tokens", {"max_tokens": "many"}),
    ],
)
def test_what_cannot_be_done_is_a_bad_request_that_names_the_field(client, signed_pool, field, asked):
    last = signed_pool.arrived()[-1:]
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(**{"model": CLAUDE, "max_tokens": 100, "messages": HELLO}, extra_body=asked)
    assert raised.value.type == "invalid_request_error"
    assert field in raised.value.api_message, raised.value.api_message
    assert signed_pool.arrived(last[0]["seq"] if last else -1) == [], "Google was asked"


def test_what_is_not_served_is_told_in_anthropics_form(client):
    with pytest.raises(anthropic.NotFoundError) as raised:
        client.messages.batches.list()
    assert raised.value.type == "not_found_error" and raised.value.request_id


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_compact_on(fresh_demo):
    fresh_demo.control("PUT", "faults", [{"fault": {"kind": "google", "error": "input_too_long"}}])
    with connect(fresh_demo) as client, pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > \d+ maximum"):
        ask(client, HELLO)


def test_an_exhausted_key_is_not_noticed(fresh_demo):
    fresh_demo.fail(429, times=1)
    with connect(fresh_demo) as client:
        assert text_of(ask(client, HELLO)) == "You said: Hello"
    assert [request["status"] for request in fresh_demo.arrived()] == [429, 200]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_exhausted_pool_is_a_rate_limit_error_that_says_when_to_come_again(fresh_demo, streamed):
    fresh_demo.fail(429)
    with connect(fresh_demo) as client, pytest.raises(anthropic.RateLimitError) as raised:
        ask(client, HELLO, streamed=streamed)
    assert raised.value.type == "rate_limit_error"
    assert int(raised.value.response.headers["retry-after"]) > 0


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("status", "told", "kind"), [(503, 529, "overloaded_error"), (500, 500, "api_error"), (504, 504, "timeout_error")]
)
def test_a_fault_of_googles_has_the_status_that_anthropic_gives_it(fresh_demo, status, told, kind, streamed):
    fresh_demo.fail(status)
    with connect(fresh_demo) as client, pytest.raises(anthropic.APIStatusError) as raised:
        ask(client, HELLO, streamed=streamed)
    assert (raised.value.status_code, raised.value.type) == (told, kind)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_sdk_tries_again_by_itself_when_google_is_overloaded(fresh_demo, streamed):
    fresh_demo.fail(503, times=4)
    with connect(fresh_demo, max_retries=3) as client:
        assert text_of(ask(client, HELLO, streamed=streamed)).startswith("You said: Hello")


@pytest.mark.parametrize("kind", ["reset", "truncate", "error_event"])
def test_a_stream_that_breaks_off_raises(fresh_demo, kind):
    framed = {"framed": True} if kind == "error_event" else {}
    fresh_demo.control("PUT", "faults", [{"fault": {"kind": kind, "after_events": 3, **framed}}])
    pieces = []
    with connect(fresh_demo) as client, pytest.raises(anthropic.APIError):
        with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
            pieces.extend(stream.text_stream)
    assert pieces


@pytest.mark.parametrize("kind", ["reset", "truncate", "error_event"])
def test_a_stream_that_breaks_before_its_first_event_is_not_noticed(fresh_demo, kind):
    framed = {"framed": True} if kind == "error_event" else {}
    fresh_demo.control("PUT", "faults", [{"times": 1, "fault": {"kind": kind, "after_events": 0, **framed}}])
    with connect(fresh_demo) as client:
        assert text_of(ask(client, HELLO, streamed=True)).startswith("You said: Hello")
    assert len(fresh_demo.arrived()) == 2


@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_an_answer_that_breaks_off_while_it_is_taken_in_is_asked_for_once_more(fresh_demo, kind):
    fault = {"kind": "none"}
    delivery = {"kind": {"reset": "reset", "truncate": "cut"}[kind], "after_bytes": 20}
    fresh_demo.control("PUT", "faults", [{"times": 1, "fault": fault, "delivery": delivery}])
    with connect(fresh_demo) as client:
        assert text_of(ask(client, HELLO)) == "You said: Hello"
    assert len(fresh_demo.arrived()) == 2


@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_in_the_middle_of_a_tool_loop_costs_it_nothing(tmp_path, streamed):
    with gateway(tmp_path, POOL, ACCESS_TOKENS=f"tester={TOKEN}") as pool, connect(pool, max_retries=3) as client:
        rules = [{"after": 1, "times": 4, "fault": {"kind": "status", "status": 503}}]
        pool.control("PUT", "faults", rules)
        said, _ = run_errands(client, model=SIGNING_MODEL, streamed=streamed)
        assert calls(said) == ERRANDS_BY_STEP
        assert pool.control("GET", "stats")["by_status"]["503"] == 4
        assert set(lost_signatures(pool).values()) == {0}


def test_a_client_that_leaves_a_stream_ends_it_at_google(tmp_path):
    settings = {"ACCESS_TOKENS": f"tester={TOKEN}"}
    with gateway(tmp_path, POOL, simulate=("--interval-ms", "500"), **settings) as pool, connect(pool) as client:
        with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
            next(stream.text_stream)
        deadline = time.monotonic() + TIMEOUT_S
        while pool.control("GET", "stats")["clients_left"] == 0:
            assert time.monotonic() < deadline, "Google goes on with what nobody reads"
            time.sleep(0.05)
        assert pool.control("GET", "stats")["open_requests"] == 0


def test_a_refused_signature_is_sent_once_more_as_a_placeholder(tmp_path):
    with gateway(tmp_path, POOL, ACCESS_TOKENS=f"tester={TOKEN}") as pool, connect(pool) as client:
        rules = [{"after": 1, "times": 1, "fault": {"kind": "google", "error": "signature_corrupted"}}]
        pool.control("PUT", "faults", rules)
        said, _ = run_errands(client, model=SIGNING_MODEL)
        assert calls(said) == ERRANDS_BY_STEP
        assert len(pool.arrived()) == len(said) + 1


def test_the_models_of_a_token_are_googles(tmp_path):
    (tmp_path / "config.toml").write_text(
        f'[auth]\ntokens = [{{ name = "narrow", secret = "{TOKEN}", models = ["gemini-2.5-*"] }}]\n'
        f'[formats]\nmodels = {{ "claude-haiku-*" = "{MODEL}" }}\n'
    )
    with gateway(tmp_path, POOL) as pool, connect(pool) as client:
        assert text_of(ask(client, HELLO, "claude-haiku-4-5")) == "You said: Hello"
        for asking in (ask, lambda *asked: client.messages.count_tokens(model=asked[2], messages=asked[1])):
            with pytest.raises(anthropic.PermissionDeniedError, match="model") as raised:
                asking(client, HELLO, CLAUDE)
            assert raised.value.type == "permission_error"
        listed = {model.id for model in client.models.list()}
        assert MODEL in listed and SIGNING_MODEL not in listed


def booked(folder, settings, requests):
    """The rows of `gemini-balance usage`, once so many requests are in them."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        ran = subprocess.run(
            [binary(), "usage", "--step", "all", "--by", "caller,model", "--format", "json"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "GOOGLE_API_KEYS": ",".join(POOL), **settings},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert ran.returncode == 0, ran.stderr
        rows = json.loads(ran.stdout)["rows"]
        if sum(row["requests"] for row in rows) == requests:
            return rows
        assert time.monotonic() < deadline, rows


def test_usage_is_what_the_gateway_books(tmp_path):
    operator = {"ADMIN_TOKEN": "operator-token", "GEMINI_BALANCE__ADMIN__PORT": str(free_port())}
    settings = {"ACCESS_TOKENS": f"tester={TOKEN}", **operator}
    with gateway(tmp_path, POOL, simulate=("--prefix-cache", "1"), **settings) as pool, connect(pool) as client:
        said = []
        for streamed in (False, True):
            # Said to be one session, it stays on a project, which then has it cached.
            user = {"user_id": "somebody"}
            said += run_errands(client, model=CLAUDE, streamed=streamed, thinking={"type": "adaptive"}, metadata=user)[0]
        (row,) = booked(tmp_path, settings, len(said))
    usages = [message.usage for message in said]
    cached = sum(usage.cache_read_input_tokens for usage in usages)
    assert cached > 0
    assert (row["caller"], row["model"]) == ("tester", "gemini-flash-latest")
    assert row["input_tokens"] == sum(usage.input_tokens for usage in usages), row
    assert row["cached_tokens"] == cached, row
    assert row["output_tokens"] + row["thoughts_tokens"] == sum(usage.output_tokens for usage in usages), row
