"""Tokens of an OIDC issuer: signed by one of its keys, with an algorithm of the list, for us, and for now.

What is checked: RFC 7519 (exp, nbf, iat, iss, aud), RFC 8725 (the list of algorithms comes from the settings, only
those with public keys are known, and a key is bound to the algorithm that it is read for). Keys are those of the
issuer's discovery document (OpenID Connect Discovery 1.0), fetched when first needed, hourly, and for a `kid` that
nobody knows, but never more often than every `PAUSE`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from heapq import heappop, heappush
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import structlog

from kairos.adapters.http_attempt import beginning
from kairos.domain.caller import ROLES, Caller
from kairos.errors import Diagnostic, KairosError, SettingsError

log = structlog.get_logger("kairos.oidc")

DISCOVERY = "/.well-known/openid-configuration"
PATIENCE = 5.0  # seconds for what the issuer says next; twice that for all of it
PAUSE = 30.0  # seconds between two looks at its keys
HOUR = 3600.0
LARGEST = 262_144  # bytes of an answer
REMEMBERED = 100_000  # tokens that were used, where each opens one request
LONGEST = 100  # characters of a name
TELL_AGAIN = 1.0  # seconds between two log lines about tokens that are not good
NEEDED = ("exp", "iat", "iss", "aud", "sub")

Fetch = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]  # the issuer's keys (JWK, RFC 7517); raises KairosError


class Tokens:
    """Reads tokens. `once`: each opens one request, so it needs a `jti`."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        keys: Fetch,
        *,
        leeway: float = 0.0,
        roles_claim: str = "roles",
        roles_prefix: str = "",
        once: bool = False,
        rate: float = 0.0,
        clock: Callable[[], float] = time.time,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: seconds since the epoch, by which a replay is forgotten; `tick`: seconds that never go back."""
        self.issuer, self.audience, self.algorithms = issuer, audience, list(algorithms)
        self.leeway, self.roles_claim, self.roles_prefix = leeway, roles_claim, roles_prefix
        self.once, self.rate = once, rate
        self._fetch, self._clock, self._tick = keys, clock, tick
        self._keys: dict[str, Mapping[str, Any]] = {}  # by kid
        self._read: dict[tuple[str, str], jwt.PyJWK] = {}  # by kid and algorithm
        self._looked = -HOUR
        self._looking = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._began = clock()
        self._used: set[str] = set()  # by jti
        self._ends: list[tuple[float, str]] = []  # the same as a heap, whose first ends first
        self._told = -TELL_AGAIN

    async def caller(self, token: str) -> Caller | None:
        """Whom a token speaks for; None for every token that is not good now, whatever is wrong with it: that, only the
        log says.
        """
        try:
            return await self._good(token)
        except jwt.InvalidIssuerError:
            why = f"its `iss` is not `{self.issuer}`, the `issuer` of [oidc]"
        except jwt.InvalidAudienceError:
            why = f"its `aud` has no `{self.audience}`, the `audience` of [oidc]"
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            why = str(error)
        if self._tick() - self._told >= TELL_AGAIN:  # strangers must not fill the disk
            self._told = self._tick()
            log.warning("a token is not good", reason=printable(why))
        return None

    async def _good(self, token: str) -> Caller:
        """Whom it speaks for. Raises PyJWTError, ValueError, TypeError or RecursionError where it is not good."""
        header = jwt.get_unverified_header(token)
        kid, algorithm = str(header.get("kid", "")), str(header.get("alg", ""))
        if algorithm not in self.algorithms or len(kid) > LONGEST:
            raise ValueError(f"`alg` is `{algorithm}`; `algorithms` of [oidc] are {' '.join(self.algorithms)}")
        key = await self._key(kid, algorithm)
        if key is None:
            raise ValueError(f"the issuer has no key `{kid}` for {algorithm}")
        needed = [*NEEDED, *(["jti"] if self.once else [])]
        claims = jwt.decode(
            token,
            key,
            algorithms=self.algorithms,
            audience=self.audience,
            issuer=self.issuer,
            leeway=self.leeway,
            options={"require": needed, "enforce_minimum_key_length": True},
        )
        if self.once and not self._first(claims):
            raise ValueError("its `jti` was used, or it was issued before this start")
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        client = next((claims[one] for one in ("azp", "client_id", "sub") if isinstance(claims.get(one), str)), "")
        roles = frozenset(roles_in(claims, self.roles_claim, self.roles_prefix))
        until = float(claims["exp"]) + self.leeway
        return Caller(f"oidc:{printable(client)}", printable(claims["sub"]), roles, self.rate, until)

    def _first(self, claims: Mapping[str, Any]) -> bool:
        """Whether this token opens its one request now. What was used before we started is not known: it is too old."""
        now, until = self._clock(), float(claims["exp"]) + self.leeway
        if int(claims["iat"]) < int(self._began):
            return False
        while self._ends and self._ends[0][0] < now:
            self._used.discard(heappop(self._ends)[1])
        if claims["jti"] in self._used or len(self._used) >= REMEMBERED:
            return False
        self._used.add(claims["jti"])
        heappush(self._ends, (until, claims["jti"]))
        return True

    # -- keys ----------------------------------------------------------------------------------------------------------

    async def _key(self, kid: str, algorithm: str) -> jwt.PyJWK | None:
        """The key of that id, read for that algorithm; looked for at the issuer where it is new."""
        if not self._known(kid):
            await self._look(kid)
        elif self._tick() - self._looked > HOUR and not self._looking.locked():
            self._refreshing = asyncio.create_task(self._look(kid))  # nobody waits for it
        known = self._known(kid)
        if known is None or known.get("alg", algorithm) != algorithm:
            return None
        if (kid, algorithm) not in self._read:
            self._read[kid, algorithm] = jwt.PyJWK(dict(known), algorithm)  # raises where they do not fit
        return self._read[kid, algorithm]

    def _known(self, kid: str) -> Mapping[str, Any] | None:
        """A token that names no key is signed by the only one."""
        return self._keys.get(kid) if kid or len(self._keys) != 1 else next(iter(self._keys.values()))

    async def _look(self, kid: str) -> None:
        """Ask the issuer, one at a time. While it cannot be asked, the keys that we have are good."""
        async with self._looking:
            since = self._tick() - self._looked
            if since < PAUSE or (since < HOUR and self._known(kid)):
                return
            self._looked = self._tick()
            try:
                found = await self._fetch()
            except KairosError as error:
                log.warning("the issuer's keys cannot be had", issuer=self.issuer, reason=str(error))
                return
            usable = [one for one in found if one.get("kty") in ("RSA", "EC", "OKP") and one.get("use", "sig") == "sig"]
            self._keys = {str(one.get("kid", "")): one for one in usable}
            self._read = {}


def roles_in(claims: Mapping[str, Any], claim: str, prefix: str) -> list[str]:
    """The roles that a claim names: a list, or words with blanks between them. Others' roles are passed by.

    >>> roles_in({"realm_access": {"roles": ["kairos:care", "admin"]}}, "realm_access.roles", "kairos:")
    ['care']
    >>> roles_in({"scope": "openid kairos:decide"}, "scope", "kairos:")
    ['decide']
    """
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for step in claim.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    words = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
    ours = [one.removeprefix(prefix) for one in words if isinstance(one, str) and one.startswith(prefix)]
    return [one for one in ours if one in ROLES]


def printable(text: str) -> str:
    """A name from a token, as a log line may hold it."""
    return "".join(one if one.isprintable() else "?" for one in text[:LONGEST])


def published(issuer: str) -> Fetch:
    """The keys that the issuer publishes. Nothing but HTTPS is asked, loopback aside, and no redirect is followed."""

    async def fetch() -> Sequence[Mapping[str, Any]]:
        try:
            async with (
                httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client,
                asyncio.timeout(2 * PATIENCE),  # however slowly it talks: whoever shows a new key waits
            ):
                about = await _json(client, issuer.rstrip("/") + DISCOVERY)
                if about.get("issuer") != issuer:
                    raise KairosError(f"its discovery document is of `{str(about.get('issuer'))[:LONGEST]}`")
                return _keys(await _json(client, str(about.get("jwks_uri", ""))))
        except TimeoutError:
            raise KairosError(f"no answer within {2 * PATIENCE:g} s") from None

    return fetch


def in_file(path: Path) -> Fetch:
    """The keys in a file, read anew as often as an issuer would be asked. Raises SettingsError where there are none."""

    def read() -> Sequence[Mapping[str, Any]]:
        try:
            return _keys(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KairosError) as error:
            why = getattr(error, "strerror", None) or str(error)
            hint = """write a JWK set, as in {"keys": [...]}"""
            raise SettingsError([Diagnostic(str(path), 0, f"`oidc.jwks_file` cannot be used: {why}", hint)]) from None

    read()

    async def fetch() -> Sequence[Mapping[str, Any]]:
        return await asyncio.to_thread(read)

    return fetch


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    address = urlsplit(url)
    if address.scheme != "https" and address.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise KairosError(f"`{url[:200]}` is no HTTPS address")
    try:
        async with client.stream("GET", url, follow_redirects=False) as answer:
            body = await beginning(answer.aiter_bytes(), LARGEST)
        if len(body) > LARGEST:
            raise KairosError(f"{url} answers with more than {LARGEST} bytes")
        found = json.loads(body) if answer.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise KairosError(f"{url}: {error or type(error).__name__}") from None
    if not isinstance(found, dict):
        raise KairosError(f"{url} answered {answer.status_code}, and no JSON object")
    return found


def _keys(found: Any) -> list[Mapping[str, Any]]:
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not all(isinstance(one, dict) for one in keys):
        raise KairosError("there are no keys in it")
    return keys
