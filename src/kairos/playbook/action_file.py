"""offers/*.yaml and actions/*.yaml: one action each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast, get_args

from kairos.domain.channel import CHANNELS, SMS, USSD, USSD_PUSH
from kairos.domain.purpose import STANDINGS, Purpose
from kairos.playbook.action import Action, ActionKind, ArmRule, NamedRule, Stage, Treatment, Variant
from kairos.playbook.budget_file import check_budgets, own_budgets
from kairos.playbook.context import Context
from kairos.playbook.document import Node, Scalar, Table, refused
from kairos.playbook.fulfil_file import own_rules, read_fulfil, read_products, twice
from kairos.playbook.keys import KEYS
from kairos.playbook.margin_file import read_floor
from kairos.playbook.messages_file import OFFER_WORDS, TAX_WORDS, Texts
from kairos.playbook.placeholders import placeholders, stray
from kairos.playbook.purchase_file import check_excludes, only_on, read_repurchase, validity
from kairos.playbook.section import Section
from kairos.playbook.values import (
    MILLISECONDS,
    NAME,
    chargeable,
    duration,
    duration_or,
    known,
    looks_like_number,
    name,
    nearest,
    number,
    price,
    rate,
    share,
    text,
    words,
)
from kairos.playbook.vocabulary_file import INBOUND, event_names
from kairos.rules import Condition, Constant

STAGES: Mapping[Stage, str] = {
    "eligible": "eligible_when",
    "relevant": "relevant_when",
    "suitable": "suitable_when",
}


@dataclass(frozen=True)
class _Draft:
    """A variant before its rules: what it shows, and what its rules may use."""

    name: str
    price: int
    value: int
    products: tuple[str, ...]
    fields: Mapping[str, str]
    constants: Mapping[str, Constant]
    lasts: int = 0
    costs: int | None = None


def read_actions(nodes: Iterable[Node], messages: Texts, context: Context) -> tuple[Action, ...]:
    """The actions of all files, in their order; what is wrong is noted in the context's problems."""
    actions: dict[str, Action] = {}
    read = [(node, _action(node, messages, context)) for node in nodes]
    for node, action in read:
        check_excludes(node, [other.name for _, other in read], context)
        if action.name in actions:
            message = f"`{action.name}` stands in {actions[action.name].file} already"
            context.problems.add(node, message, "give it another name")
        elif action.name:
            actions[action.name] = action
    return tuple(actions.values())


def _action(node: Node, messages: Texts, context: Context) -> Action:
    section = Section(node, "action", context.problems)
    called = "action" if "action" in section and "offer" not in section else "offer"
    if "offer" in section and "action" in section:
        context.problems.add(section.at("action"), "`offer` and `action` say the same", "keep one")
    kind = cast(ActionKind, section.take("kind", known("kind", get_args(ActionKind)), "sell"))
    fulfil = read_fulfil(section, kind, context)
    drafts = _drafts(section, kind, fulfil.provisions, context)
    declined = section.need("after_decline", lambda n: _after_decline(n, context), {}, "14 days")
    redeemed_by, redeemed = _redeemed(section, kind, drafts, context)
    action = section.need(called, _name, "", "booster")
    variants = _variants(section, drafts, redeemed, own_rules(kind, fulfil, context), context)
    budgets = own_budgets(section, action, context.budgets, context)
    check_budgets(section, budgets, variants, context)
    return Action(
        name=action,
        kind=kind,
        purpose=_purpose(section, kind, fulfil.charges or any(draft.price for draft in drafts)),
        title=section.need("title", lambda n: _title(n, drafts), "", '"{size} for {validity}"'),
        issue=section.need("issue", name, "", "upsell"),
        variants=variants,
        answers=_answers(section, context),
        treatments=_treatments(section, messages, context),
        accept_within=section.need("accept_within", duration, 0, "24 hours"),
        after_decline=declined.get("offer", 0),
        issue_after_decline=declined.get("issue", 0),
        all_after_decline=declined.get("everything", 0),
        weight=section.take("weight", _weight, 1.0),
        control=section.take("control", share, 0.0),
        margin_floor=section.take("margin_floor", read_floor(context.currency), None),
        charges=fulfil.charges,
        provisions=fulfil.provisions,
        redeemed_by=redeemed_by,
        send_within=section.take("send_within", duration, 10 * MILLISECONDS["minute"]),
        tax=section.take("tax", rate, context.tax),
        not_with=section.take("not_with", words, ()),
        excludes=section.take("excludes", words, ()),
        payer=fulfil.payer,
        paid_by=fulfil.paid_by,
        twice=twice(section),
        repurchase=read_repurchase(section, {draft.name: draft.lasts for draft in drafts}, context),
        budgets=budgets,
        file=node.file,
        line=node.line,
    )


def _name(node: Node) -> str:
    called = name(node)
    if called == "none":
        raise refused(node, "no action can be called `none`", "tests say it where nothing is expected")
    return called


