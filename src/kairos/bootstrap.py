"""The only place where parts are wired together: settings in, a running kairos out."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from secrets import token_hex
from ssl import SSLContext

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from kairos.adapters import oidc, tls
from kairos.adapters.audit import Trail
from kairos.adapters.audit_chain import opened as opened_audit
from kairos.adapters.callers import Callers, hashed
from kairos.adapters.esme import Esmes
from kairos.adapters.esme_messages import Messages
from kairos.adapters.esme_notifications import Account, Reader
from kairos.adapters.first_answers import KEPT
from kairos.adapters.gateway import Gateway, take_out
from kairos.adapters.http import EngineCollector, HttpExplanations, HttpIngress
from kairos.adapters.inbound import HttpInbound
from kairos.adapters.ocs import HttpFulfiller
from kairos.adapters.onnx import OnnxModel
from kairos.adapters.operations import HttpOperations
from kairos.adapters.page import HttpPages
from kairos.adapters.privacy import HttpPrivacy
from kairos.adapters.pseudonyms import Pseudonyms
from kairos.adapters.purchases import HttpPurchases
from kairos.adapters.recommendations import HttpRecommendations
from kairos.adapters.registers import Registers
from kairos.adapters.senders import Sender, Submissions
from kairos.adapters.smpp_figures import SmppCollector
from kairos.adapters.smsc import Smsc
from kairos.adapters.sources import HttpSources, compile_mappings
from kairos.adapters.sqlite_process import SqliteProcess
from kairos.adapters.sqlite_queries import SqliteQueries
from kairos.adapters.status import Links, PlaybookWatch, Status
from kairos.adapters.subscribers import Subscribers
from kairos.adapters.ussd import Dialogues
from kairos.adapters.ussd_doors import UssdDoors
from kairos.adapters.ussd_http import HttpSystems, HttpUssd, XmlPush
from kairos.adapters.ussd_smpp import UssdSmpp
from kairos.api import create_app
from kairos.api.communications import add_communications
from kairos.api.connection import connections
from kairos.api.lock import Lock
from kairos.api.page import add_page
from kairos.api.privacy import add_privacy
from kairos.api.recommendations import add_recommendations
from kairos.api.sources import add_sources
from kairos.api.ussd import add_ussd
from kairos.deliver import OfferLinks
from kairos.domain.caller import Caller
from kairos.domain.inputs import end_of_a_run
from kairos.domain.money import Currency
from kairos.engine.dead_letters import DeadLetters
from kairos.engine.dispatch import Dispatcher, Patience
from kairos.engine.engine import Engine
from kairos.engine.explain import Explainer
from kairos.engine.loop import Loop, tune_interpreter
from kairos.engine.passages import URGENT
from kairos.engine.program import Program, compile_program
from kairos.engine.propensities import Propensities
from kairos.engine.retention import Retention
from kairos.engine.suppression import Suppression
from kairos.engine.switchboard import Switchboard
from kairos.engine.timers import run_timers
from kairos.errors import Diagnostic, PlaybookError, SettingsError, StoreError
from kairos.ingest import Patterns, Template, compile_patterns, normalise, read_name
from kairos.learn import FixedPropensity
from kairos.playbook import load_texts
from kairos.playbook import read as read_playbook
from kairos.playbook.page_words import LINK
from kairos.playbook.playbook import Playbook
from kairos.playbook.vocabulary import Vocabulary
from kairos.ports import Batch, Channel, Store
from kairos.settings import Http, Notifications, Settings, is_loopback, milliseconds
from kairos.settings import Smsc as SmscSettings
from kairos.settings import Ussd as UssdSettings
from kairos.smpp import (
    BindReceiver,
    Binds,
    BindTransceiver,
    BindTransmitter,
    Client,
    Handler,
    Server,
    SessionOptions,
    SubmitSm,
    passwords,
    serve,
)
from kairos.ussd import Room
from kairos.ussd.callback import Fields
from kairos.ussd.profiles import OPERATIONS, PROFILES, Bits, Profile
from kairos.ways_out import Newsroom, close_ways, doors, open_ways, require_ways, rooms

log = structlog.get_logger("kairos")

PATIENCE = (
    1.0  # seconds that what is no notification waits for room on a bind; then it is asked again whether it may go
)
FIRST_LOOK = 2.0  # seconds to wait for the switches at the start; then the doors open with marketing off


def now() -> int:
    """The wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


