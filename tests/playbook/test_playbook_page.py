"""docs/playbook.md explains every key, and no other; its examples are a playbook that works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kairos.engine.playbook_tests import run_tests
from kairos.engine.program import compile_program
from kairos.playbook import ANSWERS, check, load_texts, new, read
from kairos.playbook.keys import KEYS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "playbook.md").read_text(encoding="utf-8")
HEADINGS = {
    "playbook.yaml": "playbook",
    "The currency": "currency",
    "vocabulary.yaml": "vocabulary",
    "A wallet": "wallet",
    "An attribute": "attribute",
    "A counter": "counter",
    "offers/*.yaml and actions/*.yaml": "action",
    "A variant": "variant",
    "A treatment": "treatment",
    "After a no": "after_decline",
    "A volume": "volume",
    "A budget": "budget",
    "What a yes does": "fulfil",
    "Another payer": "payer",
    "A text with more": "text",
    "contact_policy.yaml": "contact_policy",
    "A consent or a pause": "gate",
    "Whom it concerns": "for",
    "A register": "register",
    "What a register stops": "stops",
    "Quiet hours": "quiet_hours",
    "The holdout": "holdout",
    "A freeze window": "freeze",
    "A limit": "limit",
    "Saturation": "saturation",
    "budgets.yaml": "budgets",
    "A shared budget": "shared_budget",
    "seeds.yaml": "seeds",
    "A tester": "tester",
    "replies.yaml": "replies",
    "ussd.yaml": "ussd",
    "A menu": "menu",
    "An item of a menu": "ussd_item",
    "tests/*.yaml": "test",
    "What is said": "then",
}
SECTIONS = dict(re.findall(r"^##+ (.+?)\n(.*?)(?=^##+ |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TEXTS = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))


def test_every_kind_of_table_has_a_heading() -> None:
    assert set(HEADINGS.values()) == set(KEYS)


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_key_has_a_row_and_every_row_a_key(heading: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", SECTIONS[heading], re.MULTILINE)
    assert tuple(key for key, _, _ in rows) == KEYS[HEADINGS[heading]]
    assert all(means.strip() and "`" in example for _, means, example in rows)


def test_every_key_is_used_in_an_example() -> None:
    examples = "\n".join(TEXTS.values())
    unused = {key for keys in KEYS.values() for key in keys if not re.search(rf"\b{key}:", examples)}
    assert unused == set()


def test_every_answer_is_explained() -> None:
    assert all(f"`{name}`" in SECTIONS["messages.yaml and messages/*.yaml"] for name in ANSWERS)


def test_the_examples_are_a_playbook() -> None:
    playbook = read(TEXTS)
    assert [action.name for action in playbook.actions] == ["bonus", "booster", "credit", "holiday"]
    warned = [found.message for found in check(playbook)]
    assert [message for message in warned if not message.endswith(" has no text in fr")] == []


@pytest.mark.parametrize(
    "texts", [TEXTS, new("New"), load_texts(ROOT / "examples" / "prepaid")], ids=["page", "new", "prepaid"]
)
def test_marketers_own_tests_pass(texts: dict[str, str]) -> None:
    assert [str(failure) for failure in run_tests(compile_program(read(texts)))] == []
