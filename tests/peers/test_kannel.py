"""Kannel, Debian's SMS gateway, as accounts of a real kairos: submits notifications, gets receipts and replies.

Kannel's two daemons (bearerbox binds over SMPP, smsbox takes texts over HTTP) and `kairos run` are processes of their
own; the operator's SMSC is the synthetic one, in this process. Nothing needs root, and everything lives in a temporary
folder, the logs too.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from kairos.simulate.scenario import number_in
from kairos.simulate.serials import serials
from kairos.simulate.smsc import Arrival, Smsc
from kairos.smpp import SubmitSm, concatenation

DAEMONS = {name: shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") for name in ("bearerbox", "smsbox")}
MISSING = [name for name, path in DAEMONS.items() if path is None]

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(bool(MISSING), reason=f"not on the PATH: {', '.join(MISSING)} (sh tests/peers/setup.sh)"),
    pytest.mark.asyncio(loop_scope="module"),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
HOST = "127.0.0.1"
SUBSCRIBER, STRANGER = "12025550100", "12025550101"  # kairos knows the profile of the first
SMSC_ACCEPTED, DELIVERED = "8", "1"  # Kannel's types of report
PATIENCE = 60.0  # seconds: only ever used up where something is broken

KANNEL = """
group = core
admin-interface = {host}
admin-port = {admin}
admin-password = test
smsbox-interface = {host}
smsbox-port = {smsbox}
box-allow-ip = {host}
log-file = "{folder}/bearerbox.log"
log-level = 0
dlr-storage = internal
sms-resend-freq = 1

group = smsbox
bearerbox-host = {host}
bearerbox-port = {smsbox}
sendsms-interface = {host}
sendsms-port = {sendsms}
log-file = "{folder}/smsbox.log"
log-level = 0

group = sendsms-user
username = test
password = test
max-messages = 10
concatenation = true

group = sms-service
keyword = default
catch-all = true
max-messages = 0
omit-empty = true
get-url = "{told}/reply?account=%i&from=%p&to=%P&text=%a"
"""
BIND = """
group = smsc
smsc = smpp
smsc-id = {account}
host = {host}
{ports}
smsc-username = {account}
smsc-password = pw-{account}
system-type = ""
reconnect-delay = 1
enquire-link-interval = 2
"""
# How each account binds. Without a port to transmit on, Kannel binds as a receiver only.
ACCOUNTS = {"ocs": "transceiver-mode = true\nport = {0}", "info": "transceiver-mode = false\nreceive-port = {0}"}


@dataclass(frozen=True)
class Report:
    """What Kannel says about a message of ours. `id` is the message id that kairos gave it."""

    type: str
    id: str
    answer: str


@dataclass
class Told:
    """What Kannel told us over HTTP: reports by our own name of the message, and replies."""

    reports: dict[str, list[Report]] = field(default_factory=lambda: defaultdict(list))
    replies: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One GET on one connection."""
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode("ascii")
        path, query = urlsplit(target).path, urlsplit(target).query
        said = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if path == "/report":
            self.reports[said["name"]].append(Report(said["type"], said["id"], said["answer"]))
        else:
            self.replies.append(said)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@dataclass
