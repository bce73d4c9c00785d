"""After a sweep a store's file has nothing of a person who was forgotten, octet by octet."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conftest import MSISDN, NOON, TEXTS, compiled

from kairos.adapters.sqlite import SqliteStore
from kairos.adapters.sqlite.person import SqlitePerson
from kairos.adapters.sqlite.queries import SqliteQueries
from kairos.adapters.sqlite.sweep import SqliteSweep
from kairos.domain.dead_letter import DeadLetter
from kairos.domain.erasure import Erasure
from kairos.domain.event import Event
from kairos.domain.inbound import Sought
from kairos.domain.inputs import Change, Delivery, Fulfilment, Reply
from kairos.domain.passage import Communication, Handed
from kairos.domain.recommendation import Kept
from kairos.domain.subscriber import Bucket
from kairos.engine.engine import Engine
from kairos.engine.suppression import Suppression
from kairos.engine.work import Input
from kairos.learn import FixedPropensity
from kairos.ports import Batch

NAME = "Adalovelace"
VOCABULARY = TEXTS["vocabulary.yaml"]
WITH_NAMES = TEXTS | {
    "vocabulary.yaml": VOCABULARY.replace("open_tickets: number}", "open_tickets: number, name: text}").replace(
        "counters:", "  name: {type: text, from: [profile.name]}\ncounters:"
    )
}
OTHERS = 300


class Town:
    """An engine on a store's file, with one person who is to be forgotten among others."""

    def __init__(self, path: Path) -> None:
        self.path, self.now, self.serial = path, NOON, 0
        self.store = SqliteStore(path, checkpoint_pages=200)
        program = compiled(WITH_NAMES)
        self.store.save_playbook(program.playbook.revision, program.playbook.vocabulary.layout, WITH_NAMES)
        self.engine = Engine(self.store, program, FixedPropensity())
        self.engine.suppression = Suppression(b"secret")

    def take(self, *inputs: Input) -> Any:
        work = self.engine.apply(inputs, self.now)
        self.store.commit(work.batch)
        self.engine.flying.clear()
        return work

    def event(self, kind: str, msisdn: str = MSISDN, **data: Any) -> Event:
        self.serial += 1
        return Event(f"t/{self.serial}", kind, msisdn, self.now, data, None, {"imsi": f"00101{msisdn[-10:]}"})

    def profile(self, msisdn: str, name: str) -> Event:
        return self.event("profile", msisdn, plan="prepaid", language="en", marketing_consent=True, name=name)

    def poor(self, msisdn: str) -> Event:
        balances = [Bucket("main", 5000), Bucket("data", 9)]
        return self.event("end_of_call", msisdn, service="voice", cost=1, balances=balances)

    def life(self) -> None:
        """Everybody is offered something and takes it; the one person says a lot, and their number is everywhere."""
        chance = random.Random(1)
        numbers = [f"1202555{one:04d}" for one in chance.sample(range(1000, 9999), OTHERS)] + [MSISDN]
        self.take(*(self.profile(one, NAME if one == MSISDN else f"Somebody{one}") for one in numbers))
        texts = self.take(*map(self.poor, numbers)).batch.outgoing
        self.take(*(Delivery(row.id, row.subscriber, "delivered", self.now, "peer") for row in texts))
        yeses = self.take(*(Reply(f"r/{one}", one, "5000", f"YES {one}", self.now) for one in numbers))
        orders = [row for row in yeses.batch.outgoing if row.channel == "ocs"]
        keys = [msgspec.msgpack.decode(order.payload)[0] for order in orders]
        self.key = keys[-1]  # of the one person, who came last
        done = zip(orders, keys, strict=True)
        self.take(*(Fulfilment(order.id, order.subscriber, key, "done", self.now) for order, key in done))
        receivers = [{"phoneNumber": f"+{one}"} for one in (MSISDN, "12025550777")]
        self.take(
            Communication("c1", "vas", self.now, self.now, {"receiver": receivers}),
            Handed("c1.1", "vas", MSISDN, "1234", "Your parcel is here", "service", self.now, self.now + 1000),
        )
        self.sent()
        self.take(Reply("stop", MSISDN, "5000", "STOP", self.now))
        letters = [
            DeadLetter("event", "e1", self.now, MSISDN, "broke", b"x"),
            DeadLetter("unread", "shape", self.now, "", "no pattern", f"Call to {MSISDN} ended".encode()),
            DeadLetter("unread", "another", self.now, "12025550777", "no pattern", b"Call ended"),
        ]
        self.store.commit(Batch(dead_letters=letters))
        with closing(SqliteQueries(self.path)) as queries:
            for key, name in (("k1", MSISDN), ("k2", f"imsi:00101{MSISDN[-10:]}"), ("k3", "12025550777")):
                queries.put(
                    Kept(key, name, self.now, "done", Sought(name, "care"), json.dumps(name).encode(), True), 0, 10
                )

    def sent(self) -> None:
        """Whatever waits in the outbox goes."""
        rows = self.store.unsent(0, 10_000)
        self.take(*(Delivery(row.id, row.subscriber, "sent", self.now) for row in rows))

    def sweep(self) -> list[int]:
        with closing(SqliteSweep(self.path)) as sweep:
            return sweep.sweep(self.now)

    def found(self, what: str) -> int:
        """How often something stands in the file and its log, wherever it stands."""
        files = [self.path, self.path.with_name(f"{self.path.name}-wal")]
        return sum(one.read_bytes().count(what.encode()) for one in files if one.exists())


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path / "kairos.db")
    town.life()
    yield town
    town.store.close()


