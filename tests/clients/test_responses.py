"""OpenAI's Responses as its Python SDK and its Agents SDK ask for them: whole and streamed, tool loops, kept responses,
errors as their users catch them."""

import asyncio
import base64
import json

import agents
import openai
import pydantic
import pytest
from openai.lib.responses_tool_runner import RegisteredFunction, ResponsesToolRunner

from conftest import MODEL, POOL, SIGNING_MODEL, TIMEOUT_S, TOKEN, gateway, lost_signatures
from errands import ALL_ERRANDS, CITY, ERRANDS, ERRANDS_BY_STEP, LAST_RESULT, run_errand

# A name that stands for a model of Google's (`formats.models`), one that signs.
GPT = "gpt-5.5"
MODELS = [MODEL, SIGNING_MODEL, GPT]
TOOLS = [
    {"type": "function", "name": "get_weather", "description": "How the weather is", "parameters": CITY, "strict": False},
    {"type": "function", "name": "get_time", "description": "What time it is", "parameters": CITY, "strict": False},
]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def options(demo, token=TOKEN, **other):
    return {"base_url": demo.url + "/v1", "api_key": token, "max_retries": 0, "timeout": TIMEOUT_S, **other}


def connect(demo, token=TOKEN, **other):
    return openai.OpenAI(**options(demo, token, **other))


@pytest.fixture
def client(signed_pool):
    with connect(signed_pool) as client:
        yield client


def ask(client, asked="Hello", model=MODEL, streamed=False, **other):
    """One response, however it came."""
    if not streamed:
        return client.responses.create(model=model, input=asked, **other)
    with client.responses.stream(model=model, input=asked, **other) as stream:
        return stream.get_final_response()


def calls_of(response):
    return [item for item in response.output if item.type == "function_call"]


def named(response):
    return [(call.name, json.loads(call.arguments)["city"]) for call in calls_of(response)]


def outputs(response):
    return [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": run_errand(call.name, json.loads(call.arguments)["city"]),
        }
        for call in calls_of(response)
    ]


def run_errands(client, kept=lambda item: True, **other):
    """Answers calls until there are no more, each time with the whole history."""
    history = [{"role": "user", "content": ERRANDS}]
    said = []
    while len(said) < 10:
        said.append(ask(client, history, tools=TOOLS, **other))
        # What the SDK adds to items for its own use is no field of OpenAI's.
        added = {"parsed", "parsed_arguments"}
        items = [item.model_dump(exclude_none=True, exclude=added) for item in said[-1].output if kept(item)]
        for item in items:
            for part in item.get("content", []):
                part.pop("parsed", None)
        history += items
        if not calls_of(said[-1]):
            break
        history += outputs(said[-1])
    return said, history


@pytest.mark.parametrize("model", MODELS)
def test_a_response_is_made_under_the_name_that_was_asked_for(client, model):
    response = ask(client, model=model, instructions="Be brief.", metadata={"for": "tests"})
    assert response.output_text == "You said: Hello"
    assert (response.object, response.status, response.model) == ("response", "completed", model)
    assert (response.instructions, response.metadata) == ("Be brief.", {"for": "tests"})
    assert response.error is None and response.incomplete_details is None
    assert response.id.startswith("resp_") and response.created_at > 0
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens > 0 and usage.output_tokens > 0
    assert len(response._request_id) == 16


@pytest.mark.parametrize("model", MODELS)
def test_a_response_streams_piece_by_piece_and_becomes_the_same(client, model):
    whole = ask(client, model=model)
    with client.responses.stream(model=model, input="Hello") as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    assert len(pieces) > 1
    assert "".join(pieces) == response.output_text
    assert response.output_text.startswith("You said: Hello")
    assert (response.model, response.status) == (whole.model, whole.status)
    assert response.usage.input_tokens == whole.usage.input_tokens
    assert [item.type for item in response.output] == [item.type for item in whole.output]


