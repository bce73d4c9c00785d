"""Settings (`kairos.toml`): addresses, binds, patterns. They belong to operations; the playbook belongs to marketers.

Every key can be set from the environment: KAIROS_SMSC_HOST is `host` of [smsc], KAIROS_ACCOUNTS_OCS_RIDES is `rides` of
[accounts.ocs]. Secrets come only from there: KAIROS_SMSC_PASSWORD, KAIROS_CLIENTS_CARE_KEY,
KAIROS_SOURCES_DPI_SECRET. See docs/settings.md.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.utils import parseaddr
from importlib.resources import files
from importlib.resources.abc import Traversable
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from kairos.domain.address import usable
from kairos.domain.caller import ROLES
from kairos.domain.passage import SENDS
from kairos.domain.source import Mapping as SourceMapping
from kairos.domain.source import Source, SourceName, Where
from kairos.errors import Diagnostic, SettingsError, did_you_mean

PREFIX = "KAIROS_"
NEWS = ("decisions", "responses", "fulfilments")
ADDRESS = "{address}"  # where it stands in the URL of a service
PASSWORD = "password"
SECRETS = (PASSWORD, "secret", "key")  # fields of sections so named are never in the file
SECRET = "secret"
LEAST_SECRET = 32  # characters
OURS = ("where", "lenient")  # of a mapping: nobody writes them

AGE = r"^(0|\d{1,5} (hours?|days?))$"

Place = tuple[str | int, ...]  # the way to a value: names of sections and keys, positions in lists

Port = Annotated[int, Meta(ge=0, le=65535, description="a port from 0 (any that is free) to 65535")]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1, description="a whole number from 1")]
Pages = Annotated[int, Meta(ge=0, le=2**31 - 1, description="a whole number from 0")]
Parts = Annotated[int, Meta(ge=1, le=255, description="a whole number from 1 to 255")]
Window = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")]
Linger = Annotated[float, Meta(ge=0, le=1000, description="milliseconds from 0 to 1000")]
Limit = Annotated[float, Meta(ge=1, le=60_000, description="milliseconds from 1 to 60000")]
Seconds = Annotated[float, Meta(ge=0.01, le=3600, description="seconds from 0.01 to 3600")]
Long = Annotated[float, Meta(ge=0.01, le=31 * 86_400, description="seconds from 0.01 to 2678400, which is 31 days")]
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
STRONG = 32  # characters of a key, at least
STEPS = ("reserve", "charge", "provision", "confirm")
Tag = Annotated[int, Meta(ge=0, le=0xFFFF, description="a TLV's tag from 1 (0x0001) to 65535 (0xFFFF), or 0")]
Octet = Annotated[int, Meta(ge=0, le=255, description="an octet from 0 to 255 (0xFF)")]
Octets = Annotated[int, Meta(ge=1, le=0xFFFF, description="two octets from 1 (0x0001) to 65535 (0xFFFF)")]
Screen = Annotated[int, Meta(ge=60, le=182, description="a whole number from 60 to 182")]
Share = Annotated[float, Meta(ge=0, le=1, description="a share from 0 to 1")]
Rate = Annotated[float, Meta(ge=0, le=100_000, description="requests a second from 0 (no limit) to 100000")]
Flag = Annotated[int, Meta(ge=0, le=3, description="a priority from 0 to 3")]
Binds = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")]
Chance = Annotated[float, Meta(ge=0, le=1, description="a chance from 0 to 1")]
Age = Annotated[str, Meta(pattern=AGE, description="an age such as `90 days` or `12 hours`, or `0` for ever")]
Name = Annotated[str, Meta(min_length=1, max_length=15, description="a name of 1 to 15 characters")]  # SMPP 3.4, 5.2.1
ClientName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$", description="a name of 1 to 32 letters, digits, `-` and `_`")
]
Hashes = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{64}( [0-9a-f]{64})*)?$", description="SHA-256 hashes of 64 hex digits each")
]
Bytes = Annotated[int, Meta(ge=1024, le=2**30, description="bytes from 1024 to 1073741824")]
Major = Annotated[str, Meta(pattern=r"^\d{1,12}(\.\d{1,6})?$", description="an amount such as `2.50`")]
Texts = Annotated[list[str], Meta(min_length=1, description="a list of one text or more")]
WORDS: dict[Any, str] = {str: "a text in quotes", bool: "true or false", list: "a list", dict: "a section"}
SCALAR = "a text in quotes, a number, or true or false"


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the settings; an unknown key is an error."""


S = TypeVar("S", bound=Section)


class Store(Section, frozen=True):
    path: str = "kairos.db"
    checkpoint_pages: Pages = 4000  # SQLite pages between checkpoints: more is faster, fewer stalls are shorter
    copy_before_upgrade: bool = True  # of a store of an older schema
    own_process: bool = True  # reads and commits take nothing from the thread that decides


class Retention(Section, frozen=True):
    """What is kept, and for how long. See docs/operations.md."""

    decisions: Age = "90 days"
    outbox: Age = "30 days"
    responses: Age = "400 days"
    answered: Age = "14 days"  # ids that messages were answered with, for receipts and retries
    dead_letters: Age = "90 days"
    purchases: Age = "800 days"  # that have ended, with what the subscriber said
    ended_subscriptions: Age = "400 days"  # states of those whose number is another's, or nobody's
    switches: Age = "800 days"  # turns that others of the same switch followed
    passages: Age = "90 days"  # what became of other systems' messages, and what they said
    undelivered: Age = "3 days"  # receipts and relayed replies for an account that is not bound
    dead_letters_kept: Count = 1000  # of each kind, at most
    rejected_events: bool = False  # keep events over HTTP that cannot be read, too
    unread_notifications: bool = True  # keep one notification of each shape that no pattern reads


