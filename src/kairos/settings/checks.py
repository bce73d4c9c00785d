"""Checks: what is wrong with settings each of which is of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from email.utils import parseaddr
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from kairos.domain.address import usable
from kairos.domain.caller import ROLES
from kairos.domain.passage import SENDS
from kairos.errors import did_you_mean
from kairos.settings.places import Misfit, shown
from kairos.settings.sections import Fulfilment, Page, Settings, Ussd, milliseconds

NEWS = ("decisions", "responses", "fulfilments")
ADDRESS = "{address}"  # where it stands in the URL of a service
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
STEPS = ("reserve", "charge", "provision", "confirm")


def check(settings: Settings) -> Iterator[Misfit]:
    """What is wrong with sections, and between them."""
    yield from _fulfilment(settings.fulfilment)
    yield from _locks(settings)
    if settings.region and not _is_region(settings.region):
        hint = "write its ISO 3166 code, such as `GB`"
        yield ("region",), f"`{settings.region}` is no region of phone numbers", hint
    yield from _senders(settings)
    yield from _ussd(settings.ussd)
    yield from _channels(settings)
    yield from _page(settings.page)
    yield from _names(settings)


def _fulfilment(fulfilment: Fulfilment) -> Iterator[Misfit]:
    """Steps that are known, with those that every purchase has, and an address to send them to."""
    steps, place = fulfilment.steps.split(), ("fulfilment", "steps")
    for step in (step for step in steps if step not in STEPS):
        yield place, f"unknown step `{step}`", did_you_mean(step, STEPS) or f"the steps are: {' '.join(STEPS)}"
    for step in (step for step in ("charge", "provision") if step not in steps):
        yield place, f"`fulfilment.steps` lacks `{step}`", 'for one call that does all, set `mode = "order"`'
    if not _is_http(fulfilment.url):
        message = f"`fulfilment.url`: `{fulfilment.url}` is no HTTP address"
        yield ("fulfilment", "url"), message, "write it like `http://host:port/path`"


def _names(settings: Settings) -> Iterator[Misfit]:
    """Patterns are of an account, and mappings of a source, that there is."""
    for number, patterns in enumerate(settings.patterns):
        if patterns.account not in settings.accounts:
            hint = did_you_mean(patterns.account, settings.accounts) or f"add a section [accounts.{patterns.account}]"
            yield ("patterns", number, "account"), f"there is no account `{patterns.account}`", hint
    for number, mapping in enumerate(settings.mappings):
        if mapping.source not in settings.sources:
            hint = (
                did_you_mean(mapping.source, settings.sources) or f"add a section [sources.{mapping.source or 'NAME'}]"
            )
            yield ("mappings", number, "source"), f"there is no source `{mapping.source}`", hint


def _locks(settings: Settings) -> Iterator[Misfit]:
    """Roles and algorithms that are known, and an issuer that can be trusted over the wire."""
    for name, client in settings.clients.items():
        for role in (role for role in client.roles.split() if role not in ROLES):
            hint = did_you_mean(role, ROLES) or f"the roles are: {' '.join(ROLES)}"
            yield ("clients", name, "roles"), f"unknown role `{role}`", hint
    oidc = settings.oidc
    for one in (one for one in oidc.algorithms.split() if one not in ALGORITHMS):
        hint = did_you_mean(one, ALGORITHMS) or f"with a key that is public: {' '.join(ALGORITHMS)}"
        yield ("oidc", "algorithms"), f"`{one}` is no algorithm for tokens", hint
    address = _split(oidc.issuer)
    if oidc.issuer and not oidc.jwks_file and address.scheme != "https" and not is_loopback(address.hostname or ""):
        hint = "write it like `https://login.example/realms/mno`, or name `jwks_file`"
        yield ("oidc", "issuer"), f"`oidc.issuer`: `{oidc.issuer}` is no HTTPS address", hint


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _is_http(url: str) -> bool:
    address = _split(url)
    return address.scheme in ("http", "https") and bool(address.hostname)


def _split(url: str) -> SplitResult:
    """Its parts; none of what is no address."""
    with suppress(ValueError):  # a bracket that is not closed
        return urlsplit(url)
    return urlsplit("")


def _channels(settings: Settings) -> Iterator[Misfit]:
    """The ways out beside the SMSC, and the news."""
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
            yield place, f"`{shown(place)}`: `{url}` is no HTTP address", "write it like `https://host/path`"


def _page(page: Page) -> Iterator[Misfit]:
    if page.url and (not _is_http(page.url) or page.url.endswith("/")):
        hint = "write it like `https://offers.example`, without a slash at its end"
        yield ("page", "url"), f"`page.url`: `{page.url}` is no HTTP address", hint
    for proxy in page.proxies.split():
        try:
            ip_network(proxy)
        except ValueError:
            hint = "write addresses or networks, such as `10.1.0.0/16`, with spaces between"
            yield ("page", "proxies"), f"`page.proxies`: `{proxy}` is no address", hint


def _ussd(ussd: Ussd) -> Iterator[Misfit]:
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
    if ussd.push == "xml" and not _is_http(ussd.push_url):
        yield ("ussd", "push_url"), f"`ussd.push_url`: `{ussd.push_url}` is no HTTP address", "write `http://host/path`"
    for name, system in ussd.systems.items():
        if not _is_http(system.url):
            what = f"`ussd.systems.{name}.url`: `{system.url}` is no HTTP address"
            yield ("ussd", "systems", name, "url"), what, "write it like `http://host:port/path`"


def _senders(settings: Settings) -> Iterator[Misfit]:
    """What each may send is known, and no account is both: what it sends is a notification, or another system's."""
    for name, sender in settings.senders.items():
        place = ("senders", name, "sends")
        for kind in (kind for kind in sender.kinds if kind not in SENDS):
            hint = did_you_mean(kind, SENDS) or f"it may be: {' '.join(SENDS)}"
            yield place, f"`{kind}` is nothing that can be sent", hint
        if not sender.kinds:
            yield place, f"`senders.{name}.sends` is empty", f"say what it sends: {' '.join(SENDS)}"
        if not milliseconds(sender.validity):
            message = f"`senders.{name}.validity`: no message is valid for ever"
            yield ("senders", name, "validity"), message, "write it like `24 hours`"
    for number, patterns in enumerate(settings.patterns):
        if patterns.account in settings.senders:
            message = f"`{patterns.account}` is another system's: its messages are no notifications"
            yield ("patterns", number, "account"), message, f"remove [senders.{patterns.account}] or this"


def _is_region(text: str) -> bool:
    from phonenumbers import SUPPORTED_REGIONS  # not every command needs it

    return text in SUPPORTED_REGIONS
