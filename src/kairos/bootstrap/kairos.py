"""Kairos: its parts, wired together; how it starts, and how it stops."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from kairos.adapters.audit.chain import opened as opened_audit
from kairos.adapters.audit.trail import Trail
from kairos.adapters.clock import now
from kairos.adapters.engine_figures import EngineCollector
from kairos.adapters.esme import Esmes
from kairos.adapters.esme_messages import Messages
from kairos.adapters.esme_notifications import Reader
from kairos.adapters.explanations import HttpExplanations
from kairos.adapters.first_answers import KEPT
from kairos.adapters.gateway import Gateway, take_out
from kairos.adapters.hubs import Hubs
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.ingress import HttpIngress
from kairos.adapters.ocs import HttpFulfiller
from kairos.adapters.operations import HttpOperations
from kairos.adapters.page import HttpPages
from kairos.adapters.privacy import HttpPrivacy
from kairos.adapters.pseudonyms import Pseudonyms
from kairos.adapters.purchases import HttpPurchases
from kairos.adapters.recommendations import EVENTS, HttpRecommendations
from kairos.adapters.registers import Registers
from kairos.adapters.senders import Submissions
from kairos.adapters.smpp_figures import SmppCollector
from kairos.adapters.smsc import Smsc
from kairos.adapters.sources import HttpSources, compile_mappings
from kairos.adapters.sqlite.process import SqliteProcess
from kairos.adapters.sqlite.queries import SqliteQueries
from kairos.adapters.status import Links, PlaybookWatch, Status
from kairos.adapters.subscribers import Subscribers
from kairos.api import create_app
from kairos.api.communications import add_communications
from kairos.api.lock import Lock
from kairos.api.page import add_page
from kairos.api.privacy import add_privacy
from kairos.api.recommendations import add_recommendations
from kairos.api.sources import add_sources
from kairos.api.ussd import add_ussd
from kairos.bootstrap.doors import callers_of, door_tls, http_server, http_socket, listening
from kairos.bootstrap.playbooks import (
    check_links,
    check_senders,
    old_vocabulary,
    open_playbook,
    own_model,
    page_links,
    read_patterns,
    watch_playbook,
    watch_registers,
)
from kairos.bootstrap.smpp import accounts_of, senders_of, smsc_binds
from kairos.bootstrap.store import kept_for, suppression_of
from kairos.bootstrap.ussd import ussd_doors
from kairos.bootstrap.ways_out import Newsroom, close_ways, doors, open_ways, rooms
from kairos.domain.inputs import end_of_a_run
from kairos.engine.dead_letters import DeadLetters
from kairos.engine.dispatch import Dispatcher, Patience
from kairos.engine.engine import Engine
from kairos.engine.explain import Explainer
from kairos.engine.loop import Loop, tune_interpreter
from kairos.engine.passages import FIRST
from kairos.engine.program import Program, compile_program
from kairos.engine.propensities import Propensities
from kairos.engine.retention import Retention
from kairos.engine.switchboard import Switchboard
from kairos.engine.timers import run_timers
from kairos.errors import StoreError
from kairos.ingest import normalise, read_name
from kairos.learn import FixedPropensity
from kairos.playbook import read as read_playbook
from kairos.ports import Batch, Channel, Store
from kairos.settings import Settings, milliseconds, require_ways
from kairos.smpp import Server, SubmitSm, passwords, serve

log = structlog.get_logger("kairos")

BEGIN_ANEW = 5.0  # seconds after a part broke
FIRST_LOOK = 2.0  # seconds to wait for the switches at the start; then the doors open with marketing off


async def beside(part: str, run: Callable[[], Coroutine[Any, Any, None]], counts: Counter[str]) -> None:
    """Until cancelled: what runs beside the engine begins anew where it broke, for notifications go out without it."""
    while True:
        try:
            await run()
        except Exception:
            counts[f"broke.{part}"] += 1
            log.exception("a part of kairos broke and begins anew", part=part)
        await asyncio.sleep(BEGIN_ANEW)


class Kairos:
    """One running kairos: engine, doors and ways out. `start` returns when all doors are open."""

    def __init__(self, settings: Settings, store: Store, program: Program) -> None:
        self.settings, self.store, self.program = settings, store, program
        self.msisdn = partial(normalise, region=settings.region)
        self._wire_engine()
        self._wire_smpp()
        self._wire_ways_out()
        self._wire_operations()
        self._wire_doors()
        self._tasks: list[asyncio.Task[None]] = []

    def _wire_engine(self) -> None:
        """What decides, and what it needs of the playbook and the store."""
        settings, store, program = self.settings, self.store, self.program
        self.model = own_model(settings, program)
        check_senders(settings, program)
        compile_mappings(settings.mappings, program, settings.region)
        self.page_links = page_links(settings, program.playbook.currency)
        if without := check_links(self.page_links, program):
            log.warning("there is no landing page: texts that say {link} are left out", messages=without)
        self.engine = Engine(
            store,
            program,
            FixedPropensity(settings.engine.propensity),
            old_vocabulary=partial(old_vocabulary, store),
            reject_unknown=settings.engine.unknown_subscribers == "reject",
            parts_at_most=settings.notifications.parts_at_most,
            parts_within=round(settings.notifications.parts_within_s * 1000),
            steps=settings.fulfilment.taken,
            note=log.warning,
            link=self.page_links.link if self.page_links else None,
        )
        self.engine.suppression = suppression_of(store)
        self.propensities = Propensities(store, self.engine, self.engine.scorer)
        if self.model:
            self.engine.scorer_of = self.model.scorer_of
            self.engine.scorer = self.model.scorer_of(program)
        self.letters = DeadLetters(store, now, self.engine.statistics.counts, keep=settings.retention.dead_letters_kept)
        self.loop = Loop(
            self.engine,
            now,
            lambda rows: self.dispatcher.hand(rows),
            aside=store.aside if isinstance(store, SqliteProcess) else None,
            batch=settings.engine.batch,
            linger=settings.engine.linger_ms / 1000,
            queue=settings.engine.queue,
            broken=self.letters.broke,
        )

    def _wire_smpp(self) -> None:
        """Accounts, other systems' messages and the SMSC, and what each was told before."""
        settings, store = self.settings, self.store
        self.senders = senders_of(settings)
        self.esmes = Esmes(
            Reader(
                accounts_of(settings),
                read_patterns(settings, self.program),
                now,
                self.msisdn,
                self._unread,
            ),
            self.loop,
            now,
            lambda *about: self.smsc.forward(*about),
            settings.notifications.decide_within_ms / 1000,
            Messages(
                store,
                lambda pdu: self.smsc.client.request(pdu),
                lambda *about: self.smsc.forwarded(*about),
                lambda row: self.dispatcher.take_back(row),
                partial(take_out, self.loop),
            ).asked,
            Submissions(self.senders, now, self.msisdn),
        )
        self.gateway = Gateway(
            self.loop,
            store,
            self.senders,
            self.msisdn,
            lambda text: self.smsc.send(text),
            settings.notifications.decide_within_ms / 1000,
        )
        self.gateway.wire(
            self.esmes,
            round(settings.gateway.merge_within_s * 1000),
            locked=bool(settings.clients or settings.oidc.issuer),
        )
        self.smsc = Smsc(
            partial(smsc_binds, settings.smsc),
            self.loop,
            now,
            self.msisdn,
            self.esmes.deliver,
            identity_tlv=settings.smsc.identity_tlv,
            entity_tlv=settings.smsc.entity_tlv,
            template_tlv=settings.smsc.template_tlv,
        )
        answered = store.latest_answered(KEPT)
        newest = store.outgoing([store.next_ids().outgoing - 1])
        ended = max((row.due for row in newest), default=0)
        to_accounts = (told for told in answered if told.account in settings.accounts or told.ends_a_run)
        self.esmes.first.remember(to_accounts, ended)
        self.smsc.remember(answered, ended)
        with suppress(StoreError):  # a full disk: notifications go out all the same
            store.commit(Batch(answered=[end_of_a_run(ended)]))

    def _wire_ways_out(self) -> None:
        """What goes out: channels, the charging system, and who hands rows to them."""
        settings, store, playbook = self.settings, self.store, self.program.playbook
        self.fulfiller = HttpFulfiller(settings.fulfilment.url, settings.fulfilment.timeout_s, playbook.currency.digits)
        self.ussd = ussd_doors(settings, self.loop, now)
        channels: dict[str, Channel] = {
            "notification": self.smsc,
            "sms": self.smsc,
            "relay": self.esmes,
            "receipt": self.esmes,
            **dict.fromkeys(FIRST.values(), self.smsc),
            "callback": self.gateway.callbacks,
            "ussd_push": self.ussd,
        }
        require_ways(playbook, settings.channels)
        self.ways = open_ways(settings.channels, now, self.page_links.unsubscribe if self.page_links else None)
        channels |= self.ways
        patience = Patience(
            round(settings.fulfilment.stuck_after_s * 1000), round(settings.fulfilment.provision_within_s * 1000)
        )
        owed_for = milliseconds(settings.retention.undelivered) or sys.maxsize
        self.dispatcher = Dispatcher(
            store,
            self.loop,
            channels,
            self.fulfiller,
            now,
            patience=patience,
            owed_for=owed_for,
            rooms=rooms(settings.channels, self.ways),
        )

    def _wire_operations(self) -> None:
        """What people look at and turn, and what runs beside the engine."""
        settings, store, playbook = self.settings, self.store, self.program.playbook
        self.switchboard = Switchboard(store, self.engine, self.dispatcher)
        self.retention = Retention(store, now, kept_for(settings.retention), self.engine.statistics.counts)
        self.links = Links(self.smsc.client.statistics, now)
        if self.ussd.smpp:
            self.links.ussd = self.ussd.smpp.client.statistics
        self.registers = Registers(Path(settings.registers))
        self.playbook = PlaybookWatch(playbook.name, playbook.revision, now())
        self.status = Status(
            self.loop,
            self.dispatcher,
            self.switchboard,
            store,
            self.links,
            self.playbook,
            settings.store.path,
            lambda: self.letters.figures,
            lambda: self.model.trouble if self.model else "",
            lambda: self.trail.trouble,
            lambda: self.newsroom.untold(),
        )
        self.explainer = Explainer(store, lambda texts: compile_program(read_playbook(texts)))
        self.newsroom = Newsroom(settings, store, self.letters, now, self.explainer.program)

    def _wire_doors(self) -> None:
        """Who may come in, and what is written down of them."""
        settings = self.settings
        self.server: Server | None = None
        self.http_port = 0
        self._http: uvicorn.Server | None = None
        self._door_tls = door_tls("notifications", settings.notifications)
        self._http_tls = door_tls("http", settings.http)
        self._callers = callers_of(settings)
        chain, key = opened_audit(Path(settings.audit.folder or f"{settings.store.path}-audit"), settings.audit.key)
        self.trail = Trail(chain, Pseudonyms(key), partial(read_name, region=settings.region))

    def _unread(self, account: str, pdu: SubmitSm, text: str) -> None:
        """Keep one notification of each shape that no pattern reads: somebody may mend the pattern."""
        if self.settings.retention.unread_notifications:
            shape = re.sub(r"\d+", "#", text)[:200]
            reason = "no pattern of the settings reads this text"
            self.letters.put("unread", f"{account}: {shape}", pdu.destination_addr, reason, text.encode())

    @property
    def smpp_port(self) -> int:
        return self.server.port if self.server else 0

    async def start(self) -> None:
        settings = self.settings
        self.trail.start()
        self._tasks = [asyncio.create_task(self.loop.run())]
        self._beside("switches", self.switchboard.run)
        await self.switchboard.looked(FIRST_LOOK)
        await self.smsc.client.start()
        await self.ussd.start()
        self._beside("ussd", self.ussd.run)
        self._tasks.append(asyncio.create_task(self.dispatcher.run()))
        self._beside("timers", partial(run_timers, self.store, self.loop, now))
        self._beside("dead letters", partial(self.letters.run, self.loop))
        self._beside("retention", partial(self.retention.run, self.loop))
        every_s, folder = settings.reload_every_s, Path(settings.playbook)
        self._beside("playbook", partial(watch_playbook, folder, every_s, self._take, self.playbook, now))
        if settings.learning.on and not self.model:
            self._beside("model", self.propensities.run)
        self._beside("registers", partial(watch_registers, self.registers, self.engine, every_s))
        self._beside("links", self.links.run)
        for teller in self.newsroom.tellers:
            self._beside(f"news for {teller.name}", teller.run)
        server = await self._open_smpp()
        await self._open_http(server)
        if isinstance(self.store, SqliteProcess):
            self.store.hurry()
        tune_interpreter()

    def _beside(self, part: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.create_task(beside(part, run, self.engine.statistics.counts)))

    async def _open_smpp(self) -> Server:
        """The door for accounts. Raises SettingsError where its address cannot be had."""
        settings = self.settings
        secrets = {name: account.password for name, account in settings.accounts.items() if account.password}
        door = settings.notifications
        with listening("notifications", door.host, door.port):
            server = await serve(
                door.host,
                door.port,
                passwords(secrets),
                self.esmes.handle,
                tls=self._door_tls,
                rates={name: account.rate for name, account in settings.accounts.items()},
            )
        self.server = self.esmes.server = server
        self.links.accounts = server.statistics
        return server

    async def _open_http(self, smpp: Server) -> None:
        """The door for programs and people, behind its lock. Raises SettingsError where its address cannot be had."""
        settings = self.settings
        keep_rejected = settings.retention.rejected_events
        ingress = HttpIngress(self.loop, settings.region, self._gauges, self.letters, keep_rejected=keep_rejected)
        self.letters.read = ingress.event
        registry = CollectorRegistry()
        registry.register(EngineCollector(ingress))
        registry.register(SmppCollector(self.smsc.client.statistics, smpp.statistics))
        explanations = HttpExplanations(self.explainer)
        operations = HttpOperations(self.switchboard, self.status, self.loop, self.explainer, settings.region)
        purchases = HttpPurchases(self.store, self.loop, now)
        seen = Subscribers(self.store, self.explainer, self.engine.old_vocabulary)
        inbound = HttpInbound(self.loop, seen, ingress.reader, settings.region)
        asked = settings.recommendations
        self.recommendations = HttpRecommendations(
            inbound,
            partial(SqliteQueries, settings.store.path),
            Hubs(self.store, now, EVENTS, lambda _: asked.callbacks, most=100),
            kept_for=milliseconds(asked.kept),
            most=asked.kept_at_most,
        )
        self.recommendations.hubs.open()
        self._beside("recommendations", self.recommendations.run)
        self.privacy = HttpPrivacy(self.loop, settings.store.path, settings.region)
        self._beside("erasures", self.privacy.run)
        app = create_app(
            ingress,
            explanations,
            registry,
            now,
            region=settings.region,
            body_limit=settings.http.body_limit,
            operations=operations,
            purchases=purchases,
            inbound=inbound,
            more=self._more_doors(ingress),
        )
        lock = Lock(
            app,
            self._callers,
            self.trail,
            insecure=settings.http.insecure,
            open_metrics=settings.http.open_metrics,
            body_limit=settings.http.body_limit,
            tls=settings.http.tls,
        )
        door = http_socket(settings.http)
        self.http_port = door.getsockname()[1]
        self._http = http_server(lock, settings.http, self._http_tls)
        self._tasks.append(asyncio.create_task(self._http.serve(sockets=[door])))

    def _more_doors(self, ingress: HttpIngress) -> Iterator[Callable[[FastAPI], None]]:
        sources = HttpSources(ingress, self.settings.sources, self.settings.mappings)
        yield lambda app: add_sources(app, sources)
        yield partial(add_recommendations, recommendations=self.recommendations)
        yield partial(add_privacy, privacy=self.privacy)
        yield partial(add_communications, communications=self.gateway)
        page = self.settings.page
        if self.page_links:
            pages = HttpPages(self.loop, self.store, self.page_links, page.tap_up_to, self.settings.region)
            networks = [ip_network(proxy) for proxy in page.proxies.split()]
            yield lambda app: add_page(app, pages, page.number_header, networks)
        yield partial(add_ussd, ussd=self.ussd.http)
        yield from doors(self.settings, self.ways, self.loop)

    def _gauges(self) -> dict[str, float]:
        bound = self.smsc.client.session is not None
        accounts = self.server.accounts if self.server else ()
        counted = {
            "esme": self.esmes.counts + self.esmes.first.counts + self.esmes.reader.counts,
            "smsc": self.smsc.counts + self.smsc.first.counts,
        }
        counts = {f"{who}.{name}": float(n) for who, of in counted.items() for name, n in of.items()}
        return (
            {
                "marketing_on": not self.engine.switches.marketing,
                "sending": self.dispatcher.under_way,
                "smsc_bound": bound,
                "accounts_bound": len(accounts),
                **counts,
            }
            | self.letters.figures
            | self.ussd.gauges()
        )

    async def failed(self) -> None:
        """Wait until a part without which there is no kairos ends; raise what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Close the doors, finish the batch under way, leave what is unsent in the store."""
        if self._http:
            self._http.should_exit = True
        if self.server:
            await self.server.close()
        await self.smsc.client.close()
        await self.ussd.close()
        await self.dispatcher.close()
        self.loop.close()
        engine, *others = self._tasks
        await engine
        await asyncio.sleep(0.1)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.fulfiller.close()
        await self.gateway.close()
        await asyncio.to_thread(self.trail.close)
        await close_ways(self.ways.values())
        await self.newsroom.close()
        await self.recommendations.close()
        self.privacy.close()
        self.store.close()

    async def _take(self, texts: dict[str, str]) -> None:
        """Decide by a new revision, if it is one. Raises what is wrong with it."""
        # Compiling takes a while, and the store may hang: in a thread, so that nothing waits for them.
        program = await asyncio.to_thread(open_playbook, self.store, texts, self.program.playbook, self._check)
        if program:
            self.esmes.reader.patterns = read_patterns(self.settings, program)
            self.loop.use(program)
            self.program = program
            self.playbook.taken(program.playbook.name, program.playbook.revision, now())
            log.info("new playbook", revision=program.playbook.revision)

    def _check(self, program: Program) -> None:
        """Whether a new playbook can be used with what the settings have. Raises PlaybookError, SettingsError."""
        if self.model:
            self.model.check(program)
        check_links(self.page_links, program)
        check_senders(self.settings, program)
        require_ways(program.playbook, self.settings.channels)
        compile_mappings(self.settings.mappings, program, self.settings.region)