class Engine(Section, frozen=True):
    batch: Count = 500  # inputs in one transaction, at most
    linger_ms: Linger = 2.0
    queue: Count = 20_000  # inputs that may wait; more are told to come back
    unknown_subscribers: Literal["create", "reject"] = "create"
    propensity: Chance = 0.05  # the fixed chance of a yes, until a model learns it


class Learning(Section, frozen=True):
    """Learning the chance of a yes, in a process beside the engine. See docs/learning.md."""

    on: bool = True
    every_s: Seconds = 60.0  # between two versions of the model
    window: Age = "7 days"  # what is taken within it counts as a yes
    half_life: Age = "60 days"  # an answer so old counts half
    explore: Share = 0.3  # 1: as much as the model is unsure; 0: not at all
    model: str = ""  # a file of one's own (ONNX), which scores in place of what is learned
    model_within_ms: Limit = 50.0  # then it has failed, and marketing is silent


class Http(Section, frozen=True):
    """The HTTP door. See docs/security.md."""

    host: str = "127.0.0.1"
    port: Port = 8080
    insecure: bool = False  # open to other machines though nobody needs a key
    open_metrics: bool = False  # /metrics needs no key
    request_within_s: Seconds = 30.0  # a request that has not come whole by then is given up
    body_limit: Bytes = 1_048_576
    connections: Count = 1000  # at a time; more are closed at once
    tls: bool = False
    cert_file: str = ""  # what shows that the door is ours (PEM, with what leads to its authority)
    key_file: str = ""
    client_ca_file: str = ""  # who calls must show a certificate of these authorities


class Client(Section, frozen=True):
    """A program that calls at the HTTP door with a key. See docs/security.md."""

    roles: str  # with blanks between them
    key: str = ""  # from the environment
    key_sha256: Hashes = ""  # or hashes of keys, for a file that holds no secret
    rate: Rate = 0.0  # requests a second; beyond it they are answered with 429


class Oidc(Section, frozen=True):
    """Who issues tokens for the HTTP door (OpenID Connect). See docs/security.md."""

    issuer: str = ""  # empty: there are no tokens
    audience: str = "kairos"
    jwks_file: str = ""  # its keys, if not those that it publishes
    algorithms: str = "RS256 ES256"
    leeway_s: Annotated[float, Meta(ge=0, le=600, description="seconds from 0 to 600")] = 30.0
    roles_claim: str = "roles"  # a name, or names with dots between them
    roles_prefix: str = "kairos:"  # of those roles that are ours
    once: bool = False  # a token opens one request
    rate: Rate = 0.0  # requests a second of one caller


class Audit(Section, frozen=True):
    """Who did what. See docs/security.md."""

    folder: str = ""  # empty: beside the store
    key: str = ""  # from the environment; else it is made once, beside the store


class Notifications(Section, frozen=True):
    """The SMPP door for accounts that submit notifications."""

    host: str = "127.0.0.1"
    port: Port = 2775
    decide_within_ms: Limit = 200.0  # then the plain notification goes out
    parts_at_most: Parts = 1  # a line may make the notification this long, in parts, even if it was shorter
    parts_within_s: Seconds = 10.0  # then the parts of an incomplete one go out as they came
    tls: bool = False
    cert_file: str = ""  # what shows that the door is ours (PEM, with what leads to its authority)
    key_file: str = ""
    client_ca_file: str = ""  # accounts must show a certificate of these authorities


class Account(Section, frozen=True):
    """An account that may bind to us."""

    password: str = ""  # from the environment
    rides: bool = True  # offers ride on its notifications; else they follow as messages of their own
    rides_on_flash: bool = False  # also on those that are shown at once and not kept (class 0)
    identity_tlv: Tag = 0  # the TLV that names a message, the same on every try; 0: none does
    rate: Rate = 0.0  # requests a second over all its binds; beyond it they are answered with ESME_RTHROTTLED


class Sender(Section, frozen=True):
    """Another system that may send through us, over SMPP as the account, over HTTP as the client of that name."""

    ids: Texts  # sender ids (numbers, short codes, names) that its messages may show
    sends: str = "third_party"  # words of SENDS, the first where a message says nothing
    validity: Age = "24 hours"  # of a message that names none; and at most
    priority: Flag = 0  # priority_flag of its messages, at most
    callbacks: list[str] = []  # addresses, or their beginnings, that may be told of changes

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self.sends.split())


class Gateway(Section, frozen=True):
    """Messages of other systems. See docs/gateway.md."""

    merge_within_s: Long = 600.0  # the same text for the same subscriber is one message


class Patterns(Section, frozen=True):
    """How an account's notifications read in one language. See docs/events.md."""

    account: str
    language: str
    event: str
    texts: Texts  # the first that fits is taken
    words: dict[str, dict[str, str]] = {}  # field -> words in the text -> value
    time_format: str = "%Y-%m-%d %H:%M"
    time_zone: str = "UTC"
    decimal: str = "."


class Also(Section, frozen=True):
    """Another address of the same SMSC."""

    host: str
    port: Port
    server_name: str = ""
    standby: bool = False  # used only while no other bind has room


