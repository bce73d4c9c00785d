"""Checks: what is wrong with settings each of which is of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from email.utils import parseaddr
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from kairos.domain.address import usable
from kairos.domain.caller import ROLES
from kairos.domain.passage import SENDS
from kairos.errors import did_you_mean
from kairos.settings.places import Place, Wrong, shown
from kairos.settings.sections import Fulfilment, Page, Settings, Ussd, milliseconds

NEWS = ("decisions", "responses", "fulfilments")
ADDRESS = "{address}"  # where it stands in the URL of a service
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
STEPS = ("reserve", "charge", "provision", "confirm")


def check(settings: Settings, wrong: Wrong) -> None:
    """Say what is wrong, with sections and between them."""
    _check_fulfilment(settings.fulfilment, wrong)
    _check_locks(settings, wrong)
    if settings.region and not _is_region(settings.region):
        wrong.say(
            ("region",), f"`{settings.region}` is no region of phone numbers", "write its ISO 3166 code, such as `GB`"
        )
    _check_senders(settings, wrong)
    for place, message, hint in _unfit_channels(settings):
        wrong.say(place, message, hint)
    _check_page(settings.page, wrong)
    _check_names(settings, wrong)


def _check_fulfilment(fulfilment: Fulfilment, wrong: Wrong) -> None:
    """Steps that are known, with those that every purchase has, and an address to send them to."""
    steps, place = fulfilment.steps.split(), ("fulfilment", "steps")
    for step in (step for step in steps if step not in STEPS):
        wrong.say(place, f"unknown step `{step}`", did_you_mean(step, STEPS) or f"the steps are: {' '.join(STEPS)}")
    for step in (step for step in ("charge", "provision") if step not in steps):
        wrong.say(place, f"`fulfilment.steps` lacks `{step}`", 'for one call that does all, set `mode = "order"`')
    if not _is_http(fulfilment.url):
        message = f"`fulfilment.url`: `{fulfilment.url}` is no HTTP address"
        wrong.say(("fulfilment", "url"), message, "write it like `http://host:port/path`")


def _check_names(settings: Settings, wrong: Wrong) -> None:
    """Patterns are of an account, and mappings of a source, that there is."""
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


def _check_locks(settings: Settings, wrong: Wrong) -> None:
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
            yield place, f"`{shown(place)}`: `{url}` is no HTTP address", "write it like `https://host/path`"


def _check_page(page: Page, wrong: Wrong) -> None:
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


def _check_senders(settings: Settings, wrong: Wrong) -> None:
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
