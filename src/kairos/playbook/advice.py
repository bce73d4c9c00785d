"""What is allowed in a playbook, but probably not meant."""

from __future__ import annotations

from collections.abc import Iterator

from kairos.domain.channel import OWN, PULLED, USSD_PUSH
from kairos.errors import Diagnostic
from kairos.playbook.action import Action, Variant
from kairos.playbook.document import Scalar, Table, listed, parse
from kairos.playbook.margin import BELOW, margin
from kairos.playbook.margin_file import floors, for_all
from kairos.playbook.measure import Measured, measure_messages
from kairos.playbook.page_words import LINK, PAGE, URL
from kairos.playbook.placeholders import placeholders
from kairos.playbook.playbook import ANSWERS, MAY_ANSWER, Playbook
from kairos.playbook.vocabulary_file import INBOUND
from kairos.smpp.text import Encoding, measure

SCREEN = {"gsm7": 182, "ucs2": 80}  # units of a USSD screen
CHOICES = 30  # of these, for yes and no
NOT_READ = (*PULLED, USSD_PUSH, "webhook", "ivr", "calls")  # where whoever says it says how to take it
SHOWN = {  # on which channels what is beside a text is shown
    "subject": ("email", "push", "mms", "webhook"),
    "html": ("email", "webhook"),
    "media": ("mms", "webhook"),
}
HOUR = 3_600_000
MOST_PARTS = 2  # of a message of its own
LATIN = range(0x250)  # and the general punctuation, which word processors put in
PUNCTUATION = range(0x2010, 0x2040)


def check(playbook: Playbook, page: str | None = None) -> list[Diagnostic]:
    """Warnings, in the order of files and lines. What is wrong for certain never becomes a playbook: see `read`.

    `page`: where links lead; empty where there is no page, None where that is not known.
    """
    found = [
        *_actions(playbook),
        *_budgets(playbook),
        *_messages(playbook, page or URL),
        *(_linkless(playbook) if page == "" else ()),
        *_consent(playbook),
        *_vocabulary(playbook),
    ]
    return sorted(dict.fromkeys(found), key=lambda one: (one.file, one.line))


def _actions(playbook: Playbook) -> Iterator[Diagnostic]:
    if not playbook.actions:
        yield Diagnostic("", 0, "there is no action: nothing is ever said", "add one under `offers/`")
    for action in playbook.actions:
        if INBOUND in action.answers and not any(one.channel in PULLED for one in action.treatments):
            message = f"`{action.name}` answers `inbound`, and has no words for those who ask: it is never told to them"
            hint = "add a treatment, as in `ask: {channel: inbound, message: booster_told}`"
            yield Diagnostic(action.file, action.line, message, hint)
        if action.send_within < HOUR and any(one.channel == "calls" for one in action.treatments):
            message = (
                f"agents have {action.send_within // 60_000} minutes to call for `{action.name}`: most is never told"
            )
            yield Diagnostic(
                action.file, action.line, message, "say how long it can wait, as in `send_within: 4 hours`"
            )
        if action.kind == "advance" and not playbook.vocabulary.owed:
            message = f"nothing counts what is owed for `{action.name}`: who has one may get another"
            hint = "add an attribute with `owed: yes`, as in `debt: {type: money, from: [recharge.debt], owed: yes}`"
            yield Diagnostic(action.file, action.line, message, hint)
        for variant in action.variants:
            where = f"variant `{variant.name}` of `{action.name}`"
            for rule in variant.rules:
                if rule.rule.condition.key != "FALSE":
                    continue
                if rule.rule.name == BELOW and floors(action, playbook.policy):
                    yield _below(action, variant, playbook)
                else:
                    message = f"{where} can never be said: `{rule.rule.name}` never holds for it"
                    yield Diagnostic(rule.rule.file, rule.rule.line, message)
            if variant.value == 0:
                message = f"{where} is worth 0, so it ranks below all others"
                yield Diagnostic(action.file, action.line, message, "give it a `value`")
            if variant.price and not action.charges and action.kind != "advance":  # whose price is owed
                message = f"{where} has a price that nobody is charged"
                yield Diagnostic(action.file, action.line, message, "add `charge: price` to `fulfil`, or leave it out")

        yield from _idle_floor(action, playbook)


def _below(action: Action, variant: Variant, playbook: Playbook) -> Diagnostic:
    """What a variant lacks that is never said for the margin floor."""
    show = playbook.currency.show
    least = max(floor.least(variant.price) for floor in floors(action, playbook.policy))
    message = f"variant `{variant.name}` of `{action.name}` is {BELOW} and can never be said"
    left = show(margin(variant.price, action.tax, variant.cost or 0))
    hint = f"of {show(variant.price)} it leaves {left}, and {show(least)} are wanted"
    return Diagnostic(action.file, action.line, message, hint)


