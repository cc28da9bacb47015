"""Batches with google-genai, inline and from a file, polled to their end on the key that runs them; and with openai."""

import io
import json
import time

import openai
import pytest
from google.genai import errors, types

from conftest import MODEL, TIMEOUT_S, TOKEN, turn

ENDED = {types.JobState.JOB_STATE_SUCCEEDED, types.JobState.JOB_STATE_FAILED, types.JobState.JOB_STATE_CANCELLED}


def ended(client, job):
    deadline = time.monotonic() + TIMEOUT_S
    while job.state not in ENDED:
        assert time.monotonic() < deadline, f"not done: {job}"
        turn(client)
        job = client.batches.get(name=job.name)
    return job


def line(key, text):
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return json.dumps({"key": key, "request": request}).encode() + b"\n"


def test_inline_requests_come_back_inline(client):
    requests = [{"contents": [{"role": "user", "parts": [{"text": f"number {n}"}]}]} for n in range(3)]
    job = client.batches.create(model=MODEL, src=requests, config={"display_name": "three"})
    assert job.name.startswith("batches/") and job.state not in ENDED
    job = ended(client, job)
    assert (job.state, job.display_name) == (types.JobState.JOB_STATE_SUCCEEDED, "three")
    answers = [answer.response.text for answer in job.dest.inlined_responses]
    assert [f"number {n}" in answer for n, answer in enumerate(answers)] == [True] * 3
    assert job.name in {listed.name for listed in client.batches.list(config={"page_size": 2})}
    turn(client)
    client.batches.delete(name=job.name)
    assert job.name not in {listed.name for listed in client.batches.list()}


def test_a_file_of_requests_comes_back_as_a_file(client):
    source = client.files.upload(
        file=io.BytesIO(line("a", "number one") + line("b", "number two")), config={"mime_type": "application/jsonl"}
    )
    turn(client)
    job = ended(client, client.batches.create(model=MODEL, src=source.name))
    assert job.state == types.JobState.JOB_STATE_SUCCEEDED
    turn(client)
    text = client.files.download(file=job.dest.file_name).decode()
    answers = {answer["key"]: answer["response"] for answer in map(json.loads, text.splitlines())}
    assert answers.keys() == {"a", "b"}
    assert "number two" in answers["b"]["candidates"][0]["content"]["parts"][0]["text"]
    client.batches.delete(name=job.name)
    client.files.delete(name=source.name)


def test_a_batch_is_cancelled(client):
    job = client.batches.create(model=MODEL, src=[{"contents": [{"parts": [{"text": "x"}]}]}])
    turn(client)
    client.batches.cancel(name=job.name)
    assert client.batches.get(name=job.name).state == types.JobState.JOB_STATE_CANCELLED
    client.batches.delete(name=job.name)


def test_a_batch_of_the_openai_layer(client, pool):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "number one"}]}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    source = client.files.upload(
        file=io.BytesIO(json.dumps(request).encode() + b"\n"), config={"mime_type": "application/jsonl"}
    )
    with openai.OpenAI(base_url=f"{pool.url}/v1", api_key=TOKEN, max_retries=0, timeout=TIMEOUT_S) as other:
        turn(client)
        batch = other.batches.create(
            input_file_id=source.name, endpoint="/v1/chat/completions", completion_window="24h"
        )
        deadline = time.monotonic() + TIMEOUT_S
        while batch.status not in ("completed", "failed"):
            assert time.monotonic() < deadline, batch
            turn(client)
            batch = other.batches.retrieve(batch.id)
        assert batch.status == "completed"
        assert batch.id in {listed.id for listed in other.batches.list()}
    turn(client)
    text = client.files.download(file=batch.output_file_id).decode()
    assert json.loads(text)["custom_id"] == "a" and "number one" in text
    client.files.delete(name=source.name)


@pytest.mark.parametrize("ask", ["get", "cancel", "delete"])
def test_a_batch_that_nobody_has_is_googles_404(client, ask):
    with pytest.raises(errors.ClientError) as raised:
        getattr(client.batches, ask)(name="batches/no-such-batch")
    assert raised.value.code == 404
