"""The real server with its locks on: every role at every route, the log without a number, and hostile connections."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from kairos.adapters.audit.chain import Fault, read
from kairos.adapters.callers import hashed, made
from kairos.adapters.pseudonyms import Pseudonyms
from kairos.api.roles import TABLE
from kairos.domain.caller import ADMIN, ROLES

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST, PATIENCE = "127.0.0.1", 90.0
ISSUER, SIGNING = "https://login.example", ec.generate_private_key(ec.SECP256R1())
KEYS = {role: made() for role in ROLES}
AUDIT_KEY = "the key of this test, which is long enough"
WITNESS = "12025550100"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(launch_in: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    folder = tmp_path_factory.mktemp("locks")
    published = jwt.get_algorithm_by_name("ES256").to_jwk(SIGNING.public_key(), as_dict=True)
    (folder / "keys.json").write_text(json.dumps({"keys": [{"kid": "1", **published}]}))
    clients = {f"CLIENTS_{role.upper()}_ROLES": role for role in ROLES}
    clients |= {f"CLIENTS_{role.upper()}_KEY": key for role, key in KEYS.items() if role != "care"}
    async with launch_in(
        folder,
        key=KEYS[ADMIN],
        **clients,
        CLIENTS_CARE_KEY_SHA256=hashed(KEYS["care"]),
        CLIENTS_SLOW_KEY=KEYS["care"][::-1],
        CLIENTS_SLOW_ROLES="care",
        CLIENTS_SLOW_RATE=1,
        OIDC_ISSUER=ISSUER,
        OIDC_JWKS_FILE=folder / "keys.json",
        OIDC_ONCE="true",
        AUDIT_KEY=AUDIT_KEY,
        HTTP_HOST="0.0.0.0",
        PAGE_URL="https://offers.example",
        PAGE_SECRET="0123456789abcdef" * 4,
        CHANNELS_CALLS_ON="true",
        CHANNELS_IVR_URL="http://127.0.0.1:9/calls",
        CHANNELS_IVR_CALLBACK="http://127.0.0.1:9",
        CHANNELS_IVR_KEY="0123456789abcdef",
        CHANNELS_IVR_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ) as system:
        system.server.ports["http"] = system.server.ports["http_port"]
        await system.known(WITNESS, main=100_000)
        yield system
    assert "Traceback" not in system.server.log


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient(launch_in: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """One that waits a second only for a request to come whole; nothing else is asked of it."""
    care = {"CLIENTS_CARE_KEY": KEYS["care"], "CLIENTS_CARE_ROLES": "care"}
    async with launch_in(tmp_path_factory.mktemp("impatient"), **care, HTTP_REQUEST_WITHIN_S=1) as system:
        yield system
    assert "Traceback" not in system.server.log


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


def trail(system: Any) -> list[dict[str, Any]]:
    found = list(read(Path(f"{system.server.store}-audit"), AUDIT_KEY.encode()))
    assert [one for one in found if isinstance(one, Fault)] == []
    return [one for one in found if isinstance(one, dict)]


async def lines(system: Any, count: int, **wanted: Any) -> list[dict[str, Any]]:
    """Those of the trail that are so, once there are so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = [one for one in trail(system) if wanted.items() <= one.items()]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


def calls() -> list[tuple[str, str, str]]:
    filled = {"decision": "1", "name": "marketing", "msisdn": f"+{WITNESS}", "key": "none"}
    return [
        (method, re.sub(r"\{(\w+)\}", lambda found: filled.get(found[1], "1"), path), row.roles)
        for (method, path), row in TABLE.items()
    ]


@pytest.mark.parametrize(("method", "path", "named"), calls())
async def test_every_role_at_every_route(system: Any, method: str, path: str, named: str) -> None:
    known = await system.http.request(method, system.server.url + path)
    if known.status_code == 404 and re.search('"(detail|message)":"Not Found"', known.text):
        return  # of a door that these settings do not open
    for role in ROLES:
        answer = await system.http.request(method, system.server.url + path, headers=bearer(KEYS[role]))
        allowed = not named or role == ADMIN or role in named.split()
        assert (answer.status_code not in (401, 403)) == allowed, (role, answer.text)
        assert answer.status_code < 500
        assert "server" not in answer.headers
    stranger = await system.http.request(method, system.server.url + path, headers={"authorization": ""})
    assert (stranger.status_code == 401) == bool(named)