class Stack:
    """Everything that runs, and what was seen at its ends."""

    smsc: Smsc
    told: Told
    folder: Path
    inbox: Mapping[str, Sequence[Arrival]]
    http: httpx.AsyncClient
    kairos: str
    sendsms: str
    names: itertools.count[int] = field(default_factory=itertools.count)

    async def tell(self, events: list[dict[str, object]]) -> None:
        """Post a batch of CloudEvents; all of them must be applied."""
        content, kind = json.dumps(events), "application/cloudevents-batch+json"
        answer = await self.http.post(f"{self.kairos}/v1/events", content=content, headers={"content-type": kind})
        assert answer.status_code == 200, answer.text
        assert [result["status"] for result in answer.json()["results"]] == ["applied"] * len(events)

    async def submit(self, to: str, text: str, *, ucs2: bool = False) -> str:
        """Have Kannel submit a text from 5000 as account `ocs`; gives our name of it, under which reports come back."""
        name = str(next(self.names))
        report = f"{self.told.url}/report?name={name}&type=%d&id=%F&answer=%A"
        asked = {
            "username": "test", "password": "test", "smsc": "ocs", "from": "5000", "to": to, "text": text,
            "coding": "2" if ucs2 else "0", "charset": "UTF-8", "dlr-mask": "31", "dlr-url": report,
        }  # fmt: skip
        answer = await self.http.get(f"{self.sendsms}/cgi-bin/sendsms", params=asked)
        assert answer.status_code == 202, answer.text
        return name

    async def receipt(self, name: str) -> Report:
        """The receipt of a submitted message, once there; there must be one only, and no word of failure."""
        reports = self.told.reports[name]
        await self.until(lambda: {DELIVERED, SMSC_ACCEPTED} <= {one.type for one in reports}, f"receipts of {name}")
        assert sorted(one.type for one in reports) == [DELIVERED, SMSC_ACCEPTED]
        return next(one for one in reports if one.type == DELIVERED)

    def accepted_as(self, name: str) -> str:
        """The message id in the answer to Kannel's submit_sm."""
        return next(one.id for one in self.told.reports[name] if one.type == SMSC_ACCEPTED)

    async def arrival(self, msisdn: str, begins: str) -> Arrival:
        """The one message on a handset that begins so, once there."""

        def fitting() -> list[Arrival]:
            return [one for one in self.inbox[msisdn] if one.text.startswith(begins)]

        await self.until(lambda: bool(fitting()), f"`{begins}` on {msisdn}")
        assert len(fitting()) == 1
        return fitting()[0]

    def submitted(self, arrival: Arrival) -> list[SubmitSm]:
        """An arrival's parts, as kairos submitted them."""
        pdus = [self.smsc.accepted[id_].pdu for id_ in arrival.ids]
        return [pdu for pdu in pdus if isinstance(pdu, SubmitSm)]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        await until(holds, f"{what}; logs: {self.folder}")


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