class Smsc(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Port = 2776
    system_id: Name = "kairos"
    system_type: str = ""
    password: str = ""  # from the environment
    window: Window = 64
    response_timeout_s: Seconds = 10.0
    identity_tlv: Tag = 0  # the TLV that names a reply, the same on every try; 0: none does
    entity_tlv: Tag = 0x1400  # the TLV that has the sender's id with the regulator; 0: none has
    template_tlv: Tag = 0x1401  # and the text's
    bind: Literal["transceiver", "transmitter+receiver"] = "transceiver"
    binds: Binds = 1  # to each address, of each kind
    rate: Rate = 0.0  # requests a second over each bind, at most
    reserve: Share = 0.5  # of window and rate, for notifications alone
    tls: bool = False
    ca_file: str = ""  # the authorities that vouch for the SMSC; empty: those of this machine
    cert_file: str = ""  # what shows who we are, if the SMSC asks
    key_file: str = ""
    server_name: str = ""  # the name in the SMSC's certificate; empty: its host
    also: list[Also] = []


class Fulfilment(Section, frozen=True):
    """The counterpart that charges and provisions. See docs/fulfilment.md."""

    url: str = "http://127.0.0.1:8081/v1/orders"
    timeout_s: Seconds = 10.0
    mode: Literal["order", "steps"] = "order"  # one call does all, or each step is a call
    steps: str = "reserve charge provision confirm"  # that it has
    provision_within_s: Long = 3600.0  # then what was charged is given back
    stuck_after_s: Long = 86400.0  # without an answer; then a person must look

    @property
    def taken(self) -> tuple[str, ...]:
        """The steps that a purchase takes at this counterpart."""
        return tuple(self.steps.split()) if self.mode == "steps" else ("order",)


class UssdBits(Section, frozen=True):
    """A number that is some bits of a TLV of two octets."""

    tag: Tag
    mask: Octets = 0xFFFF


class UssdProfile(Section, frozen=True):
    """What a gateway's own way with USSD over SMPP is. See docs/ussd.md."""

    session: UssdBits
    step: UssdBits | None = None
    end: UssdBits | None = None
    code: Literal["short_message", "destination_addr"] = "short_message"
    operations: dict[str, Octet] = {}  # those that differ from the standard's
    gsm7: Octet = 0x00  # data_coding
    ucs2: Octet = 0x08
    renumbers: bool = False  # what we begin comes back under a number of the gateway's own


class UssdSystem(Section, frozen=True):
    """Another system, to which a dialogue may be handed."""

    url: str
    timeout_s: Seconds = 2.0


class Ussd(Section, frozen=True):
    """USSD gateways: one over SMPP, where `host` is set, and those over HTTP, where there is a `secret`."""

    ttl_s: Seconds = 180.0  # without a step; then a dialogue is broken off
    within_s: Seconds = 3.0  # what takes longer is answered that it does
    gsm7: Screen = 182  # units of a screen
    ucs2: Screen = 80
    secret: str = ""  # in the path of the HTTP forms; from the environment
    fields: str = "sessionId phoneNumber serviceCode text"  # and the step, where it counts them
    text: Literal["accumulated", "incremental"] = "accumulated"  # all keys so far, or the latest
    push: Literal["", "smpp", "xml"] = ""  # which gateway begins dialogues for us
    push_url: str = ""  # where XML dialogs of ours are posted
    push_from: str = ""  # our address in them over SMPP; empty: the short code
    host: str = ""
    port: Port = 2777
    system_id: Name = "kairos"
    system_type: str = ""
    password: str = ""  # from the environment
    profile: str = "standard"
    profiles: dict[str, UssdProfile] = {}  # of one's own
    window: Window = 64
    response_timeout_s: Seconds = 5.0
    binds: Binds = 1
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    systems: dict[Name, UssdSystem] = {}  # by the name that the menus have for it


AtOnce = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]


class Email(Section, frozen=True):
    """The mail server. See docs/channels.md."""

    host: str = ""  # empty: there is none
    port: Port = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: str = ""  # the authorities that vouch for it; empty: those of this machine
    user: str = ""
    password: str = ""  # from the environment
    sender: str = ""  # as in `Fictel <offers@fictel.example>`
    timeout_s: Seconds = 30.0
    at_once: AtOnce = 4  # connections


class Notifier(Section, frozen=True):
    """A service that Apprise knows. See docs/channels.md."""

    url: str = ""  # with {address} and, where it has one, {secret}; empty: there is none
    secret: str = ""  # from the environment
    timeout_s: Seconds = 20.0
    at_once: AtOnce = 4


class Mms(Section, frozen=True):
    """An MMSC that speaks MM7. See docs/channels.md."""

    url: str = ""  # empty: there is none
    vasp: str = ""  # VASPID and VASID: who we are to it
    vas: str = ""
    user: str = ""  # HTTP's basic authentication
    password: str = ""  # from the environment
    media: str = "media"  # the folder of the files that messages name
    timeout_s: Seconds = 30.0
    at_once: AtOnce = 8


class Webhook(Section, frozen=True):
    """A system of the operator's own that takes messages. See docs/channels.md."""

    url: str = ""  # empty: there is none
    secret: str = ""  # from the environment; several with blanks between them: each signs
    timeout_s: Seconds = 10.0
    at_once: AtOnce = 16


class Ivr(Section, frozen=True):
    """A dialler whose voice tells offers. See docs/channels.md."""

    url: str = ""  # that takes requests for calls; empty: there is none
    secret: str = ""  # from the environment, as of [channels.webhook]
    callback: str = ""  # how the dialler reaches our door, as in `https://kairos.example`
    key: str = ""  # from the environment: the secret in the path of its callbacks
    timeout_s: Seconds = 10.0
    at_once: AtOnce = 16


class Calls(Section, frozen=True):
    """The call centre's list. See docs/channels.md."""

    on: bool = False
    lease_s: Seconds = 900.0  # that an agent has for a call
    again_after_s: Long = 3600.0  # when who was not reached is tried again


