"""`kairos events try`: what a sample becomes, by the code of the server; its exit status says whether all is well."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kairos.cli.demo import example

Kairos = Callable[..., tuple[int, str, str]]
CDR = Path(__file__).parents[1] / "ingest" / "cgrates_call.json"


@pytest.fixture
def tried(kairos: Kairos, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Try a sample with the example's settings: status, and what is said on either way."""

    def run(sample: Any, *options: str) -> tuple[int, str]:
        file = tmp_path / "sample.json"
        file.write_text(sample if isinstance(sample, str) else json.dumps(sample))
        code, out, errors = kairos("events", "try", file, "--settings", example() / "kairos.toml", *options)
        return code, " ".join((out + errors).split())

    return run


def cdr(**changes: Any) -> dict[str, Any]:
    answered = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 75))
    found: dict[str, Any] = json.loads(CDR.read_text()) | {"AnswerTime": answered} | changes
    return found


def test_a_cdr_is_shown_as_the_event_that_it_becomes(tried: Callable[..., tuple[int, str]]) -> None:
    code, said = tried(cdr(), "--source", "cgrates")
    assert code == 0, said
    for words in (
        "1 end_of_call cgrates/31ee543fdc15e011332e0a0952c0b37b161e3a59/*default by charged",
        "subscriber 12025550123",
        "service text voice",
        "cost money T$0.10",
        "duration_s number 70",
        "balances balances main T$8.56, data 1500 MB, voice 8.833 min",
        "feeds last_service, balance, data_left_mb, minutes_left, expires_in_h, calls_7d, spend_7d, spend_1h",
        "missed_talk",
    ):
        assert words in said


def test_what_is_too_old_to_be_answered_is_said(tried: Callable[..., tuple[int, str]]) -> None:
    code, said = tried(cdr(AnswerTime="2026-01-01T00:00:00Z", Usage=None), "--source", "cgrates")
    assert code == 0
    assert "answered by no action" in said
    assert "too late for off_peak_hint (after 5 minutes)" in said
    assert "left out duration_s" in said


def test_wrong_and_ignored_ones_are_named_and_the_status_is_1(tried: Callable[..., tuple[int, str]]) -> None:
    code, said = tried([cdr(), cdr(Account="1001"), cdr(RunID="carrier")], "--source", "cgrates")
    assert code == 1
    assert "2 wrong mapping `charged`: `subscriber`: `1001` is not an international phone number" in said
    assert "3 ignored no mapping is for it: the `when` of none holds" in said
    assert tried(cdr(RunID="carrier"), "--source", "cgrates")[0] == 1


def test_lines_are_told_by_themselves(tried: Callable[..., tuple[int, str]]) -> None:
    code, said = tried("\n".join(json.dumps(cdr(CGRID=name)) for name in "ab"), "--source", "cgrates")
    assert code == 0, said
    assert "2 end_of_call cgrates/b/*default" in said


def test_cloudevents_are_read_too(tried: Callable[..., tuple[int, str]]) -> None:
    one = {
        "specversion": "1.0",
        "id": "1",
        "source": "/ocs",
        "type": "recharge",
        "subject": "+12025550123",
        "time": "2026-11-24T18:00:00Z",
        "data": {"amount": "12.50"},
    }
    code, said = tried(one)
    assert (code, "amount money T$12.50" in said) == (0, True)
    assert "feeds last_recharge, recharges_30d, recharged_30d, largest_top_up_30d" in said
    code, said = tried([one, one | {"data": {"amount": "1.001"}}])
    assert (code, "2 wrong `amount`: `1.001` has more than 2 decimals" in said) == (1, True)


@pytest.mark.parametrize(
    ("sample", "options", "said"),
    [
        (
            {"a": 1},
            [],
            "it is no CloudEvent, which has a `specversion`; name a source with --source (`dpi`, `vas`, `cg",
        ),
        ("{", ["--source", "dpi"], "wrong this is not JSON"),
        ({}, ["--source", "dip"], "there is no source `dip` in the settings; did you mean `dpi`?"),
        ("Hello", ["--account", "ocs"], "no pattern of `ocs` reads the whole of it; it would go out as it came"),
        ("Hello", ["--account", "osc"], "there is no account `osc` in the settings; did you mean `ocs`?"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(
    tried: Callable[..., tuple[int, str]], sample: Any, options: list[str], said: str
) -> None:
    code, text = tried(sample, *options)
    assert code == 1
    assert said in text


def test_a_notification_is_read_by_the_accounts_patterns(tried: Callable[..., tuple[int, str]]) -> None:
    code, said = tried("Votre appel: T$0.30. Solde T$2.00. Réf 9a\n", "--account", "ocs")
    assert code == 0, said
    assert "end_of_call ocs/NUMBER/9a by fr" in said
    assert "cost money T$0.30 balances balances main T$2" in said


def test_standard_input_and_json(kairos: Kairos, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(cdr(ToR="*data", Usage=250_000_000)).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(body)))
    toml = example() / "kairos.toml"
    code, out, _ = kairos("events", "try", "-", "--source", "cgrates", "--settings", toml, "--json")
    charged, used = json.loads(out)["events"]
    assert code == 0
    assert (charged["event"]["kind"], charged["event"]["data"]["cost"], charged["by"]) == ("end_of_call", 10, "charged")
    assert (used["event"]["data"], used["shown"]) == ({"bytes": 250_000_000.0}, {"bytes": "250000000"})
    assert "games_pass" in used["answered_by"]


def test_a_preset_is_printed_and_can_be_a_file_of_ones_own(kairos: Kairos, tmp_path: Path) -> None:
    assert kairos("events", "preset")[:2] == (0, "cgrates\ndpi\nvas\n")
    code, text, _ = kairos("events", "preset", "vas")
    assert code == 0
    (tmp_path / "mine.toml").write_text(text.replace('"msisdn"', '"customer.number"'))
    (tmp_path / "kairos.toml").write_text(f'playbook = "{example()}"\n[sources.vas]\npreset = "mine.toml"\n')
    sample = {
        "transactionId": "1",
        "status": "CHARGED",
        "customer": {"number": "+12025550123"},
        "purchasedAt": "2026-11-01T00:00:00Z",
    }
    (tmp_path / "sample").write_text(json.dumps(sample))
    code, out, errors = kairos("events", "try", "sample", "--source", "vas")
    assert (code, "vas_purchase" in out) == (0, True), errors
    assert kairos("events", "preset", "vsa")[2] == "there is no preset `vsa`; did you mean `vas`?\n"
