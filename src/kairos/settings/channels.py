"""Channels: which of them have a way out, and which of these a playbook lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kairos.domain.channel import LONG
from kairos.errors import Diagnostic, PlaybookError
from kairos.settings.sections import Channels

if TYPE_CHECKING:
    from kairos.playbook.playbook import Playbook  # not every command needs what reading one does

NEEDS: Final = {  # what of its section says that a channel has a way out
    "email": "host",
    "push": "url",
    "whatsapp": "url",
    "mms": "url",
    "webhook": "url",
    "ivr": "url",
    "calls": "on",
}


def has_way_out(settings: Channels, channel: str) -> bool:
    return bool(getattr(getattr(settings, channel), NEEDS[channel]))


def lacking(playbook: Playbook, settings: Channels) -> list[Diagnostic]:
    """Each channel that the playbook uses and that has no way out, at the first offer that uses it."""
    users = {t.channel: action for action in reversed(playbook.actions) for t in action.treatments if t.channel in LONG}
    return [
        Diagnostic(
            action.file,
            action.line,
            f"`{action.name}` goes out on `{channel}`, which has no way out",
            f"set `{NEEDS[channel]}` of [channels.{channel}] in kairos.toml, or leave the treatment out",
        )
        for channel, action in sorted(users.items())
        if not has_way_out(settings, channel)
    ]


def require_ways(playbook: Playbook, settings: Channels) -> None:
    """Refuse a playbook that names a channel without a way out. Raises PlaybookError that names both."""
    if found := lacking(playbook, settings):
        raise PlaybookError(found)
