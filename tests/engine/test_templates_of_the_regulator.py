"""Template and entity ids: carried from the playbook to the message, whichever of its texts is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kairos.domain.message import Text
from kairos.domain.subscriber import Bucket
from kairos.errors import PlaybookError
from kairos.playbook import check, read

DAY = 86_400_000
WORDS = """booster_line:
  en:
    - {text: "Running low? {title} for {price}. Reply {number}", template_id: "1107-long"}
    - {text: "{title} {price}: reply {number}", template_id: "1107-short"}
  fr: {text: "{title}: {number}", template_id: "1107-fr"}
top_up_line: {en: {text: "Recharge {top_up} and get 30 minutes.", template_id: "1107-top"}}
hint_line: {en: {text: "Calls cost half after 8 pm.", template_id: "1107-hint"}}
"""
ENTITY = '  entity_id: "1101-entity"\n'


def registered(texts: dict[str, str], *, required: bool = True, words: str = WORDS, entity: str = ENTITY) -> Any:
    answers = texts["messages.yaml"].partition("confirmed:")
    policy = "contact_only_when: {marketing consent: marketing_consent}\nlimits: [{at_most: 9, per: 1 day}]\n"
    return {
        "messages.yaml": words + answers[1] + answers[2].replace('{en: "All right."}', ANSWER),
        "replies.yaml": texts["replies.yaml"] + entity,
        "contact_policy.yaml": policy + "templates: required\n" * required,
    }


ANSWER = '{en: {text: "All right.", template_id: "1107-declined"}}'


def said(bench: Any, *, text: str = "Ref 1", language: str = "en") -> Text:
    balances = [Bucket("main", 5000), Bucket("data", 100_000, bench.now + DAY)]
    work = bench.apply(bench.event("end_of_call", notification=text, service="voice", cost=1, balances=balances))
    return msgspec.msgpack.decode(work.batch.outgoing[-1].payload, type=Text)


@pytest.mark.parametrize(
    ("notification", "language", "template"),
    [
        ("", "en", "1107-long"),
        ("", "fr", "1107-fr"),
        ("Ref 1", "en", "1107-long"),
        ("x" * 115, "en", "1107-short"),
        ("x" * 158, "en", ""),  # no line
    ],
)
def test_the_text_that_is_said_has_its_id(
    bench_with: Callable[..., Any], texts: dict[str, str], notification: str, language: str, template: str
) -> None:
    bench = bench_with(registered(texts))
    bench.profile(language=language)
    text = said(bench, text=notification)
    assert text.template_id == template
    assert text.entity_id == ("" if notification else "1101-entity"), "a notification has its own sender's"


def test_an_answer_has_its_id(bench_with: Callable[..., Any], texts: dict[str, str]) -> None:
    bench = bench_with(registered(texts))
    bench.profile()
    said(bench)
    (row,) = bench.apply(bench.reply("no")).batch.outgoing
    text = msgspec.msgpack.decode(row.payload, type=Text)
    assert (text.text, text.template_id, text.entity_id) == ("All right.", "1107-declined", "1101-entity")


def test_where_nothing_is_registered_nothing_is_carried(bench: Any) -> None:
    bench.profile()
    text = said(bench, text="")
    assert text.marketing
    assert (text.template_id, text.entity_id) == ("", "")


def test_texts_with_ids_are_checked_like_others(texts: dict[str, str]) -> None:
    longer = WORDS.replace("{title} {price}: reply", "{title} and a good deal more of it for {price}: reply")
    warned = [str(one) for one in check(read(texts | registered(texts, words=longer)))]
    assert any("this text is longer than the one before it" in one for one in warned)


@pytest.mark.parametrize(
    ("change", "said_of_it"),
    [
        (
            {"words": WORDS.replace(', template_id: "1107-short"', "")},
            "messages.yaml:4: this text of `booster_line`",
        ),
        ({"words": WORDS.replace('text: "Calls cost half after 8 pm.", ', "")}, "`text` is missing"),
        ({"words": WORDS.replace("1107-hint", "11 07")}, "template_id: `11 07` is no id; write its letters and digits"),
        ({"words": WORDS.replace('template_id: "1107-hint"', "id: 7")}, "unknown key `id`"),
        ({"entity": ""}, "replies.yaml:2: the sender `5000` has no entity id, and template ids are required; add it"),
    ],
)
def test_what_is_required_and_missing_is_refused(
    texts: dict[str, str], change: dict[str, Any], said_of_it: str
) -> None:
    with pytest.raises(PlaybookError) as raised:
        read(texts | registered(texts, **change))
    assert any(said_of_it in str(found) for found in raised.value.diagnostics), raised.value
    if "missing" not in said_of_it and "no id;" not in said_of_it and "unknown" not in said_of_it:
        assert read(texts | registered(texts, required=False, **change)).name == "small"
