"""Offers that are spoken: a dialler that rings for kairos (IVR), and agents who work through its list of calls."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from html import unescape
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kairos.simulate.handsets import Answer

PATH: Final = "/v1/calls"  # where the dialler listens, and where kairos keeps the agents' list
AT_ONCE: Final = 4  # calls that agents claim together
EVERY: Final = 0.5  # seconds until they ask for more
TRIES: Final = 20  # to bring back what was said
OPEN: Final = ("accepted", "fulfilled")  # what becomes of a yes whose end is a text message
KEYS: Final = {"accept": "1", "decline": "2"}
RESULTS: Final = {"accept": "accepted", "decline": "declined"}

_PROMPT = re.compile(r"<prompt>(.*?)</prompt>", re.DOTALL)

# By number, channel and words: what whoever picks up says; None where nobody does.
PickUp = Callable[[str, str, str], Awaitable[Answer | None]]
# They hang up; whether a text message follows.
HangUp = Callable[[Answer, bool], None]


class Telephone:
    """`key` is shown at kairos' HTTP door, which is at `url`, whatever address the dialler is given for it."""

    def __init__(self, pick_up: PickUp, hang_up: HangUp) -> None:
        self.url = self.key = ""
        self.pick_up, self._hang_up = pick_up, hang_up
        self._http = httpx.AsyncClient(timeout=10.0, trust_env=False)
        self._rung: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def routes(self) -> list[Route]:
        """Where kairos asks for a call."""
        return [Route(PATH, self._asked, methods=["POST"])]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    # --- the dialler ----------------------------------------------------------------------------

    async def _asked(self, request: Request) -> Response:
        """Make one call, however often it is asked for."""
        id_, call = request.headers["webhook-id"], msgspec.json.decode(await request.body())["data"]
        if id_ not in self._rung:
            self._rung.add(id_)
            self._spawn(self._ring(call))
        return Response(status_code=202)

    async def _ring(self, call: Mapping[str, Any]) -> None:
        """Read the document aloud, and bring back the key; or that nobody picked up."""
        document = await self._until_answered("GET", self._at(call["document"]))
        prompt = _prompt(document.text) if document else ""
        said = await self.pick_up(_number(call), "ivr", prompt) if prompt else None
        told = {"offer": call["offer"], "call": "c1"}
        told |= {"digits": KEYS[said.meaning]} if said else {"state": "no_answer"}
        await self._bring(said, self._at(call["callback"]), told)

    def _at(self, address: str) -> str:
        """Kairos' address as the dialler's network leads to it."""
        return self.url + urlsplit(address).path

    # --- the call centre ------------------------------------------------------------------------

    async def work(self) -> None:
        """Claim calls and make them, for as long as kairos has a list."""
        while True:
            try:
                answer = await self._http.post(f"{self.url}{PATH}?limit={AT_ONCE}", headers=self._shown())
            except httpx.HTTPError:  # it may have given us some: their leases end
                answer = httpx.Response(503)
            if answer.status_code in (401, 403, 404, 405):
                return
            for call in answer.json()["calls"] if answer.is_success else ():
                self._spawn(self._call(call))
            await asyncio.sleep(EVERY)

    async def _call(self, call: Mapping[str, Any]) -> None:
        said = await self.pick_up(_number(call), "calls", call["text"])
        result = RESULTS[said.meaning] if said else "not_reached"
        id_ = f"{call['offer']}/{call['until']}"
        told = {"id": id_, "subscriber": call["subscriber"], "result": result, "who": "synthetic agent"}
        await self._bring(said, f"{self.url}{PATH}/{call['offer']}", told)

    # --- both -----------------------------------------------------------------------------------

    async def _bring(self, said: Answer | None, url: str, told: Mapping[str, str]) -> None:
        """Tell kairos what was said, and hang up."""
        answer = await self._until_answered("POST", url, told)
        status = str(answer.json().get("status", "")) if answer and answer.is_success else ""
        if said:
            self._hang_up(said, said.accepts and status in OPEN)

    async def _until_answered(
        self, method: str, url: str, told: Mapping[str, str] | None = None
    ) -> httpx.Response | None:
        """None where kairos never answers."""
        for _ in range(TRIES):
            with contextlib.suppress(httpx.HTTPError):
                answer = await self._http.request(method, url, json=told, headers=self._shown())
                if answer.status_code < 500:
                    return answer
            await asyncio.sleep(EVERY)
        return None

    def _shown(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _number(call: Mapping[str, Any]) -> str:
    return str(call["subscriber"]).removeprefix("+")


def _prompt(document: str) -> str:
    """What a voice says.

    >>> _prompt("<vxml><menu><prompt>Ada &amp; Bob</prompt></menu></vxml>")
    'Ada & Bob'
    """
    return unescape(" ".join(_PROMPT.findall(document)))
