"""Interactions with google-genai: kept by the project that has held them, followed up, streamed, read again, deleted."""

import time

import pytest

from conftest import MODEL, TIMEOUT_S, turn


def text(interaction):
    return "".join(part.text for step in interaction.steps if step.type == "model_output" for part in step.content)


def test_a_conversation_goes_on_where_it_was_held(client):
    last = client.interactions.create(model=MODEL, input="Hello")
    assert last.id and last.status == "completed" and "Hello" in text(last)
    for n in range(5):
        turn(client)
        after = client.interactions.create(model=MODEL, input=f"turn {n}", previous_interaction_id=last.id)
        assert f"turn {n}" in text(after)
        assert after.usage.total_input_tokens > last.usage.total_input_tokens, "what was said before is forgotten"
        last = after
    turn(client)
    assert text(client.interactions.get(last.id)) == text(last)


def test_a_stream_is_told_as_it_comes_and_read_again(client):
    with client.interactions.create(model=MODEL, input="Hello", stream=True) as stream:
        events = list(stream)
    kinds = [event.event_type for event in events]
    assert (kinds[0], kinds[-1], kinds.count("step.delta")) == ("interaction.created", "interaction.completed", 8)
    said = "".join(event.delta.text for event in events if event.event_type == "step.delta")
    assert said.startswith("You said: Hello")
    id = events[0].interaction.id
    turn(client)
    with client.interactions.get(id, stream=True, last_event_id=events[4].event_id) as stream:
        assert [event.event_id for event in stream] == [event.event_id for event in events[5:]]
    turn(client)
    # It was learnt from the stream whose it is.
    after = client.interactions.create(model=MODEL, input="and on", previous_interaction_id=id)
    assert "and on" in text(after)


def test_an_interaction_in_the_background_is_polled_and_cancelled(client):
    begun = client.interactions.create(model=MODEL, input="Hello", background=True)
    assert begun.status == "in_progress"
    deadline = time.monotonic() + TIMEOUT_S
    while (found := client.interactions.get(begun.id)).status == "in_progress":
        assert time.monotonic() < deadline
        turn(client)
    assert found.status == "completed" and "Hello" in text(found)
    begun = client.interactions.create(model=MODEL, input="Hello", background=True)
    turn(client)
    assert client.interactions.cancel(begun.id).status == "cancelled"


def test_an_interaction_that_is_deleted_is_gone(client):
    made = client.interactions.create(model=MODEL, input="Hello")
    turn(client)
    client.interactions.delete(made.id)
    with pytest.raises(Exception) as raised:
        client.interactions.get(made.id)
    assert getattr(raised.value, "status_code", getattr(raised.value, "code", None)) == 404, raised.value