@pytest.mark.parametrize("model", MODELS)
def test_events_are_numbered_and_items_are_done_as_the_response_has_them(client, model):
    with client.responses.create(model=model, input=ERRANDS, tools=TOOLS, stream=True) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    done = [event.item.model_dump() for event in events if event.type == "response.output_item.done"]
    assert done == [item.model_dump() for item in events[-1].response.output]
    added = [event.output_index for event in events if event.type == "response.output_item.added"]
    assert added == list(range(len(done)))
    told = {}
    for event in events:
        if event.type == "response.function_call_arguments.delta":
            told[event.item_id] = told.get(event.item_id, "") + event.delta
    assert told == {item.id: item.arguments for item in calls_of(events[-1].response)}


def test_the_async_client(signed_pool):
    async def talk():
        async with openai.AsyncOpenAI(**options(signed_pool)) as client:
            answers = await asyncio.gather(
                *(client.responses.create(model=MODEL, input=f"number {n}") for n in range(8))
            )
            async with client.responses.stream(model=MODEL, input="Hello") as stream:
                return answers, await stream.get_final_response()

    answers, last = asyncio.run(talk())
    for n, answer in enumerate(answers):
        assert f"number {n}" in answer.output_text
    assert last.output_text.startswith("You said: Hello")


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_tool_loop_keeps_its_signatures_at_every_step(client, model, streamed, store):
    said, _ = run_errands(client, model=model, streamed=streamed, store=store)
    assert [named(response) for response in said] == ERRANDS_BY_STEP
    assert LAST_RESULT in said[-1].output_text
    calls = [call for response in said for call in calls_of(response)]
    ids = {call.call_id for call in calls} | {call.id for call in calls}
    assert len(ids) == 2 * len(calls), "an item's id is not its call's"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_tool_loop_goes_on_from_the_response_before(client, model, streamed):
    response = ask(client, ERRANDS, model, streamed, tools=TOOLS)
    said = [response]
    while calls_of(response) and len(said) < 10:
        response = ask(client, outputs(response), model, streamed, tools=TOOLS, previous_response_id=response.id)
        assert response.previous_response_id == said[-1].id
        said.append(response)
    assert [named(response) for response in said] == ERRANDS_BY_STEP
    assert LAST_RESULT in response.output_text


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_drops_reasoning_loses_no_signature(client, streamed):
    said, history = run_errands(
        client, model=SIGNING_MODEL, streamed=streamed, store=False, kept=lambda item: item.type != "reasoning"
    )
    assert [named(response) for response in said] == ERRANDS_BY_STEP
    assert "reasoning" not in [item.get("type") for item in history]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_reasoning_is_an_item_with_what_the_client_needs_to_send_it_back(client, model, streamed):
    said, history = run_errands(
        client,
        model=model,
        streamed=streamed,
        store=False,
        reasoning={"effort": "medium", "summary": "auto"},
        include=["reasoning.encrypted_content"],
    )
    assert [named(response) for response in said] == ERRANDS_BY_STEP
    first = said[0].output[0]
    assert first.type == "reasoning" and first.encrypted_content
    assert "".join(part.text for part in first.summary)
    assert all(response.usage.output_tokens_details.reasoning_tokens > 0 for response in said)
    assert "reasoning" in [item.get("type") for item in history]


def test_items_may_be_referred_to_once_they_are_kept(client):
    """The AI SDK sends of what it has got only the ids."""
    first = ask(client, 'call get_time {"city":"Oslo"}, then call get_time {"city":"Rome"}', SIGNING_MODEL, tools=TOOLS)
    history = [{"role": "user", "content": 'call get_time {"city":"Oslo"}, then call get_time {"city":"Rome"}'}]
    history += [{"type": "item_reference", "id": item.id} for item in first.output]
    second = ask(client, history + outputs(first), SIGNING_MODEL, tools=TOOLS)
    assert named(second) == [("get_time", "Rome")]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", []),
        ("required", ["get_weather"]),
        ({"type": "function", "name": "get_time"}, ["get_time"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]},
            ["get_time"],
        ),
    ],
)
def test_a_tool_may_be_forbidden_or_demanded(client, choice, called):
    response = ask(client, model=SIGNING_MODEL, tools=TOOLS, tool_choice=choice)
    assert [call.name for call in calls_of(response)] == called


