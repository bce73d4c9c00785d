"""The environment: the variable of each setting, and the setting of each variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from kairos.settings.places import Place
from kairos.settings.sections import Channels, Settings, is_section

PREFIX = "KAIROS_"


def variable(place: Place) -> str:
    """The environment variable of a setting.

    >>> variable(("accounts", "night-desk", "password"))
    'KAIROS_ACCOUNTS_NIGHT_DESK_PASSWORD'
    """
    return PREFIX + re.sub(r"\W", "_", "_".join(map(str, place))).upper()


def override(data: dict[str, Any], environment: Mapping[str, str]) -> dict[Place, str]:
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
    if key and is_section(kinds.get(section)):
        return section, key
    return (words,) if kinds.get(words) in (str, float) else ()