class News(Section, frozen=True):
    """A system that is told what was offered, answered and charged, by signed webhook. See docs/channels.md."""

    url: str
    secret: str = ""  # from the environment, as of [channels.webhook]
    tell: str = "responses fulfilments"  # and decisions
    keep: Age = "3 days"  # how old something becomes before it is given up
    timeout_s: Seconds = 10.0


class Channels(Section, frozen=True):
    """The ways out beside the SMSC. See docs/channels.md."""

    email: Email = Email()
    push: Notifier = Notifier()
    whatsapp: Notifier = Notifier()
    mms: Mms = Mms()
    webhook: Webhook = Webhook()
    ivr: Ivr = Ivr()
    calls: Calls = Calls()


class Page(Section, frozen=True):
    """The landing page that `{link}` opens. See docs/landing-page.md."""

    url: str = ""  # how subscribers reach our /o/ and /u/; empty: there is no page
    secret: str = ""  # from the environment; several, with spaces between: the first signs, links of all open
    tap_up_to: Major = "0"  # the price up to which whoever holds the link may take the offer
    number_header: str = ""  # in which the subscriber's own network says their number
    proxies: str = "127.0.0.1 ::1"  # addresses and networks that are believed

    @property
    def secrets(self) -> list[str]:
        return self.secret.split()


class Recommendations(Section, frozen=True):
    """Recommendations over TMF680 that are not answered at once. See docs/tmf.md."""

    kept: Age = "7 days"
    kept_at_most: Count = 1000  # then the oldest goes
    listeners: list[str] = []  # addresses that may be told, as `https://host:port/path` begins


class Settings(Section, frozen=True):
    """All of them, with what holds where the file is silent.

    `playbook` and the store's `path` are seen from the settings file; `region` (ISO 3166) reads national numbers.
    """

    playbook: str = "playbook"
    region: str = ""
    reload_every_s: Seconds = 2.0  # how often the playbook's folder is looked at for a new revision
    registers: str = "registers"  # the folder of register files
    store: Store = Store()
    retention: Retention = Retention()
    engine: Engine = Engine()
    http: Http = Http()
    clients: dict[ClientName, Client] = {}
    oidc: Oidc = Oidc()
    audit: Audit = Audit()
    notifications: Notifications = Notifications()
    accounts: dict[Name, Account] = {}
    gateway: Gateway = Gateway()
    senders: dict[Name, Sender] = {}
    patterns: list[Patterns] = []
    sources: dict[SourceName, Source] = {}
    mappings: list[SourceMapping] = []
    smsc: Smsc = Smsc()
    fulfilment: Fulfilment = Fulfilment()
    learning: Learning = Learning()
    ussd: Ussd = Ussd()
    channels: Channels = Channels()
    news: dict[Name, News] = {}
    page: Page = Page()
    recommendations: Recommendations = Recommendations()


def load_settings(path: Path, environment: Mapping[str, str]) -> Settings:
    """Settings from a TOML file and the environment. Raises SettingsError with file, line and what to do."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError([Diagnostic(str(path), 0, "is not there", "name the file with --settings")]) from None
    except OSError as error:
        raise SettingsError([Diagnostic(str(path), 0, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError([Diagnostic(str(path), line, "is not UTF-8", "save it as UTF-8")]) from None
    settings = read_settings(text, environment, str(path))
    store = msgspec.structs.replace(settings.store, path=str(path.parent / settings.store.path))
    return msgspec.structs.replace(
        settings,
        playbook=str(path.parent / settings.playbook),
        registers=str(path.parent / settings.registers),
        store=store,
        learning=_with_model(path.parent, settings.learning),
        mappings=[*settings.mappings, *_from_presets(path.parent, settings.sources)],
        http=_beside(path.parent, settings.http),
        oidc=_beside(path.parent, settings.oidc),
        audit=_with_folder(path.parent, settings.audit, store.path),
        notifications=_beside(path.parent, settings.notifications),
        smsc=_beside(path.parent, settings.smsc),
        ussd=_beside(path.parent, settings.ussd),
        channels=_with_files(path.parent, settings.channels),
    )


class Preset(Section, frozen=True):
    """A file of mappings, as a preset is: of a source that the settings name."""

    mappings: list[SourceMapping] = []


def presets() -> dict[str, Traversable]:
    """The presets that kairos has, by name."""
    folder = files("kairos") / "ingest" / "presets"  # without what reading events needs
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file for file in found if file.name.endswith(".toml")}


def _from_presets(folder: Path, sources: Mapping[str, Source]) -> Iterator[SourceMapping]:
    """The mappings that sources bring in by `preset`: one of kairos's own, or a file. Raises SettingsError."""
    shipped = presets()
    for name, source in sources.items():
        if not source.preset:
            continue
        own = source.preset not in shipped
        file: Traversable = folder / source.preset if own else shipped[source.preset]
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            hint = did_you_mean(source.preset, shipped) or f"there are {', '.join(f'`{one}`' for one in shipped)}"
            what = f"`sources.{name}.preset`: `{source.preset}` is neither a preset nor a file that can be read"
            raise SettingsError([Diagnostic("", 0, what, f"{hint}, or name a TOML file")]) from None
        for mapping in read_preset(text, str(file) if own else f"preset {source.preset}"):
            yield msgspec.structs.replace(mapping, source=name, lenient=not own)


