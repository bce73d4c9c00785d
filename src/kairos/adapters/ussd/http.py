"""USSD gateways that speak HTTP: how they call back, dialogues that we begin, and systems that we hand over to."""

from __future__ import annotations

import asyncio
import hmac
import itertools
from collections.abc import Collection, Mapping
from typing import Final

import httpx
import structlog

from kairos.adapters.http_attempt import Connections, beginning
from kairos.adapters.ussd.dialogues import Dialogues
from kairos.domain.message import Text
from kairos.errors import EventError, KairosError
from kairos.playbook.ussd import PARENT
from kairos.ports import Outcome
from kairos.ussd import Heard, Session, Show, callback, dialog_xml
from kairos.ussd.callback import USUAL, Fields

log = structlog.get_logger("kairos.ussd")

LARGEST: Final = 4_000  # bytes of another system's answer
ASKED_AT_ONCE: Final = 100  # other systems' answers that are waited for
ACCEPTED_WITHIN: Final = 1.0  # seconds: a gateway that has not refused a push by then has it
SEEN_FOR: Final = 100_000  # XML dialogues whose beginnings are remembered


class AwayError(KairosError):
    """Another system did not answer, or not in its form."""


class HttpUssd:
    """What the HTTP door asks: one `Dialogues` behind both forms."""

    def __init__(self, dialogues: Dialogues, secret: str, fields: Fields = USUAL) -> None:
        self.dialogues, self.secret, self.fields = dialogues, secret, fields
        self._invokes: dict[str, int] = {}  # of the operations that began XML dialogues
        self._begun: dict[str, list[str]] = {}  # localId -> our names for what began under it, the latest last

    def knows(self, secret: str) -> bool:
        return bool(self.secret) and hmac.compare_digest(secret.encode(), self.secret.encode())

    async def callback(self, form: dict[str, str]) -> tuple[str, str]:
        heard = callback.heard(form, self.fields)
        show = await self.dialogues.hear("http", heard, (PARENT,))
        if show.to:  # this form hands a dialogue back by a header
            return callback.answer(Show(show.text, more=False)), show.to
        return callback.answer(show), ""

    async def interrupted(self, form: dict[str, str]) -> None:
        heard = callback.interrupted(form, self.fields)
        if heard:
            await self.dialogues.hear("http", heard)

    async def dialog(self, body: bytes) -> bytes:
        said = dialog_xml.read(body)
        name = self._name(said)
        heard = dialog_xml.heard(said, name)
        if heard is None:
            return dialog_xml.release(name)
        show = await self.dialogues.hear("xml", heard)
        if heard.kind in ("abort", "timeout"):
            self._invokes.pop(name, None)
            return dialog_xml.release(name)
        if heard.kind == "begin":
            self._invokes[name] = said.invoke
            if len(self._invokes) > SEEN_FOR:
                del self._invokes[next(iter(self._invokes))]
            self._begun[said.local] = [*self._others(said.local, name), name]
            if len(self._begun) > SEEN_FOR:
                del self._begun[next(iter(self._begun))]
        invoke = self._invokes.get(name, 0)
        return dialog_xml.answer(show, name, invoke if not show.more else said.invoke)

    def _name(self, said: dialog_xml.Dialog) -> str:
        """Our name for a dialogue. `localId` is a counter of one node's, which another node, or the same one after a
        restart, counts for somebody else. A key without our name is for the one that began under its `localId`; where
        several did, it is for none."""
        if not (said.local or said.named):
            raise EventError("`localId` is missing: the dialog has no name", "localId")
        if said.kind == "begin":
            return f"{said.msisdn}/{said.local or said.named}"
        begun = self._begun.get(said.local, [])
        return said.named or (begun[0] if len(begun) == 1 else f"/{said.local}")

    def _others(self, local: str, name: str) -> list[str]:
        """What began under the same `localId` for others, and may still bring a key."""
        return [one for one in self._begun.pop(local, []) if one != name and self.dialogues.knows(f"xml:{one}")]