class Kairos:
    """One running kairos: engine, doors and ways out. `start` returns when all doors are open."""

    def __init__(self, settings: Settings, store: Store, program: Program) -> None:
        self.settings, self.store, self.program = settings, store, program
        self.model = own_model(settings, program)
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
        msisdn = partial(normalise, region=settings.region)
        self.senders = senders_of(settings)
        self.esmes = Esmes(
            Reader(
                [
                    Account(name, account.rides, account.rides_on_flash, account.identity_tlv, name in self.senders)
                    for name, account in settings.accounts.items()
                ],
                read_patterns(settings, program),
                now,
                msisdn,
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
            Submissions(self.senders, now, msisdn),
        )
        self.gateway = Gateway(
            self.loop,
            store,
            self.senders,
            msisdn,
            lambda text: self.smsc.send(text),
            settings.notifications.decide_within_ms / 1000,
        )
        self.gateway.wire(self.esmes, round(settings.gateway.merge_within_s * 1000))
        self.smsc = Smsc(
            partial(smsc_binds, settings.smsc),
            self.loop,
            store,
            now,
            msisdn,
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
        self.fulfiller = HttpFulfiller(
            settings.fulfilment.url, settings.fulfilment.timeout_s, program.playbook.currency.digits
        )
        self.ussd = ussd_doors(settings, self.loop)
        channels: dict[str, Channel] = {
            "notification": self.smsc,
            "sms": self.smsc,
            "relay": self.esmes,
            "receipt": self.esmes,
            URGENT: self.smsc,
            "callback": self.gateway.callbacks,
            "ussd_push": self.ussd,
        }
        require_ways(program.playbook, settings.channels)
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
            accounts={*settings.accounts, *settings.senders},
            rooms=rooms(settings.channels, self.ways),
        )
        self.switchboard = Switchboard(store, self.engine, self.dispatcher)
        kept = settings.retention
        ages = {
            "decisions": kept.decisions,
            "outbox": kept.outbox,
            "responses": kept.responses,
            "answered": kept.answered,
            "dead_letters": kept.dead_letters,
            "purchases": kept.purchases,
            "ended_subscriptions": kept.ended_subscriptions,
            "switches": kept.switches,
            "passages": kept.passages,
            "communications": kept.passages,
        }
        self.retention = Retention(
            store, now, {what: milliseconds(age) for what, age in ages.items()}, self.engine.statistics.counts
        )
        self.links = Links(self.smsc.client.statistics, now)
        self.registers = Registers(Path(settings.registers))
        self.playbook = PlaybookWatch(program.playbook.name, program.playbook.revision, now())
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
        )
        self.explainer = Explainer(store, lambda texts: compile_program(read_playbook(texts)))
        self.newsroom = Newsroom(settings, store, self.letters, now, self.explainer.program)
        self.server: Server | None = None
        self.http_port = 0
        self._door_tls = door_tls("notifications", settings.notifications)
        self._http_tls = door_tls("http", settings.http)
        self._callers = callers_of(settings)
        chain, key = opened_audit(Path(settings.audit.folder or f"{settings.store.path}-audit"), settings.audit.key)
        self.trail = Trail(chain, Pseudonyms(key), partial(read_name, region=settings.region))
        self._tasks: list[asyncio.Task[None]] = []
        self._http: uvicorn.Server | None = None

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
        self._tasks.append(asyncio.create_task(self.switchboard.run()))
        await self.switchboard.looked(FIRST_LOOK)
        await self.smsc.client.start()
        await self.ussd.start()
        self._tasks.append(asyncio.create_task(self.ussd.run()))
        self._tasks.append(asyncio.create_task(self.dispatcher.run()))
        self._tasks.append(asyncio.create_task(run_timers(self.store, self.loop, now)))
        self._tasks.append(asyncio.create_task(self.letters.run(self.loop)))
        self._tasks.append(asyncio.create_task(self.retention.run(self.loop)))
        self._tasks.append(asyncio.create_task(self._watch_playbook()))
        if settings.learning.on and not self.model:
            self._tasks.append(asyncio.create_task(self.propensities.run()))
        self._tasks.append(asyncio.create_task(self._watch_registers()))
        self._tasks.append(asyncio.create_task(self.links.run()))
        self._tasks.extend(asyncio.create_task(teller.run()) for teller in self.newsroom.tellers)
        secrets = {name: account.password for name, account in settings.accounts.items() if account.password}
        door = settings.notifications
        with listening("notifications", door.host, door.port):
            self.server = self.esmes.server = await serve(
                door.host,
                door.port,
                passwords(secrets),
                self.esmes.handle,
                tls=self._door_tls,
                rates={name: account.rate for name, account in settings.accounts.items()},
            )
        self.links.accounts = self.server.statistics
        keep_rejected = settings.retention.rejected_events
        ingress = HttpIngress(self.loop, settings.region, self._gauges, self.letters, keep_rejected=keep_rejected)
        self.letters.read = ingress.event
        registry = CollectorRegistry()
        registry.register(EngineCollector(ingress))
        registry.register(SmppCollector(self.smsc.client.statistics, self.server.statistics))
        explanations = HttpExplanations(self.explainer)
        operations = HttpOperations(self.switchboard, self.status, self.loop, self.explainer, settings.region)
        purchases = HttpPurchases(self.store, self.loop, now)
        seen = Subscribers(self.store, self.explainer, partial(old_vocabulary, self.store))
        inbound = HttpInbound(self.loop, seen, ingress.reader, settings.region)
        asked = settings.recommendations
        self.recommendations = HttpRecommendations(
            inbound,
            partial(SqliteQueries, settings.store.path),
            kept_for=milliseconds(asked.kept),
            most=asked.kept_at_most,
            allowed=asked.listeners,
        )
        self._tasks.append(asyncio.create_task(self.recommendations.run()))
        self.privacy = HttpPrivacy(self.loop, settings.store.path, settings.region)
        self._tasks.append(asyncio.create_task(self.privacy.run()))
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
        await self._serve_http(
            Lock(
                app,
                self._callers,
                self.trail,
                insecure=settings.http.insecure,
                open_metrics=settings.http.open_metrics,
                body_limit=settings.http.body_limit,
                tls=settings.http.tls,
            )
        )
        tune_interpreter()

    def _more_doors(self, ingress: HttpIngress) -> Iterator[Callable[[FastAPI], None]]:
        sources = HttpSources(ingress, self.settings.sources, self.settings.mappings)
        yield lambda app: add_sources(app, sources)
        yield partial(add_recommendations, recommendations=self.recommendations)
        yield partial(add_privacy, privacy=self.privacy)
        yield partial(add_communications, communications=self.gateway)
        page = self.settings.page
        if self.page_links:
            known = partial(old_vocabulary, self.store)
            pages = HttpPages(self.loop, self.store, self.page_links, known, page.tap_up_to, self.settings.region)
            networks = [ip_network(proxy) for proxy in page.proxies.split()]
            yield lambda app: add_page(app, pages, page.number_header, networks)
        yield partial(add_ussd, ussd=self.ussd.http)
        yield from doors(self.settings, self.ways, self.loop, self.store)

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

    async def _serve_http(self, app: Lock) -> None:
        http = self.settings.http
        with listening("http", http.host, http.port):
            family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
            door = socket.create_server((http.host, http.port), family=family, backlog=2048)
        # asyncio (uvloop aside) does it only for sockets that name their protocol; else an answer's end waits 40 ms
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.http_port = door.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=connections(http.request_within_s, http.connections),
            ws="none",
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
        )
        config.load()
        config.ssl = self._http_tls
        self._http = uvicorn.Server(config)
        self._http.capture_signals = nullcontext  # type: ignore[method-assign, assignment]  # signals are ours
        self._tasks.append(asyncio.create_task(self._http.serve(sockets=[door])))

    async def failed(self) -> None:
        """Wait until a part that should run for ever ends; raise what ended it."""
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
        await close_ways(self.ways)
        await self.newsroom.close()
        await self.recommendations.close()
        self.privacy.close()
        self.store.close()

    async def _watch_playbook(self) -> None:
        """Take a new revision when the folder has one that is sound; else the old one stays, and the log says why."""
        folder = Path(self.settings.playbook)
        looked_at: dict[str, str] | None = None
        while True:
            await asyncio.sleep(self.settings.reload_every_s)
            texts = None
            try:
                texts = await asyncio.to_thread(load_texts, folder)
                if texts == looked_at:
                    continue
                # Compiling takes a while, and the store may hang: in a thread, so that nothing waits for them.
                program = await asyncio.to_thread(open_playbook, self.store, texts, self.program.playbook, self._check)
                if program:
                    self.esmes.reader.patterns = read_patterns(self.settings, program)
                    self.loop.use(program)
                    self.program = program
                    self.playbook.taken(program.playbook.name, program.playbook.revision, now())
                    log.info("new playbook", revision=program.playbook.revision)
                self.playbook.refused = ""
            except Exception as error:  # whatever is wrong with it, the watch goes on
                why = str(error) or repr(error)
                if why != self.playbook.refused:
                    self.playbook.refused, self.playbook.refused_since = why, now()
                    log.error("the new playbook is not sound; the old one stays", reason=why)
                if isinstance(error, StoreError):
                    texts = None  # that may pass
            looked_at = texts

    def _check(self, program: Program) -> None:
        """Whether a new playbook can be used with what the settings have. Raises PlaybookError, SettingsError."""
        if self.model:
            self.model.check(program)
        check_links(self.page_links, program)
        require_ways(program.playbook, self.settings.channels)
        compile_mappings(self.settings.mappings, program, self.settings.region)

    async def _watch_registers(self) -> None:
        """Take the registers' files when they change. Until one was read, everybody is on it."""
        told: dict[str, str] = {}
        while True:
            names = [gate.file for gate in self.engine.program.decide.lists]
            if names:
                self.engine.register(await asyncio.to_thread(self.registers.look, names))
            for name, why in self.registers.trouble.items():
                if told.get(name) != why:
                    known = "it stays as it was" if name in self.registers.listed else "everybody counts as on it"
                    log.error(f"a register cannot be read: {known}", register=name, reason=why)
            told = dict(self.registers.trouble)
            await asyncio.sleep(self.settings.reload_every_s)