def test_nothing_of_them_is_left_but_a_blank_purchase_and_a_mark(town: Town) -> None:
    assert town.found(MSISDN) > 10
    assert town.found(NAME) > 1
    other = town.found("Somebody")
    town.take(Erasure("e", MSISDN, town.now, "asked for it"))
    assert town.found(NAME)
    town.sent()
    assert len(town.sweep()) == 1
    assert town.sweep() == []
    town.store.close()
    with closing(SqliteSweep(town.path)) as sweep:
        sweep.vacuum()
    assert (town.found(MSISDN), town.found(NAME), town.found(f"00101{MSISDN[-10:]}")) == (0, 0, 0)
    assert town.found("Somebody") > other / 3  # of everybody else, all that is current
    town.store = SqliteStore(town.path)
    communication = town.store.communication("c1")
    assert communication
    assert communication.document["receiver"] == [{"phoneNumber": ""}, {"phoneNumber": "+12025550777"}]
    assert town.store.passage("c1.1") is None
    purchase = town.store.purchase(town.key)
    assert purchase is not None
    assert (purchase.status, purchase.price, purchase.msisdn) == ("done", 4500, "")
    assert [(said.text, said.identity) for said in purchase.proof] == [("", "")]
    assert len(town.store.suppressed()) == 1
    assert [one.identity for one in town.store.dead_letters()] == ["another"]
    with closing(SqliteQueries(town.path)) as queries:
        assert [queries.get(key) is not None for key in ("k1", "k2", "k3")] == [False, False, True]


def test_a_running_store_overwrites_what_it_deletes(town: Town) -> None:
    """Before the file is written anew: what is left is in the free space of index pages alone."""
    town.take(Erasure("e", MSISDN, town.now))
    town.sent()
    town.sweep()
    town.store.close()
    assert town.found(NAME) == 0
    assert town.found(f"YES {MSISDN}") == 0


def test_pages_that_came_free_before_are_overwritten(town: Town) -> None:
    """Retention does not overwrite whole pages that it frees: what it deletes is old, and nobody's in particular."""
    town.take(*(town.poor(MSISDN) for _ in range(100)))
    town.store.forget("decisions", town.now + 1, 0, 10_000)
    town.take(Erasure("e", MSISDN, town.now))
    town.sent()
    town.sweep()
    with closing(sqlite3.connect(town.path)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] > 3
    town.store.close()
    assert town.found(NAME) == 0