@pytest.mark.parametrize("streamed", [False, True])
def test_a_custom_tool_is_called_with_plain_text(client, streamed):
    tools = [{"type": "custom", "name": "run_sql", "description": "Runs SQL"}]
    asked = 'call run_sql {"input":"select 1"}'
    first = ask(client, asked, SIGNING_MODEL, streamed, tools=tools)
    (call,) = [item for item in first.output if item.type == "custom_tool_call"]
    assert (call.name, call.input) == ("run_sql", "select 1")
    history = [{"role": "user", "content": asked}, *(item.model_dump(exclude_none=True) for item in first.output)]
    history.append({"type": "custom_tool_call_output", "call_id": call.call_id, "output": "one row"})
    assert "one row" in ask(client, history, SIGNING_MODEL, streamed, tools=tools).output_text


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_the_sdks_tool_runner_comes_to_its_end(client, model, streamed):
    ran = []

    def register(tool):
        def execute(arguments):
            ran.append((tool["name"], arguments["city"]))
            return run_errand(tool["name"], arguments["city"])

        return RegisteredFunction({**tool, "parameters": {key: CITY[key] for key in CITY if key != "$schema"}}, execute)

    runner = ResponsesToolRunner(functions=[register(tool) for tool in TOOLS])
    params = {"model": model, "input": ERRANDS, "store": False}
    response = runner.run(client, params, stream=streamed, max_concurrent_calls=1)
    assert ran == ALL_ERRANDS
    assert LAST_RESULT in response.output_text


def assistant(client, model):
    ran = []

    @agents.function_tool
    def get_weather(city: str) -> str:
        """How the weather is."""
        ran.append(("get_weather", city))
        return run_errand("get_weather", city)

    @agents.function_tool
    def get_time(city: str) -> str:
        """What time it is."""
        ran.append(("get_time", city))
        return run_errand("get_time", city)

    model = agents.OpenAIResponsesModel(model=model, openai_client=client)
    return agents.Agent(name="Assistant", instructions="Be brief.", model=model, tools=[get_weather, get_time]), ran


async def run_agent(agent, asked, streamed, **other):
    if not streamed:
        return await agents.Runner.run(agent, asked, **other)
    result = agents.Runner.run_streamed(agent, asked, **other)
    async for _ in result.stream_events():
        pass
    return result


