"""The sections of `kairos.toml`, with what holds where the file is silent, and the kinds of their values."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import Meta, Struct

from kairos.domain.source import Mapping as SourceMapping
from kairos.domain.source import Source, SourceName

AGE = r"^(0|\d{1,5} (hours?|days?))$"
Port = Annotated[int, Meta(ge=0, le=65535, description="a port from 0 (any that is free) to 65535")]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1, description="a whole number from 1")]
Pages = Annotated[int, Meta(ge=0, le=2**31 - 1, description="a whole number from 0")]
Parts = Annotated[int, Meta(ge=1, le=255, description="a whole number from 1 to 255")]
Window = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")]
Linger = Annotated[float, Meta(ge=0, le=1000, description="milliseconds from 0 to 1000")]
Limit = Annotated[float, Meta(ge=1, le=60_000, description="milliseconds from 1 to 60000")]
Seconds = Annotated[float, Meta(ge=0.01, le=3600, description="seconds from 0.01 to 3600")]
Long = Annotated[float, Meta(ge=0.01, le=31 * 86_400, description="seconds from 0.01 to 2678400, which is 31 days")]
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


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the settings; an unknown key is an error."""


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
    idle_s: Count = 75  # of a connection; longer than who calls keeps one, else a request may meet its end
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
    callbacks: list[str] = []  # addresses, or their beginnings, that may be told what becomes of them


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


class Preset(Section, frozen=True):
    """A file of mappings, as a preset is: of a source that the settings name."""

    mappings: list[SourceMapping] = []


def is_age(text: str) -> bool:
    return re.fullmatch(AGE, text) is not None


def milliseconds(age: str) -> int:
    """An age of the settings in ms; 0 is for ever.

    >>> milliseconds("90 days"), milliseconds("0")
    (7776000000, 0)
    """
    count, _, unit = age.partition(" ")
    return int(count) * (86_400_000 if unit.startswith("day") else 3_600_000)


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def is_named(kind: Any) -> bool:
    """Whether it is sections that have names."""
    return get_origin(kind) is dict and is_section(get_args(kind)[1])