def _idle_floor(action: Action, playbook: Playbook) -> Iterator[Diagnostic]:
    """A floor of an offer's own that the one for all makes idle."""
    own, all_ = action.margin_floor, for_all(action, playbook.policy)
    if own and all_ and all(own.least(variant.price) <= all_.least(variant.price) for variant in action.variants):
        message = f"the margin floor of `{action.name}` changes nothing: the contact policy's is as strict"
        yield Diagnostic(own.file, own.line, message, "an offer's own can only be stricter; leave it out")


def _budgets(playbook: Playbook) -> Iterator[Diagnostic]:
    drawn = {budget.name for action in playbook.actions for budget in action.budgets}
    for budget in playbook.budgets:
        if budget.name not in drawn:
            hint = f"name it in an offer, as in `budget: {budget.name}`, or delete it"
            yield Diagnostic(budget.file, budget.line, f"no offer draws on the budget `{budget.name}`", hint)


def _linkless(playbook: Playbook) -> Iterator[Diagnostic]:
    """Where there is no landing page, what a language has only texts with a link for is not said in it."""
    for (message, language, index), place in text_places(playbook).items():
        texts = playbook.messages[message].get(language, ())
        if index == 0 and texts and all(LINK in placeholders(text) for text in texts):
            what = f"every text of `{message}` in {language} says `{{link}}`, and there is no landing page"
            hint = "set `url` of [page] in the settings, or add a text without"
            yield Diagnostic(place.file, place.line, what, hint)


def _messages(playbook: Playbook, page: str) -> Iterator[Diagnostic]:
    places = text_places(playbook)
    by_channel = [(t.channel, t.message, action) for action in playbook.actions for t in action.treatments]
    pushed = {message for channel, message, _ in by_channel if channel == USSD_PUSH}
    priced = {message for channel, message, action in by_channel if channel == USSD_PUSH and action.charges}
    own = {message for channel, message, _ in by_channel if channel in OWN} - pushed | set(ANSWERS)
    shown = {(message, action.taken_by_reply) for channel, message, action in by_channel if channel not in NOT_READ}
    to_reply = {message for message, by_reply in shown if by_reply}
    told = {message for channel, message, _ in by_channel if channel in PULLED}  # on a screen: they cost nothing
    told -= {message for channel, message, _ in by_channel if channel not in PULLED}
    known = said(playbook)
    measured = {(m.message, m.language, m.index): m for m in measure_messages(playbook, page)}
    for key, place in places.items():
        message, language, index = key
        first = index == 0 and language == playbook.languages[0]
        if message in PAGE:
            if first:
                yield from _untranslated(place, message, playbook)
            continue
        if message not in known:
            if first:
                yield Diagnostic(place.file, place.line, f"nobody says the message `{message}`", "use it or delete it")
            continue
        if message in playbook.beside and first:
            yield from _unshown(place, message, by_channel, playbook)
        if message in to_reply and not {"number", LINK} & set(placeholders(place.text)):
            hint = "say how to take it, as in `Reply {number}`, or with its `{link}`"
            yield Diagnostic(place.file, place.line, f"`{message}` does not show the offer's `{{number}}`", hint)
        if message in priced and "price" not in placeholders(place.text):
            hint = "name it: one key takes the offer, and nobody takes what they were not told"
            yield Diagnostic(place.file, place.line, f"`{message}` does not show the offer's `{{price}}`", hint)
        if first:
            yield from _untranslated(place, message, playbook)
        if found := measured.get(key):
            yield from _long(place, found) if message in own else ()
            yield from _many_screens(place, found) if message in pushed else ()
            yield from _disordered(place, found, measured.get((message, language, index - 1)))
            yield from _costly_characters(place) if message not in told else ()


def _disordered(place: Scalar, found: Measured, before: Measured | None) -> Iterator[Diagnostic]:
    if before and found.size > before.size:
        yield Diagnostic(place.file, place.line, "this text is longer than the one before it", "longest first")


def _unshown(
    place: Scalar, message: str, by_channel: list[tuple[str, str, Action]], playbook: Playbook
) -> Iterator[Diagnostic]:
    """What is written beside a text, and nobody ever sees."""
    channels = {channel for channel, said, _ in by_channel if said == message}
    texts = [one for texts in playbook.beside[message].values() for one in texts]
    for part, shown_on in SHOWN.items():
        if any(getattr(one, part) for one in texts) and not channels & set(shown_on):
            what = f"nobody sees the `{part}` of `{message}`"
            yield Diagnostic(place.file, place.line, what, f"it is shown on {' and '.join(f'`{c}`' for c in shown_on)}")


