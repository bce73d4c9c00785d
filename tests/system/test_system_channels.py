"""The running server with a mail server, a webhook and a subscriber of news beside the SMSC."""

from __future__ import annotations

import base64
import hmac
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.channels.conftest import MailServer, Web, mail_server, web_server
from tests.system.conftest import EXAMPLE

SECRET = b"k" * 32
WRITTEN = "whsec_" + base64.b64encode(SECRET).decode()
OFFER = """
offer: {name}
title: "Data for {name}"
issue: {name}
product: MARKET_DATA500_1D
variants:
  small: {{size: 500MB, validity: 24 hours, price: 1, value: 0.60, cost: 0.15}}
answers: {{{event}: always}}
treatments:
  own: {{channel: {channel}, message: {name}_{channel}}}
accept_within: 24 hours
after_decline: 14 days
fulfil: {{charge: price, provision: product}}
"""
MESSAGES = """
letters_email:
  en: {subject: "{title}", text: "{size} for {price}. Text {number} to {short_code}.", html: "<p>{size}, {price}</p>"}
pushes_webhook:
  en: {subject: "{title}", text: "{size} for {price}"}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The example with two offers more: one by e-mail, one by webhook."""
    folder = tmp_path / "playbook"
    shutil.copytree(EXAMPLE, folder)
    changes = {
        "vocabulary.yaml": [
            ("dnd_categories: text}", "dnd_categories: text, email: text, letters: boolean}"),
            (
                "attributes:\n",
                "attributes:\n  email_address: {type: text, from: [profile.email]}\n"
                "  letters_wanted: {type: boolean, from: [profile.letters], default: yes}\n",
            ),
        ],
        "contact_policy.yaml": [
            ("limits:\n", "addresses: {email: email_address}\nstop_on: {email: letters_wanted}\nlimits:\n"),
            (
                "contact_only_when:\n",
                "contact_only_when:\n  letters wanted: {when: letters_wanted, for: {channels: [email]}}\n",
            ),
        ],
    }
    for name, replaced in changes.items():
        text = (folder / name).read_text(encoding="utf-8")
        for old, new in replaced:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (folder / name).write_text(text, encoding="utf-8")
    for name, event, channel in (("letters", "ticket", "email"), ("pushes", "churn", "webhook")):
        offer = OFFER.format(name=name, event=event, channel=channel)
        (folder / "offers" / f"{name}.yaml").write_text(offer, encoding="utf-8")
    (folder / "messages" / "channels.yaml").write_text(MESSAGES, encoding="utf-8")
    return folder / "kairos.toml"


@asynccontextmanager
async def served(launch: Any, settings: Path, **options: Any) -> AsyncIterator[tuple[Any, MailServer, Web, Web]]:
    async with mail_server() as mail, web_server() as push, web_server() as crm:
        more = f"""
[channels.email]
host = "127.0.0.1"
port = {mail.port}
tls = "none"
sender = "Fictel <offers@fictel.example>"

[channels.webhook]
url = "{push.url}/push"

[page]
url = "https://offers.example"

[news.crm]
url = "{crm.url}/news"
tell = "decisions responses fulfilments"
"""
        append(settings, more)
        secrets = {"CHANNELS_WEBHOOK_SECRET": WRITTEN, "NEWS_CRM_SECRET": WRITTEN, "PAGE_SECRET": "p" * 32}
        async with launch(settings=settings, **secrets, **options) as system:
            yield system, mail, push, crm


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def news(web: Web, kind: str) -> list[dict[str, Any]]:
    told = [json.loads(body) for _, _, body in web.got]
    return [one["data"] for one in told if one["type"] == kind]


def signed(got: tuple[str, dict[str, str], bytes]) -> bool:
    _, headers, body = got
    over = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(SECRET, over, "sha256")).decode()


async def test_an_offer_by_mail_is_taken_by_sms_and_one_by_webhook_at_the_desk(
    launch: Callable[..., Any], settings: Path
) -> None:
    async with served(launch, settings) as (system, mail, push, crm):
        msisdn = system.with_language("en")
        await system.known(msisdn, email="ada@mail.example")
        await system.tell([("ticket", msisdn, {"open": 0})])
        await system.until(lambda: mail.got, "the e-mail")
        (letter,) = mail.got
        assert letter["To"] == "ada@mail.example"
        number = re.search(r"Text (\d+) to", letter.get_body(("plain",)).get_content())  # type: ignore[union-attr]
        assert number
        await system.reply(msisdn, number[1])
        await system.until(lambda: system.orders(msisdn), "the order")
        await system.drained()
        link = str(letter["List-Unsubscribe"]).strip("<>").removeprefix("https://offers.example")
        one_click = {"List-Unsubscribe": "One-Click"}
        assert (await system.http.post(f"{system.server.url}{link}", data=one_click)).status_code == 200
        seen = (await system.http.get(f"{system.server.url}/v1/subscribers/{msisdn}")).json()
        given = {one["consent"]: one["given"] for one in seen["consents"]}
        assert (given["letters wanted"], given["marketing consent"]) == (False, True)

        await system.tell([("churn", msisdn, {"score": 0.1})])
        await system.until(lambda: push.got, "the webhook")
        assert signed(push.got[0])
        told = json.loads(push.got[0][2])["data"]
        assert (told["subscriber"], told["subject"]) == (f"+{msisdn}", "Data for pushes")
        body = {"id": "y1", "subscriber": f"+{msisdn}", "offer": told["offer"], "answer": "accept", "channel": "app"}
        answer = await system.http.post(f"{system.server.url}/v1/responses", json=body)
        assert answer.json()["status"] == "accepted"
        await system.until(lambda: len(system.orders(msisdn)) == 2, "the second order")
        await system.drained()
        charges = system.operator.ocs.charges()
        assert [charges[order.key] for order in system.orders(msisdn)] == [1, 1]

        await system.until(lambda: len(news(crm, "fulfilments")) == 2, "the news")
        assert all(signed(got) for got in crm.got)
        assert {one["outcome"] for one in news(crm, "fulfilments")} == {"fulfilled"}
        await system.until(lambda: len(news(crm, "decisions")) == 2, "the news of decisions")
        assert [one["channel"] for one in news(crm, "decisions")] == ["email", "webhook"]
        assert len(mail.got) == len(push.got) == 1


@pytest.mark.long
async def test_a_mail_server_that_hangs_holds_up_no_other_channel_and_a_kill_sends_nothing_twice(
    launch: Callable[..., Any], settings: Path
) -> None:
    async with served(launch, settings, restarts=True) as (system, mail, push, _):
        msisdn = system.with_language("en")
        await system.known(msisdn, email="ada@mail.example")
        mail.answers = {"data": ["hang"]}
        await system.tell([("ticket", msisdn, {"open": 0})])
        rows = "SELECT status FROM outbox WHERE channel = 'email'"
        await system.until(lambda: system.rows(rows) == [("sending",)], "the mark")
        await system.tell([("churn", msisdn, {"score": 0.1})])
        await system.until(lambda: push.got, "the webhook")
        await system.server.kill()
        mail.hanging.set()
        await system.restart()
        await system.until(lambda: system.rows(rows) == [("failed",)], "the end of it")
        assert len(mail.got) <= 1
        reached = len(mail.got)
        await system.tell([("ticket", msisdn, {"open": 1}), ("ticket", msisdn, {"open": 0})])
        await system.drained()
        assert len(mail.got) == reached  # and it counted: one a day about each issue