def smsc_binds(smsc: SmscSettings, handle: Handler, section: str = "smsc") -> Binds:
    """The binds to an SMSC, or to another gateway, that a section asks for. Raises SettingsError."""
    files = {"ca_file": smsc.ca_file, "cert_file": smsc.cert_file, "key_file": smsc.key_file}
    _need_tls(section, smsc.tls, files | {"server_name": smsc.server_name})
    context = tls.to_smsc(**files) if smsc.tls else None
    options = SessionOptions(
        window=smsc.window, response_timeout=smsc.response_timeout_s, rate=smsc.rate, reserve=smsc.reserve
    )
    kinds = (BindTransceiver,) if smsc.bind == "transceiver" else (BindTransmitter, BindReceiver)
    binds = [
        kind(system_id=smsc.system_id, password=smsc.password, system_type=smsc.system_type)
        for _ in range(smsc.binds)
        for kind in kinds
    ]

    def clients(host: str, port: int, server_name: str) -> list[Client]:
        return [Client(host, port, bind, handle, options, tls=context, server_name=server_name) for bind in binds]

    parallel = clients(smsc.host, smsc.port, smsc.server_name)
    standby: list[Client] = []
    for one in smsc.also:
        (standby if one.standby else parallel).extend(clients(one.host, one.port, one.server_name))
    return Binds(parallel, standby, PATIENCE, smsc.response_timeout_s)


