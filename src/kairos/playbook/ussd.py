"""The menus of a playbook: what is dialled, what a screen says, and where each choice leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

OFFERS: Final = "offers"  # where an entry leads that shows the subscriber's offers at once
PARENT: Final = "parent"  # the system that a menu of ours is a branch of
LONGEST: Final = 20  # characters of what leads on or back: a screen must have room for more

# What every dialogue says, beside the playbook's own pages; those of the second line may name {title} and {price}.
WORDS: Final = ("more", "back", "yes", "no", "offers", "nothing", "later", "working", "again")
WORDS_OF_OFFERS: Final = ("sure", "taken", "declined", "refused", "over")

Said = Mapping[str, tuple[str, ...]]  # language -> texts, longest first
Leads = Literal["offers", "menu", "text", "to"]


@dataclass(frozen=True)
class Item:
    """One numbered choice. `leads` says where: to the offers, a `menu`, a `text` of its own, or `to` another system."""

    label: Said
    leads: Leads
    name: str = ""  # of the menu, the text or the system
    dial: str = ""  # what the other system is told was dialled
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Menu:
    title: Said
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Menus:
    """`entries`: a code, or its beginning, as it is dialled -> a menu's name, or OFFERS."""

    entries: Mapping[str, str]
    menus: Mapping[str, Menu]
    words: Mapping[str, Said]
    at_most: int = 3  # offers that are shown
    texts: Mapping[str, Said] = field(default_factory=dict)  # of items that lead to a text, by `MENU/NUMBER`

    @property
    def systems(self) -> frozenset[str]:
        """The other systems that items lead to."""
        return frozenset(item.name for menu in self.menus.values() for item in menu.items if item.leads == "to")