def read_preset(text: str, file: str) -> list[SourceMapping]:
    """The mappings of a file of their own. Raises SettingsError."""
    data = _toml(text, file)
    wrong = _Wrong(file, _lines(text))
    for place, message, hint in _misfits(data, Preset, ()):
        wrong.say(place, message, hint)
    wrong.end()
    return _placed(msgspec.convert(data, Preset, strict=False).mappings, wrong)


def _placed(mappings: list[SourceMapping], wrong: _Wrong) -> list[SourceMapping]:
    """Mappings that know the lines of their keys: what is wrong with them shows only beside a playbook."""
    return [
        msgspec.structs.replace(
            mapping,
            where=Where(
                wrong.file,
                {
                    ".".join(step for step in place[2:] if isinstance(step, str)): line
                    for place, line in reversed(list(wrong.lines.items()))
                    if place[:2] == ("mappings", number)
                },
            ),
        )
        for number, mapping in enumerate(mappings)
    ]


def _with_model(folder: Path, learning: Learning) -> Learning:
    """The section with its model seen from the folder of the settings."""
    model = str(folder / learning.model) if learning.model else ""
    return msgspec.structs.replace(learning, model=model)


def _with_folder(folder: Path, audit: Audit, store: str) -> Audit:
    """The section with its folder, seen from the settings, or beside the store."""
    return msgspec.structs.replace(audit, folder=str(folder / audit.folder) if audit.folder else f"{store}-audit")


def _with_files(folder: Path, channels: Channels) -> Channels:
    """The section with its files seen from the folder of the settings."""
    mms = msgspec.structs.replace(channels.mms, media=str(folder / channels.mms.media))
    return msgspec.structs.replace(channels, email=_beside(folder, channels.email), mms=mms)


def _beside(folder: Path, section: S) -> S:
    """The section with its files seen from the folder of the settings."""
    files = {name: getattr(section, name) for name in section.__struct_fields__ if name.endswith("_file")}
    return msgspec.structs.replace(section, **{name: str(folder / file) for name, file in files.items() if file})


def read_settings(text: str, environment: Mapping[str, str], file: str = "kairos.toml") -> Settings:
    """Settings from the text of a TOML file. Raises SettingsError with a diagnostic for everything that is wrong.

    >>> read_settings("[smsc]\\nport = 2776", {"KAIROS_SMSC_PORT": "3000"}).smsc.port
    3000
    """
    data = _toml(text, file)
    wrong = _Wrong(file, _lines(text))
    for place in _secrets(data, Settings, ()):
        wrong.say(place, f"`{place[-1]}` does not belong in the file", f"set {variable(place)} in the environment")
    wrong.variables = _override(data, environment)
    for place, message, hint in _misfits(data, Settings, ()):
        wrong.say(place, message, hint)
    wrong.end()
    settings = msgspec.convert(data, Settings, strict=False)
    steps, place = settings.fulfilment.steps.split(), ("fulfilment", "steps")
    for step in (step for step in steps if step not in STEPS):
        wrong.say(place, f"unknown step `{step}`", did_you_mean(step, STEPS) or f"the steps are: {' '.join(STEPS)}")
    for step in (step for step in ("charge", "provision") if step not in steps):
        wrong.say(place, f"`fulfilment.steps` lacks `{step}`", 'for one call that does all, set `mode = "order"`')
    _check_locks(settings, wrong)
    if settings.region and not _is_region(settings.region):
        wrong.say(
            ("region",), f"`{settings.region}` is no region of phone numbers", "write its ISO 3166 code, such as `GB`"
        )
    if not _is_http(settings.fulfilment.url):
        message = f"`fulfilment.url`: `{settings.fulfilment.url}` is no HTTP address"
        wrong.say(("fulfilment", "url"), message, "write it like `http://host:port/path`")
    _check_senders(settings, wrong)
    for place, message, hint in _unfit_channels(settings):
        wrong.say(place, message, hint)
    _check_page(settings.page, wrong)
    for number, patterns in enumerate(settings.patterns):
        if patterns.account not in settings.accounts:
            hint = did_you_mean(patterns.account, settings.accounts) or f"add a section [accounts.{patterns.account}]"
            wrong.say(("patterns", number, "account"), f"there is no account `{patterns.account}`", hint)
    for number, mapping in enumerate(settings.mappings):
        if mapping.source not in settings.sources:
            hint = (
                did_you_mean(mapping.source, settings.sources) or f"add a section [sources.{mapping.source or 'NAME'}]"
            )
            wrong.say(("mappings", number, "source"), f"there is no source `{mapping.source}`", hint)
    wrong.end()
    return msgspec.structs.replace(settings, mappings=_placed(settings.mappings, wrong))


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said, _, where = str(error).partition(" (at ")
        line = int(found[1]) if (found := re.match(r"line (\d+)", where)) else text.count("\n") + 1
        raise SettingsError([Diagnostic(file, line, f"this is not TOML: {said}")]) from None


def _check_locks(settings: Settings, wrong: _Wrong) -> None:
    """Roles and algorithms that are known, and an issuer that can be trusted over the wire."""
    for name, client in settings.clients.items():
        for role in (role for role in client.roles.split() if role not in ROLES):
            hint = did_you_mean(role, ROLES) or f"the roles are: {' '.join(ROLES)}"
            wrong.say(("clients", name, "roles"), f"unknown role `{role}`", hint)
    oidc = settings.oidc
    for one in (one for one in oidc.algorithms.split() if one not in ALGORITHMS):
        hint = did_you_mean(one, ALGORITHMS) or f"with a key that is public: {' '.join(ALGORITHMS)}"
        wrong.say(("oidc", "algorithms"), f"`{one}` is no algorithm for tokens", hint)
    address = urlsplit(oidc.issuer)
    if oidc.issuer and not oidc.jwks_file and address.scheme != "https" and not is_loopback(address.hostname or ""):
        hint = "write it like `https://login.example/realms/mno`, or name `jwks_file`"
        wrong.say(("oidc", "issuer"), f"`oidc.issuer`: `{oidc.issuer}` is no HTTPS address", hint)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _is_http(url: str) -> bool:
    try:
        address = urlsplit(url)
    except ValueError:  # a bracket that is not closed
        return False
    return address.scheme in ("http", "https") and bool(address.hostname)


