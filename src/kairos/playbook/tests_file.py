"""tests/*.yaml: marketers' own tests, one or a list of them in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from kairos.domain.money import parse_exact
from kairos.domain.subscriber import Bucket, Owned
from kairos.playbook.action import Action
from kairos.playbook.budget_file import budgets_of
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, listed, refused
from kairos.playbook.margin import BELOW
from kairos.playbook.playbook import PlaybookTest
from kairos.playbook.policy import ContactPolicy, window_name
from kairos.playbook.section import Section, entries
from kairos.playbook.values import (
    boolean,
    duration,
    known,
    local_time,
    nearest,
    number,
    price,
    text,
    typed,
    whole,
    words,
)
from kairos.playbook.vocabulary import FieldType
from kairos.playbook.vocabulary_file import INBOUND

T = TypeVar("T")

NONE = "none"
PRODUCTS = "products"  # under `given`, what they have; unless the vocabulary uses the word
TAKEN = "taken"  # likewise, how much of each budget is taken already
DECLINED = "declined"  # likewise, what they said no to, and how long ago
UNANSWERED = "unanswered"  # likewise, what they were told and did not answer, and how long ago
REASONS = (  # what refuses besides the playbook's own rules and limits
    "holdout",
    BELOW,
    "quiet hours",
    "already open",
    "already taken",
    "declined",
    "issue declined",
    "everything declined",
    "already owned",
    "bought often enough",
    "excluded",
    "does not answer this moment",
    "the moment was too old",
    "no treatment on a channel that was open",
    "outranked",
)


def read_tests(
    nodes: Iterable[Node], actions: Sequence[Action], policy: ContactPolicy, context: Context
) -> tuple[PlaybookTest, ...]:
    """The tests of all files; what is wrong is noted in the context's problems.

    Reasons are compared only while nothing else is wrong: a rule that cannot be read has no name to be known by.
    """
    sound = not context.problems
    tests: dict[str, PlaybookTest] = {}
    for node in nodes:
        for one in listed(node):
            test = _test(one, actions, policy, context, sound)
            if test.name in tests:
                first = tests[test.name]
                message = f"a test of this name stands in {first.file} on line {first.line} already"
                context.problems.add(one, message, "give it another name")
            tests[test.name] = test
    return tuple(tests.values())


def _test(node: Node, actions: Sequence[Action], policy: ContactPolicy, context: Context, sound: bool) -> PlaybookTest:
    section = Section(node, "test", context.problems)
    dial = section.take("dial", text, "")
    event, data = (INBOUND, {}) if dial else _when(section, context)
    if dial and "when" in section:
        context.problems.add(section.at("when"), "a test has one cause: it has `dial` already", "keep one of them")
    if "press" in section and not dial:
        context.problems.add(section.at("press"), "keys are pressed where something was dialled", 'add `dial: "*123#"`')
    shows = _shows(section, context) if dial else ""
    offer, variant, because = (NONE, "", {}) if dial else _then(section, actions, policy if sound else None, context)
    return PlaybookTest(
        name=section.need("test", text, "", "nobody is offered what they cannot afford"),
        given=_given(section, context),
        products=_products(section, context),
        declined=_by_offer(section, DECLINED, duration, 0, actions, context),
        unanswered=_by_offer(section, UNANSWERED, _durations, (), actions, context),
        taken=_taken(section, actions, context),
        event=event,
        data=data,
        offer=offer,
        variant=variant,
        because=because,
        dial=dial,
        press=section.take("press", words, ()),
        shows=shows,
        at=section.take("at", local_time, ""),
        riding=section.take("riding", boolean, None),
        file=node.file,
        line=node.line,
    )


def _shows(section: Section, context: Context) -> str:
    """What the last screen is to say."""
    if "then" not in section:
        context.problems.add(section.node, "`then` is missing", "say what is shown, as in `then: {shows: My offers}`")
        return ""
    return Section(section.at("then"), "then", context.problems).need("shows", text, "", "My offers")


def _given(section: Section, context: Context) -> dict[str, Any]:
    """What is known of the subscriber: attributes, derived ones too, and counters."""
    vocabulary = context.vocabulary
    names = [*vocabulary.attributes, *vocabulary.counters]
    given = {}
    for name, (key, value) in section.named("given"):
        if name in (PRODUCTS, DECLINED, UNANSWERED, TAKEN) and name not in names:
            continue
        if name not in names:
            context.problems.add(key, f"unknown name `{name}`", nearest(name, names))
            continue
        read = typed(vocabulary.names[name], context.currency)
        given[name] = context.problems.attempt(None, name, read, value)
    return given


def _besides(section: Section, word: str, context: Context) -> Node | None:
    """What a test gives under a word of ours, unless the vocabulary uses the word."""
    given = dict(section.named("given"))
    return given[word][1] if word in given and word not in context.vocabulary.names else None


def _products(section: Section, context: Context) -> tuple[str, ...]:
    """The products that they have."""
    given = _besides(section, PRODUCTS, context)
    return context.problems.attempt((), PRODUCTS, words, given) if given else ()


def _durations(node: Node) -> tuple[int, ...]:
    return tuple(map(duration, listed(node)))


def _by_offer(
    section: Section, key: str, read: Callable[[Node], T], default: T, actions: Sequence[Action], context: Context
) -> dict[str, T]:
    """What a test gives of offers: here how long ago (ms) something was."""
    given = _besides(section, key, context)
    names = [action.name for action in actions]
    found = {}
    for offer, (place, value) in entries(given, context.problems) if given else ():
        if offer not in names:
            context.problems.add(place, f"unknown offer `{offer}`", nearest(offer, names))
        found[offer] = context.problems.attempt(default, offer, read, value)
    return found


def _taken(section: Section, actions: Sequence[Action], context: Context) -> dict[str, int]:
    """How much of each budget is taken already in the period of the test."""
    given = _besides(section, TAKEN, context)
    budgets = {budget.name: budget for budget in budgets_of(actions)}
    taken = {}
    for name, (key, value) in entries(given, context.problems) if given else ():
        if name not in budgets:
            context.problems.add(key, f"unknown budget `{name}`", nearest(name, budgets))
            continue
        counts_offers = budgets[name].counts == "offers"
        read = whole(0, 999_999_999) if counts_offers else price(context.currency)
        taken[name] = context.problems.attempt(0, name, read, value)
    return taken


def _when(section: Section, context: Context) -> tuple[str, dict[str, Any]]:
    """The event and its fields, typed as an event that came in."""
    events: Mapping[str, Mapping[str, FieldType]] = {**context.vocabulary.events, INBOUND: {}}
    node = section.at("when")
    if "when" in section and isinstance(node, Scalar):
        return section.take("when", known("event", events), ""), {}
    found = list(section.named("when"))
    if len(found) != 1:
        context.problems.add(node, "a test has one event", "add it, as in `when: {recharge: {amount: 10}}`")
        return "", {}
    event, (key, fields) = found[0]
    if event not in events:
        context.problems.add(key, f"unknown event `{event}`", nearest(event, events))
        return "", {}
    data: dict[str, Any] = {}
    for field, (place, value) in entries(fields, context.problems):
        kind = events[event].get(field)
        if kind is None:
            context.problems.add(place, f"`{event}` has no field `{field}`", nearest(field, events[event]))
        elif kind == "balances":
            data[field] = _balances(value, context)
        elif kind == "products":
            data[field] = [Owned(product, 0) for product in context.problems.attempt((), field, words, value)]
        else:
            data[field] = context.problems.attempt(None, field, typed(kind, context.currency), value)
    return event, data


def _balances(node: Node, context: Context) -> list[Bucket]:
    """Amounts by wallet, none of which expires."""
    wallets = context.vocabulary.wallets
    buckets = []
    for wallet, (key, value) in entries(node, context.problems):
        if wallet not in wallets:
            context.problems.add(key, f"unknown wallet `{wallet}`", nearest(wallet, wallets))
            continue
        amount = context.problems.attempt(0, wallet, _exact, value, wallets[wallet].digits)
        buckets.append(Bucket(wallet, amount))
    return buckets


def _exact(node: Node, digits: int) -> int:
    number(node)
    try:
        return parse_exact(text(node), digits)
    except ValueError as error:
        raise refused(node, str(error)) from None


def _then(
    section: Section, actions: Sequence[Action], policy: ContactPolicy | None, context: Context
) -> tuple[str, str, dict[str, str]]:
    if "then" not in section:
        hint = "say what is expected, as in `then: {offer: none}`"
        context.problems.add(section.node, "`then` is missing", hint)
        return NONE, "", {}
    by_name = {action.name: action for action in actions}
    then = Section(section.at("then"), "then", context.problems)
    offer = then.need("offer", known("offer", (*by_name, NONE)), NONE, "none")
    variants = [variant.name for variant in by_name[offer].variants] if offer in by_name else []
    variant = then.take("variant", known("variant", variants), "")
    because = {}
    for action, (key, value) in then.named("because"):
        if action not in by_name:
            context.problems.add(key, f"unknown offer `{action}`", nearest(action, by_name))
            continue
        reason = known("reason", _reasons(by_name[action], policy)) if policy else text
        because[action] = context.problems.attempt("", action, reason, value)
    return offer, variant, because


def _reasons(action: Action, policy: ContactPolicy) -> dict[str, None]:
    """Every reason that an action may be refused for."""
    rules = [rule.rule.name for variant in action.variants for rule in variant.rules]
    gates = [rule.name for rule in policy.gates]
    gates += [freeze.why for freeze in policy.freezes]
    gates += [window_name(channel) for channel in policy.windows]
    budgets = [budget.name for budget in action.budgets]
    limits = [limit.name for limit in (*policy.limits, *policy.saturation)]
    return dict.fromkeys([*rules, *gates, *budgets, *limits, *REASONS])
