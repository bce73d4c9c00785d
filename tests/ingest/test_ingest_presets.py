"""The presets that kairos ships, against samples of what they are for; numbers, names and ids are fictional."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kairos.domain.event import Event
from kairos.domain.money import Currency
from kairos.domain.subscriber import Bucket
from kairos.errors import SettingsError
from kairos.ingest import EventReader, Mapped, Mappings, Passed, Unreadable
from kairos.ingest.units import UNITS
from kairos.playbook import load_texts, new
from kairos.playbook import read as read_playbook
from kairos.playbook.playbook import Playbook
from kairos.settings import load_settings, presets, read_preset, read_settings

NOW = 1_795_860_000_000  # 2026-11-28T10:00:00Z
EXAMPLE = Path(__file__).parents[2] / "examples" / "prepaid"

# As CGRateS's exporter *http_json_map posts a CDR where the exporter has no `fields` (ees/httpjsonmap.go marshals the
# event; engine/cdr.go, AsMapStringIface, has its keys; Go writes a duration as nanoseconds, a time as RFC 3339 with as
# many decimals as it has, a float as short as it can). CostDetails is the EventCost (engine/eventcost.go), its
# AccountSummary as in engine/balances.go.
CALL: dict[str, Any] = json.loads((Path(__file__).parent / "cgrates_call.json").read_text())
# The same where the exporter has `fields`: every value is text, and a duration as Go shows it.
TEXTS = {
    "CGRID": "31ee543f", "RunID": "*default", "ToR": "*voice", "Account": "12025550123", "Destination": "12025550144",
    "AnswerTime": "2026-11-28T09:58:30Z", "Usage": "1m10s", "Cost": "0.1",
}  # fmt: skip


@lru_cache
def example() -> Playbook:
    return read_playbook(load_texts(EXAMPLE))


def of(preset: str, playbook: Playbook) -> Mappings:
    text = presets()[preset].read_text(encoding="utf-8")

    found = [msgspec.structs.replace(one, source="s", lenient=True) for one in read_preset(text, preset)]
    reader = EventReader(playbook.vocabulary, playbook.currency)
    return Mappings(found, playbook.vocabulary, playbook.currency, reader)


def read(preset: str, payload: Any, playbook: Playbook | None = None) -> list[Any]:
    outcomes = of(preset, playbook or example()).read("s", "application/json", json.dumps(payload).encode(), NOW)
    return [outcome for _, outcome in outcomes]


def events(preset: str, payload: Any, playbook: Playbook | None = None) -> list[Event]:
    found = read(preset, payload, playbook)
    assert all(isinstance(one, Mapped) for one in found), found
    return [one.event for one in found]


def test_a_call_that_cgrates_charged_has_its_cost_its_end_and_what_is_left() -> None:
    (made,) = events("cgrates", CALL)
    assert (made.identity, made.kind, made.msisdn) == (f"s/{CALL['CGRID']}/*default", "end_of_call", "12025550123")
    assert made.happened == NOW - 90_000 + 250 + 70_000
    assert made.data == {
        "service": "voice",
        "cost": 10,
        "duration_s": 70.0,
        "balances": [Bucket("main", 856), Bucket("data", 1_500_000), Bucket("voice", 8_833)],
    }


def test_cgrates_with_fields_of_text_is_read_too() -> None:
    (made,) = events("cgrates", TEXTS)
    assert made.data == {"service": "voice", "cost": 10, "duration_s": 70.0}
    assert made.happened == NOW - 20_000


def test_data_that_cgrates_charged_is_a_session_too() -> None:
    data = CALL | {"ToR": "*data", "Usage": 250_000_000, "Cost": 1e-07}
    charged, used = events("cgrates", data)
    assert (charged.kind, charged.data["service"], charged.data["cost"]) == ("end_of_call", "data", 0)
    assert "duration_s" not in charged.data
    assert (used.kind, used.data, used.identity) == (
        "data_session",
        {"bytes": 250_000_000.0},
        f"s/{CALL['CGRID']}/*default/data",
    )
    (_, told) = events("cgrates", TEXTS | {"ToR": "*data", "Usage": "250ms"})
    assert told.data == {"bytes": 250_000_000.0}


@pytest.mark.parametrize(("tor", "service"), [("*sms", "sms"), ("*mms", "mms"), ("*generic", "vas")])
def test_other_charges_of_cgrates_have_their_service(tor: str, service: str) -> None:
    (made,) = events("cgrates", CALL | {"ToR": tor, "Usage": 1, "CostDetails": None})
    assert made.data == {"service": service, "cost": 10}


@pytest.mark.parametrize(
    "change",
    [
        {"Cost": -1, "ExtraInfo": "NOT_FOUND:RatingPlan", "CostDetails": None},
        {"RunID": "*raw"},
        {"RunID": "carrier"},
        {"Partial": True},
        {"AnswerTime": "0001-01-01T00:00:00Z", "Usage": 0, "Cost": 0},
        {"AnswerTime": None},
        {"Cost": None},
    ],
)
def test_what_is_no_charge_of_the_subscribers_is_passed_by(change: dict[str, Any]) -> None:
    assert read("cgrates", CALL | change) == [Passed()]


def test_an_account_that_is_no_number_is_refused_with_what_to_look_at() -> None:
    (refused,) = read("cgrates", CALL | {"Account": "1001"})
    assert isinstance(refused, Unreadable)
    assert str(refused.error).startswith("mapping `charged`: `subscriber`: `1001` is not an international phone number")


def test_presets_go_with_a_playbook_that_has_fewer_words() -> None:
    starter = read_playbook(new("starter"))
    (made,) = events("cgrates", CALL, starter)
    assert made.data == {"service": "voice", "cost": 10, "balances": [Bucket("main", 856), Bucket("data", 1_500_000)]}
    (only,) = events("cgrates", CALL | {"ToR": "*data"}, starter)
    assert only.kind == "end_of_call"
    assert read("dpi", {"event": "APPLICATION_START"}, starter) == [Passed()]


def samples(preset: str) -> list[Any]:
    """Those that the file itself shows."""
    text = presets()[preset].read_text(encoding="utf-8")
    shown = " ".join(line[1:].strip() for line in text.splitlines() if line.startswith("#   "))
    decoder, found = json.JSONDecoder(), []
    while shown:
        one, end = decoder.raw_decode(shown)
        found.append(one)
        shown = shown[end:].strip()
    return found


def test_what_the_preset_of_traffic_detection_shows_is_read() -> None:
    start, stop = (events("dpi", one)[0] for one in samples("dpi"))
    assert (start.kind, start.data) == ("app_start", {"app": "video", "name": "clip-stream"})
    assert (stop.kind, stop.data) == ("data_session", {"app": "video", "bytes": 250_100_000.0})
    assert stop.happened - start.happened == 1_800_000


def test_what_the_preset_of_a_vas_platform_shows_is_read() -> None:
    (sample,) = samples("vas")
    (made,) = events("vas", sample)
    assert (made.kind, made.data) == ("vas_purchase", {"item": "RBT_2041", "category": "tone", "price": 45})
    assert read("vas", sample | {"status": "FAILED"}) == [Passed()]


def test_every_preset_is_sound_with_the_example_and_every_field_of_it_is_there() -> None:
    playbook = example()
    for name in presets():
        text = presets()[name].read_text(encoding="utf-8")
        reader = EventReader(playbook.vocabulary, Currency("XTS", 2))
        strict = Mappings(read_preset(text, name), playbook.vocabulary, playbook.currency, reader)
        assert strict.sources[""]


def test_a_source_takes_a_preset_or_a_file_of_ones_own(tmp_path: Path) -> None:
    settings = tmp_path / "kairos.toml"
    settings.write_text('[sources.a]\npreset = "vas"\n[sources.b]\npreset = "mine.toml"\n')
    with pytest.raises(
        SettingsError, match=r"`sources.b.preset`: `mine.toml` is neither a preset nor a file"
    ) as refused:
        load_settings(settings, {})
    assert "there are `cgrates`, `dpi`, `vas`" in str(refused.value)
    mine = tmp_path / "mine.toml"
    mine.write_text('[[mappings]]\nevent = "x"\nid = "a"\n')
    with pytest.raises(SettingsError, match=r"mine.toml:1: `mappings.subscriber` is missing"):
        load_settings(settings, {})
    mine.write_text('[[mappings]]\nevent = "x"\nid = "a["\nsubscriber = "b"\n')
    found = load_settings(settings, {}).mappings
    assert [(one.source, one.lenient) for one in found] == [("a", True), ("b", False)]
    playbook = example()
    with pytest.raises(SettingsError, match=r"mine.toml:2: mapping `2`: `event`: `x` is not an event"):
        Mappings(found, playbook.vocabulary, playbook.currency, EventReader(playbook.vocabulary, playbook.currency))


def test_what_the_page_shows_is_sound_with_the_example() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "events.md").read_text(encoding="utf-8")
    whole, lists = (block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "\ndata." in f"\n{block}")
    playbook = example()
    words = dict(playbook.vocabulary.events["end_of_call"]) | {"products": "products"}
    vocabulary = replace(playbook.vocabulary, events={**playbook.vocabulary.events, "end_of_call": words})
    more = f'[[mappings]]\nsource = "dpi"\nevent = "end_of_call"\nid = "a"\nsubscriber = "b"\n{lists}'
    found = read_settings(whole + more, {}).mappings
    assert Mappings(found, vocabulary, playbook.currency, EventReader(vocabulary, playbook.currency)).sources["dpi"]
    assert set(re.findall(r"`(\w+)`", page.partition("units of a number: ")[2].partition(". A time span")[0])) == set(
        UNITS
    )
