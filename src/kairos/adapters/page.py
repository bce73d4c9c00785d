"""The landing page's offers: looked up in the store alone; a yes, a no and a STOP go through the engine."""

from __future__ import annotations

import asyncio
from typing import Final

from kairos import enrich, respond
from kairos.deliver import OfferLinks, values_of
from kairos.deliver.links import Opened, Purpose, mark_of
from kairos.deliver.page import Shown, shown_alone, shown_offer
from kairos.domain.channel import EMAIL, PAGE
from kairos.domain.decision import read_decision
from kairos.domain.inbound import Verb, Word
from kairos.domain.subscriber import OpenOffer, State
from kairos.engine.inbound import REFUSED, own_words
from kairos.engine.loop import Loop
from kairos.engine.subscriptions import SIM_SWAPPED
from kairos.engine.work import decode_state
from kairos.errors import EventError
from kairos.ingest import normalise
from kairos.ports import Store

NETWORK: Final = "vouched for by the network"
LINK: Final = "by the link alone"
STOPS_ALL: Final = ("page_stop_ask", "stopped")  # the question, and what is said then
STOPS_MAIL: Final = ("page_stop_mail_ask", "page_stop_mail")


class HttpPages:
    """`tap_up_to`: the price, in the currency's major units, up to which whoever holds a link may take its offer.

    What costs more takes a number that the subscriber's own network vouches for, or a reply from their telephone.
    """

    def __init__(self, loop: Loop, store: Store, links: OfferLinks, tap_up_to: str, region: str = "") -> None:
        self.loop, self.store, self.links = loop, store, links
        self.tap_up_to, self.region = tap_up_to, region

    def opened(self, purpose: Purpose, token: str) -> Opened | None:
        return self.links.opened(purpose, token)

    async def look(self, opened: Opened, number: str, now: str) -> Shown | None:
        return await asyncio.to_thread(self._look, opened, self._vouched(number), now)

    async def answer(self, opened: Opened, number: str, said: Verb, identity: str) -> str:
        vouched = self._vouched(number)
        found = await asyncio.to_thread(self._find, opened)
        if found is None:
            return ""
        state, offer = found
        if not state.msisdn or not self._may(state, offer, vouched, said):
            return ""
        who = NETWORK if vouched else LINK
        word = Word(f"{PAGE}/{identity}", state.msisdn, offer.key, said, PAGE, self.loop.clock(), who)
        heard = await self.loop.submit(word)
        if heard.outcome != "refused":
            return ""
        return "sim_changed" if heard.reason == REFUSED[SIM_SWAPPED] else "page_not_now"

    async def stop(self, opened: Opened) -> None:
        state = await asyncio.to_thread(self._state, opened)
        if state and state.msisdn:
            key = next((one.key for one in state.offers if opened.is_of(one.key)), "")
            identity = f"{PAGE}/stop/{opened.decision}"
            await self.loop.submit(Word(identity, state.msisdn, key, "stop", PAGE, self.loop.clock()))

    def alone(self, message: str, language: str) -> Shown:
        return shown_alone(self.loop.engine.program.messages, language, message)

    def stopping(self, language: str, *, done: bool = False) -> Shown:
        program = self.loop.engine.program
        asks, says = STOPS_MAIL if program.playbook.policy.stop_on.get(EMAIL) else STOPS_ALL
        return shown_alone(program.messages, language, says if done else asks, stop=not done)

    def seal(self, *about: str) -> str:
        return self.links.seal(*about)

    def sealed(self, seal: str, *about: str) -> bool:
        return self.links.sealed(seal, *about)

    # -- by any thread -------------------------------------------------------------------------------------------------

    def _look(self, opened: Opened, vouched: str, why: str) -> Shown | None:
        found = self._find(opened)
        if found is None:
            return None
        state, offer = found
        if vouched not in ("", state.msisdn):
            return self.alone("page_not_yours", offer.language)
        program, now = self.loop.engine.program, self.loop.clock()
        row = enrich.row(program.plan, state, "", {}, now, now)
        expires = offer.expires + row[-1] - row[-2]
        return shown_offer(
            program.messages,
            offer,
            respond.status_at(offer, now),
            values_of(program.playbook, offer, expires),
            words=own_words(program, offer, expires, {}) or "",
            taps=self._may(state, offer, vouched, "accept"),
            asked_twice=respond.waits(offer, now),
            now=why,
        )

    def _may(self, state: State, offer: OpenOffer, vouched: str, said: Verb) -> bool:
        """Whether this may be said with no more than the link, or by whom the network vouches for."""
        if vouched:
            return vouched == state.msisdn
        return said != "accept" or offer.price <= self.loop.engine.program.playbook.currency.parse(self.tap_up_to)

    def _find(self, opened: Opened) -> tuple[State, OpenOffer] | None:
        state = self._state(opened)
        offer = next((one for one in state.offers if opened.is_of(one.key)), None) if state else None
        return (state, offer) if state and offer else None

    def _state(self, opened: Opened) -> State | None:
        """Of whom the decision was about, whoever has their number now; None where another store made it."""
        if mark_of(self.store.epoch_of(opened.decision)) != opened.mark:
            return None
        blob = self.store.decision(opened.decision)
        subscriber = read_decision(blob).subscriber if blob else 0
        kept = self.store.load([], [subscriber]).states.get(subscriber) if subscriber else None
        if kept is None:
            return None
        state = decode_state(kept)
        plan = self.loop.engine.program.plan
        if state.layout != plan.layout:
            enrich.migrate(plan, state, self.loop.engine.old_vocabulary(state.layout))
        return state

    def _vouched(self, number: str) -> str:
        """A number as the engine knows it; what cannot be read vouches for nobody."""
        try:
            return normalise(number, self.region) if number else ""
        except EventError:
            return ""
