"""The openai package against the gateway: base URL `…/v1`, as its users set it, and the two other places of the layer."""

import asyncio
import base64
import json

import openai
import pytest

from conftest import MODEL, TIMEOUT_S, TOKEN

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def options(demo, path="/v1", token=TOKEN):
    return {"base_url": demo.url + path, "api_key": token, "max_retries": 0, "timeout": TIMEOUT_S}


@pytest.fixture
def client(demo):
    with openai.OpenAI(**options(demo)) as client:
        yield client


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1beta/openai", "/v1beta/openai/", "/openai/v1"])
def test_chat_under_every_base_url(demo, path):
    with openai.OpenAI(**options(demo, path)) as client:
        answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content.startswith("You said: Hello")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_streams_piece_by_piece(client):
    pieces = []
    with client.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
        for chunk in stream:
            assert chunk.object == "chat.completion.chunk"
            pieces.append(chunk.choices[0].delta.content)
    assert len(pieces) == 8
    assert "".join(pieces).startswith("You said: Hello")


# From Gemini 3 on a call must come back with its signature, which the SDK keeps only if nothing on the way drops it.
@pytest.mark.parametrize("model", [MODEL, "gemini-3.7-flash"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_function_is_called_and_its_result_used(client, model, streamed):
    messages = [{"role": "user", "content": "Use get_weather for Paris"}]
    if streamed:
        with client.chat.completions.create(model=model, messages=messages, tools=[WEATHER], stream=True) as stream:
            chunks = list(stream)
        message = chunks[0].choices[0].delta
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
    else:
        choice = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER]).choices[0]
        message = choice.message
        assert choice.finish_reason == "tool_calls"
    (call,) = message.tool_calls
    assert call.function.name == "get_weather"
    assert "Paris" in json.loads(call.function.arguments)["city"]

    messages.append(message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21}'})
    answer = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    assert '"degrees": 21' in answer.choices[0].message.content


def test_a_call_without_its_signature_is_refused_as_google_refuses_it(client):
    messages = [
        {"role": "user", "content": "Use get_weather for Paris"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "21"},
    ]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gemini-3.7-flash", messages=messages, tools=[WEATHER])


def test_an_answer_is_parsed_as_json(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content) == {"you_said": "Hello"}


def test_embeddings_in_both_encodings(client):
    # The SDK asks for base64 unless told otherwise, and decodes it.
    usual = client.embeddings.create(model="gemini-embedding-001", input=["one", "two"], dimensions=64)
    plain = client.embeddings.create(
        model="gemini-embedding-001", input=["one", "two"], dimensions=64, encoding_format="float"
    )
    assert [len(item.embedding) for item in usual.data] == [64, 64]
    for one, other in zip(usual.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)


def test_models_are_listed_and_retrieved(client):
    ids = [model.id for model in client.models.list()]
    assert f"models/{MODEL}" in ids
    for name in (MODEL, f"models/{MODEL}"):
        assert client.models.retrieve(name).id == f"models/{MODEL}"


def test_an_image_is_generated(client):
    image = client.images.generate(model="imagen-4.0-generate-001", prompt="a dot", response_format="b64_json")
    assert base64.b64decode(image.data[0].b64_json).startswith(b"\x89PNG")


@pytest.mark.parametrize("path", ["/v1", "/v1beta/openai"])
def test_a_wrong_token_is_an_authentication_error_in_openais_form(demo, path):
    with openai.OpenAI(**options(demo, path, token="wrong")) as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            client.chat.completions.create(model=MODEL, messages=HELLO)
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    error = raised.value
    assert error.code == "invalid_api_key"
    assert error.type == "invalid_request_error"
    assert error.body["message"] and "wrong" not in str(error)
    assert error.request_id


def test_googles_errors_keep_their_status(client):
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=[])


def test_every_answer_names_its_request(client):
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
    assert len(raw.headers["x-request-id"]) == 16
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_an_exhausted_key_is_not_noticed(fresh_demo):
    fresh_demo.control("PUT", "faults", [{"times": 1, "fault": {"kind": "status", "status": 429}}])
    with openai.OpenAI(**options(fresh_demo)) as client:
        assert client.chat.completions.create(model=MODEL, messages=HELLO).choices[0].finish_reason == "stop"
    assert [request["status"] for request in fresh_demo.arrived()] == [429, 200]


def test_an_exhausted_pool_is_a_rate_limit_error(fresh_demo):
    fresh_demo.control("PUT", "faults", [{"fault": {"kind": "status", "status": 429}}])
    with openai.OpenAI(**options(fresh_demo)) as client:
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model=MODEL, messages=HELLO)


@pytest.mark.parametrize("kind", ["reset", "truncate", "error_event"])
def test_a_stream_that_breaks_off_raises(fresh_demo, kind):
    fresh_demo.control("PUT", "faults", [{"fault": {"kind": kind, "after_events": 3, **framed(kind)}}])
    pieces = []
    with openai.OpenAI(**options(fresh_demo)) as client:
        with pytest.raises(openai.APIError):
            for chunk in client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
                pieces.append(chunk)
    assert len(pieces) == 3


def framed(kind):
    return {"framed": True} if kind == "error_event" else {}


def test_the_async_client(demo):
    async def talk():
        async with openai.AsyncOpenAI(**options(demo)) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": f"number {n}"}])
                    for n in range(8)
                )
            )
            pieces = []
            async with await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
                async for chunk in stream:
                    pieces.append(chunk.choices[0].delta.content)
            return answers, pieces

    answers, pieces = asyncio.run(talk())
    for n, answer in enumerate(answers):
        assert f"number {n}" in answer.choices[0].message.content
    assert len(pieces) == 8
