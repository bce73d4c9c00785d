"""Putting a choice into words: what decide's last stage is handed, once a wave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kairos import respond
from kairos.decide import Arm, Composed
from kairos.deliver import JOINT, Known, Row, Values, pdus_of, values_for, with_text
from kairos.domain.channel import NOTIFICATION
from kairos.domain.event import Notification
from kairos.domain.moment import Moment
from kairos.domain.subscriber import OpenOffer
from kairos.engine.program import Program
from kairos.playbook.action import Action
from kairos.playbook.page_words import LINK


@dataclass(frozen=True, slots=True)
class Situation:
    """What all candidates of a moment share. `number`: what the chosen one is taken with (0: none is free)."""

    notification: Notification | None
    language: str
    short_code: str
    number: int
    row: Row


class Composer:
    """Composes for a wave of moments; `notifications` by moment id."""

    def __init__(
        self,
        program: Program,
        notifications: Mapping[int, Notification | None],
        parts_at_most: int,
        link: Callable[[int], str] | None,
    ) -> None:
        """`link`: what opens the offer of a decision, where there is a page."""
        self.program, self.notifications, self.parts_at_most = program, notifications, parts_at_most
        self.link = link if program.linked else None
        self._situations: dict[int, Situation] = {}

    def __call__(self, moment: Moment, arm: Arm, channel: str, message: str) -> Composed | None:
        """The whole text and the number to reply with; None where no text can be said, or none fits."""
        row = moment.row
        for place in self.program.needs[message]:
            if row[place] is None:
                return None
        here = self._situations.get(moment.id) or self._situation(moment)
        number = here.number if arm.action.taken_by_reply else 0
        if not number and arm.action.taken_by_reply:
            return None
        messages = self.program.messages
        expires = row[-1] + arm.action.accept_within
        offer = self.program.offers[arm.bit]
        values = values_for(self.program.playbook, offer, number, here.short_code, expires, here.row)
        if self.link and number and message in self.program.linked:
            values[LINK] = self.link(moment.id)
        if channel == NOTIFICATION and here.notification:
            text = messages.line(message, here.language, values, here.notification.text, self.parts_at_most)
            if text and not self._as_many_parts(here.notification, text):
                return None
        elif message in messages.beside:
            whole = messages.whole(message, here.language, values)
            if not whole:
                return None
            id_ = messages.template_id(message, here.language, values, whole.text) if messages.ids else ""
            return Composed(whole.text, number, id_, whole.subject, whole.html, whole.media)
        else:
            text = messages.text(message, here.language, values)
        if not text:
            return None
        if not messages.ids:
            return Composed(text, number)
        said = text if channel != NOTIFICATION or not here.notification else text.removeprefix(here.notification.text)
        id_ = messages.template_id(message, here.language, values, said.removeprefix(JOINT))
        return Composed(text, number, id_)

    def _as_many_parts(self, notification: Notification, text: str) -> bool:
        """Whether what came in parts goes out in as many, or in as many more as it may: each has its receipt."""
        came = len(notification.carried)
        if came < 2:
            return True
        pdus = pdus_of(notification.carried)
        return came <= len(with_text(pdus, text, 0)) <= max(came, self.parts_at_most)

    def _situation(self, moment: Moment) -> Situation:
        notification = self.notifications.get(moment.id)
        row = Row(self.program.places, moment.row)
        number = respond.take_number(moment.state, moment.now)
        short_code = short_code_of(self.program, notification)
        language = language_of(self.program, moment)
        here = self._situations[moment.id] = Situation(notification, language, short_code, number, row)
        return here


def language_of(program: Program, moment: Moment) -> str:
    """The language of the notification, where there is one to ride on; else the subscriber's."""
    if moment.language:
        return program.messages.language_for(moment.language)
    return program.language(moment.row)


def spoken_in(program: Program, moment: Moment, action: Action, channel: str) -> str:
    """The language of what is said of an action on a channel: the subscriber's, where its message has it."""
    message = next(one.message for one in action.treatments if one.channel == channel)
    language = language_of(program, moment)
    return language if language in program.messages.templates[message] else program.messages.languages[0]


class Wording(NamedTuple):
    """The message that says an open offer, and what its placeholders stand for."""

    action: Action
    message: str
    values: Values


def wording(program: Program, offer: OpenOffer, channel: str, expires: int, row: Known) -> Wording | None:
    """How an open offer is said on a channel, with no more than `row` knows; `expires` as their wall clock reads it.

    None where it has no message there, or the playbook has it at another price or under another title by now.
    """
    deciding = program.decide
    arm = deciding.named.get((offer.action, offer.variant))
    place = deciding.channels.index(channel) if channel in deciding.channels else 0
    message = deciding.message[place].get(arm.bit) if arm and place else None
    if not arm or not message or (arm.variant.price, program.offers[arm.bit]["title"]) != (offer.price, offer.title):
        return None
    offered = program.offers[arm.bit]
    values = values_for(program.playbook, offered, offer.number, offer.short_code, expires, row)
    return Wording(arm.action, message, values)


def short_code_of(program: Program, notification: Notification | None) -> str:
    """Where an answer goes: to the notification's sender if that is a short code of ours."""
    if notification and notification.source in program.playbook.replies:
        return notification.source
    return program.short_code
