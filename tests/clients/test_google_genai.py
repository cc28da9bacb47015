"""The google-genai package against the gateway, with the API version it chooses itself (`v1`) and with each it may be
told to use."""

import asyncio
import json

import pytest
from google.genai import errors, types

from conftest import MODEL, connect


@pytest.fixture(params=[None, "v1", "v1beta"], ids=["default", "v1", "v1beta"])
def client(demo, request):
    with connect(demo, request.param) as client:
        yield client


WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}),
        )
    ]
)
# The SDK is not to call anything by itself.
TOOLS = types.GenerateContentConfig(
    tools=[WEATHER], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
)


def test_generate(client):
    answer = client.models.generate_content(model=MODEL, contents="Hello")
    assert answer.text.startswith("You said: Hello")
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count > 0
    assert answer.model_version == MODEL


def test_the_version_is_not_rewritten(demo):
    for version in ("v1", "v1beta", "v1alpha"):
        with connect(demo, version) as client:
            client.models.generate_content(model=MODEL, contents=f"by {version}")
        assert demo.arrived()[-1]["path"] == f"/{version}/models/{MODEL}:generateContent"


def test_stream_piece_by_piece(client):
    chunks = list(client.models.generate_content_stream(model=MODEL, contents="Hello"))
    assert len(chunks) == 8
    assert "".join(chunk.text for chunk in chunks).startswith("You said: Hello")
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_chat_keeps_its_history(client):
    chat = client.chats.create(model=MODEL)
    assert "first" in chat.send_message("first").text
    assert "second" in "".join(chunk.text for chunk in chat.send_message_stream("second"))
    asked = [content.parts[0].text for content in chat.get_history() if content.role == "user"]
    assert asked == ["first", "second"]


# From Gemini 3 on a call must come back with its signature, which the SDK keeps only if nothing on the way drops it.
@pytest.mark.parametrize("model", [MODEL, "gemini-3.7-flash"])
def test_a_function_is_called_and_its_result_used(client, model):
    question = types.UserContent("Use get_weather for Paris")
    answer = client.models.generate_content(model=model, contents=[question], config=TOOLS)
    (call,) = answer.function_calls
    assert call.name == "get_weather"
    assert "Paris" in call.args["city"]
    result = types.UserContent(types.Part.from_function_response(name=call.name, response={"degrees": 21}))
    answer = client.models.generate_content(
        model=model, contents=[question, answer.candidates[0].content, result], config=TOOLS
    )
    assert '"degrees":21' in answer.text.replace(" ", "")


def test_the_sdk_calls_a_python_function_by_itself(client):
    cities = []

    def get_weather(city: str) -> dict:
        """Says how warm it is in a city."""
        cities.append(city)
        return {"degrees": 21}

    answer = client.models.generate_content(
        model="gemini-3.7-flash",
        contents="Use get_weather for Paris",
        config=types.GenerateContentConfig(tools=[get_weather]),
    )
    assert len(cities) == 1 and "Paris" in cities[0]
    assert "21" in answer.text


def test_an_answer_is_parsed_as_json(client):
    answer = client.models.generate_content(
        model=MODEL, contents="Hello", config=types.GenerateContentConfig(response_mime_type="application/json")
    )
    assert json.loads(answer.text) == {"you_said": "Hello"}


def test_count_tokens(client):
    counted = client.models.count_tokens(model=MODEL, contents="eight by")
    assert counted.total_tokens == 2


def test_embeddings(client):
    answer = client.models.embed_content(
        model="gemini-embedding-001",
        contents=["one", "two"],
        config=types.EmbedContentConfig(output_dimensionality=64),
    )
    assert [len(embedding.values) for embedding in answer.embeddings] == [64, 64]


def test_models_are_listed_page_by_page_and_retrieved(client):
    names = [model.name for model in client.models.list(config={"page_size": 5})]
    assert f"models/{MODEL}" in names and len(names) == len(set(names)) > 5
    assert client.models.get(model=MODEL).name == f"models/{MODEL}"


def test_a_wrong_token_is_a_client_error_in_googles_form(demo):
    with connect(demo, token="wrong") as client:
        for ask in (
            lambda: client.models.generate_content(model=MODEL, contents="Hello"),
            lambda: list(client.models.generate_content_stream(model=MODEL, contents="Hello")),
            lambda: client.models.get(model=MODEL),
        ):
            with pytest.raises(errors.ClientError) as raised:
                ask()
            assert raised.value.code == 401
            assert raised.value.status == "UNAUTHENTICATED"
            assert "token" in raised.value.message


def test_googles_errors_keep_their_status_and_message(client):
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model="no-such-model", contents="Hello")
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")
    assert "no-such-model" in raised.value.message


def test_an_exhausted_key_is_not_noticed(fresh_demo):
    fresh_demo.control("PUT", "faults", [{"times": 1, "fault": {"kind": "status", "status": 429}}])
    with connect(fresh_demo) as client:
        assert client.models.generate_content(model=MODEL, contents="Hello").text
    assert [request["status"] for request in fresh_demo.arrived()] == [429, 200]


def test_an_error_as_a_streams_first_event_is_not_noticed(fresh_demo):
    fault = {"kind": "error_event", "after_events": 0}
    fresh_demo.control("PUT", "faults", [{"times": 1, "fault": fault}])
    with connect(fresh_demo) as client:
        chunks = list(client.models.generate_content_stream(model=MODEL, contents="Hello"))
    assert len(chunks) == 8
    assert len(fresh_demo.arrived()) == 2


def test_an_exhausted_pool_and_an_overloaded_model_have_their_own_errors(fresh_demo):
    with connect(fresh_demo) as client:
        for status, kind, word in (
            (503, errors.ServerError, "UNAVAILABLE"),
            (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        ):
            fresh_demo.control("PUT", "faults", [{"fault": {"kind": "status", "status": status}}])
            with pytest.raises(kind) as raised:
                client.models.generate_content(model=MODEL, contents="Hello")
            assert (raised.value.code, raised.value.status) == (status, word)


@pytest.mark.parametrize("kind", ["reset", "truncate", "error_event"])
def test_a_stream_that_breaks_off_raises(fresh_demo, kind):
    fault = {"kind": kind, "after_events": 3}
    fresh_demo.control("PUT", "faults", [{"fault": fault}])
    chunks = []
    with connect(fresh_demo) as client:
        with pytest.raises(Exception) as raised:
            for chunk in client.models.generate_content_stream(model=MODEL, contents="Hello"):
                chunks.append(chunk)
    assert not isinstance(raised.value, AssertionError)
    assert len(chunks) == 3


def test_the_async_client(demo):
    async def talk():
        async with connect(demo).aio as client:
            answers = await asyncio.gather(
                *(client.models.generate_content(model=MODEL, contents=f"number {n}") for n in range(8))
            )
            stream = await client.models.generate_content_stream(model=MODEL, contents="Hello")
            chunks = [chunk async for chunk in stream]
            models = [model.name async for model in await client.models.list()]
            return answers, chunks, models

    answers, chunks, models = asyncio.run(talk())
    for n, answer in enumerate(answers):
        assert f"number {n}" in answer.text
    assert len(chunks) == 8
    assert f"models/{MODEL}" in models
