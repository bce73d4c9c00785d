"""Misfits: values that are not of the kind that their setting takes, and settings that there are not."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from kairos.errors import did_you_mean
from kairos.settings.places import Misfit, Place, shown
from kairos.settings.secrets import SECRETS
from kairos.settings.sections import is_section

OURS = ("where", "lenient")  # of a mapping: nobody writes them
WORDS: dict[Any, str] = {str: "a text in quotes", bool: "true or false", list: "a list", dict: "a section"}
SCALAR = "a text in quotes, a number, or true or false"


def misfits(value: Any, kind: Any, place: Place) -> Iterator[Misfit]:
    """Everything in `value` that is not of its kind."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(bare) in (Union, UnionType) and (arm := _arm(bare, value)) is not None:
        yield from misfits(value, arm, place)
        return
    if is_section(bare) and isinstance(value, dict):
        yield from _section_misfits(value, bare, place)
    elif get_origin(bare) is dict and isinstance(value, dict):
        names, kinds = get_args(bare)
        for name, inner in value.items():
            yield from misfits(name, names, (*place, name))
            yield from misfits(inner, kinds, (*place, name))
    elif get_origin(bare) is list and isinstance(value, list) and is_section(get_args(bare)[0]):
        for number, inner in enumerate(value):
            yield from misfits(inner, get_args(bare)[0], (*place, number))
    else:
        try:
            msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError:
            told = "" if place[-1] in SECRETS or value in ("", []) else f", not `{str(value)[:40]}`"
            yield place, f"`{shown(place)}` must be {_words(kind)}{told}", ""


def _arm(union: Any, value: Any) -> Any:
    """The one of several kinds that has a value's form: a table, a list, or neither; None where more than one has."""
    form = next((one for one in (dict, list) if isinstance(value, one)), str)
    fitting = []
    for kind in get_args(union):
        bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        its_form = dict if is_section(bare) else list if get_origin(bare) is list else str
        if its_form is form and kind is not type(None):
            fitting.append(kind)
    return fitting[0] if len(fitting) == 1 else None


def _section_misfits(value: dict[str, Any], kind: type[Struct], place: Place) -> Iterator[Misfit]:
    hints = get_type_hints(kind, include_extras=True)
    kinds = {one.encode_name: hints[one.name] for one in msgspec.structs.fields(kind) if one.name not in OURS}
    for key, inner in value.items():
        if key in kinds:
            yield from misfits(inner, kinds[key], (*place, key))
        else:
            yield (*place, key), f"unknown setting `{shown((*place, key))}`", did_you_mean(key, kinds)
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in value:
            yield place, f"`{shown((*place, field.name))}` is missing", ""


def _words(kind: Any) -> str:
    """What a setting takes, in a person's words."""
    described = [meta.description for meta in getattr(kind, "__metadata__", ()) if meta.description]
    if described:
        return str(described[0])
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    return "a section" if is_section(kind) else WORDS.get(get_origin(kind) or kind, SCALAR)