def token(**changed: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "kairos", "sub": "ada", "azp": "desk", "iat": now, "exp": now + 60, "jti": "1"}
    return jwt.encode(claims | {"roles": ["kairos:care"]} | changed, SIGNING, "ES256", headers={"kid": "1"})


async def test_a_token_opens_once_and_a_replay_does_not(system: Any) -> None:
    url = f"{system.server.url}/v1/subscribers/+{WITNESS}"
    shown = token(jti="of this test", iat=int(time.time()) + 1)
    first = await system.http.get(url, headers=bearer(shown))
    assert first.status_code == 200, first.text
    again = await system.http.get(url, headers=bearer(shown))
    assert (again.status_code, again.headers["content-type"]) == (401, "application/problem+json")
    (line,) = await lines(system, 1, client="oidc:desk")
    whom = Pseudonyms(AUDIT_KEY.encode()).of(WITNESS)
    assert (line["subject"], line["about"], line["status"], line["from"]) == ("ada", whom, 200, HOST)


async def test_a_switch_names_who_turned_it_and_is_in_the_trail_when_it_is_answered(system: Any) -> None:
    said = {"on": False, "reason": f"complaint of +{WITNESS}\nforged", "who": "grace"}
    url = f"{system.server.url}/v1/switches/action:none"
    assert (await system.http.put(url, json=said, headers=bearer(KEYS["operator"]))).status_code == 404
    url = f"{system.server.url}/v1/switches/channel:sms"
    answer = await system.http.put(url, json=said, headers=bearer(KEYS["operator"]))
    assert answer.json()["who"] == "grace via operator"
    line = next(one for one in reversed(trail(system)) if one["did"] == "PUT /v1/switches/{name}")
    whom = Pseudonyms(AUDIT_KEY.encode()).of(WITNESS)
    assert line["detail"] == f"channel:sms off: complaint of {whom}\\x0aforged"
    assert (await system.http.put(url, json={"on": True})).status_code == 200


async def test_a_client_beyond_its_rate_waits(system: Any) -> None:
    shown = bearer(KEYS["care"][::-1])
    asked = [system.http.get(f"{system.server.url}/v1/purchases/none", headers=shown) for _ in range(30)]
    refused = [answer for answer in await asyncio.gather(*asked) if answer.status_code == 429]
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}


# -- hostile connections -----------------------------------------------------------------------------------------------


