"""Live sessions with google-genai, which speaks `wss` whatever it is told: the gateway under TLS, with a certificate of an
authority made for the test."""

import asyncio
import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.genai import errors, types

from conftest import MODEL, TIMEOUT_S, connect, gateway

TOKEN = "live-token"
KEYS = {f"AIza-simulated-{n}": f"project-{n % 2}" for n in range(4)}


def signed(subject, public_key, issuer, issuer_key, is_authority):
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(authority, critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    if is_authority:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def certificate(folder):
    """Writes an authority's certificate, a server's and its key; gives their paths."""

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = signed(name("test authority"), root_key.public_key(), name("test authority"), root_key, True)
    leaf = signed(name("gateway"), key.public_key(), name("test authority"), root_key, False)
    pem = serialization.Encoding.PEM
    paths = [folder / name for name in ("root.pem", "cert.pem", "key.pem")]
    paths[2].touch(mode=0o600)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, data in zip(paths, (root.public_bytes(pem), leaf.public_bytes(pem), private), strict=True):
        path.write_bytes(data)
    return paths


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    root, cert, key = certificate(folder)
    with (
        gateway(
            folder,
            KEYS,
            ACCESS_TOKENS=f"tester={TOKEN}",
            GEMINI_BALANCE__SERVER__TLS__CERT_FILE=str(cert),
            GEMINI_BALANCE__SERVER__TLS__KEY_FILE=str(key),
        ) as pool,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SSL_CERT_FILE", str(root))
        yield pool


async def said(session):
    """One turn of the model's."""
    return "".join([message.text async for message in session.receive() if message.text])


async def ask(session, text):
    await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text=text)]))
    return await said(session)


def talk(pool, conversation, config=None, token=TOKEN):
    async def run():
        async with connect(pool, token=token).aio as client:
            config_given = {"response_modalities": ["TEXT"], **(config or {})}
            async with client.live.connect(model=MODEL, config=config_given) as session:
                return await conversation(session)

    return asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))


def test_requests_are_served_over_tls(pool):
    assert pool.url.startswith("https://")
    with connect(pool, token=TOKEN) as client:
        assert client.models.generate_content(model=MODEL, contents="Hello").text.startswith("You said: Hello")
        chunks = list(client.models.generate_content_stream(model=MODEL, contents="Hello"))
        assert "".join(chunk.text for chunk in chunks).startswith("You said: Hello")


def test_a_live_session_takes_turns(pool):
    async def conversation(session):
        return [await ask(session, f"turn {n}") for n in range(3)]

    for n, answer in enumerate(talk(pool, conversation)):
        assert f"turn {n}" in answer


def test_realtime_input_and_tool_calls_pass(pool):
    async def conversation(session):
        await session.send_realtime_input(text="by voice")
        heard = await said(session)
        await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text="call get_weather")]))
        async for message in session.receive():
            if message.tool_call:
                (call,) = message.tool_call.function_calls
                break
        answer = types.FunctionResponse(id=call.id, name=call.name, response={"degrees": 21})
        await session.send_tool_response(function_responses=[answer])
        return heard, call.name, await said(session)

    heard, called, answer = talk(pool, conversation)
    assert "by voice" in heard and called == "get_weather" and "get_weather" in answer


def test_a_session_is_resumed_on_its_project(pool):
    async def first(session):
        await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text="remember me")]))
        handle = None
        async for message in session.receive():
            if message.session_resumption_update and message.session_resumption_update.new_handle:
                handle = message.session_resumption_update.new_handle
        return handle

    handle = talk(pool, first, {"session_resumption": {}})
    assert handle

    async def again(session):
        return await ask(session, "and on")

    for _ in range(3):
        assert "and on" in talk(pool, again, {"session_resumption": {"handle": handle}})
    assert pool.control("GET", "wrong_owners") == []


def test_the_models_close_keeps_its_code_and_reason(pool):
    async def conversation(session):
        return await ask(session, "close 1011 Internal error encountered.")

    with pytest.raises(errors.APIError) as raised:
        talk(pool, conversation)
    assert raised.value.code == 1011 and "Internal error encountered." in str(raised.value)


def test_a_wrong_token_opens_no_session(pool):
    async def conversation(session):
        return await ask(session, "Hello")

    with pytest.raises(Exception) as raised:
        talk(pool, conversation, token="wrong")
    assert "401" in str(raised.value), raised.value


def test_sessions_side_by_side(pool):
    async def run():
        async with connect(pool, token=TOKEN).aio as client:

            async def one(n):
                async with client.live.connect(model=MODEL, config={"response_modalities": ["TEXT"]}) as session:
                    return await ask(session, f"session {n}")

            return await asyncio.gather(*(one(n) for n in range(8)))

    for n, answer in enumerate(asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))):
        assert f"session {n}" in answer