def _untranslated(place: Scalar, message: str, playbook: Playbook) -> Iterator[Diagnostic]:
    lacking = [language for language in playbook.languages if language not in playbook.messages[message]]
    if lacking:
        hint = f"it is said in {playbook.languages[0]} until it has one"
        yield Diagnostic(place.file, place.line, f"`{message}` has no text in {', '.join(lacking)}", hint)


def _long(place: Scalar, found: Measured) -> Iterator[Diagnostic]:
    if found.parts > MOST_PARTS:
        message = f"`{found.message}` takes up to {found.parts} SMS in {found.language} ({found.units} units)"
        yield Diagnostic(place.file, place.line, message, f"{MOST_PARTS} are enough to be read")


def _many_screens(place: Scalar, found: Measured) -> Iterator[Diagnostic]:
    """A dialogue that we begin whose answer would stand on a second screen."""
    room = SCREEN[found.encoding] - CHOICES
    if found.units > room:
        message = (
            f"`{found.message}` takes up to {found.units} units in {found.language}, and {room} leave room for a yes"
        )
        yield Diagnostic(place.file, place.line, message, "who must turn a page to answer does not")


def _costly_characters(place: Scalar) -> Iterator[Diagnostic]:
    """A text of Latin letters that a single character turns from 160 to 70 characters an SMS."""
    if measure(place.text).encoding is not Encoding.UCS2:
        return
    foreign = dict.fromkeys(c for c in place.text if measure(c).encoding is Encoding.UCS2)
    if all(ord(character) in LATIN or ord(character) in PUNCTUATION for character in foreign):
        shown = ", ".join(f"`{character}`" for character in foreign)
        message = f"{shown} cut the room of an SMS from 160 to 70 characters"
        yield Diagnostic(place.file, place.line, message, "choose other characters or words")


def said(playbook: Playbook) -> frozenset[str]:
    """The messages that a treatment or an answer says."""
    treatments = {one.message for action in playbook.actions for one in action.treatments}
    return frozenset(treatments.union(ANSWERS, MAY_ANSWER))


def text_places(playbook: Playbook) -> dict[tuple[str, str, int], Scalar]:
    """Where each text of each message stands: (message, language, index) -> the scalar."""
    places = {}
    for path, content in playbook.texts.items():
        tree = parse(path, content) if path == "messages.yaml" or path.startswith("messages/") else None
        for message, (_, by_language) in tree.entries.items() if isinstance(tree, Table) else ():
            for language, (_, texts) in by_language.entries.items() if isinstance(by_language, Table) else ():
                for index, text in enumerate(listed(texts)):
                    text = text.entries["text"][1] if isinstance(text, Table) else text  # with its template's id
                    if isinstance(text, Scalar):
                        places[message, language, index] = text
    return places


def _consent(playbook: Playbook) -> Iterator[Diagnostic]:
    asked = playbook.policy.asked
    for source, used in playbook.vocabulary.sources.items():
        if used and not any(gate.source == source for gate in playbook.policy.data_only_when):
            message = f"`{min(used)}` uses `{source}`, and nobody's consent to that is asked for"
            hint = f"add it under `data_only_when`, as in `{source}: {source}_consent`"
            yield Diagnostic("contact_policy.yaml", 0, message, hint)
    if not playbook.policy.contact_only_when:
        hint = "add `contact_only_when`, or be sure that the market asks for none"
        yield Diagnostic("contact_policy.yaml", 0, "nobody's consent is asked for", hint)
    for channel, withdrawn in playbook.policy.stop_on.items():
        for name in (one for one in withdrawn if one not in asked):
            message = f"STOP on `{channel}` withdraws `{name}`, but no rule of `contact_only_when` asks for it"
            yield Diagnostic("contact_policy.yaml", 0, message, "add it there, or STOP changes nothing")
    for code, words in playbook.replies.items():
        for name in words.withdraws:
            if name not in asked:
                message = f"STOP to {code} withdraws `{name}`, but no rule of `contact_only_when` asks for it"
                yield Diagnostic("replies.yaml", 0, message, "add it there, or STOP changes nothing")
        for role in ("accept", "decline", "stop"):
            lacking = [language for language in playbook.languages if language not in getattr(words, role)]
            if lacking:
                message = f"{code}: `{role}` has no word in {', '.join(lacking)}"
                yield Diagnostic("replies.yaml", 0, message, "subscribers answer in the language they were asked in")


def _vocabulary(playbook: Playbook) -> Iterator[Diagnostic]:
    for attribute in playbook.vocabulary.attributes.values():
        if not attribute.derived and not attribute.sources:
            hint = "say what does, as in `from: [profile.plan]`"
            yield Diagnostic("vocabulary.yaml", 0, f"no event sets `{attribute.name}`", hint)