@asynccontextmanager
async def process(log: Path, *command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process whose errors go to `log`; asked to end at the end, made to after 10 s."""
    with log.open("ab") as errors:
        started = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=os.environ | environment
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            try:
                await asyncio.wait_for(started.wait(), 60)
            except TimeoutError:
                started.kill()
                await started.wait()


@asynccontextmanager
async def synthetic_smsc(inbox: dict[str, list[Arrival]]) -> AsyncIterator[Smsc]:
    smsc = Smsc(
        lambda arrival: inbox[arrival.destination].append(arrival),
        clock=now,
        timer=time.perf_counter,
        ids=serials(now()),
        password="secret",
    )
    await smsc.start()
    try:
        yield smsc
    finally:
        await smsc.close()


def now() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def kairos_running(folder: Path, smsc_port: int) -> AsyncIterator[dict[str, int]]:
    """The real server, with the example's settings and its playbook without a holdout; gives its ports."""
    example = shutil.copytree(EXAMPLE, folder / "prepaid")
    policy = (example / "contact_policy.yaml").read_text(encoding="utf-8")
    assert "holdout: 5%" in policy
    (example / "contact_policy.yaml").write_text(policy.replace("holdout: 5%", "holdout: 0%"), encoding="utf-8")
    environment = {f"KAIROS_ACCOUNTS_{account.upper()}_PASSWORD": f"pw-{account}" for account in ACCOUNTS}
    environment |= {
        "KAIROS_SMSC_PORT": str(smsc_port),
        "KAIROS_SMSC_PASSWORD": "secret",
        "KAIROS_CHANNELS_IVR_SECRET": "whsec_" + "MDEy" * 8,
        "KAIROS_CHANNELS_IVR_KEY": "thediallerknowsit",
        "KAIROS_STORE_PATH": str(folder / "kairos.db"),
        "KAIROS_NOTIFICATIONS_PORT": "0",
        "KAIROS_HTTP_PORT": "0",
        "KAIROS_NOTIFICATIONS_DECIDE_WITHIN_MS": "30000",  # a slow machine is not what is tested here
    }
    command = (sys.executable, "-m", "kairos.cli", "run", "--settings", str(example / "kairos.toml"), "--announce")
    log = folder / "kairos.log"
    async with process(log, *command, **environment) as server:
        assert server.stdout is not None
        line = await server.stdout.readline()
        assert line, f"kairos ended early:\n{log.read_text(encoding='utf-8')}"
        yield json.loads(line)


@asynccontextmanager
async def kannel_running(folder: Path, smpp_port: int, told: str, http: httpx.AsyncClient) -> AsyncIterator[str]:
    """Both daemons, bound as both accounts; gives the URL of smsbox."""
    admin, smsbox, sendsms = free_ports(3)
    settings = KANNEL.format(host=HOST, admin=admin, smsbox=smsbox, sendsms=sendsms, folder=folder, told=told)
    binds = [BIND.format(host=HOST, account=name, ports=how.format(smpp_port)) for name, how in ACCOUNTS.items()]
    conf = folder / "kannel.conf"
    conf.write_text("".join([settings, *binds]), encoding="utf-8")
    bearerbox, smsbox_program = (str(DAEMONS[name]) for name in ("bearerbox", "smsbox"))

    async def status() -> str:
        try:
            return (await http.get(f"http://{HOST}:{admin}/status.txt", params={"password": "test"})).text
        except httpx.TransportError:
            return ""

    async def status_has(daemon: asyncio.subprocess.Process, *lines: str) -> None:
        said = ""
        for _ in range(int(PATIENCE / 0.1)):
            said = await status()
            if all(re.search(line, said) for line in lines):
                return
            assert daemon.returncode is None, f"a daemon of Kannel ended early; logs: {folder}"
            await asyncio.sleep(0.1)
        pytest.fail(f"Kannel never said {lines}; logs: {folder}\n{said}")

    async with process(folder / "bearerbox.err", bearerbox, "-v", "4", str(conf)) as first:
        await status_has(first, *(rf"\[{account}\] .*\(online " for account in ACCOUNTS))
        async with process(folder / "smsbox.err", smsbox_program, "-v", "4", str(conf)) as second:
            await status_has(second, r"smsbox:.*\(on-line ")
            yield f"http://{HOST}:{sendsms}"


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: Kannel cannot be told to take any."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("kannel")
    inbox: dict[str, list[Arrival]] = defaultdict(list)
    told = Told()
    async with AsyncExitStack() as open_:
        http = await open_.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30.0))
        smsc = await open_.enter_async_context(synthetic_smsc(inbox))
        door = await open_.enter_async_context(await asyncio.start_server(told.hear, HOST, 0))
        told.url = f"http://{HOST}:{door.sockets[0].getsockname()[1]}"
        ports = await open_.enter_async_context(kairos_running(folder, smsc.port))
        kairos = f"http://{HOST}:{ports['http_port']}"
        sendsms = await open_.enter_async_context(kannel_running(folder, ports["smpp_port"], told.url, http))
        await until(lambda: smsc.bound, "kairos to bind to the SMSC")
        yield Stack(smsc, told, folder, inbox, http, kairos, sendsms)


# --- what it shows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ucs2"),
    [
        pytest.param("Your call cost T$0.35. Balance T$12.40. Ref en1", False, id="English in GSM-7"),
        pytest.param("Votre appel: T$0.35. Solde T$12.40. Réf fr1", False, id="French in GSM-7"),
        pytest.param("تكلفة المكالمة T$0.35. الرصيد T$12.40. المرجع ar1", True, id="Arabic in UCS-2"),
    ],
)
async def test_a_notification_arrives_and_its_receipt_comes_back(stack: Stack, text: str, ucs2: bool) -> None:
    name = await stack.submit("+" + STRANGER, text, ucs2=ucs2)
    arrival = await stack.arrival(STRANGER, text)
    assert arrival.text == text
    assert [pdu.data_coding for pdu in stack.submitted(arrival)] == [8 if ucs2 else 0]
    receipt = await stack.receipt(name)
    assert receipt.id == stack.accepted_as(name)
    assert receipt.id not in stack.smsc.accepted  # so kairos read the text, took it on and named it
    assert "stat:DELIVRD" in receipt.answer


