"""Long-running operations: a video is asked for, waited for, fetched, and made longer. google-genai 3.4.0 refuses to ask the
Gemini API for videos, so that is asked over HTTP; it still waits for the operation and fetches what it has made."""

import httpx
from google.genai import types

from conftest import TIMEOUT_S, TOKEN, finished, turn

VEO = "veo-3.0-generate-001"


def begin(pool, **instance):
    url = f"{pool.url}/v1beta/models/{VEO}:predictLongRunning"
    body = {"instances": [{"prompt": "a cat", **instance}]}
    answer = httpx.post(url, headers={"x-goog-api-key": TOKEN}, json=body, timeout=TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    operation = types.GenerateVideosOperation(name=answer.json()["name"])
    assert operation.name.startswith(f"models/{VEO}/operations/") and "done" not in answer.json()
    return operation


def wait(client, operation):
    def get(operation):
        turn(client)
        return client.operations.get(operation)

    operation = finished(operation, get)
    assert operation.error is None
    (generated,) = operation.response.generated_videos
    return generated.video


def test_a_video_is_made_and_fetched(pool, client, tmp_path):
    video = wait(client, begin(pool))
    for _ in range(3):
        turn(client)
        data = client.files.download(file=video)
        assert data[4:8] == b"ftyp"
    path = tmp_path / "video.mp4"
    client.files.download(file=video, destination=path)
    assert path.read_bytes() == data


def test_a_video_is_made_longer_on_the_key_that_has_it(pool, client):
    first = wait(client, begin(pool))
    turn(client)
    second = wait(client, begin(pool, video={"uri": first.uri}))
    assert second.uri != first.uri