def test_what_must_still_be_sent_is_swept_up_afterwards(town: Town) -> None:
    town.take(town.event("recharge", amount=1))
    assert town.store.unsent(0, 10)  # the answer to STOP
    town.take(Erasure("e", MSISDN, town.now))
    assert town.sweep() == []
    with closing(SqliteSweep(town.path)) as sweep:
        assert [one["done"] for one in sweep.latest()] == [0]
        assert [MSISDN in one.person.numbers for one in sweep.waiting()] == [True]
    town.sent()
    assert len(town.sweep()) == 1
    with closing(SqliteSweep(town.path)) as sweep:
        assert [(one["reason"], one["done"]) for one in sweep.latest()] == [("", town.now)]
        assert sweep.waiting() == []


def test_a_purchase_that_goes_on_keeps_its_number_until_it_has_ended(town: Town) -> None:
    town.now += 8 * 86_400_000
    new = "12025550188"
    town.take(town.profile(new, "Grace"))
    town.take(town.poor(new))
    work = town.take(Reply("yes", new, "5000", "YES", town.now))
    (order,) = [row for row in work.batch.outgoing if row.channel == "ocs"]
    key = msgspec.msgpack.decode(order.payload)[0]
    assert town.take(Erasure("e", new, town.now)).answers[0].outcome == "held"
    town.take(Erasure("e", new, town.now, force=True))
    town.sweep()
    purchase = town.store.purchase(key)
    assert purchase is not None
    assert (purchase.status, purchase.msisdn) == ("under_way", new)
    town.take(Fulfilment(order.id, order.subscriber, key, "done", town.now))
    town.sent()
    assert len(town.sweep()) == 1
    purchase = town.store.purchase(key)
    assert purchase is not None
    assert (purchase.status, purchase.msisdn) == ("done", "")
    town.store.close()
    assert town.found("Grace") == 0


OTHER = "12025554711"


@pytest.mark.parametrize("account", ["4711", '"', "o", OTHER])
def test_an_account_that_stands_in_other_peoples_words_takes_nothing_of_theirs(town: Town, account: str) -> None:
    document = {"content": "Your code is 4711", "receiver": [{"phoneNumber": f"+{OTHER}", "name": "4711"}]}
    letters = [
        DeadLetter("rejected", "s/1", town.now, "", "no field `4711`", f'{{"subject":"+{OTHER}"}}'.encode()),
        DeadLetter("unread", "s/2", town.now, f"+{OTHER}", "no pattern", b"Your code is 4711"),
        DeadLetter("rejected", "s/3", town.now, "", "", b'{"account":"47110","code":"4711"}'),
        DeadLetter("rejected", "s/4", town.now, "", "", msgspec.json.encode({"account": account})),
        DeadLetter("rejected", "s/5", town.now, "", "", msgspec.json.encode({"subject": f"account:{account}"})),
    ]
    town.take(
        Communication("c2", "vas", town.now, town.now, document),
        Handed("c2.1", "vas", OTHER, "1234", "Your code is 4711", "service", town.now, town.now + 1000, 0, "c2"),
        msgspec.structs.replace(town.event("recharge", amount=1), named={"account": account}),
    )
    town.store.commit(Batch(dead_letters=letters))
    with closing(SqliteQueries(town.path)) as queries:
        queries.put(Kept("k4", OTHER, town.now, "done", Sought(OTHER, "care"), b"{}", True), 0, 10)
    town.take(Erasure("e", MSISDN, town.now))
    town.sent()
    assert len(town.sweep()) == 1
    communication = town.store.communication("c2")
    assert communication is not None
    assert communication.document == document
    assert town.store.passage("c2.1") is not None
    assert {one.identity for one in town.store.dead_letters()} == {"another", "s/1", "s/2", "s/3"}
    with closing(SqliteQueries(town.path)) as queries:
        assert queries.get("k4") is not None


HOWEVER = ["+1 202 555 0123", "+1-202-555-0123", "+1 (202) 555-0123", "(202) 555-0123", "1.202.555.0123"]


