"""What is allowed in a playbook, but probably not meant."""

from __future__ import annotations

from collections.abc import Iterator

from kairos.domain.channel import OWN, PULLED, USSD_PUSH
from kairos.errors import Diagnostic
from kairos.playbook.action import Action, Variant
from kairos.playbook.document import Items, Scalar, Table, parse
from kairos.playbook.margin import BELOW, margin
from kairos.playbook.margin_file import floors, for_all
from kairos.playbook.measure import Measured, measure_messages
from kairos.playbook.placeholders import placeholders
from kairos.playbook.playbook import ANSWERS, Playbook
from kairos.playbook.vocabulary_file import INBOUND
from kairos.smpp.text import Encoding, measure

SCREEN = {"gsm7": 182, "ucs2": 80}  # units of a USSD screen
CHOICES = 30  # of these, for yes and no
MOST_PARTS = 2  # of a message of its own
LATIN = range(0x250)  # and the general punctuation, which word processors put in
PUNCTUATION = range(0x2010, 0x2040)


def check(playbook: Playbook) -> list[Diagnostic]:
    """Warnings, in the order of files and lines. What is wrong for certain never becomes a playbook: see `read`."""
    found = [
        *_actions(playbook),
        *_budgets(playbook),
        *_messages(playbook),
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


def _messages(playbook: Playbook) -> Iterator[Diagnostic]:
    places = _places(playbook)
    by_channel = [(t.channel, t.message, action) for action in playbook.actions for t in action.treatments]
    pushed = {message for channel, message, _ in by_channel if channel == USSD_PUSH}
    own = {message for channel, message, _ in by_channel if channel in OWN} - pushed | set(ANSWERS)
    keyed = (*PULLED, USSD_PUSH)  # an answer is a key on the same screen
    to_reply = {message for channel, message, action in by_channel if action.taken_by_reply and channel not in keyed}
    told = {message for channel, message, _ in by_channel if channel in PULLED}  # on a screen: they cost nothing
    told -= {message for channel, message, _ in by_channel if channel not in PULLED}
    measured = {(m.message, m.language, m.index): m for m in measure_messages(playbook)}
    for key, place in places.items():
        message, language, index = key
        if key not in measured:
            if index == 0 and language == playbook.languages[0]:
                yield Diagnostic(place.file, place.line, f"nobody says the message `{message}`", "use it or delete it")
            continue
        if message in own:
            yield from _long(place, measured[key])
        if message in pushed:
            yield from _many_screens(place, measured[key])
        if message in to_reply and "number" not in placeholders(place.text):
            hint = "say how to take it, as in `Reply {number}`"
            yield Diagnostic(place.file, place.line, f"`{message}` does not show the offer's `{{number}}`", hint)
        before = measured.get((message, language, index - 1))
        if before and (measured[key].parts, measured[key].units) > (before.parts, before.units):
            yield Diagnostic(place.file, place.line, "this text is longer than the one before it", "longest first")
        if message not in told:
            yield from _costly_characters(place)
        if index == 0 and language == playbook.languages[0]:
            yield from _untranslated(place, message, playbook)


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


def _places(playbook: Playbook) -> dict[tuple[str, str, int], Scalar]:
    """Where each text of each message stands: (message, language, index) -> the scalar."""
    places = {}
    for path, content in playbook.texts.items():
        tree = parse(path, content) if path == "messages.yaml" or path.startswith("messages/") else None
        for message, (_, by_language) in tree.entries.items() if isinstance(tree, Table) else ():
            for language, (_, texts) in by_language.entries.items() if isinstance(by_language, Table) else ():
                for index, text in enumerate(texts.items if isinstance(texts, Items) else [texts]):
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