def _unfit_channels(settings: Settings) -> Iterator[tuple[Place, str, str]]:
    """What is wrong with the ways out: where, what, and what to do."""
    yield from _ussd_misfits(settings.ussd)
    channels, mail = settings.channels, settings.channels.email
    if mail.host and not usable("email", parseaddr(mail.sender)[1]):
        hint = "write it as in `Fictel <offers@fictel.example>`"
        yield ("channels", "email", "sender"), f"`channels.email.sender`: `{mail.sender}` is no address", hint
    if mail.tls == "none" and mail.user and not is_loopback(mail.host):
        hint = "say `starttls` or `tls`, or name no `user`"
        yield ("channels", "email", "tls"), f"a password would go to `{mail.host}` for all to read", hint
    for name in ("push", "whatsapp"):
        url = getattr(channels, name).url
        if url and ADDRESS not in url:
            hint = f"say where it stands, as in `fcm://project/{{secret}}/{ADDRESS}`"
            what = f"`channels.{name}.url` has no `{ADDRESS}`: everybody's messages would go to one"
            yield ("channels", name, "url"), what, hint
    hooks = {("news", name, "url"): one.url for name, one in settings.news.items()}
    targets = {"mms": channels.mms.url, "webhook": channels.webhook.url, "ivr": channels.ivr.url}
    hooks |= {("channels", name, "url"): url for name, url in targets.items() if url}
    if channels.ivr.url:
        hooks["channels", "ivr", "callback"] = channels.ivr.callback
    for name, one in settings.news.items():
        for word in (word for word in one.tell.split() if word not in NEWS):
            hint = did_you_mean(word, NEWS) or f"there are: {' '.join(NEWS)}"
            yield ("news", name, "tell"), f"there is no news of `{word}`", hint
    for place, url in hooks.items():
        if not _is_http(url):
            yield place, f"`{_shown(place)}`: `{url}` is no HTTP address", "write it like `https://host/path`"


def _check_page(page: Page, wrong: _Wrong) -> None:
    address = urlsplit(page.url)
    if page.url and (address.scheme not in ("http", "https") or not address.hostname or page.url.endswith("/")):
        hint = "write it like `https://offers.example`, without a slash at its end"
        wrong.say(("page", "url"), f"`page.url`: `{page.url}` is no HTTP address", hint)
    for proxy in page.proxies.split():
        try:
            ip_network(proxy)
        except ValueError:
            hint = "write addresses or networks, such as `10.1.0.0/16`, with spaces between"
            wrong.say(("page", "proxies"), f"`page.proxies`: `{proxy}` is no address", hint)


def _ussd_misfits(ussd: Ussd) -> Iterator[tuple[Place, str, str]]:
    from kairos.ussd.profiles import OPERATIONS, PROFILES  # not every command needs them

    known = (*PROFILES, *ussd.profiles)
    if ussd.profile not in known:
        hint = did_you_mean(ussd.profile, known) or f"there are {', '.join(f'`{name}`' for name in known)}"
        yield ("ussd", "profile"), f"there is no profile `{ussd.profile}`", hint
    for name, profile in ussd.profiles.items():
        for said in profile.operations:
            if said not in OPERATIONS:
                hint = did_you_mean(said, OPERATIONS) or f"there are {', '.join(OPERATIONS)}"
                yield ("ussd", "profiles", name, "operations", said), f"nothing is said by `{said}`", hint
    if len(ussd.fields.split()) not in (4, 5):
        hint = 'as in `fields = "sessionId phoneNumber serviceCode text"`'
        yield ("ussd", "fields"), "`ussd.fields` must name four fields, or five", hint
    if ussd.push == "smpp" and not ussd.host:
        yield ("ussd", "push"), "`ussd.push` is `smpp`, and `ussd.host` names no gateway", "set `host` of [ussd]"
    if ussd.push == "xml" and urlsplit(ussd.push_url).scheme not in ("http", "https"):
        yield ("ussd", "push_url"), f"`ussd.push_url`: `{ussd.push_url}` is no HTTP address", "write `http://host/path`"
    for name, system in ussd.systems.items():
        if urlsplit(system.url).scheme not in ("http", "https"):
            what = f"`ussd.systems.{name}.url`: `{system.url}` is no HTTP address"
            yield ("ussd", "systems", name, "url"), what, "write it like `http://host:port/path`"


def _check_senders(settings: Settings, wrong: _Wrong) -> None:
    """What each may send is known, and no account is both: what it sends is a notification, or another system's."""
    for name, sender in settings.senders.items():
        place = ("senders", name, "sends")
        for kind in (kind for kind in sender.kinds if kind not in SENDS):
            hint = did_you_mean(kind, SENDS) or f"it may be: {' '.join(SENDS)}"
            wrong.say(place, f"`{kind}` is nothing that can be sent", hint)
        if not sender.kinds:
            wrong.say(place, f"`senders.{name}.sends` is empty", f"say what it sends: {' '.join(SENDS)}")
        if not milliseconds(sender.validity):
            message = f"`senders.{name}.validity`: no message is valid for ever"
            wrong.say(("senders", name, "validity"), message, "write it like `24 hours`")
    for number, patterns in enumerate(settings.patterns):
        if patterns.account in settings.senders:
            message = f"`{patterns.account}` is another system's: its messages are no notifications"
            wrong.say(("patterns", number, "account"), message, f"remove [senders.{patterns.account}] or this")