@pytest.mark.parametrize("written", HOWEVER)
def test_a_number_is_found_however_it_is_written(town: Town, written: str) -> None:
    ana = {"phoneNumber": written, "name": "Ana", "party": {"id": "ana"}}
    ben = {"phoneNumber": f"+{OTHER}", "name": "Ben"}
    said = {"content": "Dear Ana", "subject": "Ana", "description": "for Ana", "messageType": "SMS"}
    town.take(
        Communication("c2", "vas", town.now, town.now, said | {"receiver": [ana, ana]}),
        Communication("c3", "vas", town.now, town.now, said | {"receiver": [ben, ana]}),
        Communication("c4", "vas", town.now, town.now, said | {"receiver": [ben]}),
    )
    unread = DeadLetter("unread", "a", town.now, "", "no pattern", b"Call ended")
    letters = [
        msgspec.structs.replace(unread, identity="b", payload=f"At 12:30, {written}: call ended".encode()),
        msgspec.structs.replace(unread, identity="c", trace=f"ValueError: 7 {written} is no number"),
        msgspec.structs.replace(unread, identity="d", subscriber=written),
        msgspec.structs.replace(unread, identity="e", reason=f"of `{written}`"),
        msgspec.structs.replace(unread, identity="f", kind="unmapped", payload=msgspec.json.encode({written: 1})),
        msgspec.structs.replace(unread, identity="g", kind="rejected", payload=b"[" * 50_000 + written.encode()),
        msgspec.structs.replace(unread, identity="h", payload=b"+1 202 555 01234 +44 202 555 0123 5202 5550123"),
    ]
    town.store.commit(Batch(dead_letters=[unread, *letters]))
    town.take(Erasure("e", MSISDN, town.now))
    town.sent()
    assert len(town.sweep()) == 1
    found = [town.store.communication(one) for one in ("c2", "c3", "c4")]
    nobody = {"phoneNumber": ""}
    assert [one.document for one in found if one] == [
        {"content": "", "messageType": "SMS", "receiver": [nobody, nobody]},
        said | {"receiver": [ben, nobody]},
        said | {"receiver": [ben]},
    ]
    assert {one.identity for one in town.store.dead_letters()} == {"another", "a", "h"}


@pytest.mark.parametrize(("kind", "value"), [("imsi", "001010000000017"), ("imei", "35000000000001")])
def test_a_card_is_found_in_a_text_as_a_whole(town: Town, kind: str, value: str) -> None:
    town.take(msgspec.structs.replace(town.event("recharge", amount=1), named={kind: value}))
    unread = DeadLetter("unread", "a", town.now, "", "no pattern", f"{value}1 was seen".encode())
    town.store.commit(Batch(dead_letters=[unread, DeadLetter("timer", "b", town.now, "", f"of {value}:", b"")]))
    town.take(Erasure("e", MSISDN, town.now))
    town.sent()
    town.sweep()
    assert {one.identity for one in town.store.dead_letters()} == {"another", "a"}


