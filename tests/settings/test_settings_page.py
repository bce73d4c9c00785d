"""docs/settings.md names every setting with its default, and no other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kairos.domain.source import Mapping, Source
from kairos.settings import (
    OURS,
    Account,
    Also,
    Audit,
    Calls,
    Channels,
    Client,
    Email,
    Engine,
    Fulfilment,
    Gateway,
    Http,
    Ivr,
    Learning,
    Mms,
    News,
    Notifications,
    Notifier,
    Oidc,
    Page,
    Patterns,
    Recommendations,
    Retention,
    Section,
    Sender,
    Settings,
    Smsc,
    Store,
    Ussd,
    UssdProfile,
    UssdSystem,
    Webhook,
    read_settings,
)

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
KINDS: dict[str, type[msgspec.Struct]] = {
    "At the top": Settings,
    "[store]": Store,
    "[retention]": Retention,
    "[engine]": Engine,
    "[http]": Http,
    "[clients.NAME]": Client,
    "[oidc]": Oidc,
    "[audit]": Audit,
    "[notifications]": Notifications,
    "[accounts.NAME]": Account,
    "[gateway]": Gateway,
    "[senders.NAME]": Sender,
    "[[patterns]]": Patterns,
    "[sources.NAME]": Source,
    "[[mappings]]": Mapping,
    "[smsc]": Smsc,
    "[[smsc.also]]": Also,
    "[fulfilment]": Fulfilment,
    "[learning]": Learning,
    "[channels.email]": Email,
    "[channels.push] and [channels.whatsapp]": Notifier,
    "[channels.mms]": Mms,
    "[channels.webhook]": Webhook,
    "[channels.ivr]": Ivr,
    "[channels.calls]": Calls,
    "[news.NAME]": News,
    "[page]": Page,
    "[ussd]": Ussd,
    "[ussd.profiles.NAME]": UssdProfile,
    "[ussd.systems.NAME]": UssdSystem,
    "[recommendations]": Recommendations,
}


GATHERED = ("accounts", "clients", "news", "senders", "patterns", "sources", "mappings", "also", "profiles", "systems")


def values(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Each key that is no section, with its default as the page writes it."""
    fields = msgspec.structs.fields(kind)
    return {field.name: written(field) for field in fields if field.name not in (*GATHERED, *OURS, *sections(kind))}


def sections(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind) if isinstance(field.default, Section)]


def written(field: Any) -> str:
    if field.required:
        return "needed"
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    text = str(default).lower() if isinstance(default, bool) else ("" if default in (None, []) else str(default))
    return f"`{text}`" if text else ""


def test_every_section_has_a_heading() -> None:
    assert list(SECTIONS) == list(KINDS)
    brackets = [place for heading in list(KINDS)[1:] for place in re.findall(r"\[+([\w.]+)\]", heading)]
    channels = {f"channels.{name}" for name in sections(Channels)}
    several = {"accounts.NAME", "clients.NAME", "news.NAME", "senders.NAME", "sources.NAME"}
    several |= {"patterns", "mappings", "smsc.also", "ussd.profiles.NAME", "ussd.systems.NAME"}
    assert set(brackets) == {*sections(Settings), *channels, *several} - {"channels"}


@pytest.mark.parametrize("heading", KINDS)
def test_every_key_has_a_row_with_its_default_and_every_row_a_key(heading: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*?) ?\|$", SECTIONS[heading], re.MULTILINE)
    assert {key: default for key, default, _ in rows} == values(KINDS[heading])


def test_the_defaults_on_the_page_are_settings_that_can_be_used() -> None:
    lines = []
    for heading, text in SECTIONS.items():
        if heading.strip("[]").isalpha() and heading not in ("[[patterns]]", "[[mappings]]"):
            rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", text, re.MULTILINE)
            lines += [heading, *(f'{key} = "{default}"' for key, default in rows)]
    assert tomllib.loads("\n".join(lines))
    assert read_settings("\n".join(lines), {}) == Settings()