@pytest.mark.parametrize("goes_on_by", ["history", "id"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_the_agents_sdk_calls_its_tools_over_several_turns(signed_pool, model, streamed, goes_on_by):
    agents.set_tracing_disabled(True)

    async def talk():
        async with openai.AsyncOpenAI(**options(signed_pool)) as client:
            agent, ran = assistant(client, model)
            first = await run_agent(agent, ERRANDS, streamed)
            again = 'call get_time {"city":"Lima"}'
            if goes_on_by == "history":
                second = await run_agent(agent, first.to_input_list() + [{"role": "user", "content": again}], streamed)
            else:
                second = await run_agent(agent, again, streamed, previous_response_id=first.last_response_id)
            return first, second, ran

    first, second, ran = asyncio.run(talk())
    assert ran == [*ALL_ERRANDS, ("get_time", "Lima")]
    assert LAST_RESULT in first.final_output
    assert "get_time Lima: fine" in second.final_output


def test_a_response_is_kept_shown_and_forgotten(client, signed_pool):
    first = ask(client, "One")
    second = ask(client, [{"role": "user", "content": "Two"}], previous_response_id=first.id)
    shown = client.responses.retrieve(second.id)
    assert shown.model_dump() == second.model_dump()
    (item,) = client.responses.input_items.list(second.id)
    assert item.type == "message" and item.role == "user" and item.content[0].text == "Two"
    with signed_pool.watched() as seen:
        ask(client, "Three", previous_response_id=second.id)
        roles = [content["role"] for content in seen()[-1]["contents"]]
    assert roles == ["user", "model", "user", "model", "user"]
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, "Three", previous_response_id=second.id)
    assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")
    assert client.responses.retrieve(first.id).id == first.id


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_that_is_not_to_be_stored_is_not(client, streamed):
    response = ask(client, streamed=streamed, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, previous_response_id=response.id)
    assert raised.value.code == "previous_response_not_found"


def test_another_token_does_not_find_a_response(tmp_path):
    with gateway(tmp_path, POOL, ACCESS_TOKENS=f"tester={TOKEN},other=other-token") as pool:
        with connect(pool) as client, connect(pool, "other-token") as other:
            response = ask(client)
            assert client.responses.retrieve(response.id).id == response.id
            for looks in (other.responses.retrieve, other.responses.delete, other.responses.input_items.list):
                with pytest.raises(openai.NotFoundError):
                    looks(response.id)
            with pytest.raises(openai.BadRequestError):
                ask(other, previous_response_id=response.id)
            assert client.responses.retrieve(response.id).id == response.id


class Visit(pydantic.BaseModel):
    city: str
    days: int


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_is_parsed_into_a_model_of_pydantics(client, model):
    assert isinstance(client.responses.parse(model=model, input="Hello", text_format=Visit).output_parsed, Visit)
    with client.responses.stream(model=model, input="Hello", text_format=Visit) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Visit)
    answer = ask(client, model=model, text={"format": {"type": "json_object"}})
    assert isinstance(json.loads(answer.output_text), dict)


def test_instructions_messages_and_media_reach_the_model(client, signed_pool):
    asked = [
        {"role": "developer", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
                {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"},
            ],
        },
    ]
    with signed_pool.watched() as seen:
        ask(client, asked, GPT, instructions="Be brief.", max_output_tokens=100, temperature=0.5)
        body = seen()[-1]
    assert [part["text"] for part in body["systemInstruction"]["parts"]] == ["Be brief.", "Be kind."]
    (content,) = body["contents"]
    assert [part["inlineData"] for part in content["parts"] if "inlineData" in part] == [
        {"mimeType": "image/png", "data": PNG},
        {"mimeType": "application/pdf", "data": PNG},
    ]
    settings = body["generationConfig"]
    assert (settings["maxOutputTokens"], settings["temperature"]) == (100, 0.5)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_web_search_is_an_item_and_its_sources_are_annotations(client, model, streamed):
    response = ask(client, "Who won?", model, streamed, tools=[{"type": "web_search"}])
    kinds = [item.type for item in response.output]
    assert "web_search_call" in kinds
    message = next(item for item in response.output if item.type == "message")
    (part,) = message.content
    assert part.annotations
    for annotation in part.annotations:
        assert annotation.type == "url_citation" and annotation.url.startswith("https://") and annotation.title
        assert 0 <= annotation.start_index < annotation.end_index <= len(part.text)
    again = ask(client, "And before?", model, streamed, tools=[{"type": "web_search"}], previous_response_id=response.id)
    assert again.status == "completed"


def test_tokens_are_counted_as_the_answer_counts_them_and_cost_no_generation(client, signed_pool):
    asked = {"model": GPT, "input": "Hello", "instructions": "Be brief.", "tools": TOOLS}
    last = signed_pool.arrived()[-1:]
    counted = client.responses.input_tokens.count(**asked)
    (request,) = signed_pool.arrived(last[0]["seq"] if last else -1)
    assert request["path"].endswith(":countTokens")
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == client.responses.create(**asked).usage.input_tokens


def test_a_tool_loop_changes_its_key_at_every_step(client, signed_pool):
    last = signed_pool.arrived()[-1:]
    said, _ = run_errands(client, model=SIGNING_MODEL, store=False)
    assert [named(response) for response in said] == ERRANDS_BY_STEP
    keys = [request["key"] for request in signed_pool.arrived(last[0]["seq"] if last else -1)]
    assert len(keys) == len(said)
    assert all(before != after for before, after in zip(keys, keys[1:])), keys