def senders_of(settings: Settings) -> dict[str, Sender]:
    """The other systems that may send, by the name of their account and client."""
    return {
        name: Sender(
            name,
            frozenset(one.ids),
            one.kinds,
            milliseconds(one.validity),
            one.priority,
            tuple(one.callbacks),
        )
        for name, one in settings.senders.items()
    }


def ussd_doors(settings: Settings, loop: Loop) -> UssdDoors:
    """The USSD gateways that the settings name. Raises SettingsError."""
    ussd = settings.ussd
    session, msisdn, code, text, *step = ussd.fields.split()
    fields = Fields(session, msisdn, code, text, "".join(step), ussd.text == "accumulated")
    systems = HttpSystems({name: (one.url, one.timeout_s) for name, one in ussd.systems.items()}, fields)
    room = Room(ussd.gsm7, ussd.ucs2)
    dialogues = Dialogues(
        loop, now, systems=systems, region=settings.region, ttl=ussd.ttl_s, within=ussd.within_s, room=room
    )
    shared = SmscSettings.__struct_fields__
    bind = SmscSettings(**{name: getattr(ussd, name) for name in ussd.__struct_fields__ if name in shared})
    return UssdDoors(
        dialogues,
        HttpUssd(dialogues, ussd.secret, fields),
        UssdSmpp(partial(smsc_binds, bind, section="ussd"), dialogues, ussd_profile(ussd), ussd.push_from)
        if ussd.host
        else None,
        XmlPush(dialogues, ussd.push_url) if ussd.push == "xml" else None,
        systems,
        pushes=bool(ussd.push),
    )


