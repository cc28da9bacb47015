"""Explicit caches with google-genai: made, used, prolonged, listed, deleted, on whichever key has made them."""

import datetime
import io

import pytest
from google.genai import errors, types

from conftest import MODEL, turn


def make(client, **config):
    config = {"contents": "a very long book", "ttl": "600s", "display_name": "book", **config}
    return client.caches.create(model=MODEL, config=config)


def test_a_cache_is_used_by_every_request_that_names_it(client):
    cache = make(client, system_instruction="Be brief.")
    assert cache.name.startswith("cachedContents/") and cache.usage_metadata.total_token_count > 0
    config = types.GenerateContentConfig(cached_content=cache.name)
    for n in range(5):
        turn(client)
        answer = client.models.generate_content(model=MODEL, contents=f"question {n}", config=config)
        assert answer.usage_metadata.cached_content_token_count == cache.usage_metadata.total_token_count
    chunks = list(client.models.generate_content_stream(model=MODEL, contents="and on", config=config))
    assert len(chunks) == 8
    client.caches.delete(name=cache.name)
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=MODEL, contents="once more", config=config)
    assert raised.value.code == 403


def test_a_cache_is_prolonged_and_listed(client):
    caches = [make(client, display_name=f"book {n}") for n in range(3)]
    turn(client)
    prolonged = client.caches.update(name=caches[0].name, config={"ttl": "7200s"})
    assert prolonged.expire_time - caches[0].expire_time > datetime.timedelta(hours=1)
    assert client.caches.get(name=caches[0].name).expire_time == prolonged.expire_time
    names = {cache.name for cache in caches}
    assert names <= {cache.name for cache in client.caches.list(config={"page_size": 2})}
    for name in names:
        turn(client)
        client.caches.delete(name=name)
    assert not names & {cache.name for cache in client.caches.list()}


def test_a_cache_holds_a_file_of_the_same_caller(client):
    file = client.files.upload(file=io.BytesIO(b"a book"), config={"mime_type": "text/plain"})
    turn(client)
    cache = make(client, contents=[file])
    turn(client)
    config = types.GenerateContentConfig(cached_content=cache.name)
    assert client.models.generate_content(model=MODEL, contents="summarize", config=config).text
    client.caches.delete(name=cache.name)
    client.files.delete(name=file.name)
