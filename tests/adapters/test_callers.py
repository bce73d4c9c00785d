"""Keys and tokens: the good one opens, and every other is met with the same silence."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from structlog.testing import capture_logs
from tests.serving import drip, serving

from kairos.adapters.callers import Callers, hashed, made
from kairos.adapters.oidc import HOUR, PAUSE, Tokens, in_file, published
from kairos.domain.caller import Caller
from kairos.errors import KairosError, SettingsError

ISSUER, US = "https://login.example/realms/mno", "kairos"
RSA, RSA_2 = (rsa.generate_private_key(65537, 2048) for _ in range(2))
WEAK = rsa.generate_private_key(65537, 1024)
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
SECRET = base64.urlsafe_b64encode(b"a secret that both ends know, 32+").decode()
PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def now() -> int:
    return int(time.time())


def jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    """The public half, as an issuer publishes it."""
    kinds = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256", ed25519.Ed25519PrivateKey: "EdDSA"}
    (name,) = (name for kind, name in kinds.items() if isinstance(key, kind))
    shown = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    return {"kid": kid, **{part: value for part, value in shown.items() if part != "key_ops"}, **more}


KEYS = [
    jwk(RSA, "rsa", use="sig"),
    jwk(EC, "ec", alg="ES256"),
    jwk(ED, "ed"),
    jwk(RSA_2, "sealing", use="enc"),
    jwk(WEAK, "weak"),
    {"kty": "oct", "kid": "oct", "k": SECRET},
    {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
]


def claims(**changed: Any) -> dict[str, Any]:
    good = {
        "iss": ISSUER,
        "aud": US,
        "sub": "ada",
        "azp": "care-desk",
        "iat": now() - 5,
        "exp": now() + 300,
        "jti": "1",
        "roles": ["kairos:care", "kairos:nonsense", "admin"],
    } | changed
    return {name: value for name, value in good.items() if value is not ...}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", /, **changed: Any) -> str:
    headers = {"kid": kid} if kid is not None else {}
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)


def signed(payload: bytes) -> str:
    return jwt.api_jws.encode(payload, RSA, "RS256", headers={"kid": "rsa"})


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def unsigned(algorithm: str, signature: str = "") -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': 'rsa'})}.{part(claims())}.{signature}"


def confused() -> str:
    """HMAC with the public key for a secret, which a careless reader verifies with that same public key."""
    import hmac

    signed = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims())}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(PEM, signed.encode(), 'sha256')).rstrip(b'=').decode()}"


def with_payload(other: Mapping[str, Any]) -> str:
    head, _, signature = token().split(".")
    return f"{head}.{part(other)}.{signature}"


@dataclass
class Issuer:
    """Hands out keys, and counts how often it is asked."""

    keys: Sequence[Mapping[str, Any]] = field(default_factory=lambda: KEYS)
    asked: int = 0
    away: bool = False

    async def fetch(self) -> Sequence[Mapping[str, Any]]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise KairosError("it does not answer")
        return self.keys


def tokens(issuer: Issuer | None = None, **options: Any) -> Tokens:
    chosen: dict[str, Any] = {"leeway": 10, "roles_prefix": "kairos:"} | options
    return Tokens(ISSUER, US, ["RS256", "ES256", "EdDSA"], (issuer or Issuer()).fetch, **chosen)


GOOD: dict[str, Callable[[], str]] = {
    "RSA": token,
    "EC": lambda: token(EC, "ES256", "ec"),
    "Ed25519": lambda: token(ED, "EdDSA", "ed"),
    "one of several audiences": lambda: token(aud=["other", US]),
    "expired within the leeway": lambda: token(exp=now() - 5),
    "not before a moment within the leeway": lambda: token(nbf=now() + 5),
    "issued a moment ahead of our clock": lambda: token(iat=now() + 5),
}
BAD: dict[str, Callable[[], str]] = {
    "expired": lambda: token(exp=now() - 60),
    "not valid yet": lambda: token(nbf=now() + 60),
    "issued in the future": lambda: token(iat=now() + 60),
    "without an end": lambda: token(exp=...),
    "without a beginning": lambda: token(iat=...),
    "without a subject": lambda: token(sub=...),
    "an end that is no number": lambda: token(exp="soon"),
    "an endless end": lambda: signed(json.dumps(claims(exp=float("inf"))).encode()),
    "another issuer": lambda: token(iss="https://evil.example"),
    "a beginning of the issuer": lambda: token(iss=ISSUER + "/"),
    "no issuer": lambda: token(iss=...),
    "another audience": lambda: token(aud="billing"),
    "no audience": lambda: token(aud=...),
    "an audience that only begins so": lambda: token(aud="kairos2"),
    "another key under a known id": lambda: token(RSA_2, "RS256", "rsa"),
    "a key that is not known": lambda: token(RSA_2, "RS256", "new"),
    "no key's id where there are several": lambda: token(RSA, "RS256", None),
    "a key for sealing": lambda: token(RSA_2, "RS256", "sealing"),
    "a key that is too short": lambda: token(WEAK, "RS256", "weak"),
    "a key that cannot be read": lambda: token(RSA, "RS256", "broken"),
    "an algorithm that is not on the list": lambda: token(RSA, "PS256", "rsa"),
    "an algorithm of another kind of key": lambda: token(EC, "ES256", "rsa"),
    "a key bound to another algorithm": lambda: token(RSA, "RS256", "ec"),
    "no algorithm": lambda: unsigned("none"),
    "no algorithm, in capitals": lambda: unsigned("NONE"),
    "no algorithm, and a signature": lambda: unsigned("none", "AAAA"),
    "a shared secret of the key set": lambda: token(base64.urlsafe_b64decode(SECRET), "HS256", "oct"),
    "the public key as a secret": confused,
    "other words under a signature": lambda: with_payload(claims(roles=["kairos:admin"])),
    "without its signature": lambda: token().rpartition(".")[0] + ".",
    "with a bit of the signature turned": lambda: token()[:-6] + ("A" if token()[-6] != "A" else "B") + token()[-5:],
    "words that are no object": lambda: signed(b"[]"),
    "words that are no JSON": lambda: signed(b"{"),
    "deeply nested words": lambda: signed(b"[" * 5000),
    "a subject that is no text": lambda: token(sub=7),
    "an extension that must be understood": lambda: jwt.encode(
        claims(), RSA, "RS256", headers={"kid": "rsa", "crit": ["exp2"], "exp2": 1}
    ),
    "a key's id that is a list": lambda: f"{part({'alg': 'RS256', 'kid': ['rsa']})}.{part(claims())}.x",
    "nothing": lambda: "..",
    "no token": lambda: "a.b.c",
    "five parts": lambda: token() + ".x.y",
    "marks that are no letters": lambda: "é.ü.\udcff",
}


@pytest.mark.parametrize("case", GOOD)
async def test_a_good_token_opens(case: str) -> None:
    caller = await tokens(rate=5).caller(GOOD[case]())
    assert caller is not None
    assert (caller.name, caller.subject, caller.roles, caller.rate) == ("oidc:care-desk", "ada", frozenset({"care"}), 5)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("case", BAD)
async def test_no_other_does(case: str) -> None:
    callers = Callers({}, tokens(), time.time)
    assert await callers.who(BAD[case]()) is None
    assert await callers.who(token()) is not None  # and the next one opens


async def test_the_log_says_what_is_wrong_with_a_token_and_not_more_often_than_a_disk_can_bear() -> None:
    later = count(0, 10)
    wrong = {
        "Signature has expired": token(exp=now() - 60),
        "its `aud` has no `kairos`": token(aud="other"),
        f"its `iss` is not `{ISSUER}`": token(iss="https://other.example"),
        "`alg` is `HS256`; `algorithms` of [oidc] are": unsigned("HS256"),
        "the issuer has no key `gone` for RS256": token(RSA, "RS256", "gone"),
    }
    with capture_logs() as lines:
        for said, written in wrong.items():
            assert await tokens(tick=lambda: next(later)).caller(written) is None
            assert lines[-1]["reason"].startswith(said), lines[-1]
        told = sum("reason" in one for one in lines)
        still = tokens(tick=lambda: 0.0)
        for _ in range(5):
            await still.caller(token(exp=now() - 60))
    assert sum("reason" in one for one in lines) == told + 1


@pytest.mark.parametrize(
    ("claim", "prefix", "changed", "roles"),
    [
        ("roles", "kairos:", {}, {"care"}),
        ("roles", "", {}, {"admin"}),
        ("scope", "kairos:", {"scope": "openid kairos:decide kairos:ingest"}, {"decide", "ingest"}),
        ("realm_access.roles", "k-", {"realm_access": {"roles": ["k-operator", 7, None]}}, {"operator"}),
        ("https://kairos.example/roles", "", {"https://kairos.example/roles": ["care"]}, {"care"}),
        ("roles", "kairos:", {"roles": ...}, set()),
        ("roles", "kairos:", {"roles": {"kairos:admin": True}}, set()),
        ("roles.name", "kairos:", {"roles": "kairos:admin"}, set()),
    ],
)
async def test_roles_come_from_the_claim(claim: str, prefix: str, changed: Any, roles: set[str]) -> None:
    caller = await tokens(roles_claim=claim, roles_prefix=prefix).caller(token(**changed))
    assert caller is not None
    assert caller.roles == roles


async def test_names_from_a_token_are_fit_for_a_log() -> None:
    caller = await tokens().caller(token(sub="ada\r\nforged", azp="x" * 500))
    assert caller is not None
    assert (caller.name, caller.subject) == ("oidc:" + "x" * 100, "ada??forged")
    assert (await tokens().caller(token(azp=..., client_id="app"))).name == "oidc:app"  # type: ignore[union-attr]
    assert (await tokens().caller(token(azp=...))).name == "oidc:ada"  # type: ignore[union-attr]


async def test_a_token_is_remembered_until_it_ends_and_not_longer() -> None:
    began = now()
    clock = [float(began)]
    callers = Callers({}, tokens(), lambda: clock[0])
    shown = token()
    first = await callers.who(shown)
    assert await callers.who(shown) is first
    clock[0] = began + 305  # it ends after 300, with 10 for clocks that differ
    assert await callers.who(shown) is first
    clock[0] = began + 320
    assert await callers.who(shown) is None


async def test_where_a_token_opens_one_request_a_replay_opens_none() -> None:
    began = float(now() - 10)
    callers = Callers({}, tokens(once=True, clock=lambda: began), time.time)
    shown = token(jti="a")
    assert await callers.who(shown) is not None
    assert await callers.who(shown) is None
    assert await callers.who(token(jti="a", sub="eve")) is None
    assert await callers.who(token(jti="b")) is not None
    assert await callers.who(token(jti=...)) is None
    assert await callers.who(token(jti=7)) is None
    assert await callers.who(token(jti="c", iat=now() - 60)) is None  # of the time before we started: perhaps used then


async def test_a_token_that_ends_late_keeps_none_that_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kairos.adapters.oidc.REMEMBERED", 3)
    clock = [float(now() - 10)]
    reader = tokens(once=True, clock=lambda: clock[0])
    assert await reader.caller(token(jti="long", exp=now() + 100_000)) is not None
    for number in range(10):
        clock[0] += 1000
        assert await reader.caller(token(jti=f"{number}")) is not None, number
    assert await reader.caller(token(jti="long", exp=now() + 100_000)) is None


# -- the issuer's keys -------------------------------------------------------------------------------------------------


async def test_the_issuer_is_asked_for_a_key_that_is_new_and_not_more_often_than_it_likes() -> None:
    issuer, tick = Issuer(KEYS[:1]), [1000.0]
    reader = tokens(issuer, tick=lambda: tick[0])
    assert all(await asyncio.gather(*(reader.caller(token()) for _ in range(20))))
    assert issuer.asked == 1
    for number in range(50):  # somebody makes keys up
        assert await reader.caller(token(RSA_2, "RS256", f"made up {number}")) is None
    assert issuer.asked == 1
    issuer.keys = [*KEYS[:1], jwk(RSA_2, "next")]
    assert await reader.caller(token(RSA_2, "RS256", "next")) is None
    tick[0] += PAUSE
    assert await reader.caller(token(RSA_2, "RS256", "next")) is not None
    assert issuer.asked == 2


async def test_a_key_that_the_issuer_gave_up_is_given_up_within_the_hour_and_one_that_is_away_is_forgiven() -> None:
    issuer, tick = Issuer(KEYS[:1]), [1000.0]
    reader = tokens(issuer, tick=lambda: tick[0])
    assert await reader.caller(token())
    issuer.away, tick[0] = True, tick[0] + HOUR + 1
    assert await reader.caller(token())
    assert reader._refreshing
    await reader._refreshing
    issuer.away, issuer.keys, tick[0] = False, [jwk(RSA_2, "next")], tick[0] + HOUR + 1
    assert await reader.caller(token())  # nobody waits for the look
    await reader._refreshing
    assert await reader.caller(token()) is None
    assert issuer.asked == 3


@pytest.fixture
async def site() -> AsyncIterator[Callable[[dict[str, Any]], str]]:
    """A small HTTP server of JSON documents by path; None hangs up."""
    pages: dict[str, Any] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        found = pages.get(path, b"")
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        status = b"200 OK" if found else b"302 Found\r\nlocation: /keys"
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def serve(new: dict[str, Any]) -> str:
        pages.update(new)
        return f"http://127.0.0.1:{port}"

    yield serve
    server.close()


async def test_keys_are_found_by_the_discovery_document(site: Callable[[dict[str, Any]], str]) -> None:
    at = site({})
    site({"/mno/.well-known/openid-configuration": {"issuer": f"{at}/mno", "jwks_uri": f"{at}/keys"}})
    site({"/keys": {"keys": KEYS}})
    reader = Tokens(f"{at}/mno", US, ["RS256"], published(f"{at}/mno"))
    assert await reader.caller(token(iss=f"{at}/mno")) is not None


DOCUMENTS: dict[str, tuple[Callable[[str], dict[str, Any]], str]] = {
    "of another issuer": (lambda at: {"/d": {"issuer": "https://evil.example", "jwks_uri": f"{at}/keys"}}, "is of"),
    "not there": (lambda _: {}, "answered 302"),
    "no JSON": (lambda _: {"/d": b"<html>"}, "Expecting value"),
    "keys over plain HTTP from elsewhere": (
        lambda at: {"/d": {"issuer": at, "jwks_uri": "http://192.0.2.1/keys"}},
        "no HTTPS address",
    ),
    "keys in a file": (lambda at: {"/d": {"issuer": at, "jwks_uri": "file:///etc/passwd"}}, "no HTTPS address"),
    "no keys": (lambda at: {"/d": {"issuer": at, "jwks_uri": f"{at}/none"}, "/none": {"a": 1}}, "no keys"),
    "keys without an end": (
        lambda at: {"/d": {"issuer": at, "jwks_uri": f"{at}/big"}, "/big": b"[" * 300_000},
        "more than",
    ),
}


@pytest.mark.parametrize("case", DOCUMENTS)
async def test_what_is_no_key_set_is_said_and_opens_nothing(site: Any, case: str) -> None:
    pages, said = DOCUMENTS[case]
    at = site({})
    site({path.replace("/d", "/.well-known/openid-configuration"): page for path, page in pages(at).items()})
    with pytest.raises(KairosError, match=said):
        await published(at)()


async def test_an_issuer_that_talks_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No read of it ever times out, and whoever shows a new key waits for it."""
    monkeypatch.setattr("kairos.adapters.oidc.PATIENCE", 0.1)

    endless = drip(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", b" ")
    async with serving(endless) as address, asyncio.timeout(60):
        with pytest.raises(KairosError, match="no answer within"):
            await published(address)()


async def test_keys_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": KEYS}))
    reader = Tokens(ISSUER, US, ["RS256"], in_file(path))
    assert await reader.caller(token()) is not None
    path.write_text("[]")
    with pytest.raises(SettingsError, match=r"keys\.json: `oidc\.jwks_file` cannot be used: there are no keys in it"):
        in_file(path)


# -- keys --------------------------------------------------------------------------------------------------------------


async def test_a_key_opens_and_none_that_is_near() -> None:
    key = made()
    care = Caller("care", roles=frozenset({"care"}))
    callers = Callers({hashed(key): care}, None, time.time)
    assert await callers.who(key) is care
    for other in ("", key[:-1], key + "x", key.upper(), " " + key, made(), hashed(key), "\udcff", "a.b.c"):
        assert await callers.who(other) is None, other


def test_a_fresh_key_is_long_and_never_the_same() -> None:
    keys = {made() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {50}
    assert hashed("k") == sha256(b"k").hexdigest()