def _is_region(text: str) -> bool:
    from phonenumbers import SUPPORTED_REGIONS  # not every command needs it

    return text in SUPPORTED_REGIONS


def is_age(text: str) -> bool:
    return re.fullmatch(AGE, text) is not None


def milliseconds(age: str) -> int:
    """An age of the settings in ms; 0 is for ever.

    >>> milliseconds("90 days"), milliseconds("0")
    (7776000000, 0)
    """
    count, _, unit = age.partition(" ")
    return int(count) * (86_400_000 if unit.startswith("day") else 3_600_000)


def require_passwords(settings: Settings) -> None:
    """Refuse to serve without passwords and keys: an empty one lets anybody in. Raises SettingsError, naming variables.

    Nor is anything that has no lock open to other machines, unless the settings say so.
    """
    places: dict[Place, str] = {("accounts", name, PASSWORD): one.password for name, one in settings.accounts.items()}
    places["smsc", PASSWORD] = settings.smsc.password
    if settings.ussd.host:
        places["ussd", PASSWORD] = settings.ussd.password
    if settings.page.url:
        places["page", SECRET] = settings.page.secret
    missing = [place for place, password in places.items() if not password.strip()]
    said = [Diagnostic("", 0, f"`{_shown(place)}` is not set", f"set {variable(place)}") for place in missing]
    if any(len(secret) < LEAST_SECRET for secret in settings.page.secrets):
        hint = f"set {variable(('page', SECRET))} to {LEAST_SECRET} characters or more that nobody can guess"
        said.append(Diagnostic("", 0, "`page.secret` is too short: links could be guessed", hint))
    if 0 < len(settings.ussd.secret) < LEAST_SECRET:
        hint = f"set {variable(('ussd', SECRET))} to {LEAST_SECRET} characters or more, or leave it out"
        said.append(Diagnostic("", 0, "`ussd.secret` is too short: paths could be guessed", hint))
    for name, source in settings.sources.items():
        if source.secret and len(source.secret) < LEAST_SECRET:
            where: Place = ("sources", name, SECRET)
            hint = f"set {variable(where)} to {LEAST_SECRET} characters or more that nobody can guess"
            said.append(Diagnostic("", 0, f"`{_shown(where)}` is too short", hint))
    for name, client in settings.clients.items():
        place: Place = ("clients", name, "key")
        hint = f"set {variable(place)} to what `kairos key {name}` makes"
        if not client.key and not client.key_sha256:
            said.append(Diagnostic("", 0, f"`{_shown(place)}` is not set", hint))
        elif client.key and len(client.key) < STRONG:
            said.append(Diagnostic("", 0, f"`{_shown(place)}` is shorter than {STRONG} characters", hint))
    http = settings.http
    if not is_loopback(http.host) and not http.insecure and not settings.clients and not settings.oidc.issuer:
        what = f"the HTTP door would be open to anybody who reaches {http.host}: no client and no issuer is named"
        hint = (
            "add a [clients.NAME] with `kairos key NAME`, or [oidc]; or listen on 127.0.0.1; or set `insecure = true`"
        )
        said.append(Diagnostic("", 0, what, f"{hint} in [http]"))
    if said:
        raise SettingsError(said)


def variable(place: Place) -> str:
    """The environment variable of a setting.

    >>> variable(("accounts", "night-desk", "password"))
    'KAIROS_ACCOUNTS_NIGHT_DESK_PASSWORD'
    """
    return PREFIX + re.sub(r"\W", "_", "_".join(map(str, place))).upper()


class _Wrong:
    """What is wrong so far, each at its line of the file, or at its variable of the environment."""

    def __init__(self, file: str, lines: Mapping[Place, int]) -> None:
        self.file, self.lines = file, lines
        self.variables: Mapping[Place, str] = {}
        self.said: list[Diagnostic] = []

    def say(self, place: Place, message: str, hint: str) -> None:
        if place in self.variables:
            self.said.append(Diagnostic(self.variables[place], 0, message, hint))
            return
        within = (place[:length] for length in range(len(place), 0, -1))
        line = next((self.lines[inner] for inner in within if inner in self.lines), 0)
        self.said.append(Diagnostic(self.file, line, message, hint))

    def end(self) -> None:
        """Raises SettingsError where something was said, in the order of the lines."""
        if self.said:
            raise SettingsError(sorted(self.said, key=lambda said: (said.file != self.file, said.line)))


def _override(data: dict[str, Any], environment: Mapping[str, str]) -> dict[Place, str]:
    """Put values from the environment in their places; the variable of each. Other programs' are passed by."""
    placed: dict[Place, str] = {}
    for name, value in sorted(environment.items()):
        place = _place(name, data) if name.startswith(PREFIX) else ()
        within: Any = data
        for step in place[:-1]:
            within = within.setdefault(step, {}) if isinstance(within, dict) else None
        if place and isinstance(within, dict):
            within[place[-1]] = value
            placed[place] = name
    return placed