async def test_an_offer_rides_on_the_notification_of_a_subscriber_who_agreed(stack: Stack) -> None:
    profile = {"plan": "prepaid", "language": "en", "time_zone": "UTC", "marketing_consent": True}
    videos = [cloud_event("data_session", {"app": "video", "bytes": 300_000_000}) for _ in range(3)]
    await stack.tell([cloud_event("profile", profile), *videos])
    text = "Your data session cost T$0.35. Balance T$12.40, data 118.5 MB until 2099-12-31 18:00. Ref en2"
    name = await stack.submit(SUBSCRIBER, text)
    arrival = await stack.arrival(SUBSCRIBER, text)
    assert number_in(arrival.text.removeprefix(text))
    assert (await stack.receipt(name)).id == stack.accepted_as(name)


async def test_what_no_pattern_reads_is_forwarded_untouched(stack: Stack) -> None:
    text = "Your parcel is at the shop {until} 6 pm [again]."
    name = await stack.submit("+" + SUBSCRIBER, text)
    arrival = await stack.arrival(SUBSCRIBER, text)
    assert arrival.text == text
    (pdu,) = stack.submitted(arrival)
    assert (pdu.esm_class, pdu.registered_delivery) == (0x03, 0x11)  # as Kannel marks its own
    assert (await stack.receipt(name)).id == stack.accepted_as(name) == arrival.ids[0]


@pytest.mark.parametrize("ucs2", [False, True])
async def test_a_long_message_in_parts_arrives_whole(stack: Stack, ucs2: bool) -> None:
    words = "كلمة" if ucs2 else "word"
    text = f"{words}: " + " ".join(f"{words}{number}" for number in range(50))
    name = await stack.submit("+" + SUBSCRIBER, text, ucs2=ucs2)
    arrival = await stack.arrival(SUBSCRIBER, f"{words}: ")
    assert arrival.text == text
    parts = stack.submitted(arrival)
    assert len(parts) > 1
    assert {pdu.esm_class for pdu in parts} == {0x43}
    assert all(concatenation(pdu) for pdu in parts)
    assert (await stack.receipt(name)).id == stack.accepted_as(name)


async def test_a_reply_for_another_service_reaches_its_account(stack: Stack) -> None:
    sent = stack.smsc.send(SUBSCRIBER, "BAL ñ €")
    await stack.until(lambda: bool(stack.told.replies), "the relayed reply")
    assert stack.told.replies == [{"account": "info", "from": "+" + SUBSCRIBER, "to": "5000", "text": "BAL ñ €"}]
    await stack.until(lambda: bool(sent.acknowledged), "the SMSC's acknowledgement")
    assert sent.refused == ""


async def test_nothing_is_lost_while_the_smsc_is_away(stack: Stack) -> None:
    texts = ["Your call cost T$0.35. Balance T$12.40. Ref away1", "Hello, are you away?"]
    await stack.smsc.stop()
    names = [await stack.submit("+" + STRANGER, text) for text in texts]
    await stack.until(lambda: bool(stack.told.reports[names[0]]), "the notification to be accepted without the SMSC")
    await stack.smsc.start()
    for name, text in zip(names, texts, strict=True):
        assert (await stack.arrival(STRANGER, text)).text == text
        assert (await stack.receipt(name)).id == stack.accepted_as(name)


async def test_each_of_many_gets_its_own_receipt_once(stack: Stack) -> None:
    numbers = [f"120255501{number:02d}" for number in range(10, 60)]
    texts = {number: f"Your text cost T$0.10. Balance T$9.90. Ref many{number}" for number in numbers}
    others = {number: f"Hello {number}" for number in numbers}
    wanted = [(number, texts[number]) for number in numbers] + [(number, others[number]) for number in numbers]
    names = await asyncio.gather(*(stack.submit("+" + number, text) for number, text in wanted))
    receipts = [await stack.receipt(name) for name in names]
    assert len({receipt.id for receipt in receipts}) == len(wanted)
    assert [receipt.id for receipt in receipts] == [stack.accepted_as(name) for name in names]
    for number in numbers:
        assert sorted(one.text for one in stack.inbox[number]) == sorted([texts[number], others[number]])
    for reports in stack.told.reports.values():
        assert sorted(report.type for report in reports) == [DELIVERED, SMSC_ACCEPTED]


def cloud_event(kind: str, data: dict[str, object]) -> dict[str, object]:
    """About the subscriber, yesterday: too late for an offer of its own."""
    return {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": "//test.example",
        "type": kind,
        "subject": "+" + SUBSCRIBER,
        "time": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
        "data": data,
    }