def test_a_conversation_that_has_a_cache_key_stays_on_a_project(tmp_path):
    # On a pool of its own: one that is busy shares its load out.
    with gateway(tmp_path, POOL, ACCESS_TOKENS=f"tester={TOKEN}") as pool, connect(pool) as client:
        said, _ = run_errands(client, model=SIGNING_MODEL, prompt_cache_key="5ad9d3cb-1df4-4e9f-9a3a-6a1b9a7d9e11")
        assert [named(response) for response in said] == ERRANDS_BY_STEP
        assert len({request["project"] for request in pool.arrived()}) == 1


def test_an_answer_that_is_cut_says_so(client, signed_pool):
    def told(steps):
        signed_pool.control("PUT", "conversations", [{"steps": steps, "then": "repeat"}])
        whole = ask(client)
        *_, last = client.responses.create(model=MODEL, input="Hello", stream=True)
        return [(whole.status, whole.incomplete_details.reason), (last.type, last.response.incomplete_details.reason)]

    try:
        cut = told([{"parts": [{"text": "It is "}, {"text": "gr"}], "finish": "MAX_TOKENS"}])
        assert cut == [("incomplete", "max_output_tokens"), ("response.incomplete", "max_output_tokens")]
        blocked = told([{"block": "SAFETY"}])
        assert blocked == [("incomplete", "content_filter"), ("response.incomplete", "content_filter")]
    finally:
        signed_pool.control("DELETE", "conversations")


def test_a_wrong_token_is_an_authentication_error(pool):
    with connect(pool, "wrong") as client:
        for ways in (ask, lambda client: client.responses.retrieve("resp_1")):
            with pytest.raises(openai.AuthenticationError) as raised:
                ways(client)
            assert raised.value.code == "invalid_api_key" and "wrong" not in str(raised.value)
            assert raised.value.request_id


