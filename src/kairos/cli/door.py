"""The HTTP door of a running kairos, as commands call at it: with the key in KAIROS_KEY, and over TLS where it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kairos.errors import KairosError

if TYPE_CHECKING:
    import httpx

    from kairos.settings import Http

KEY, CA_FILE = "KAIROS_KEY", "KAIROS_CA_FILE"
PATIENCE = 10.0  # seconds


def address(http: Http) -> str:
    """Where a kairos with these settings is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if http.tls else 'http'}://{host}:{http.port}"


def with_scheme(door: str) -> str:
    """An address as people write it.

    >>> with_scheme("127.0.0.1:8080"), with_scheme("https://kairos.example/")
    ('http://127.0.0.1:8080', 'https://kairos.example')
    """
    return (door if "://" in door else f"http://{door}").rstrip("/")


def headers() -> dict[str, str]:
    """What shows who we are: a key or token of the environment, so that it stands in no command line and no history."""
    key = os.environ.get(KEY, "")
    return {"authorization": f"Bearer {key}"} if key else {}


def call(method: str, url: str, body: Any = None) -> httpx.Response:
    """Raises httpx.HTTPError and httpx.InvalidURL, and KairosError where the authorities cannot be read."""
    import ssl

    import httpx

    ca_file = os.environ.get(CA_FILE, "")
    try:
        verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
    except OSError as error:
        raise KairosError(f"`{ca_file}`, which {CA_FILE} names, cannot be used: {error.strerror or error}") from None
    with httpx.Client(timeout=PATIENCE, trust_env=False, verify=verify, headers=headers()) as client:
        return client.request(method, url, json=body)


def no_answer(door: str, error: Exception) -> str:
    """What to say where nobody answered.

    >>> no_answer("https://127.0.0.1:8080", OSError("certificate verify failed: self-signed certificate"))[-42:]
    'name its authority (PEM) in KAIROS_CA_FILE'
    """
    distrusted = "certificate verify failed" in str(error)
    do = f"name its authority (PEM) in {CA_FILE}" if distrusted else "does it run? else name it with --url"
    return f"no kairos answers at {door}: {error or type(error).__name__}; {do}"


def refused(answer: httpx.Response) -> str:
    """Why the lock refused us, and what to do; empty where it did not."""
    if answer.status_code == 401:
        return f"its lock does not know us; set {KEY} to a key or token" + (" that is good" if headers() else "")
    if answer.status_code == 403:
        try:
            return f"we may not: {answer.json()['detail']}; set {KEY} to another's key"
        except (ValueError, KeyError):
            return "we may not"
    return ""
