"""Files with google-genai: uploads (whose chunks carry no key), use and deletion, and one list over several projects."""

import asyncio
import base64
import hashlib
import io
import time

import pytest
from google.genai import errors, types

from conftest import MODEL, POOL, TIMEOUT_S, connect, gateway, turn

CHUNK = 8 * 1024 * 1024  # the SDK's


def upload(client, text="hello", **config):
    config = {"mime_type": "text/plain", **config}
    return client.files.upload(file=io.BytesIO(text.encode()), config=config)


def test_a_small_file_is_uploaded_used_and_deleted(client):
    file = upload(client, "once upon a time", display_name="a book")
    assert file.name.startswith("files/") and file.state == types.FileState.ACTIVE
    assert (file.display_name, file.size_bytes, file.mime_type) == ("a book", 16, "text/plain")
    # The address stays Google's: it is what later requests name.
    assert file.uri.startswith("https://generativelanguage.googleapis.com/")
    for _ in range(5):
        turn(client)
        assert client.files.get(name=file.name).uri == file.uri
        answer = client.models.generate_content(model=MODEL, contents=["What is it about?", file])
        assert "What is it about?" in answer.text
    chunks = list(client.models.generate_content_stream(model=MODEL, contents=["And then?", file]))
    assert len(chunks) == 8
    turn(client)
    client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError) as raised:
        client.files.get(name=file.name)
    assert raised.value.code in (403, 404)


def test_a_file_over_two_chunks_arrives_whole(client, pool, tmp_path):
    data = bytes(range(256)) * ((2 * CHUNK + 1000) // 256)
    path = tmp_path / "data.bin"
    path.write_bytes(data)
    before = len(pool.arrived())
    file = client.files.upload(file=path, config={"mime_type": "application/octet-stream"})
    assert file.size_bytes == len(data)
    # Google writes the digest's hexadecimal digits in base64, which the SDK leaves as they are.
    assert base64.b64decode(file.sha256_hash).decode() == hashlib.sha256(data).hexdigest()
    sent = [request for request in pool.arrived()[before:] if request["path"].startswith("/upload/")]
    assert len(sent) == 4, "a start and three chunks"
    turn(client)
    assert client.files.get(name=file.name).size_bytes == len(data)
    client.files.delete(name=file.name)


def test_a_video_is_processed_before_it_is_active(client):
    file = client.files.upload(file=io.BytesIO(b"\0" * 1000), config={"mime_type": "video/mp4"})
    assert file.state == types.FileState.PROCESSING
    deadline = time.monotonic() + TIMEOUT_S
    while file.state == types.FileState.PROCESSING:
        assert time.monotonic() < deadline
        turn(client)
        file = client.files.get(name=file.name)
    assert file.state == types.FileState.ACTIVE
    assert client.models.generate_content(model=MODEL, contents=["What is to be seen?", file]).text
    client.files.delete(name=file.name)


def test_two_files_of_one_caller_are_used_in_one_request(client):
    files = [upload(client, f"part {n}") for n in range(2)]
    turn(client)
    assert client.models.generate_content(model=MODEL, contents=["Compare", *files]).text
    for file in files:
        client.files.delete(name=file.name)


def test_uploads_side_by_side(pool):
    async def talk():
        async with connect(pool).aio as client:
            config = {"mime_type": "text/plain"}
            sent = [client.files.upload(file=io.BytesIO(bytes([n]) * 1000), config=config) for n in range(8)]
            files = await asyncio.gather(*sent)
            assert len({file.name for file in files}) == 8
            found = await asyncio.gather(*(client.files.get(name=file.name) for file in files))
            assert [file.sha256_hash for file in found] == [file.sha256_hash for file in files]
            await asyncio.gather(*(client.files.delete(name=file.name) for file in files))

    asyncio.run(talk())


def test_files_of_several_projects_are_one_list(tmp_path):
    # Without tokens the keys are the credentials: four callers, and all of them share what is there.
    with gateway(tmp_path, POOL) as pool:
        clients = [connect(pool, token=key) for key in POOL]
        names = [upload(client, f"{n}").name for n in range(3) for client in clients]
        assert len(pool.owners(*names)) > 1, "all of them went to one project"
        for client in clients:
            listed = [file.name for file in client.files.list(config={"page_size": 2})]
            assert sorted(listed) == sorted(names)
            assert client.files.get(name=names[0]).name == names[0]
        page = clients[0].files.list(config={"page_size": 4})
        assert len(page) == 4
        clients[0].files.delete(name=names[4])
        left = [file.name for file in clients[1].files.list()]
        assert sorted(left) == sorted(set(names) - {names[4]})
        assert pool.control("GET", "wrong_owners") == []