@pytest.mark.parametrize("model", ["no-such-model", "gemini-0-none"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_that_is_not_there_is_a_not_found_error(client, model, streamed):
    with pytest.raises(openai.NotFoundError) as raised:
        ask(client, model=model, streamed=streamed)
    assert raised.value.code == "model_not_found" and model in str(raised.value)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("background", {"background": True}),
        ("conversation", {"conversation": "conv_1"}),
        ("prompt", {"prompt": {"id": "pmpt_1"}}),
        ("tools[0]", {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
        ("tools[0]", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}),
        ("tools[0]", {"tools": [{"type": "mcp", "server_label": "m", "server_url": "https://mcp.example"}]}),
        ("input[0].role", {"input": [{"role": "robot", "content": "Hello"}]}),
        ("input[0]", {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}),
        (
            "input[1].arguments",
            {
                "input": [
                    {"role": "user", "content": "Hello"},
                    {"type": "function_call", "call_id": "c", "name": "get_time", "arguments": "no JSON"},
                    {"type": "function_call_output", "call_id": "c", "output": "x"},
                ]
            },
        ),
    ],
)
def test_what_cannot_be_done_is_a_bad_request_that_names_the_field(client, signed_pool, field, asked):
    last = signed_pool.arrived()[-1:]
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(model=GPT, input="Hello", extra_body=asked)
    assert raised.value.type == "invalid_request_error"
    assert (raised.value.param or "").startswith(field), raised.value
    assert signed_pool.arrived(last[0]["seq"] if last else -1) == [], "Google was asked"


def test_what_is_not_served_is_told_in_openais_form(client):
    for asked in (
        lambda: client.responses.cancel("resp_1"),
        lambda: client.responses.compact(model=GPT, input="Hello"),
    ):
        with pytest.raises(openai.NotFoundError) as raised:
            asked()
        assert raised.value.body["message"] and raised.value.request_id


def test_a_prompt_that_is_too_long_has_the_code_that_clients_compact_on(fresh_demo):
    fresh_demo.control("PUT", "faults", [{"fault": {"kind": "google", "error": "input_too_long"}}])
    with connect(fresh_demo) as client, pytest.raises(openai.BadRequestError) as raised:
        ask(client)
    assert raised.value.code == "context_length_exceeded"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_exhausted_pool_is_a_rate_limit_error_that_says_when_to_come_again(fresh_demo, streamed):
    fresh_demo.fail(429)
    with connect(fresh_demo) as client, pytest.raises(openai.RateLimitError) as raised:
        ask(client, streamed=streamed)
    assert raised.value.code == "rate_limit_exceeded"
    assert int(raised.value.response.headers["retry-after"]) > 0


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_fault_of_googles_keeps_its_status(fresh_demo, status, streamed):
    fresh_demo.fail(status)
    with connect(fresh_demo) as client, pytest.raises(openai.InternalServerError) as raised:
        ask(client, streamed=streamed)
    assert (raised.value.status_code, raised.value.type) == (status, "server_error")


@pytest.mark.parametrize("streamed", [False, True])
def test_the_sdk_tries_again_by_itself_when_google_is_overloaded(fresh_demo, streamed):
    fresh_demo.fail(503, times=4)
    with connect(fresh_demo, max_retries=3) as client:
        assert ask(client, streamed=streamed).output_text.startswith("You said: Hello")


@pytest.mark.parametrize("kind", ["reset", "truncate", "error_event"])
def test_a_stream_that_breaks_off_has_failed(fresh_demo, kind):
    framed = {"framed": True} if kind == "error_event" else {}
    fresh_demo.control("PUT", "faults", [{"fault": {"kind": kind, "after_events": 3, **framed}}])
    with connect(fresh_demo) as client:
        with client.responses.create(model=MODEL, input="Hello", stream=True) as stream:
            events = list(stream)
        assert events[-1].type == "response.failed"
        assert events[-1].response.status == "failed"
        assert events[-1].response.error.code == "server_error" and events[-1].response.error.message
        assert "response.output_text.delta" in [event.type for event in events]
        with pytest.raises(RuntimeError, match="response.completed"):
            ask(client, streamed=True)


@pytest.mark.parametrize("kind", ["reset", "truncate", "error_event"])
def test_a_stream_that_breaks_before_its_first_event_is_not_noticed(fresh_demo, kind):
    framed = {"framed": True} if kind == "error_event" else {}
    fresh_demo.control("PUT", "faults", [{"times": 1, "fault": {"kind": kind, "after_events": 0, **framed}}])
    with connect(fresh_demo) as client:
        assert ask(client, streamed=True).output_text.startswith("You said: Hello")
    assert len(fresh_demo.arrived()) == 2


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_the_model_failed_to_form_is_asked_for_once_more_then_an_error(fresh_demo, streamed):
    malformed = {"finish": "MALFORMED_FUNCTION_CALL", "finish_message": "Malformed function call: f("}
    with connect(fresh_demo) as client:
        fresh_demo.control("PUT", "conversations", [{"steps": [malformed]}])
        assert ask(client, streamed=streamed).output_text.startswith("You said: Hello")
        fresh_demo.control("PUT", "conversations", [{"steps": [malformed], "then": "repeat"}])
        with pytest.raises(openai.InternalServerError) as raised:
            ask(client, streamed=streamed)
    assert raised.value.type == "server_error"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_in_the_middle_of_a_tool_loop_costs_it_nothing(tmp_path, streamed):
    with gateway(tmp_path, POOL, ACCESS_TOKENS=f"tester={TOKEN}") as pool, connect(pool, max_retries=3) as client:
        rules = [{"after": 1, "times": 4, "fault": {"kind": "status", "status": 503}}]
        pool.control("PUT", "faults", rules)
        said, _ = run_errands(client, model=SIGNING_MODEL, streamed=streamed)
        assert [named(response) for response in said] == ERRANDS_BY_STEP
        assert pool.control("GET", "stats")["by_status"]["503"] == 4
        assert set(lost_signatures(pool).values()) == {0}