class XmlPush:
    """Begins dialogues at a gateway that speaks XML: each answer to our request brings what the subscriber pressed."""

    def __init__(self, dialogues: Dialogues, url: str) -> None:
        self.dialogues, self.url = dialogues, url
        timeout = httpx.Timeout(10.0, read=dialogues.ttl / 1000)
        self.client = httpx.AsyncClient(timeout=timeout, trust_env=False, limits=httpx.Limits(max_connections=1000))
        self._serial = itertools.count(1)
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._sent: set[str] = set()  # of these, that count as sent

    async def send(self, text: Text) -> Outcome:
        """Begin a dialogue. It is sent once the gateway has it and has not refused it at once."""
        name = f"{self.dialogues.clock():x}{next(self._serial):x}"

        async def bring(show: Show) -> Outcome:
            body = dialog_xml.push(show.text, name, text.destination, asks=show.more, begins=True)
            task = asyncio.create_task(self._live(name, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.wait({task}, timeout=ACCEPTED_WITHIN)
            if task.done():
                return task.result()
            self._sent.add(name)
            task.add_done_callback(lambda _: self._sent.discard(name))
            return Outcome("sent", name)

        return await self.dialogues.begin(f"xml:{name}", text, bring)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.aclose()

    async def _live(self, name: str, body: bytes) -> Outcome:
        """The whole dialogue, in the cookie that the gateway gives it."""
        cookies = httpx.Cookies()
        begun = ended = False
        while body:
            try:
                answer = await self._post(body, cookies)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                await self._late(name)
                return Outcome("unknown" if begun else "retry", reason=str(error) or "no connection")
            except httpx.HTTPError as error:
                await self._hear(Heard(name, "", "", "", "timeout"))
                return Outcome("unknown", reason=repr(error))
            if answer.status_code >= 400:
                if not begun:
                    await self._late(name)
                    return Outcome("failed", reason=f"HTTP {answer.status_code}")
                await self._hear(Heard(name, "", "", "", "abort"))
                return Outcome("unknown")
            if ended:
                break
            begun = True
            cookies.update(answer.cookies)
            body, ended = await self._next(name, answer.content)
        return Outcome("sent", name)

    async def _late(self, name: str) -> None:
        """It did not reach the handset, or no more. Where it counts as sent, its offer is said in another way."""
        if name in self._sent:
            await self._hear(Heard(name, "", "", "", "abort"))

    async def _next(self, name: str, content: bytes) -> tuple[bytes, bool]:
        """What is to be posted after an answer of the gateway's, if anything is; and whether that is the end."""
        try:
            said = dialog_xml.read(content)
            heard = dialog_xml.heard(said, name)
        except EventError as error:
            log.warning("a gateway's answer cannot be read", reason=str(error))
            heard = Heard(name, "", "", "", "abort")
            await self._hear(heard)
            return b"", True
        if heard is None:
            return (dialog_xml.release(name) if said.kind == "notified" else b""), True
        show = await self._hear(heard)
        if heard.kind in ("abort", "timeout") or not show.text:
            return b"", True
        return dialog_xml.push(show.text, name, "", asks=show.more, begins=False), False

    async def _hear(self, heard: Heard) -> Show:
        try:
            return await self.dialogues.hear("xml", heard)
        except KairosError as error:
            log.warning("a step was not heard", reason=str(error))
            return Show("", more=False)

    async def _post(self, body: bytes, cookies: httpx.Cookies) -> httpx.Response:
        headers = {"content-type": "text/xml; charset=utf-8"}
        if len(cookies):
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return await self.client.post(self.url, content=body, headers=headers)


class HttpSystems:
    """Other systems that dialogues are handed to: each is spoken to as a gateway speaks to us, in form fields."""

    def __init__(self, systems: Mapping[str, tuple[str, float]], fields: Fields = USUAL) -> None:
        self.systems, self.fields = systems, fields
        self.names: Collection[str] = frozenset(systems)
        self._connections = Connections(ASKED_AT_ONCE)

    async def say(self, name: str, session: Session, dial: str, keys: tuple[str, ...]) -> tuple[Show, bool]:
        url, within = self.systems[name]
        form = {
            self.fields.session: session.id,
            self.fields.msisdn: f"+{session.msisdn}",
            self.fields.code: dial or session.code,
            self.fields.text: "*".join(keys) if self.fields.accumulated else keys[-1] if keys else "",
        }
        try:
            async with (
                self._connections.one() as client,
                asyncio.timeout(within),  # however slowly it talks: the dialogue waits for it
                client.stream("POST", url, data=form, timeout=within) as answer,
            ):
                body = await beginning(answer.aiter_bytes(), LARGEST)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise AwayError(f"`{name}` did not answer: {error!r}") from None
        show = callback.read_answer(body[:LARGEST].decode("utf-8", "replace"))
        if answer.status_code != httpx.codes.OK or show is None:
            raise AwayError(f"`{name}` answered {answer.status_code} and neither `CON` nor `END`")
        return show, bool(answer.headers.get("ussd-return"))

    async def close(self) -> None:
        await self._connections.aclose()