def _place(name: str, data: Mapping[str, Any]) -> Place:
    """The setting that a variable names; empty where it names none."""
    words = name.removeprefix(PREFIX).lower()
    kinds = get_type_hints(Settings)
    section, _, key = words.partition("_")
    if get_origin(kinds.get(section)) is dict:
        fields = get_type_hints(get_args(kinds[section])[1])
        # the longest that fits, so that a name may have a `_`, and a field, too
        field = max((one for one in fields if key.endswith(f"_{one}")), key=len, default="")
        name, named = key.removesuffix(f"_{field}"), data.get(section)
        known = {re.sub(r"\W", "_", one).lower(): one for one in named} if isinstance(named, dict) else {}
        return (section, known.get(name, name), field) if field else ()
    if section == "channels":
        channel, _, key = key.partition("_")
        return (section, channel, key) if channel in Channels.__struct_fields__ and key else ()
    if key and _is_section(kinds.get(section)):
        return section, key
    return (words,) if kinds.get(words) in (str, float) else ()


def _misfits(value: Any, kind: Any, place: Place) -> Iterator[tuple[Place, str, str]]:
    """Everything in `value` that is not of its kind: where, what, and what to do."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(bare) in (Union, UnionType) and (arm := _arm(bare, value)) is not None:
        yield from _misfits(value, arm, place)
        return
    if _is_section(bare) and isinstance(value, dict):
        yield from _section_misfits(value, bare, place)
    elif get_origin(bare) is dict and isinstance(value, dict):
        names, kinds = get_args(bare)
        for name, inner in value.items():
            yield from _misfits(name, names, (*place, name))
            yield from _misfits(inner, kinds, (*place, name))
    elif get_origin(bare) is list and isinstance(value, list) and _is_section(get_args(bare)[0]):
        for number, inner in enumerate(value):
            yield from _misfits(inner, get_args(bare)[0], (*place, number))
    else:
        try:
            msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError:
            told = "" if place[-1] in SECRETS or value in ("", []) else f", not `{str(value)[:40]}`"
            yield place, f"`{_shown(place)}` must be {_words(kind)}{told}", ""


def _arm(union: Any, value: Any) -> Any:
    """The one of several kinds that has a value's form: a table, a list, or neither; None where more than one has."""
    form = next((one for one in (dict, list) if isinstance(value, one)), str)
    fitting = []
    for kind in get_args(union):
        bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        its_form = dict if _is_section(bare) else list if get_origin(bare) is list else str
        if its_form is form and kind is not type(None):
            fitting.append(kind)
    return fitting[0] if len(fitting) == 1 else None


def _section_misfits(value: dict[str, Any], kind: type[Struct], place: Place) -> Iterator[tuple[Place, str, str]]:
    hints = get_type_hints(kind, include_extras=True)
    kinds = {one.encode_name: hints[one.name] for one in msgspec.structs.fields(kind) if one.name not in OURS}
    for key, inner in value.items():
        if key in kinds:
            yield from _misfits(inner, kinds[key], (*place, key))
        else:
            yield (*place, key), f"unknown setting `{_shown((*place, key))}`", did_you_mean(key, kinds)
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in value:
            yield place, f"`{_shown((*place, field.name))}` is missing", ""


def _words(kind: Any) -> str:
    """What a setting takes, in a person's words."""
    described = [meta.description for meta in getattr(kind, "__metadata__", ()) if meta.description]
    if described:
        return str(described[0])
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    return "a section" if _is_section(kind) else WORDS.get(get_origin(kind) or kind, SCALAR)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _shown(place: Place) -> str:
    return ".".join(step for step in place if isinstance(step, str))


def _secrets(data: Any, kind: Any, place: Place) -> Iterator[Place]:
    """The way to every secret of the file: keys of sections that have such a name, known or not."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if _is_section(bare) and isinstance(data, dict):
        kinds = get_type_hints(bare, include_extras=True)
        for key, inner in data.items():
            if key in SECRETS:
                yield (*place, key)
            else:
                yield from _secrets(inner, kinds.get(key), (*place, key))
    elif get_origin(bare) in (dict, list) and isinstance(data, dict | list):
        for step, inner in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _secrets(inner, get_args(bare)[-1], (*place, step))


HEADER = re.compile(r"\s*(\[\[?)\s*([^\]#]+?)\s*\]")
KEY = re.compile(r"""\s*([\w-]+|"[^"]*"|'[^']*')(\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*\s*=""")


def _lines(text: str) -> dict[Place, int]:
    """The line of every section and key that begins a line; what is written inside a line is found by its section.

    >>> _lines("[[patterns]]\\ntexts = []\\nwords.service = {}")
    {('patterns', 0): 1, ('patterns', 0, 'texts'): 2, ('patterns', 0, 'words', 'service'): 3}
    >>> _lines("[smsc]\\n[[smsc.also]]\\nhost = 1\\n[[smsc.also]]")
    {('smsc',): 1, ('smsc', 'also', 0): 2, ('smsc', 'also', 0, 'host'): 3, ('smsc', 'also', 1): 4}
    """
    found: dict[Place, int] = {}
    seen: Counter[Place] = Counter()  # [[lists of sections]]
    section: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.match(line):
            names = _steps(header[2])
            if header[1] == "[[":
                seen[names] += 1
                for inner in [inner for inner in seen if len(inner) > len(names) and inner[: len(names)] == names]:
                    del seen[inner]
            section = ()
            for depth, name in enumerate(names, 1):
                place_in_list = (seen[names[:depth]] - 1,) if seen[names[:depth]] else ()
                section = (*section, name, *place_in_list)
            found.setdefault(section, number)
        elif key := KEY.match(line):
            found.setdefault((*section, *_steps(key[0].rpartition("=")[0])), number)
    return found


def _steps(dotted: str) -> Place:
    return tuple(name.strip().strip("\"'") for name in dotted.split("."))
