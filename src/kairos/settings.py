"""Settings (`kairos.toml`): addresses, binds, patterns. They belong to operations; the playbook belongs to marketers.

Every key can be set from the environment: KAIROS_SMSC_HOST is `host` of [smsc], KAIROS_ACCOUNTS_OCS_RIDES is `rides` of
[accounts.ocs]. Secrets come only from there: KAIROS_SMSC_PASSWORD, KAIROS_ACCOUNTS_OCS_PASSWORD.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from kairos.errors import Diagnostic, SettingsError, did_you_mean

PREFIX = "KAIROS_"


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the settings; an unknown key is an error."""


class Store(Section, frozen=True):
    path: str = "kairos.db"
    checkpoint_pages: int = 4000  # SQLite pages between checkpoints: more is faster, fewer stalls are shorter


class Engine(Section, frozen=True):
    batch: int = 500  # inputs in one transaction, at most
    linger_ms: float = 2.0
    queue: int = 20_000  # inputs that may wait; more are told to come back
    unknown_subscribers: Literal["create", "reject"] = "create"
    propensity: float = 0.05  # the fixed chance of a yes, until a model learns it


class Http(Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 8080


class Notifications(Section, frozen=True):
    """The SMPP door for accounts that submit notifications."""

    host: str = "127.0.0.1"
    port: int = 2775
    decide_within_ms: float = 200.0  # then the plain notification goes out
    parts_at_most: int = 1  # a line may make the notification this long, in parts, even if it was shorter


class Account(Section, frozen=True):
    """An account that may bind to us."""

    password: str = ""  # from the environment
    rides: bool = True  # offers ride on its notifications; else they follow as messages of their own


class Patterns(Section, frozen=True):
    """How an account's notifications read in one language. See docs/events.md."""

    account: str
    language: str
    event: str
    texts: list[str]  # the first that fits is taken
    words: dict[str, dict[str, str]] = {}  # field -> words in the text -> value
    time_format: str = "%Y-%m-%d %H:%M"
    time_zone: str = "UTC"
    decimal: str = "."


class Smsc(Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 2776
    system_id: str = "kairos"
    system_type: str = ""
    password: str = ""  # from the environment
    window: int = 64
    response_timeout_s: float = 10.0


class Fulfilment(Section, frozen=True):
    url: str = "http://127.0.0.1:8081/v1/orders"
    timeout_s: float = 10.0


class Settings(Section, frozen=True):
    """All of them, with what holds where the file is silent.

    `playbook` is seen from the settings file; `region` (ISO 3166) reads national numbers.
    """

    playbook: str = "playbook"
    region: str = ""
    reload_every_s: float = 2.0  # how often the playbook's folder is looked at for a new revision
    store: Store = Store()
    engine: Engine = Engine()
    http: Http = Http()
    notifications: Notifications = Notifications()
    accounts: dict[str, Account] = {}
    patterns: list[Patterns] = []
    smsc: Smsc = Smsc()
    fulfilment: Fulfilment = Fulfilment()


SECRETS = re.compile(r"^\s*password\s*=", re.MULTILINE)


def load_settings(path: Path, environment: Mapping[str, str]) -> Settings:
    """Settings from a TOML file and the environment. Raises SettingsError with file, line and what to do."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError([Diagnostic(str(path), 0, f"cannot be read: {error.strerror}")]) from None
    settings = read_settings(text, environment, str(path))
    return msgspec.structs.replace(settings, playbook=str(path.parent / settings.playbook))


def read_settings(text: str, environment: Mapping[str, str], file: str = "kairos.toml") -> Settings:
    """Settings from the text of a TOML file.

    >>> read_settings("[smsc]\\nport = 2776", {"KAIROS_SMSC_PORT": "3000"}).smsc.port
    3000
    """
    secret = SECRETS.search(text)
    if secret:
        line = text.count("\n", 0, secret.end()) + 1
        hint = "set KAIROS_SMSC_PASSWORD or KAIROS_ACCOUNTS_<NAME>_PASSWORD in the environment instead"
        raise SettingsError([Diagnostic(file, line, "`password` does not belong in the file", hint)])
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = int(found[1]) if (found := re.search(r"line (\d+)", str(error))) else 0
        raise SettingsError([Diagnostic(file, line, f"not TOML: {error}")]) from None
    for name, value in environment.items():
        if name.startswith(PREFIX):
            _override(data, name.removeprefix(PREFIX).lower(), value)
    try:
        return msgspec.convert(data, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError([_diagnosed(str(error), text, file)]) from None


def _override(data: dict[str, Any], name: str, value: str) -> None:
    """Put one value from the environment in its place; a name that is no setting is somebody else's."""
    if name in Settings.__struct_fields__:
        data[name] = value
        return
    section, _, key = name.partition("_")
    if section == "accounts":
        account, _, key = key.rpartition("_")
        if account and key in Account.__struct_fields__:
            data.setdefault("accounts", {}).setdefault(account, {})[key] = value
    elif section in Settings.__struct_fields__:
        data.setdefault(section, {})[key] = value


def _diagnosed(message: str, text: str, file: str) -> Diagnostic:
    """msgspec's message in our words, with the line of the key that it is about."""
    said, _, path = message.partition(" - at `$")
    keys = re.findall(r"[A-Za-z_]\w*", path)
    unknown = re.search(r"unknown field `(\w+)`", said)
    word = unknown[1] if unknown else keys[-1] if keys else ""
    found = re.search(rf"^\s*\[*\s*(?:\w+\.)*{re.escape(word)}\b", text, re.MULTILINE) if word else None
    line = text.count("\n", 0, found.end()) + 1 if found else 0
    if unknown:
        section = keys[-1] if keys else ""
        owner = type(getattr(Settings(), section, Settings())) if section in Settings.__struct_fields__ else Settings
        known = getattr(owner, "__struct_fields__", Settings.__struct_fields__)
        return Diagnostic(file, line, f"unknown setting `{word}`", did_you_mean(word, known))
    return Diagnostic(file, line, f"`{'.'.join(keys) or word}`: {said}")
