"""Any submit_sm that an account may send arrives at the SMSC as it came, but for what docs/smpp.md says."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kairos.smpp import BindTransceiver, Client, SubmitSm, Tag, encode, text_of, tlvs

MSISDN = "12025550123"
NOTIFICATION = "Your call cost T$0.35. Balance T$1.40. Ref "
LINE = "\nRecharge T$10 and get 30 minutes."
MARK = 0x1F00  # a TLV of the test's own: which PDU this is

octet = st.integers(0, 255)
bodies: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.binary(max_size=255).map(lambda octets: {"short_message": octets}),
    st.binary(max_size=400).map(lambda octets: {"short_message": b"", "tlvs": tlvs(message_payload=octets)}),
    st.just({}),  # a notification
    st.just({"payload": True}),
)
pdus: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    service_type=st.sampled_from(["", "CMT", "WAP", "USSD", "own"]),
    source_addr_ton=octet,
    source_addr_npi=octet,
    source_addr=st.sampled_from(["5000", "Kairos", ""]),
    dest_addr_ton=octet,
    dest_addr_npi=octet,
    esm_class=st.sampled_from([0, 0x01, 0x02, 0x03, 0x40, 0x80, 0x08]),
    protocol_id=st.sampled_from([0, 0, 0, 0x41, 0x7F]),
    priority_flag=octet,
    schedule_delivery_time=st.sampled_from(["", "", "", "000001000000000R", "junk"]),
    validity_period=st.sampled_from(["", "", "000002000000000R", "000000000100000R", "?"]),
    registered_delivery=octet,
    replace_if_present_flag=st.sampled_from([0, 0, 1]),
    data_coding=st.one_of(st.sampled_from([0, 0, 0, 0x10, 0xF1, 3]), octet),
    sm_default_msg_id=st.sampled_from([0, 0, 7]),
    body=bodies,
    others=st.lists(st.tuples(st.integers(0x1400, 0x1EFF), st.binary(max_size=9)), max_size=3),
)


def submit_sm(number: int, body: dict[str, Any], others: list[Any], **values: Any) -> SubmitSm:
    text: dict[str, Any] = {"short_message": encode(f"{NOTIFICATION}{number:06x}")[1]}
    if body.pop("payload", False):
        text = {"short_message": b"", "tlvs": tlvs(message_payload=text["short_message"])}
    body = body or text
    mark = (MARK, number.to_bytes(4, "big"))
    return SubmitSm(destination_addr=MSISDN, **{**values, **body, "tlvs": (mark, *others, *body.get("tlvs", ()))})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(pdus, min_size=1, max_size=12))
def test_whatever_an_account_submits(drawn: list[dict[str, Any]], bench_with: Any, running_world: Any) -> None:
    came = [submit_sm(number, **{**values, "body": dict(values["body"])}) for number, values in enumerate(drawn)]
    asyncio.run(through(came, bench_with(), running_world))


async def through(came: list[SubmitSm], bench: Any, running_world: Any) -> None:
    async with running_world(bench) as world:
        profile = bench.event("profile", plan="prepaid", language="en", marketing_consent=True)
        await world.loop.submit(profile)
        bind = BindTransceiver(system_id="ocs", password="pw")
        client = Client("127.0.0.1", world.esmes.server.port, bind, ignore)
        await client.start()
        await client.bound()
        answers: list[Any] = await asyncio.gather(*(client.request(pdu, 10) for pdu in came))
        assert all(answer.ok and answer.message_id for answer in answers)
        await world.until(lambda: len(marked(world)) == len(came))
        for pdu in came:
            same_but_for_a_line(pdu, marked(world)[pdu.tlv(MARK)])
        await client.close()


async def ignore(_: Any, pdu: Any) -> Any:
    return pdu.response()


def marked(world: Any) -> dict[bytes | None, SubmitSm]:
    return {pdu.tlv(MARK): pdu for pdu in world.peer.submitted if pdu.tlv(MARK)}


def same_but_for_a_line(came: SubmitSm, went: SubmitSm) -> None:
    plain = {field.name: getattr(came, field.name) for field in fields(SubmitSm)} | {"sequence": went.sequence}
    if went == SubmitSm(**plain):
        return
    text, whole = (text_of([pdu]) for pdu in (came, went))
    assert whole == text + LINE
    changed: dict[str, Any] = {"short_message": went.short_message, "tlvs": went.tlvs, "data_coding": went.data_coding}
    assert went == replace(came, sequence=went.sequence, **changed)
    kept = [[one for one in pdu.tlvs if one[0] != Tag.message_payload] for pdu in (came, went)]
    assert kept[0] == kept[1]
