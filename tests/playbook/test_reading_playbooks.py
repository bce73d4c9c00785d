"""What a good playbook becomes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kairos.decide.explain import NO_TREATMENT, NOT_ASKED, TOO_OLD
from kairos.decide.gates import HOLDOUT, QUIET
from kairos.decide.limits import DECLINED, OPEN
from kairos.domain.subscriber import Bucket
from kairos.errors import PlaybookError
from kairos.playbook import Limit, Playbook, check, load_texts, measure_messages, new, read, revision
from kairos.playbook.keys import KEYS
from kairos.playbook.placeholders import placeholders
from kairos.playbook.tests_file import REASONS

EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"
HOUR, DAY = 3_600_000, 86_400_000


def starter(**changes: tuple[str, str]) -> Playbook:
    """The starter with texts replaced: file (its name without .yaml) = (old, new)."""
    texts = new("Test")
    for name, (old, replacement) in changes.items():
        path = next(path for path in texts if path.endswith(f"{name}.yaml") and not path.startswith("tests/"))
        assert old in texts[path]
        texts[path] = texts[path].replace(old, replacement)
    return read(texts)


@pytest.fixture(scope="module")
def example() -> Playbook:
    return read(load_texts(EXAMPLE))


# --- what ships --------------------------------------------------------------------------------------------------


def test_the_starter_is_sound() -> None:
    playbook = read(new('My "first" one: test'))
    assert playbook.name == 'My "first" one: test'
    assert check(playbook) == []
    assert len(playbook.tests) >= 3


def test_the_example_is_sound(example: Playbook) -> None:
    assert check(example) == []
    assert len(example.tests) >= 10
    issues = {"top_up", "bundle", "personal", "content", "missed", "care", "retention", "network"}
    issues |= {"streaming", "companion"}
    assert {action.issue for action in example.actions} == issues
    assert {action.purpose for action in example.actions} == {"service", "care", "marketing", "third_party"}
    assert all(action.kind == "promise" for action in example.actions if action.issue == "top_up")


def test_the_example_speaks_every_language(example: Playbook) -> None:
    for message, by_language in example.messages.items():
        assert tuple(by_language) == ("en", "fr", "ar"), message


def test_every_offer_of_the_example_says_its_number(example: Playbook) -> None:
    keyed = ("inbound", "ussd", "ussd_push", "ivr", "calls")  # told by somebody, or answered by a key
    for action in example.actions:
        for message in (one.message for one in action.treatments if one.channel not in keyed):
            for texts in example.messages[message].values():
                assert all(("number" in placeholders(text)) == action.taken_by_reply for text in texts)


def test_the_example_has_short_lines(example: Playbook) -> None:
    """Beside a notification there is seldom more room than this."""
    lines = {t.message for action in example.actions for t in action.treatments if t.channel == "notification"}
    shortest: dict[tuple[str, str], int] = {}
    for found in measure_messages(example):
        key = (found.message, found.language)
        shortest[key] = min(found.units, shortest.get(key, found.units))
    assert {key[0] for key in shortest} >= lines
    assert all(units <= 39 for (message, _), units in shortest.items() if message in lines)


def test_reading_needs_no_server() -> None:
    """A playbook is read without a database, a network or a web framework in the process."""
    code = "import sys, kairos.playbook; print([m for m in ('sqlite3', 'fastapi', 'httpx') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# --- revision ------------------------------------------------------------------------------------------------------


def test_the_revision_depends_on_texts_and_paths_only() -> None:
    texts = new("X")
    backwards = dict(reversed(texts.items()))
    assert read(texts) == read(backwards)
    assert read(texts).revision == revision(texts) == revision(backwards)
    assert len(revision(texts)) == 12
    assert revision({"a": "bc"}) != revision({"ab": "c"})
    assert revision(texts | {"messages.yaml": texts["messages.yaml"] + "\n"}) != revision(texts)


def test_a_revision_stays_what_it_is() -> None:
    """Records name it for years: another Python or another machine may not change it."""
    assert revision({"a.yaml": "name: x\n", "b/c.yaml": "é"}) == "c03935aea026"


def test_a_playbook_can_be_read_again_from_its_own_texts(example: Playbook) -> None:
    assert read(example.texts) == example


# --- the files -----------------------------------------------------------------------------------------------------


def test_vocabulary(example: Playbook) -> None:
    words = example.vocabulary
    assert words.wallets["data"].digits == 3
    assert words.wallets["main"].digits == 2
    assert words.attributes["bill_shock_at"].sources == (("bill_shock", "happened"),)
    assert words.attributes["bill_shock_at"].default == 946_684_800_000
    assert words.attributes["expires_in_h"].soonest_expiry == ("data", "voice")
    assert words.counters["spend_7d"].type == "money"
    assert words.counters["calls_7d"].where is not None
    assert words.counters["calls_7d"].where.names == {"end_of_call.service"}


@pytest.mark.parametrize(
    ("over", "step"),
    [
        ("10 minutes", 60_000),
        ("1 hour", 60_000),
        ("2 hours", 5 * 60_000),
        ("6 hours", 15 * 60_000),
        ("1 day", HOUR),
        ("7 days", 6 * HOUR),
        ("24 days", DAY),
        ("25 hours", HOUR),
        ("90 minutes", 60_000),
        ("52 weeks", DAY),
        ("7 days, step: 2 hours", 2 * HOUR),
    ],
)
def test_steps_of_counters(over: str, step: int) -> None:
    assert starter(vocabulary=("over: 7 days", f"over: {over}")).vocabulary.counters["spend_7d"].step == step


def test_a_variants_fields_as_messages_and_rules_see_them() -> None:
    playbook = starter(
        booster=(
            "{size: 500MB, validity: 1 day,  price: 1, value: 0.50}",
            "{size: 500MB, validity: 1 day, price: 1, top_up: 2.5, days: 1, code: '7'}",
        )
    )
    small = playbook.actions[0].variants[0]
    assert (small.price, small.value, small.product) == (100, 100, "DATA500_1D")
    assert small.fields == {"top_up": "T$2.50", "size": "500MB", "validity": "1 day", "days": "1", "code": "7"}


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ("days > 3", "FALSE"),
        ("code = '7'", "TRUE"),
        ("balance >= top_up", "balance >= 250 minor"),
        ("size = '500MB'", "TRUE"),
    ],
)
def test_a_rule_knows_the_variants_own_fields(rule: str, key: str) -> None:
    texts = new("Test")
    texts["offers/booster.yaml"] = (
        texts["offers/booster.yaml"]
        .replace("  large: {size: 2GB,   validity: 7 days, price: 4, value: 2.40}\n", "")
        .replace(", large: DATA2G_7D", "")
        .replace("price: 1, value: 0.50", "price: 1, top_up: 2.5, days: 1, code: '7'")
        .replace("balance >= price", rule)
    )
    assert read(texts).actions[0].variants[0].rules[2].rule.condition.key == key


def test_rules_keep_their_order_names_and_places(example: Playbook) -> None:
    mix = next(action for action in example.actions if action.name == "your_mix")
    assert [(rule.stage, rule.rule.name) for rule in mix.variants[0].rules] == [
        ("eligible", "prepaid customer"),
        ("relevant", "talks and surfs"),
        ("suitable", "costs less than their last week"),
        ("suitable", "can afford it"),
    ]
    assert mix.variants[0].rules[3].rule.file == "offers/your_mix.yaml"
    assert mix.variants[0].rules[3].rule.line == 16
    assert mix.variants[0].rules[3].rule.condition.key == "balance >= 200 minor"


def test_a_promise_is_bound_to_each_variant(example: Playbook) -> None:
    promise = next(action for action in example.actions if action.kind == "promise")
    assert promise.redeemed_by == "recharge"
    found = {variant.name: str(variant.redeemed_when) for variant in promise.variants}
    assert found["five"] == "recharge.amount >= 500 minor"
    assert found["twenty"] == "recharge.amount >= 2000 minor"
    assert not promise.taken_by_reply


@pytest.mark.parametrize(
    ("currency", "shown"),
    [('{code: XTS, sign: "T$"}', "T$1"), ("{code: XTS}", "XTS 1"), ('{code: XTS, digits: 0, sign: "T "}', "T 1")],
)
def test_how_amounts_are_shown(currency: str, shown: str) -> None:
    texts = {path: text for path, text in new("Test").items() if not path.startswith("tests/")}
    texts["playbook.yaml"] = f"name: x\nlanguages: en\ncurrency: {currency}\n"
    texts["offers/booster.yaml"] = texts["offers/booster.yaml"].replace("0.50", "1").replace("2.40", "2")
    playbook = read(texts)
    assert playbook.currency.show(playbook.actions[0].variants[0].price) == shown


def test_durations_and_words_for_no_end() -> None:
    booster = starter(booster=("5 minutes}", "always, recharge: 30 seconds, inbound: 2 weeks}")).actions[0]
    assert booster.answers == {"end_of_call": -1, "recharge": 30_000, "inbound": 14 * DAY}
    assert starter(booster=("after_decline: 14 days", "after_decline: never")).actions[0].after_decline == -1
    assert booster.send_within == 600_000


def test_the_contact_policy(example: Playbook) -> None:
    policy = example.policy
    assert [rule.name for rule in policy.contact_only_when] == [
        "marketing consent",
        "texts wanted",
        "offers of others wanted",
    ]
    assert [rule.name for rule in policy.pause_while] == [
        "open complaint",
        "degraded service",
        "bill shock",
        "churn sign",
    ]
    assert policy.quiet_hours == (21 * 60, 8 * 60)
    assert policy.holdout == 0.05
    assert policy.limits[1] == Limit("5 riding lines of each offer per 1 day", 5, DAY, riding=True, each="action")


def test_the_example_uses_all_of_the_policy() -> None:
    """But for templates, which only some regulators want, registers that are files, which need one, and what needs a
    way out beside the SMSC."""
    policy = yaml.safe_load((EXAMPLE / "contact_policy.yaml").read_text(encoding="utf-8"))
    assert policy.keys() == set(KEYS["contact_policy"]) - {"templates", "addresses", "stop_on"}
    assert set().union(*policy["limits"]) == set(KEYS["limit"]) - {"action"}
    assert {limit["per"].split()[-1] for limit in policy["limits"]} >= {"day", "days", "week", "month"}
    gates = [*policy["contact_only_when"].values(), *policy["pause_while"].values()]
    assert set().union(*(gate for gate in gates if isinstance(gate, dict))) == set(KEYS["gate"])
    assert set(policy["data_only_when"]) == {"usage", "dpi", "location"}
    offers = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in EXAMPLE.glob("[ao]*/*.yaml")]
    rests = [offer["after_decline"] for offer in offers]
    assert "never" in rests
    assert set().union(*(one for one in rests if isinstance(one, dict))) == set(KEYS["after_decline"])
    assert {offer.get("purpose") for offer in offers} >= {"service", "third_party"}
    for key in ("control", "volume", "budget", "repurchase"):
        assert any(key in offer for offer in offers), key


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("{at_most: 1, per: 3 days, channel: sms}", "1 contact by sms per 3 days"),
        ("{at_most: 2, per: 1 day, riding: no, issue: bundle}", "2 own messages about bundle per 1 day"),
        ("{at_most: 3, per: 1 week, offer: booster}", "3 contacts of booster per 1 week"),
        ("{at_most: 3, per: 1 week, action: booster, each: issue, name: mine}", "mine"),
    ],
)
def test_names_of_limits(written: str, name: str) -> None:
    policy = starter(contact_policy=("{at_most: 2, per: 1 day, riding: no}", written)).policy
    assert policy.limits[1].name == name


def test_replies(example: Playbook) -> None:
    words = example.replies["5000"]
    assert words.accept["en"] == ("yes", "ok", "y")
    assert words.decline["en"][0] == "no"
    assert words.withdraws == ("marketing_consent",)
    assert words.other_services == {"BAL": "info"}


def test_a_marketers_test_is_typed() -> None:
    texts = new("Test")
    texts["tests/more.yaml"] = (
        "test: typed\ngiven: {plan: prepaid, balance: 2.50, data_left_mb: 1e3, marketing_consent: on, spend_7d: 7}\n"
        "when: {end_of_call: {service: data, cost: 0.10, balances: {main: 2.40, data: 118.5}}}\n"
        "then: {offer: none, because: {booster: holdout}}\nat: 2026-11-22 08:30"
    )
    found = read(texts).tests[-1]
    assert found.given == {
        "plan": "prepaid",
        "balance": 250,
        "data_left_mb": 1000.0,
        "marketing_consent": True,
        "spend_7d": 700,
    }
    assert found.data == {"service": "data", "cost": 10, "balances": [Bucket("main", 240), Bucket("data", 118_500)]}
    assert (found.event, found.offer, found.because, found.at) == (
        "end_of_call",
        "none",
        {"booster": "holdout"},
        "2026-11-22T08:30",
    )


def test_reasons_are_those_that_deciding_gives() -> None:
    """The rooms above may not be imported from below; here their words are compared."""
    assert {HOLDOUT, QUIET, OPEN, DECLINED, NOT_ASKED, TOO_OLD, NO_TREATMENT} <= set(REASONS)


# --- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_is_loaded(tmp_path: Path) -> None:
    for path, text in new("On disk").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8-sig")
    (tmp_path / "README.md").write_text("not read")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hidden.yaml").write_text("not read")
    assert load_texts(tmp_path) == new("On disk")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlaybookError, match="there is no such folder; `kairos new` makes one"):
        load_texts(tmp_path / "nowhere")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "messages.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(PlaybookError, match=r"messages\.yaml: the file is not UTF-8 text; see byte 3"):
        load_texts(tmp_path)
