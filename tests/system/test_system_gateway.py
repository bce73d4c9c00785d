"""Other systems before the whole server, counted at the handsets: the urgent arrives, the rest waits or says why."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kairos.smpp import BindTransceiver, Client, DeliverSm, Pdu, Session, Status, SubmitSm, parse_receipt

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
MESSAGE = "/tmf-api/communicationManagement/v4/communicationMessage"
SENDERS = """
[senders.city]
ids = ["City"]
sends = "government"
[accounts.alert]
[senders.alert]
ids = ["Alert"]
sends = "emergency"
[accounts.play]
[senders.play]
ids = ["Games"]
"""
SWITCHED = "/v1/switches/marketing"


def night() -> str:
    """A time zone where it is about midnight."""
    east = (24 - datetime.now(UTC).hour + 11) % 24 - 11
    return f"Etc/GMT{-east:+d}" if east else "Etc/GMT"


class Other:
    """Another system's bind, with the receipts that came."""

    def __init__(self, port: int, account: str) -> None:
        bind = BindTransceiver(system_id=account, password="pw")
        self.client = Client("127.0.0.1", port, bind, self._handle)
        self.receipts: list[tuple[str, str]] = []

    async def _handle(self, _: Session, pdu: Pdu) -> Pdu:
        receipt = parse_receipt(pdu) if isinstance(pdu, DeliverSm) else None
        if receipt:
            self.receipts.append((receipt.message_id, receipt.state.name))
        return pdu.response()

    async def submit(self, source: str, msisdn: str, text: str) -> Any:
        octets = text.encode("ascii")
        pdu = SubmitSm(source_addr=source, destination_addr=msisdn, registered_delivery=1, short_message=octets)
        return await self.client.request(pdu, 30)


@asynccontextmanager
async def bound(system: Any, *accounts: str) -> AsyncIterator[list[Other]]:
    others = [Other(system.server.ports["smpp_port"], account) for account in accounts]
    for other in others:
        await other.client.start()
        await other.client.bound()
    try:
        yield others
    finally:
        await asyncio.gather(*(other.client.close() for other in others))


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The example with more senders, and everybody in the holdout who can be."""
    folder = tmp_path / "playbook"
    shutil.copytree(EXAMPLE, folder)
    with (folder / "kairos.toml").open("a", encoding="utf-8") as file:
        file.write(SENDERS)
    return folder / "kairos.toml"


ON_ITS_WAY = ("accepted", "sent", "delivered")  # it may be further than its sender hears
SECRETS = {"ACCOUNTS_ALERT_PASSWORD": "pw", "ACCOUNTS_PLAY_PASSWORD": "pw"}


async def post(system: Any, sender: str, msisdn: str, text: str) -> dict[str, Any]:
    to = [{"phoneNumber": f"+{msisdn}"}]
    body = {"messageType": "SMS", "content": text, "sender": {"name": sender}, "receiver": to}
    answer = await system.http.post(f"{system.server.url}{MESSAGE}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


def shown(system: Any, msisdn: str) -> list[str]:
    return [seen.text for seen in system.operator.handsets[msisdn].inbox]


async def test_what_is_urgent_arrives_whatever_holds_and_the_rest_says_why(launch: Any, settings: Path) -> None:
    policy = settings.parent / "contact_policy.yaml"
    policy.write_text(
        "\n".join(
            f"{line.split(':')[0]}: 99%" if line.startswith("holdout:") else line
            for line in policy.read_text(encoding="utf-8").splitlines()
        ),
        encoding="utf-8",
    )
    async with launch(settings=settings, **SECRETS) as system, bound(system, "alert", "play") as (alert, play):
        one, asleep, angry = (system.with_language("en") for _ in range(3))
        await system.known(one)
        await system.known(asleep, time_zone=night())
        await system.known(angry, marketing_consent=False)
        await system.tell([("ticket", angry, {"open": 1})])
        await system.http.put(f"{system.server.url}{SWITCHED}", json={"on": False, "reason": "test", "who": "ada"})
        for msisdn in (one, asleep, angry):
            assert (await play.submit("Games", msisdn, "Play now")).status == Status.ESME_RSUBMITFAIL
            assert (await alert.submit("Alert", msisdn, "Leave the building")).ok
            assert (await post(system, "City", msisdn, "The tram is late"))["receiver"][0]["status"] in ON_ITS_WAY
            refused = (await post(system, "Games", msisdn, "Play now"))["receiver"][0]
            assert refused["status"] == "refused"
        everybody = (one, asleep, angry)
        await system.until(lambda: all(len(shown(system, who)) == 2 for who in everybody), "what is urgent")
        await asyncio.sleep(0.2)
        for who in everybody:
            assert sorted(shown(system, who)) == ["Leave the building", "The tram is late"]
        await system.until(lambda: len(alert.receipts) == 3, "receipts")
        assert {state for _, state in alert.receipts} == {"DELIVERED"}
        view = (await system.http.get(f"{system.server.url}/v1/subscribers/+{angry}")).json()
        told = {(one["sender"], one["sends"], one["stand"]) for one in view["messages_of_others"]}
        assert told >= {("play", "third_party", "refused"), ("alert", "emergency", "delivered")}


async def test_what_waits_is_there_after_a_kill(launch: Any, settings: Path) -> None:
    async with launch(settings=settings, restarts=True, **SECRETS) as system:
        asleep = system.with_language("en")
        await system.known(asleep, time_zone=night())
        made = await post(system, "Games", asleep, "Play in the morning")
        assert made["receiver"][0]["statusReason"] in ("quiet hours", "window of sms")
        await system.server.kill()
        await system.restart()
        again = (await system.http.get(f"{system.server.url}{made['href']}")).json()
        assert again["receiver"] == made["receiver"]
        (waiting,) = system.states()[asleep].passing.waiting
        assert waiting.text == "Play in the morning"
        cancelled = await system.http.patch(f"{system.server.url}{made['href']}", json={"state": "cancelled"})
        assert cancelled.json()["state"] == "cancelled"
        assert system.states()[asleep].passing is None or not system.states()[asleep].passing.waiting
        assert shown(system, asleep) == []