def _purpose(section: Section, kind: ActionKind, costs: bool) -> Purpose:
    """What it is said for; service and regulation sell nothing."""
    default: Purpose = "care" if kind == "care" else "marketing"
    purpose = cast(Purpose, section.take("purpose", known("purpose", STANDINGS), default))
    if costs and purpose in ("regulatory", "service"):
        hint = "only what costs nothing passes consent; what is sold is `marketing`, or `third_party`"
        section.problems.add(section.at("purpose"), f"what has a price cannot be `{purpose}`", hint)
    return purpose


def _after_decline(node: Node, context: Context) -> dict[str, int]:
    """How long a no is heeded: for the offer alone, or apart for it, its issue and everything."""
    if not isinstance(node, Table):
        return {"offer": duration_or("never")(node)}
    section = Section(node, "after_decline", context.problems)
    rests = {scope: section.take(scope, duration_or("never"), 0) for scope in KEYS["after_decline"]}
    if not any(scope in section for scope in rests):
        raise refused(node, "nothing rests after a no", "add it, as in `after_decline: {offer: never, issue: 14 days}`")
    return rests


def _weight(node: Node) -> float:
    value = number(node)
    if value <= 0:
        raise refused(node, f"`{text(node)}` is not above zero", "1 is the weight of all others")
    return value


# --- variants ------------------------------------------------------------------------------------------------------


def _drafts(section: Section, kind: ActionKind, provisions: bool, context: Context) -> list[_Draft]:
    found = [(key, value) for _, (key, value) in section.named("variants")]
    if not found:
        hint = "add one, as in `variants: {small: {size: 500 MB, price: 10}}`"
        context.problems.add(section.at("variants"), "there is no variant", hint)
    for key, _ in found:
        if not NAME.fullmatch(key.text):
            hint = "use small letters, digits and `_`, with a letter first"
            context.problems.add(key, f"`{key.text}` cannot name a variant", hint)
    products = read_products(section, [key.text for key, _ in found], context)
    if provisions:
        for key, _ in found:
            if not products.get(key.text):
                hint = f"add it, as in `product: {{{key.text}: DATA500_1D}}`"
                context.problems.add(section.at("product"), f"variant `{key.text}` has no product to provision", hint)
    return [_draft(key.text, value, kind, products.get(key.text, ()), context) for key, value in found]


def _draft(variant: str, node: Node, kind: ActionKind, products: tuple[str, ...], context: Context) -> _Draft:
    section = Section(node, "variant", context.problems, free=True)
    amount = price(context.currency)
    cost_of = chargeable(context.currency)
    cost = section.need("price", cost_of, 0, "10") if kind == "sell" else section.take("price", cost_of, 0)
    value = section.take("value", amount, cost)
    fields: dict[str, str] = {}
    constants = {"price": Constant("money", cost), "value": Constant("money", value)}
    costs = section.take("cost", amount, None)
    if costs is not None:
        constants["cost"] = Constant("money", costs)
    if "top_up" in section:
        top_up = section.take("top_up", amount, 0)
        fields["top_up"], constants["top_up"] = context.currency.show(top_up), Constant("money", top_up)
    for key in ("size", "validity"):
        if key in section:
            fields[key] = section.take(key, text, "")
            constants[key] = Constant("text", fields[key])
    for key, (place, own) in section.others():
        if key in context.vocabulary.names or key in (*OFFER_WORDS, *TAX_WORDS) or not NAME.fullmatch(key):
            hint = "small letters, digits and `_`; and no word of the vocabulary or of every message"
            context.problems.add(place, f"`{key}` cannot name a variant's own field", hint)
            continue
        fields[key] = context.problems.attempt("", key, text, own)
        constants[key] = _constant(own, fields[key])
    return _Draft(variant, cost, value, products, fields, constants, validity(fields.get("validity", "")), costs)


def _constant(node: Node, written: str) -> Constant:
    """A field is a number where it is written as one without quotes, else a text."""
    quoted = isinstance(node, Scalar) and node.quoted
    if looks_like_number(written) and not quoted:
        return Constant("number", float(written))
    return Constant("text", written)


def _title(node: Node, drafts: list[_Draft]) -> str:
    title = text(node)
    if stray(title):
        raise refused(node, "a brace stands alone", "write `{size}` for a variant's field")
    for word in placeholders(title):
        for draft in drafts:
            if word not in draft.fields:
                hint = nearest(word, draft.fields) or "a title may use the variant's own fields only"
                raise refused(node, f"variant `{draft.name}` has no `{word}`", hint)
    return title


