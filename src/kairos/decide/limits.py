"""What was said, is open, or was declined: which arms it refuses on a channel, by which rule, and until when."""

from __future__ import annotations

from collections.abc import Iterator

from kairos.decide.program import Program
from kairos.decide.purchases import EXCLUDED, refused_by_products
from kairos.decide.wall_clock import span, zone_of
from kairos.domain.moment import Moment
from kairos.domain.purpose import MARKETING
from kairos.domain.subscriber import Contact, Cooldown, State
from kairos.playbook.policy import KEPT, Limit

OPEN = "already open"
TAKEN = "already taken"
REVOCABLE = 86_400_000  # ms in which a message that was written may turn out not to have gone out
DECLINED = "declined"
ISSUE_DECLINED = "issue declined"
ALL_DECLINED = "everything declined"
NEVER = -1

# What still holds its action until the offer's own end: who has just taken it is not asked again.
_HELD = {"open": OPEN, "unpaid": OPEN, "accepted": TAKEN, "fulfilled": TAKEN, "bought": TAKEN}

Refused = tuple[int, str, int]  # mask of arms, rule, until (ms; 0: no time can be named, -1: never again)


def refused(program: Program, moment: Moment, channel: int) -> Iterator[Refused]:
    """Everything that refuses arms of this subscriber on this channel now. Grows with contacts x limits."""
    state, now = moment.state, moment.now
    for offer in state.offers:
        rule = _HELD.get(offer.status)
        if rule and (offer.expires > now or offer.status == "accepted"):
            yield program.of_action.get(offer.action, 0), rule, offer.expires
            if offer.action in program.purchases.excludes:
                yield program.purchases.excludes[offer.action], f"{EXCLUDED} by {offer.action}", offer.expires
    if state.products:
        yield from refused_by_products(program.purchases, program.of_action, state.products, now)
    for cooldown in state.cooldowns:
        if cooldown.until == NEVER or cooldown.until > now:
            yield *_resting(program, cooldown), cooldown.until
    yield from counted_out(program, moment, channel)


def counted_out(program: Program, moment: Moment, channel: int) -> Iterator[Refused]:
    """What the limits refuse: so much was said already."""
    state, now, party = moment.state, moment.now, moment.party
    for limit in program.limits[channel]:
        contacts = party.contacts if party and limit.shared else state.contacts
        if len(contacts) < limit.at_most:
            continue
        if not limit.unanswered:
            yield from _over(program, limit, contacts, moment)
        elif not 0 <= contacts[-limit.at_most].decision <= state.answered:  # else too few have come since
            yield from _tired(program, limit, state, now)


def _resting(program: Program, cooldown: Cooldown) -> tuple[int, str]:
    """What a no has put to rest; beyond its own action, what minds limits."""
    if cooldown.action:
        return program.of_action.get(cooldown.action, 0), DECLINED
    if cooldown.issue:
        return program.of_issue.get(cooldown.issue, 0) & program.counted, ISSUE_DECLINED
    return program.counted, ALL_DECLINED


def _over(program: Program, limit: Limit, contacts: list[Contact], moment: Moment) -> Iterator[Refused]:
    """The groups (all, an offer, an issue) whose contacts in the window have reached the limit."""
    since, end = moment.now - limit.per + 1, 0
    if limit.calendar:
        since, end = span(limit.calendar, zone_of(program, moment.row), moment.now)
    counted: dict[str, list[int]] = {}
    for contact in contacts:
        if contact.at >= since and _matches(limit, contact):
            counted.setdefault(getattr(contact, limit.each) if limit.each else "", []).append(contact.at)
    for group, times in counted.items():
        if len(times) >= limit.at_most:
            yield _group(program, limit, group), limit.name, end or sorted(times)[-limit.at_most] + limit.per


def _tired(program: Program, limit: Limit, state: State, now: int) -> Iterator[Refused]:
    """The groups of which so many contacts have gone without an answer, until a while after the latest."""
    for group, contacts in _unanswered(program, limit, state).items():
        until = max(contact.at for contact in contacts) + limit.per
        if len(contacts) >= limit.at_most and until > now:
            yield _group(program, limit, group), limit.name, until


def _unanswered(program: Program, limit: Limit, state: State) -> dict[str, list[Contact]]:
    """The contacts of each group since they last answered, of those that could be answered."""
    answered, advices = state.answered, program.advices
    found = [one for one in state.contacts if one.decision > answered and one.action not in advices]
    if limit.riding is not None or limit.channel or limit.action or limit.issue or limit.purposes:
        found = [one for one in found if _matches(limit, one)]
    if not limit.each:
        return {"": found} if found else {}
    counted: dict[str, list[Contact]] = {}
    for one in found:
        counted.setdefault(getattr(one, limit.each), []).append(one)
    return counted


def still_unanswered(program: Program, state: State, now: int) -> frozenset[int]:
    """The decisions of contacts that are older than any limit counts, and are asked for until somebody answers."""
    if not state.contacts or state.contacts[0].at > now - program.longest_limit:
        return frozenset()
    groups = ((limit, of) for limit in program.saturation for of in _unanswered(program, limit, state).values())
    wanted = (one for limit, of in groups for one in _latest(limit, of, now - REVOCABLE))
    return frozenset(one.decision for one in wanted if one.at > now - KEPT)


def _latest(limit: Limit, contacts: list[Contact], since: int) -> list[Contact]:
    """So many as the limit asks for, beside those `since` a time: these may be taken back yet, and older ones count."""
    older = [one for one in contacts if one.at <= since]
    return older[-limit.at_most :] + contacts[len(older) :]


def _matches(limit: Limit, contact: Contact) -> bool:
    return (
        limit.riding in (None, contact.riding)
        and limit.channel in ("", contact.channel)
        and limit.action in ("", contact.action)
        and limit.issue in ("", contact.issue)
        and (not limit.purposes or (contact.purpose or MARKETING) in limit.purposes)
    )


def _group(program: Program, limit: Limit, group: str) -> int:
    """The arms that a reached limit refuses."""
    mask = sum(program.of_purpose[name] for name in limit.purposes or program.of_purpose)
    for name, of in ((limit.action, program.of_action), (limit.issue, program.of_issue)):
        if name:
            mask &= of.get(name, 0)
    if limit.each:
        mask &= (program.of_action if limit.each == "action" else program.of_issue).get(group, 0)
    return mask
