"""Secrets: never in the file, and nothing is served without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from kairos.errors import Diagnostic, SettingsError
from kairos.settings.checks import is_loopback
from kairos.settings.environment import variable
from kairos.settings.places import Place, shown
from kairos.settings.sections import Channels, Settings, is_section

PASSWORD, SECRET, KEY = "password", "secret", "key"
SECRETS = (PASSWORD, SECRET, KEY)  # fields of sections so named are never in the file
LEAST_SECRET = 32  # characters


def require_passwords(settings: Settings) -> None:
    """Refuse to serve without passwords and keys: an empty one lets anybody in. Raises SettingsError, naming variables.

    Nor is anything that has no lock open to other machines, unless the settings say so.
    """
    found = [*_missing(settings), *_too_short(settings), *_keys_of_clients(settings), *_open_doors(settings)]
    if found:
        raise SettingsError([Diagnostic("", 0, what, hint) for what, hint in found])


def _missing(settings: Settings) -> Iterator[tuple[str, str]]:
    """Secrets that are not set, and what to do; so with the others."""
    places: dict[Place, str] = {("accounts", name, PASSWORD): one.password for name, one in settings.accounts.items()}
    places["smsc", PASSWORD] = settings.smsc.password
    if settings.ussd.host:
        places["ussd", PASSWORD] = settings.ussd.password
    if settings.page.url:
        places["page", SECRET] = settings.page.secret
    places |= _of_channels(settings.channels)
    places |= {("news", name, SECRET): one.secret for name, one in settings.news.items()}
    for place in (place for place, secret in places.items() if not secret.strip()):
        yield f"`{shown(place)}` is not set", _to_set(place)


def _too_short(settings: Settings) -> Iterator[tuple[str, str]]:
    """Secrets in addresses, which could be guessed."""
    if any(len(secret) < LEAST_SECRET for secret in settings.page.secrets):
        hint = f"set {variable(('page', SECRET))} to {LEAST_SECRET} characters or more that nobody can guess"
        yield "`page.secret` is too short: links could be guessed", hint
    if 0 < len(settings.ussd.secret) < LEAST_SECRET:
        hint = f"set {variable(('ussd', SECRET))} to {LEAST_SECRET} characters or more, or leave it out"
        yield "`ussd.secret` is too short: paths could be guessed", hint
    for name, source in settings.sources.items():
        if 0 < len(source.secret) < LEAST_SECRET:
            place = ("sources", name, SECRET)
            hint = f"set {variable(place)} to {LEAST_SECRET} characters or more that nobody can guess"
            yield f"`{shown(place)}` is too short", hint


def _keys_of_clients(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, client in settings.clients.items():
        place = ("clients", name, KEY)
        hint = f"set {variable(place)} to what `kairos key {name}` makes"
        if not client.key and not client.key_sha256:
            yield f"`{shown(place)}` is not set", hint
        elif 0 < len(client.key) < LEAST_SECRET:
            yield f"`{shown(place)}` is shorter than {LEAST_SECRET} characters", hint


def _open_doors(settings: Settings) -> Iterator[tuple[str, str]]:
    http = settings.http
    if not is_loopback(http.host) and not http.insecure and not settings.clients and not settings.oidc.issuer:
        what = f"the HTTP door would be open to anybody who reaches {http.host}: no client and no issuer is named"
        keys = "add a [clients.NAME] with `kairos key NAME`, or [oidc]"
        yield what, f"{keys}; or listen on 127.0.0.1; or set `insecure = true` in [http]"


def _of_channels(channels: Channels) -> dict[Place, str]:
    """The secrets that the ways out cannot do without."""
    places: dict[Place, str] = {}
    for name, signed in (("webhook", channels.webhook), ("ivr", channels.ivr)):
        if signed.url:
            places["channels", name, SECRET] = signed.secret
    if channels.ivr.url:
        places["channels", "ivr", KEY] = channels.ivr.key
    for name, notifier in (("push", channels.push), ("whatsapp", channels.whatsapp)):
        if f"{{{SECRET}}}" in notifier.url:
            places["channels", name, SECRET] = notifier.secret
    for name, login in (("email", channels.email), ("mms", channels.mms)):
        if login.user:
            places["channels", name, PASSWORD] = login.password
    return places


def _to_set(place: Place) -> str:
    """What to set; how to make what has a form of its own."""
    signs = place[0] == "news" or place in (("channels", "webhook", SECRET), ("channels", "ivr", SECRET))
    made = ", as `echo whsec_$(openssl rand -base64 32)` makes one: it signs" if signs else ""
    if place == ("channels", "ivr", KEY):
        made = " to 16 letters and digits or more: whoever knows it can answer offers"
    return f"set {variable(place)}{made}"


def secrets_in(data: Any, kind: Any, place: Place) -> Iterator[Place]:
    """The way to every secret of the file: keys of sections that have such a name, known or not."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if is_section(bare) and isinstance(data, dict):
        kinds = get_type_hints(bare, include_extras=True)
        for key, inner in data.items():
            if key in SECRETS:
                yield (*place, key)
            else:
                yield from secrets_in(inner, kinds.get(key), (*place, key))
    elif get_origin(bare) in (dict, list) and isinstance(data, dict | list):
        for step, inner in data.items() if isinstance(data, dict) else enumerate(data):
            yield from secrets_in(inner, get_args(bare)[-1], (*place, step))