def ussd_profile(ussd: UssdSettings) -> Profile:
    """How the gateway speaks, as the settings have it."""
    own = ussd.profiles.get(ussd.profile)
    if own is None:
        return PROFILES[ussd.profile]
    session, step, end = (Bits(one.tag, one.mask) if one else None for one in (own.session, own.step, own.end))
    assert session
    return Profile(session, step, end, own.code, {**OPERATIONS, **own.operations}, own.gsm7, own.ucs2, own.renumbers)


def door_tls(section: str, door: Notifications | Http) -> SSLContext | None:
    """TLS for a door, if the settings ask for it. Raises SettingsError."""
    files = {"cert_file": door.cert_file, "key_file": door.key_file, "client_ca_file": door.client_ca_file}
    _need_tls(section, door.tls, files)
    if not door.tls and not is_loopback(door.host):
        log.warning(
            "what is said at this door, keys and passwords too, can be read on its way", door=section, tls=False
        )
    return tls.for_door(section, **files) if door.tls else None


def callers_of(settings: Settings) -> Callers | None:
    """Who may call at the HTTP door; None where the settings name nobody. Raises SettingsError."""
    keys: dict[str, Caller] = {}
    for name, client in settings.clients.items():
        caller = Caller(name, roles=frozenset(client.roles.split()), rate=client.rate)
        for digest in [*client.key_sha256.split(), *([hashed(client.key)] if client.key else [])]:
            if keys.setdefault(digest, caller) is not caller:
                what = f"clients `{keys[digest].name}` and `{name}` have the same key"
                raise SettingsError([Diagnostic("", 0, what, f"make another with `kairos key {name}`")])
    one, tokens = settings.oidc, None
    if not keys and not one.issuer and not is_loopback(settings.http.host):
        log.warning("the HTTP door has no lock, and other machines reach it", host=settings.http.host)
    if one.issuer:
        tokens = oidc.Tokens(
            one.issuer,
            one.audience,
            one.algorithms.split(),
            oidc.in_file(Path(one.jwks_file)) if one.jwks_file else oidc.published(one.issuer),
            leeway=one.leeway_s,
            roles_claim=one.roles_claim,
            roles_prefix=one.roles_prefix,
            once=one.once,
            rate=one.rate,
        )
    return Callers(keys, tokens, time.time) if keys or tokens else None


def _need_tls(section: str, on: bool, keys: Mapping[str, str]) -> None:
    """Who names certificates means TLS: going without would be silent."""
    for key in (key for key, value in keys.items() if value and not on):
        what = f"`{section}.{key}` is set, but `{section}.tls` is not true"
        raise SettingsError([Diagnostic("", 0, what, f"set `tls = true` in [{section}]")])


