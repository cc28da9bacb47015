"""File search stores with google-genai: filled by upload and by import, searched, listed, deleted with what is in them."""

import io

import pytest
from google.genai import errors, types

from conftest import MODEL, finished, turn


@pytest.fixture
def store(client):
    store = client.file_search_stores.create(config={"display_name": "My books"})
    yield store
    turn(client)
    client.file_search_stores.delete(name=store.name, config={"force": True})
    with pytest.raises(errors.ClientError) as raised:
        client.file_search_stores.get(name=store.name)
    assert raised.value.code in (403, 404)


def wait(client, operation):
    def get(operation):
        turn(client)
        return client.operations.get(operation)

    return finished(operation, get)


def test_a_file_is_uploaded_into_a_store(client, store):
    turn(client)
    operation = client.file_search_stores.upload_to_file_search_store(
        file_search_store_name=store.name,
        file=io.BytesIO(b"once upon a time"),
        config={"mime_type": "text/plain", "display_name": "a book"},
    )
    operation = wait(client, operation)
    name = operation.response.document_name
    assert name.startswith(f"{store.name}/documents/")
    document = client.file_search_stores.documents.get(name=name)
    assert (document.display_name, document.size_bytes) == ("a book", 16)
    listed = client.file_search_stores.documents.list(parent=store.name, config={"page_size": 1})
    assert [document.name for document in listed] == [name]
    client.file_search_stores.documents.delete(name=name, config={"force": True})
    assert list(client.file_search_stores.documents.list(parent=store.name)) == []


def test_a_file_is_imported_into_a_store_and_searched(client, store):
    file = client.files.upload(file=io.BytesIO(b"a book"), config={"mime_type": "text/plain"})
    turn(client)
    operation = client.file_search_stores.import_file(file_search_store_name=store.name, file_name=file.name)
    operation = wait(client, operation)
    assert operation.response.document_name.startswith(f"{store.name}/documents/")
    search = types.Tool(file_search=types.FileSearch(file_search_store_names=[store.name]))
    config = types.GenerateContentConfig(tools=[search])
    for n in range(3):
        turn(client)
        assert client.models.generate_content(model=MODEL, contents=f"question {n}", config=config).text
    client.files.delete(name=file.name)


def test_stores_are_listed(client, store):
    turn(client)
    assert client.file_search_stores.get(name=store.name).display_name == "My books"
    assert store.name in {listed.name for listed in client.file_search_stores.list(config={"page_size": 1})}