async def told(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes the connection."""
    async with asyncio.timeout(PATIENCE):
        whole = b""
        with suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                whole += chunk
        return whole


HEAD = f"POST /v1/decisions HTTP/1.1\r\nhost: kairos\r\nauthorization: Bearer {KEYS['care']}\r\n"
SLOW = {
    "nothing at all": (b"", b""),
    "half of a header": (HEAD[:40].encode(), b" 408 "),
    "headers without an end": (HEAD.encode(), b" 408 "),
    "half of a body": (HEAD.encode() + b"content-length: 100\r\n\r\n{", b" 408 "),
    "half of a chunk": (HEAD.encode() + b"transfer-encoding: chunked\r\n\r\nff\r\n{", b" 408 "),
    "a second request that stops": (b"GET /health HTTP/1.1\r\nhost: k\r\n\r\nGET /health HTTP/1.1\r\n", b" 408 "),
}


async def test_who_does_not_come_to_an_end_is_let_go(impatient: Any) -> None:
    async def heard(octets: bytes) -> bytes:
        async with impatient.server.connection("http_port") as (reader, writer):
            writer.write(octets)
            return await told(reader)

    async def answered(octets: bytes) -> bytes:
        return await heard(octets) or await heard(octets)  # the time may be over before a word is said

    answers = await asyncio.gather(*(answered(octets) for octets, _ in SLOW.values()))
    for (what, (_, said)), answer in zip(SLOW.items(), answers, strict=True):
        assert said in answer[answer.rfind(b"HTTP/1.1") :] if said else not answer, what


async def test_who_sends_an_octet_now_and_then_is_let_go_too(impatient: Any) -> None:
    began = time.monotonic()
    async with impatient.server.connection("http_port") as (reader, writer):
        writer.write(HEAD.encode() + b"content-length: 100\r\n\r\n")
        answer = asyncio.create_task(told(reader))
        while not answer.done():
            writer.write(b" ")
            await asyncio.sleep(0.1)
        assert b" 408 " in await answer
    assert time.monotonic() - began < 60


async def test_a_request_that_is_slow_but_comes_is_answered(system: Any) -> None:
    body = b'{"id": "slow", "subscriber": "+12025550100", "channel": "care"}'
    async with system.server.connection("http_port") as (reader, writer):
        writer.write(HEAD.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body[:10])
        await asyncio.sleep(0.3)
        writer.write(body[10:])
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_headers_without_end_are_cut_off(system: Any) -> None:
    async with system.server.connection("http_port") as (reader, writer):
        answer = asyncio.create_task(told(reader))
        writer.write(HEAD.encode())
        with suppress(ConnectionError):
            for number in range(1000):
                writer.write(f"x-{number}: {'y' * 1000}\r\n".encode())
                await writer.drain()
        head = (await answer)[:20]  # what is still on its way when a connection ends may take the answer with it
        assert head == b"" or b" 431 " in head


@pytest.mark.parametrize("name", ["x-long", "authorization"])
async def test_a_huge_header_is_refused(system: Any, name: str) -> None:
    answer = await system.http.get(f"{system.server.url}/v1/status", headers={name: "y" * 50_000})
    assert answer.status_code == 431


async def test_deep_nesting_is_refused(system: Any) -> None:
    deep = b'{"data": ' + b"[" * 4000 + b"]" * 4000 + b"}"
    for path in ("decisions", "responses", "trials", "reversals"):
        answer = await system.http.post(f"{system.server.url}/v1/{path}", content=deep)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), path
    assert (await system.post(deep, "application/cloudevents+json")).status_code == 400


async def test_other_hosts_hear_nothing_of_what_is_wrong(system: Any) -> None:
    url = f"{system.server.url}/health"
    assert set((await system.http.get(url, headers={"authorization": ""})).json()) == {"live", "ready"}
    assert "troubles" in (await system.http.get(url, headers=bearer(KEYS["operator"]))).json()


# -- the log -----------------------------------------------------------------------------------------------------------


async def test_no_number_is_in_the_log_nor_in_the_trail_and_no_line_is_forged(system: Any) -> None:
    """After all of the above, offers taken and refused, and input that is bad on purpose."""
    await system.call(WITNESS)
    await system.reply(WITNESS, "1")
    forged = f"/v1/subscribers/+{WITNESS}%0d%0aforged%1b[31m"
    await system.http.get(system.server.url + forged)
    await system.http.get(f"{system.server.url}/v1/%0aforged{WITNESS}")
    await system.post(
        b'{"specversion": "1.0", "id": "\\nforged", "type": "x", "source": "y", "subject": "+12025550100"}'
    )
    await system.submit(WITNESS, f"not read: {WITNESS}")
    await lines(system, 1, did="GET /v1/subscribers/{name}", status=400)
    kept = "".join(map(json.dumps, trail(system)))
    numbers = {one.msisdn for one in system.operator.subscribers}
    for text in (system.server.log, kept):
        assert text
        assert [number for number in numbers if number in text] == []
        assert [line for line in text.splitlines() if line.startswith("forged")] == []
        assert [key for key in KEYS.values() if key in text] == []


async def test_the_same_over_tls(launch_in: Any, tmp_path: Path) -> None:
    import ssl

    import trustme

    authority = trustme.CA()
    server, client = authority.issue_cert(HOST), authority.issue_cert("care@mno.example")
    server.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = {"HTTP_CERT_FILE": tmp_path / "server.pem", "HTTP_CLIENT_CA_FILE": tmp_path / "ca.pem"}
    trusted = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    key = made()
    async with launch_in(
        tmp_path, key=key, HTTP_TLS="true", CLIENTS_A_KEY=key, CLIENTS_A_ROLES="operator", **files
    ) as system:
        url = f"https://{HOST}:{system.server.ports['http_port']}/v1/status"
        async with httpx.AsyncClient(verify=trusted, trust_env=False, timeout=PATIENCE) as http:
            with pytest.raises(httpx.HTTPError):
                await http.get(url, headers=bearer(key))
        trusted.load_cert_chain(tmp_path / "client.pem")
        async with httpx.AsyncClient(verify=trusted, trust_env=False, timeout=PATIENCE) as http:
            answer = await http.get(url, headers=bearer(key))
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"]