def _variants(
    section: Section,
    drafts: list[_Draft],
    redeemed: list[Condition | None],
    own: list[NamedRule],
    context: Context,
) -> tuple[Variant, ...]:
    _check_rule_names(section, context)
    return tuple(
        Variant(
            name=draft.name,
            price=draft.price,
            value=draft.value,
            product=next(iter(draft.products), ""),
            fields=draft.fields,
            rules=tuple(ArmRule("eligible", rule) for rule in own) + _rules(section, draft, context),
            redeemed_when=redeemed_when,
            lasts=draft.lasts,
            products=draft.products,
            cost=draft.costs,
        )
        for draft, redeemed_when in zip(drafts, redeemed, strict=True)
    )


def _rules(section: Section, draft: _Draft, context: Context) -> tuple[ArmRule, ...]:
    return tuple(ArmRule("eligible", rule) for rule in only_on(section, context)) + tuple(
        ArmRule(stage, rule)
        for stage, key in STAGES.items()
        if key in section
        for rule in context.named_rules(section.at(key), draft.constants)
    )


def _check_rule_names(section: Section, context: Context) -> None:
    """A rule's name is its reason code: it stands for one rule of an action."""
    first: dict[str, Scalar] = {}
    tables = [section.at(stage) for stage in STAGES.values() if stage in section]
    for table in tables:
        for rule, (key, _) in table.entries.items() if isinstance(table, Table) else ():
            if rule in first:
                message = f"the rule `{rule}` stands on line {first[rule].line} already"
                context.problems.add(key, message, "give it another name")
            first.setdefault(rule, key)


# --- moments and treatments ----------------------------------------------------------------------------------------


def _redeemed(
    section: Section, kind: ActionKind, drafts: list[_Draft], context: Context
) -> tuple[str, list[Condition | None]]:
    """The event that redeems a promise, and the rule that it must meet for each variant."""
    if "redeemed_by" not in section:
        if kind == "promise":
            hint = 'add it, as in `redeemed_by: {recharge: "recharge.amount >= top_up"}`'
            context.problems.add(section.node, "a promise needs `redeemed_by`", hint)
        return "", [None] * len(drafts)
    found = [entry for _, entry in section.named("redeemed_by")]
    if kind != "promise":
        context.problems.add(section.at("redeemed_by"), f"a {kind} action is not redeemed", "write `kind: promise`")
    if len(found) != 1:
        context.problems.add(section.at("redeemed_by"), "one event redeems a promise", "keep one event with its rule")
        return "", [None] * len(drafts)
    (key, value), events = found[0], context.vocabulary.events
    if key.text not in events:
        context.problems.add(key, f"unknown event `{key.text}`", nearest(key.text, events))
        return "", [None] * len(drafts)
    names = event_names(key.text, events)
    rules = [
        context.problems.attempt(None, "redeemed_by", context.condition, value, names, draft.constants)
        for draft in drafts
    ]
    return key.text, rules


def _answers(section: Section, context: Context) -> dict[str, int]:
    events = (*context.vocabulary.events, INBOUND)
    answers = {}
    for event, (key, value) in section.named("answers"):
        if event not in events:
            context.problems.add(key, f"unknown event `{event}`", nearest(event, events))
        answers[event] = context.problems.attempt(0, event, duration_or("always"), value)
    if not answers:
        hint = "add one, as in `answers: {end_of_call: 5 minutes}`"
        context.problems.add(section.at("answers"), "it answers no event, so it is never said", hint)
    return answers


def _treatments(section: Section, messages: Texts, context: Context) -> tuple[Treatment, ...]:
    treatments: dict[str, Treatment] = {}  # by channel
    for _, (key, value) in section.named("treatments"):
        one = Section(value, "treatment", context.problems)
        channel = one.need("channel", known("channel", CHANNELS), "", "sms")
        message = one.need("message", known("message", messages), "", "booster_line")
        if channel in treatments:
            hint = "one treatment a channel; give the message several texts instead"
            context.problems.add(key, f"`{treatments[channel].name}` goes out on `{channel}` already", hint)
        treatments[channel] = Treatment(key.text, channel, message, _fallback(one))
    for treatment in treatments.values():
        if treatment.fallback and treatment.fallback not in treatments:
            hint = f"add one, as in `own: {{channel: {treatment.fallback}, message: {treatment.message}}}`"
            message = f"`{treatment.name}` falls back to `{treatment.fallback}`, and there is no treatment on it"
            context.problems.add(section.at("treatments"), message, hint)
    if not treatments:
        hint = "add one, as in `treatments: {ride: {channel: notification, message: booster_line}}`"
        context.problems.add(section.at("treatments"), "there is no treatment, so it is never said", hint)
    return tuple(treatments.values())


def _fallback(section: Section) -> str:
    """The channel of what is said in the place of a dialogue that came to nothing."""
    channel = section.take("fallback", known("fallback", (SMS,)), "")
    on = section.take("channel", text, "")
    if channel and on not in (USSD, USSD_PUSH):
        message, hint = f"nothing falls back from `{on}`", "only `ussd` and `ussd_push` do: leave `fallback` out"
        section.problems.add(section.at("fallback"), message, hint)
    return channel
