"""Behind the HTTP door: events in, figures out, explanations as plain data."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.hanging import Hanging

from kairos.adapters.engine_figures import EngineCollector
from kairos.adapters.explanations import HttpExplanations
from kairos.adapters.ingress import HttpIngress
from kairos.domain.budget import Standing
from kairos.domain.subscriber import Bucket
from kairos.engine.explain import Explainer, in_words
from kairos.engine.loop import Loop, OverloadedError
from kairos.engine.program import compile_program
from kairos.errors import StoreError
from kairos.ingest import Readable
from kairos.playbook import read
from kairos.ports import Batch


@pytest.fixture
async def ingress(bench: Any) -> AsyncIterator[HttpIngress]:
    loop = Loop(bench.engine, lambda: bench.now, lambda _: None, queue=10)
    running = asyncio.create_task(loop.run())
    yield HttpIngress(loop, "", lambda: {"smsc_bound": True, "sending": 3})
    loop.close()
    await asyncio.wait_for(running, 60)


async def test_every_event_has_its_answer_in_its_place(ingress: HttpIngress, bench: Any) -> None:
    event = bench.event("recharge", amount=500, identity="one")
    wrong = bench.event("recharge", amount=500)
    answers = await ingress.submit([event, wrong, event])
    assert [answer.status for answer in answers] == ["applied", "applied", "duplicate"]


async def test_no_room_is_an_error_and_what_had_room_is_a_duplicate_when_it_comes_again(
    ingress: HttpIngress, bench: Any
) -> None:
    events = [bench.event("recharge", amount=1) for _ in range(15)]
    with pytest.raises(OverloadedError, match="8 inputs are waiting"):
        await ingress.submit(events)
    answers = []
    for part in (events[:8], events[8:]):
        while ingress.loop.waiting:
            await asyncio.sleep(0.001)
        answers += [answer.status for answer in await ingress.submit(part)]
    assert answers == ["duplicate"] * 8 + ["applied"] * 7


async def test_a_store_that_is_down_is_an_error_and_a_trouble(
    ingress: HttpIngress, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any) -> None:
        raise StoreError("the disk is full")

    assert ingress.troubles() == []
    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "commit", full)
        with pytest.raises(StoreError, match="the disk is full"):
            await ingress.submit([bench.event("recharge", amount=1)])
    assert ingress.troubles() == ["the store does not take batches: the disk is full"]
    await ingress.submit([bench.event("recharge", amount=1)])
    assert ingress.troubles() == []


async def test_an_event_that_breaks_the_engine_costs_itself_alone(
    ingress: HttpIngress, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = bench.engine._take

    def broken(work: Any, index: int, event: Any) -> Any:
        if getattr(event, "identity", "") == "bad":
            raise ZeroDivisionError("by zero")
        return fold(work, index, event)

    monkeypatch.setattr(bench.engine, "_take", broken)
    events = [bench.event("recharge", amount=1, identity=name) for name in ("one", "bad", "two")]
    answers = await ingress.submit(events)
    assert [answer.status for answer in answers] == ["applied", "failed", "applied"]
    assert ingress.troubles() == []


async def test_a_trouble_passes_so_that_somebody_tries_again(
    ingress: HttpIngress, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(bench.store, "commit", full)
    with pytest.raises(StoreError):
        await ingress.submit([bench.event("recharge", amount=1)])
    assert ingress.troubles()
    bench.now += 10_000
    assert ingress.troubles() == []


async def test_the_reader_follows_the_playbook(ingress: HttpIngress, bench: Any, texts: dict[str, str]) -> None:
    before = ingress.reader()
    assert ingress.reader() is before
    texts["vocabulary.yaml"] = texts["vocabulary.yaml"].replace("wallets:", "  late: {amount: money}\nwallets:")
    bench.engine.use(compile_program(read(texts)))
    assert ingress.reader() is not before


async def test_the_figures_are_valid_prometheus_text(ingress: HttpIngress, bench: Any) -> None:
    known = {"plan": "prepaid", "language": "en", "marketing_consent": False}
    await ingress.submit([bench.event("profile", **known)])
    await ingress.submit([bench.event("end_of_call", service="voice", cost=35, notification="Your call") for _ in "ab"])
    registry = CollectorRegistry()
    registry.register(EngineCollector(ingress))
    families = {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}
    assert set(families) == {"kairos_engine", "kairos_refusals", "kairos_now", "kairos_budget"}
    assert all(family.documentation for family in families.values())
    samples = {
        (sample.name, *sample.labels.values()): sample.value for one in families.values() for sample in one.samples
    }
    stats = ingress.stats()
    for name, value in stats["counts"].items():
        assert samples["kairos_engine_total", name] == value
    assert stats["refusals"]
    for name, value in stats["refusals"].items():
        assert samples["kairos_refusals_total", name] == value
    assert samples["kairos_now", "waiting"] == 0
    assert samples["kairos_now", "smsc_bound"] == 1
    assert samples["kairos_now", "sending"] == 3


async def test_budgets_are_figures(
    ingress: HttpIngress, bench: Any, bench_with: Any, texts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = texts["offers/booster.yaml"] + "volume: {at_most: 4, per: calendar day, pace: even}\n"
    bench.engine.use(bench_with({"offers/booster.yaml": offer}).program)
    bench.store.commit(Batch(budgets={("volume of booster", bench.now - bench.now % 86_400_000): Standing(1, 2)}))
    standing = {"cap": 4, "allowed": 2, "reserved": 1, "spent": 2, "left": 1}
    hanging = Hanging(bench.store, "budgets")
    with monkeypatch.context() as hurry:
        hurry.setattr("kairos.adapters.ingress.LOOKS_FOR", 0.01)
        await ingress.look()  # in vain
    assert ingress.stats()["budgets"] == {}
    hanging.end()
    monkeypatch.setattr("kairos.adapters.ingress.LOOKS_FOR", 60.0)
    await ingress.look()
    assert ingress.stats()["budgets"] == {"volume of booster": standing}
    registry = CollectorRegistry()
    registry.register(EngineCollector(ingress))
    assert registry.get_sample_value("kairos_budget", {"budget": "volume of booster", "what": "spent"}) == 2


def test_a_reason_in_any_words_is_valid_prometheus_text() -> None:
    class Odd:
        def stats(self) -> dict[str, Any]:
            figures = {"counts": {'say "no"\nor \\': 1}, "refusals": {"prix élevé": 2}, "gauges": {"": math.inf}}
            return {**figures, "budgets": {}}

    registry = CollectorRegistry()
    registry.register(EngineCollector(Odd()))  # type: ignore[arg-type]
    families = text_string_to_metric_families(generate_latest(registry).decode())
    labels = {value for family in families for sample in family.samples for value in sample.labels.values()}
    assert labels == {'say "no"\nor \\', "prix élevé", ""}


# -- explanations ------------------------------------------------------------------------------------------------------


async def test_news_of_who_has_a_number_comes_through_the_same_door(ingress: HttpIngress, bench: Any) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/crm",
        "type": "org.example.number_recycled",
        "subject": "+12025550123",
        "time": "2026-03-04T12:00:00Z",
        "data": {"imsi": "001010000000002"},
    }
    bench.profile()
    before = bench.state().id
    (entry,) = ingress.reader().read("application/cloudevents+json", {}, msgspec.json.encode(event), bench.now)
    assert isinstance(entry, Readable)
    assert [answer.status for answer in await ingress.submit([entry.event, entry.event])] == ["applied", "duplicate"]
    assert bench.state().id != before
    assert bench.store.load(["imsi:001010000000002"], []).subscribers == {"imsi:001010000000002": bench.state().id}


@pytest.fixture
def explanations(bench: Any) -> HttpExplanations:
    bench.store.save_playbook(bench.program.playbook.revision, "layout", bench.program.playbook.texts)
    return HttpExplanations(Explainer(bench.store, lambda texts: compile_program(read(texts))))


@pytest.mark.parametrize("what", ["decision", "subscriber"])
async def test_an_explanation_that_cannot_be_read_holds_up_only_who_asks_for_it(
    bench: Any, explanations: HttpExplanations, what: str
) -> None:
    hanging = Hanging(bench.store, "decision" if what == "decision" else "load")
    asked = asyncio.create_task(explanations.decision(1) if what == "decision" else explanations.subscriber("1"))
    await hanging.reached()
    hanging.end()
    assert await asked is None


async def test_an_explanation_is_json_with_amounts_as_they_are_read(bench: Any, explanations: HttpExplanations) -> None:
    bench.profile(open_tickets=2.5)
    bench.apply(bench.event("end_of_call", service="voice", cost=35))
    (found,) = await explanations.subscriber("12025550123") or ()
    again = msgspec.json.decode(msgspec.json.encode(found))
    assert again == found == await explanations.decision(found["decision"])
    assert found["msisdn"] == "12025550123"
    assert (found["known"]["end_of_call.cost"], found["shown"]["end_of_call.cost"]) == (35, "T$0.35")
    assert (found["known"]["marketing_consent"], found["shown"]["marketing_consent"]) == (True, "yes")
    assert (found["shown"]["open_tickets"], found["shown"]["now"]) == ("2.5", "2026-03-04 12:00:00")
    assert found["known"].keys() == found["shown"].keys()
    assert {verdict["arm"] for verdict in found["verdicts"]} >= {"booster/small", "booster/large", "top_up/ten"}
    assert (found["said"], found["channel"]) == ("", "")


async def test_what_was_said_is_in_it_with_what_came_of_it(bench: Any, explanations: HttpExplanations) -> None:
    bench.profile()
    low = bench.event("end_of_call", cost=35, balances=[Bucket("main", 100)], notification="Your call cost T$0.35.")
    bench.apply(low)
    (found,) = await explanations.subscriber("12025550123") or ()
    assert (found["said"], found["channel"]) == ("top_up/ten", "notification")
    assert [verdict["arm"] for verdict in found["verdicts"] if verdict["state"] == "chosen"] == ["top_up/ten"]
    assert found["responses"] == []
    bench.apply(bench.event("recharge", amount=1000))
    (found,) = await explanations.subscriber("12025550123") or ()
    assert [response["outcome"] for response in found["responses"]] == ["redeemed"]
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


async def test_who_is_not_known_has_no_explanations(bench: Any, explanations: HttpExplanations) -> None:
    assert await explanations.subscriber("12025550199") is None
    assert await explanations.decision(4711) is None
    bench.profile()
    assert await explanations.subscriber("12025550123") == []


async def test_a_decision_of_a_playbook_that_is_gone_is_not_explained(bench: Any) -> None:
    bench.profile()
    bench.apply(bench.event("end_of_call", service="voice", cost=35))
    gone = HttpExplanations(Explainer(bench.store, lambda texts: compile_program(read(texts))))
    assert await gone.subscriber("12025550123") == []


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (1240, "money", "T$12.40"),
        (-5, "money", "-T$0.05"),
        (0, "money", "T$0"),
        (0.1 + 0.2, "number", "0.3"),
        (123456789012.0, "number", "123456789012"),
        (math.inf, "number", "inf"),
        (7, "number", "7"),
        (False, "boolean", "no"),
        ("prepaid", "text", "prepaid"),
        (20516, "date", "2026-03-04"),
        (-1, "date", "1969-12-31"),
        (1_772_625_600_500, "time", "2026-03-04 12:00:00"),
        (10**18, "time", str(10**18)),
        (10**12, "date", str(10**12 * 86_400_000)[:10]),
    ],
)
def test_values_in_words(bench: Any, value: Any, kind: Any, shown: str) -> None:
    assert in_words(value, kind, bench.program.playbook.currency) == shown