def test_the_store_goes_on_after_a_sweep_and_a_start(town: Town) -> None:
    town.take(Erasure("e", MSISDN, town.now))
    town.sent()
    town.sweep()
    for _ in range(3):
        town.take(*(town.profile(f"1202555{one:04d}", "New") for one in range(1000, 1400)))
    town.store.close()
    town.store = SqliteStore(town.path)
    assert town.store.load([MSISDN], []).subscribers == {}
    with closing(sqlite3.connect(town.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM scrub").fetchone() == (0,)


def test_an_export_has_every_table(town: Town) -> None:
    with closing(SqlitePerson(town.path)) as person:
        found = person.export(MSISDN, town.now)
        by_imsi = person.export(f"imsi:00101{MSISDN[-10:]}", town.now)
        assert person.export("12025550199", town.now) is None
    assert found == by_imsi
    assert found is not None
    written = msgspec.json.encode(found).decode()
    assert NAME in written
    assert "Somebody" not in written
    assert found["profile"]["name"]["value"] == NAME
    assert found["profile"]["marketing_consent"]["value"] is False
    assert {(one["kind"], one["value"]) for one in found["identities"]} == {
        ("msisdn", MSISDN),
        ("imsi", f"00101{MSISDN[-10:]}"),
    }
    assert [one["known"]["plan"] for one in found["decisions"] if one["said"]] == ["prepaid"]
    assert [one["outcome"] for one in found["responses"]] == ["accepted", "fulfilled"]
    assert {one["channel"] for one in found["messages"]} == {"sms", "ocs"}
    assert {one["payload"]["destination"] for one in found["messages"] if one["channel"] == "sms"} == {MSISDN}
    assert [one["proof"][0]["text"] for one in found["purchases"]] == [f"YES {MSISDN}"]
    assert {one["identity"] for one in found["dead_letters"]} == {"e1", "shape"}
    assert [one["key"] for one in found["messages_of_others"]] == ["c1.1"]
    assert found["state"]["proofs"]["marketing_consent"]["value"] is False


@pytest.mark.parametrize("first", [MSISDN, OTHER])
def test_an_export_has_no_letters_of_the_others_of_an_account(town: Town, first: str) -> None:
    account = "FAMILY-17"
    for one in (first, MSISDN, OTHER):
        town.take(msgspec.structs.replace(town.event("recharge", one, amount=1), named={"account": account}))
    letters = [
        DeadLetter("rejected", "s/1", town.now, "", "", f'{{"subject":"+{OTHER}","account":"{account}"}}'.encode()),
        DeadLetter("rejected", "s/2", town.now, "", "", f'{{"subject":"+{MSISDN}","account":"{account}"}}'.encode()),
        DeadLetter("rejected", "s/3", town.now, "", "", f'{{"account":"{account}"}}'.encode()),
        DeadLetter("event", "s/4", town.now, f"account:{account}", "broke", b"x"),
    ]
    town.store.commit(Batch(dead_letters=letters))

    def exported() -> set[str]:
        with closing(SqlitePerson(town.path)) as person:
            found = person.export(MSISDN, town.now)
        assert found is not None
        assert [one["value"] for one in found["identities"] if one["kind"] == "account"] == [account]
        return {one["identity"] for one in found["dead_letters"]}

    assert exported() == {"e1", "shape", "s/2"}
    town.take(Erasure("e", OTHER, town.now))
    town.sent()
    town.sweep()
    assert exported() == {"e1", "shape", "s/2", "s/3", "s/4"}  # by now it is theirs alone


def test_an_export_has_no_letters_of_who_got_their_number_next(town: Town) -> None:
    new = "12025550188"
    letter = DeadLetter("event", "s/1", town.now, MSISDN, "broke", b"x")
    town.store.commit(Batch(dead_letters=[letter]))

    def exported() -> set[str]:
        with closing(SqlitePerson(town.path)) as person:
            found = person.export(new, town.now)
        assert found is not None
        return {one["identity"] for one in found["dead_letters"]}

    town.now += 1000
    town.take(Change("c1", "number_changed", MSISDN, town.now, number=new))
    assert exported() == {"e1", "shape", "s/1"}
    town.now += 1000
    town.take(Change("c2", "number_assigned", MSISDN, town.now))
    assert exported() == set()


def test_every_table_of_the_store_is_known_to_the_export(town: Town) -> None:
    """A new table fails here until somebody has thought of whom it concerns."""
    with closing(sqlite3.connect(town.path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    personal = {"state", "journal", "identity", "identity_past", "decision", "choice", "outbox", "timer", "response"}
    personal |= {"purchase", "dead_letter", "recommendation", "erasure", "passage", "communication"}
    nobodys = {"meta", "input_position", "playbook", "switch", "budget", "settled", "model", "scrub"}
    nobodys |= {"passage_listener"}
    marked = {"suppression", "answered"}  # of a number only a hash; ids of messages, and hashes of what came
    assert tables - {"sqlite_sequence"} == personal | nobodys | marked
