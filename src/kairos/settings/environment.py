"""The environment: the variable of each setting, and the setting of each variable."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kairos.settings.places import Place
from kairos.settings.sections import Settings, is_named, is_section

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
        words = name.removeprefix(PREFIX).lower() if name.startswith(PREFIX) else ""
        place, kind = _below(words, Settings, data)
        within: Any = data
        for step in place[:-1]:
            within = within.setdefault(step, {}) if isinstance(within, dict) else None
        if place and isinstance(within, dict):
            within[place[-1]] = value if _plain(kind) else _as_in_the_file(value)
            placed[place] = name
    return placed


def _below(words: str, kind: Any, data: Any, *, known: bool = True) -> tuple[Place, Any]:
    """The setting that words name in a section, and its kind; an empty place where they name none.

    `known`: it must be one that there is.

    >>> _below("accounts_night_desk_rides", Settings, {"accounts": {"night-desk": {}}})
    (('accounts', 'night-desk', 'rides'), <class 'bool'>)
    """
    kinds = get_type_hints(kind)
    if words in kinds and (kind is not Settings or _plain(kinds[words])):
        return (words,), kinds[words]
    for section in sorted((one for one in kinds if words.startswith(f"{one}_")), key=len, reverse=True):
        key, inner = words.removeprefix(f"{section}_"), data.get(section) if isinstance(data, dict) else None
        if is_section(kinds[section]):
            place, found = _below(key, kinds[section], inner, known=False)
        elif is_named(kinds[section]):
            place, found = _in_a_named(key, get_args(kinds[section])[1], inner)
        else:
            continue
        return ((section, *place) if place else ()), found
    return (() if known else (words,)), str


def _in_a_named(words: str, kind: Any, data: Any) -> tuple[Place, Any]:
    """The same where sections have names: the shortest one behind which a setting is left; both may have a `_`."""
    names = {re.sub(r"\W", "_", one).lower(): one for one in data} if isinstance(data, dict) else {}
    for end in (at for at, letter in enumerate(words) if letter == "_" and at):
        name = names.get(words[:end], words[:end])
        place, found = _below(words[end + 1 :], kind, data.get(name) if isinstance(data, dict) else None)
        if place:
            return (name, *place), found
    return (), str


def _plain(kind: Any) -> bool:
    """Whether it is written without brackets."""
    return kind in (str, int, float, bool) or get_origin(kind) is Literal


def _as_in_the_file(value: str) -> Any:
    """A list or a table, as TOML; what is none stays a text, and is said to be no list."""
    try:
        return tomllib.loads(f"it = {value}")["it"]
    except tomllib.TOMLDecodeError:
        return value
