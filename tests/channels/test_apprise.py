"""Services of Apprise: where a message goes is theirs alone, and what it says is what was meant."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote

import pytest
from tests.channels.conftest import Web

from kairos.adapters.apprise import Apprise
from kairos.domain.message import Text

ADDRESSES = [
    "token-1",
    "a/../../admin",
    "x?method=GET&to=all",
    "x#y",
    "@evil.example:99/",
    "%2e%2e%2f",
    "a,b;c",
    "{secret}",
]


def text(address: str) -> Text:
    return Text("5000", address, "More data <b>now</b> & here", True, offer="5da2-17", subject="Hi & hello")


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("schema", ["json", "form"])
async def test_an_address_is_one_part_of_a_path_whatever_is_in_it(web: Web, schema: str, address: str) -> None:
    channel = Apprise("push", f"{schema}://127.0.0.1:{web.port}/push/{{secret}}/{{address}}/end", "s3cret", 5.0, 1)
    outcome = await channel.send(text(address))
    await channel.close()
    assert outcome.status == "sent"
    ((path, headers, body),) = web.got
    *before, last, end = path.split("/")
    assert (before, unquote(last), end) == (["", "push", "s3cret"], address, "end")
    assert headers["host"] == f"127.0.0.1:{web.port}"
    said = json.loads(body) if schema == "json" else {k: v[0] for k, v in parse_qs(body.decode()).items()}
    assert said["message"] == "More data <b>now</b> & here"
    assert said["title"] == "Hi & hello"