@contextmanager
def listening(section: str, host: str, port: int) -> Iterator[None]:
    """Turns an address that cannot be had into a SettingsError."""
    try:
        yield
    except OSError as error:
        known = error.errno or 0
        reason = os.strerror(known) if known > 0 else str(error.strerror).partition(" (")[0]
        hint = f"is another kairos running? else set `host` and `port` of [{section}]"
        raise SettingsError([Diagnostic("", 0, f"cannot listen on {host}:{port}: {reason.lower()}", hint)]) from None


def own_model(settings: Settings, program: Program) -> OnnxModel | None:
    """The propensity model that the settings name. Raises SettingsError where it cannot be used with the playbook."""
    learning = settings.learning
    if not learning.model:
        return None
    model = OnnxModel(Path(learning.model), learning.model_within_ms / 1000)
    model.check(program)
    return model


def page_links(settings: Settings, currency: Currency) -> OfferLinks | None:
    """What signs links to the landing page, where there is one. Raises SettingsError."""
    page = settings.page
    try:
        currency.parse(page.tap_up_to)
    except ValueError as error:
        raise SettingsError([Diagnostic("", 0, f"`page.tap_up_to`: {error}", f"so has {currency.code}")]) from None
    return OfferLinks(page.url, [secret.encode() for secret in page.secrets]) if page.url else None


def check_links(links: OfferLinks | None, program: Program) -> list[str]:
    """Without a page: the messages that have texts with a link. Raises PlaybookError where one has no other text."""
    if links or not program.linked:
        return []
    needy = [name for name in sorted(program.linked) if LINK in program.messages.needs(name)]
    if needy:
        what = f"every text of `{needy[0]}` says `{{link}}`, and there is no landing page"
        hint = "set `url` of [page] in the settings, or give it a text without"
        raise PlaybookError([Diagnostic("messages", 0, what, hint)])
    return sorted(program.linked)


def open_playbook(
    store: Store,
    texts: dict[str, str],
    current: Playbook | None = None,
    check: Callable[[Program], None] | None = None,
) -> Program | None:
    """Read, compile, `check` and keep a playbook; None where it is the `current` one. Raises PlaybookError."""
    playbook = read_playbook(texts)
    if current and playbook.revision == current.revision:
        return None
    program = compile_program(playbook)
    written = money_of(playbook.currency)
    kept = store.keep("currency", money_of((current or playbook).currency))
    if kept != written:
        what = f"the currency changed from {kept}"
        hint = "prices of open offers and balances are kept in it: begin a new store for another currency"
        raise PlaybookError([Diagnostic("playbook.yaml", 0, what, hint)])
    if check:
        check(program)
    store.save_playbook(playbook.revision, playbook.vocabulary.layout, dict(texts))
    return program


def money_of(currency: Currency) -> str:
    """What an amount in minor units means, in words.

    >>> money_of(Currency("XTS", 2, "T$"))
    'XTS with 2 digits'
    """
    return f"{currency.code} with {currency.digits} digits"


def suppression_of(store: Store) -> Suppression:
    """Who said STOP and was forgotten. The key is a secret of the environment's, else one that the store keeps."""
    key = os.environ.get("KAIROS_SUPPRESSION_KEY") or store.keep("suppression_key", token_hex(32))
    return Suppression(key.encode(), store.suppressed())


def old_vocabulary(store: Store, layout: str) -> Vocabulary | None:
    """The vocabulary that a stored state was written with, if its playbook is still known and readable."""
    texts = store.playbook_with_layout(layout)
    try:
        return read_playbook(texts).vocabulary if texts else None
    except PlaybookError:
        return None


def read_patterns(settings: Settings, program: Program) -> Patterns:
    """The notification patterns of the settings, typed after the playbook's vocabulary. Raises SettingsError."""
    templates = [
        Template(
            account=patterns.account,
            language=patterns.language,
            kind=patterns.event,
            text=text,
            words=patterns.words,
            time_format=patterns.time_format,
            time_zone=patterns.time_zone,
            decimal=patterns.decimal,
            where=f"kairos.toml: patterns of `{patterns.account}` in `{patterns.language}`, text {number}",
        )
        for patterns in settings.patterns
        for number, text in enumerate(patterns.texts, 1)
    ]
    return compile_patterns(templates, program.playbook.vocabulary, program.playbook.currency)
