"""From the settings to channels: the ways out beside the SMSC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from kairos.adapters import tls
from kairos.adapters.calls import CallDesk, CallList
from kairos.adapters.ivr import Dialler, Voice
from kairos.adapters.mmsc import Mmsc
from kairos.adapters.news import TABLES, SqliteNews, Teller
from kairos.adapters.webhooks import Target, Webhook, read_secrets
from kairos.api.calls import add_calls
from kairos.api.ivr import add_ivr
from kairos.domain.channel import LONG
from kairos.domain.message import Outgoing, Text
from kairos.engine.dead_letters import DeadLetters
from kairos.engine.loop import Loop
from kairos.engine.program import Program
from kairos.errors import Diagnostic, SettingsError
from kairos.ports import Channel, Clock, Outcome, Room, Store
from kairos.settings import Calls, Channels, Email, Ivr, Mms, Notifier, Settings, milliseconds
from kairos.settings import Webhook as WebhookSettings
from kairos.settings.channels import NEEDS, has_way_out

SHORTEST_KEY: Final = 16  # characters


class Nowhere:
    """A channel without a way out. A playbook that uses it is refused; here ends what an earlier one left behind."""

    def __init__(self, channel: str) -> None:
        self.channel = channel

    async def send(self, _: Text) -> Outcome:
        return Outcome("failed", reason=f"there is no way out: [channels.{self.channel}] is not set")


def open_ways(settings: Channels, clock: Clock, unsubscribe: Callable[[str], str] | None = None) -> dict[str, Channel]:
    """A channel for each, by its name. Raises SettingsError where one cannot be used."""
    made: dict[str, Channel] = {channel: Nowhere(channel) for channel in LONG}
    for channel in (one for one in LONG if has_way_out(settings, one)):
        section = getattr(settings, channel)
        if isinstance(section, Email):
            made[channel] = _mail(section, clock, unsubscribe)
        elif isinstance(section, Notifier):
            made[channel] = _notifier(channel, section)
        elif isinstance(section, Mms):
            login = (section.user, section.password) if section.user else None
            who, folder = (section.vasp, section.vas), Path(section.media)
            made[channel] = Mmsc(section.url, *who, folder, section.timeout_s, section.at_once, login=login)
        elif isinstance(section, WebhookSettings):
            secrets = read_secrets(section.secret, "channels.webhook.secret")
            made[channel] = Webhook(_target(section, secrets, clock, "channels.webhook"))
        elif isinstance(section, Ivr):
            secrets = read_secrets(section.secret, "channels.ivr.secret")
            made[channel] = Dialler(_target(section, secrets, clock, "channels.ivr"), callbacks(section))
        elif isinstance(section, Calls):
            made[channel] = CallList(clock, section.lease_s, section.again_after_s)
    return made


def rooms(settings: Channels, ways: Mapping[str, Channel]) -> dict[str, Room]:
    """How many messages are being sent at once on each channel, or that an agent must want one: the rest waits."""
    sections = {channel: getattr(settings, channel) for channel in NEEDS}
    made: dict[str, Room] = {c: Places(one.at_once) for c, one in sections.items() if not isinstance(one, Calls)}
    return made | {channel: way for channel, way in ways.items() if isinstance(way, CallList)}


def callbacks(settings: Ivr) -> str:
    """How the dialler reaches us. Raises SettingsError where the key in it could be guessed."""
    if len(settings.key) < SHORTEST_KEY or not settings.key.isascii() or not settings.key.isalnum():
        what = f"`channels.ivr.key` is not set, or no {SHORTEST_KEY} letters and digits"
        raise SettingsError(
            [Diagnostic("", 0, what, "set KAIROS_CHANNELS_IVR_KEY: whoever knows it can answer offers")]
        )
    return f"{settings.callback.rstrip('/')}/v1/ivr/{settings.key}"


def doors(settings: Settings, ways: Mapping[str, Channel], loop: Loop) -> list[Callable[[FastAPI], None]]:
    """The routes of the ways out that are answered over HTTP."""
    found: list[Callable[[FastAPI], None]] = []
    if isinstance(calls := ways["calls"], CallList):
        found.append(partial(add_calls, calls=CallDesk(calls, loop, settings.region)))
    if isinstance(dialler := ways["ivr"], Dialler):
        voice = Voice(loop, settings.channels.ivr.key, dialler.callbacks)
        found.append(partial(add_ivr, voice=voice))
    return found


class Places:
    """A Room for so many at once."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)

    def __call__(self, _: Outgoing, __: Text) -> AbstractAsyncContextManager[object]:
        return self._places


async def close_ways(ways: Iterable[Channel]) -> None:
    """Let go of what they keep open."""
    for way in ways:
        if close := getattr(way, "close", None):
            await close()


def _target(settings: WebhookSettings | Ivr, secrets: Sequence[bytes], clock: Clock, section: str) -> Target:
    return Target(settings.url, secrets, settings.timeout_s, clock, settings.at_once, section)


def _mail(settings: Email, clock: Clock, unsubscribe: Callable[[str], str] | None) -> Channel:
    try:
        from kairos.adapters.mail import Mail
    except ImportError as error:
        raise _not_installed("email", error) from None
    return Mail(
        settings.host,
        settings.port,
        settings.sender,
        clock,
        tls=None if settings.tls == "none" else tls.to_server("channels.email", settings.ca_file),
        from_the_start=settings.tls == "tls",
        user=settings.user,
        password=settings.password,
        timeout_s=settings.timeout_s,
        unsubscribe=unsubscribe,
    )


def _notifier(channel: str, settings: Notifier) -> Channel:
    try:
        from kairos.adapters.apprise import Apprise
    except ImportError as error:
        raise _not_installed(channel, error) from None
    return Apprise(channel, settings.url, settings.secret, settings.timeout_s, settings.at_once)


class Newsroom:
    """All who are told the news. Without any it does nothing, and reads nothing."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        letters: DeadLetters,
        clock: Clock,
        program: Callable[[str], Program | None],
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="news")
        self._files: list[SqliteNews] = []
        self.tellers: list[Teller] = []
        for name, one in settings.news.items():
            secrets = read_secrets(one.secret, f"news.{name}.secret")
            wanted = frozenset(one.tell.split())
            for partition in (partition for partition, kinds in enumerate(TABLES) if kinds & wanted):
                news = SqliteNews(settings.store.path, store, program, wanted)
                self._files.append(news)
                target = Target(one.url, secrets, one.timeout_s, clock, 1, f"news.{name}")
                keep = milliseconds(one.keep)
                teller = Teller(name, partition, news, target, store, letters, clock, thread=self._thread, keep=keep)
                self.tellers.append(teller)

    def untold(self) -> list[tuple[str, int, str]]:
        """Who does not take what they are told, since when (ms), and why."""
        found = sorted((one.name, *one.untold) for one in self.tellers if one.untold)
        return list({one[0]: one for one in reversed(found)}.values())  # of several tables, the longest

    async def close(self) -> None:
        for teller in self.tellers:
            await teller.target.close()
        for news in self._files:
            await asyncio.get_running_loop().run_in_executor(self._thread, news.close)
        self._thread.shutdown(wait=False)


def _not_installed(channel: str, error: ImportError) -> SettingsError:
    what = f"[channels.{channel}] needs {error.name}, which is not installed"
    return SettingsError([Diagnostic("", 0, what, "install `kairos-cvm[channels]`")])
