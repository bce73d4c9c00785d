"""What gateways write, read into one form, and back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.errors import EventError
from kairos.smpp import DeliverSm, SubmitSm, Tag, decode_pdu, encode_pdu
from kairos.smpp.text import decode
from kairos.ussd import Heard, Show, callback, dialog_xml, profiles
from kairos.ussd.callback import Fields
from kairos.ussd.profiles import PROFILES, Bits, Profile

FORM = {"sessionId": "s1", "phoneNumber": "+12025550123", "serviceCode": "*123#", "text": ""}
OWN = Fields("id", "msisdn", "ussd", "msg", "seq", accumulated=False)


@pytest.mark.parametrize(
    ("form", "kind", "code", "text", "step", "ahead"),
    [
        ({}, "begin", "*123#", "", 0, ()),
        ({"text": "1"}, "input", "*123#", "1", 1, ()),
        ({"text": "1*2*"}, "input", "*123#", "", 3, ("1", "2")),
        ({"serviceCode": "123"}, "begin", "*123#", "", 0, ()),
    ],
)
def test_an_accumulated_text_counts_its_own_steps(
    form: dict[str, str], kind: str, code: str, text: str, step: int, ahead: tuple[str, ...]
) -> None:
    assert callback.heard(FORM | form) == Heard("s1", "+12025550123", code, text, kind, step, ahead)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "kind", "code", "step"),
    [
        ({"msg": ""}, "begin", "*123#", -1),
        ({"msg": "*123*4#"}, "begin", "*123*4#", -1),
        ({"msg": "1"}, "input", "*123#", -1),
        ({"msg": "1", "seq": "4"}, "input", "*123#", 4),
        ({"msg": "1", "seq": "x"}, "input", "*123#", -1),
    ],
)
def test_an_incremental_text_in_fields_of_ones_own(form: dict[str, str], kind: str, code: str, step: int) -> None:
    found = callback.heard({"id": "s1", "msisdn": "12025550123", "ussd": "*123#"} | form, OWN)
    assert (found.kind, found.code, found.step, found.ahead) == (kind, code, step, ())


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"sessionId": ""}, "sessionId"),
        ({"phoneNumber": " "}, "phoneNumber"),
        ({"serviceCode": "<script>"}, "serviceCode"),
        ({"text": "1" * 501}, "text"),
        ({"sessionId": "s" * 501}, "sessionId"),
    ],
)
def test_a_form_that_cannot_be_meant_names_its_field(form: dict[str, str], field: str) -> None:
    with pytest.raises(EventError) as told:
        callback.heard(FORM | form)
    assert told.value.field == field


def test_a_notice_of_the_end_tells_of_those_that_came_to_none() -> None:
    assert callback.interrupted(FORM | {"status": "Success"}) is None
    found = callback.interrupted(FORM | {"status": "Incomplete"})
    assert found
    assert (found.kind, found.session) == ("abort", "s1")


def test_another_systems_answer() -> None:
    assert callback.read_answer("CON Menu\n1 A") == Show("Menu\n1 A", more=True)
    assert callback.read_answer("END Bye") == Show("Bye", more=False)
    assert callback.read_answer("<html>") is None


# -- XML ---------------------------------------------------------------------------------------------------------------

BEGIN = b"""<?xml version="1.0" encoding="UTF-8" ?>
<dialog type="Begin" appCntx="networkUnstructuredSsContext_version2" networkId="0" localId="12" remoteId="13"
  mapMessagesSize="1" returnMessageOnError="false">
  <originationReference number="12025550199" nai="international_number" npi="ISDN"/>
  <processUnstructuredSSRequest_Request invokeId="7" dataCodingScheme="15" string="*123#">
    <msisdn nai="international_number" npi="ISDN" number="12025550123"/>
  </processUnstructuredSSRequest_Request>
</dialog>"""


def test_a_dialog_that_begins() -> None:
    said = dialog_xml.read(BEGIN)
    assert (said.kind, said.local, said.msisdn, said.text, said.invoke) == ("begin", "12", "12025550123", "*123#", 7)
    assert dialog_xml.heard(said, "12") == Heard("12", "12025550123", "*123#", "*123#", "begin")


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ('<dialog type="Continue"><unstructuredSSRequest_Response invokeId="1" string="2"/></dialog>', "input"),
        (
            '<m:dialog xmlns:m="urn:m" type="Continue"><m:unstructuredSSRequest_Response string="2"/></m:dialog>',
            "input",
        ),
        ('<dialog type="Abort"/>', "abort"),
        ('<dialog type="Unknown" mapUserAbortChoice="isUserSpecificReason"><errComponents/></dialog>', "abort"),
        ('<dialog type="End"><errComponents><errorComponent type="x"/></errComponents></dialog>', "abort"),
        ('<dialog type="Unknown" dialogTimedOut="true"/>', "timeout"),
        ('<dialog type="Continue" invokeTimedOut="true"/>', "timeout"),
        ('<dialog type="Continue"><unstructuredSSNotify_Response/></dialog>', "notified"),
        ('<dialog type="End"/>', ""),
    ],
)
def test_what_a_dialog_says(document: str, kind: str) -> None:
    assert dialog_xml.read(document.encode()).kind == kind


LAUGHS = b"""<!DOCTYPE dialog [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><dialog type="Begin"><x string="&c;"/></dialog>"""


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (LAUGHS, "document type"),
        (b'<!DOCTYPE dialog SYSTEM "http://127.0.0.1:1/x"><dialog/>', "document type"),
        (b"<!DOCTYPE dialog><dialog/>", "document type"),
        (b'<dialog type="&undeclared;"/>', "no XML"),
        (b"<dialog>", "no XML"),
        (b"", "no XML"),
        (b"\xff\xfe\x00", "no XML"),
        (b'<?xml version="1.0" encoding="x-none"?><dialog/>', "encoding"),
        (b"<html/>", "no `dialog`"),
        (b"<dialog>" + b"<a>" * 20 + b"</a>" * 20 + b"</dialog>", "levels"),
        (b"<dialog>" + b"<a/>" * 100 + b"</dialog>", "elements"),
        (b'<dialog type="' + b"x" * 600 + b'"/>', "characters"),
        (b"<dialog>" + b" " * 20_000 + b"</dialog>", "larger"),
    ],
)
def test_a_document_that_could_harm_is_refused(document: bytes, what: str) -> None:
    with pytest.raises(EventError, match=what):
        dialog_xml.read(document)


@given(st.binary(max_size=200))
def test_no_document_breaks_the_reader(document: bytes) -> None:
    with suppress(EventError):
        dialog_xml.read(document)


def test_a_dialog_that_begins_with_nothing_to_go_by_is_refused() -> None:
    for document in (BEGIN.replace(b"number=", b"numero="), BEGIN.replace(b"*123#", b"hello")):
        with pytest.raises(EventError):
            dialog_xml.heard(dialog_xml.read(document), "12")


@given(st.text(max_size=180), st.text("abc\"'<&>", max_size=20))
def test_what_goes_back_is_read_as_it_was_meant(text: str, named: str) -> None:
    import xml.etree.ElementTree as ET

    clean = dialog_xml._NOT_IN_XML.sub(" ", text).replace("\r", "\n")
    for document in (
        dialog_xml.answer(Show(clean, more=True), named, 4),
        dialog_xml.answer(Show(clean, more=False), named, 4),
        dialog_xml.push(clean, named, "12025550123", asks=True, begins=True),
    ):
        tree = ET.fromstring(document)
        assert tree.get("userObject") == named
        assert tree[0].get("string") == clean


def test_a_last_screen_answers_the_operation_that_began_it() -> None:
    more = dialog_xml.answer(Show("1 Yes", more=True), "12", 4).decode()
    last = dialog_xml.answer(Show("Спасибо", more=False), "12", 4).decode()
    assert 'unstructuredSSRequest_Request invokeId="5" dataCodingScheme="15"' in more
    assert 'processUnstructuredSSRequest_Response invokeId="4" dataCodingScheme="72"' in last
    assert 'prearrangedEnd="false"' in last
    assert 'type="Continue"' in more


# -- SMPP --------------------------------------------------------------------------------------------------------------


def deliver(text: str, op: int | None, *tlvs: tuple[int, int], code: str = "123", coding: int = 0) -> DeliverSm:
    said = ((Tag.ussd_service_op, bytes((op,))),) if op is not None else ()
    return DeliverSm(
        service_type="USSD",
        source_addr="12025550123",
        destination_addr=code,
        data_coding=coding,
        short_message=text.encode(),
        tlvs=(*said, *((tag, value.to_bytes(2, "big")) for tag, value in tlvs)),
    )


ITS, UMR = Tag.its_session_info, Tag.user_message_reference
BY_ADDRESS = Profile(Bits(UMR, 0xFFFF), code="destination_addr")


@pytest.mark.parametrize(
    ("profile", "pdu", "expected"),
    [
        (PROFILES["6d"], deliver("*123#", 1, (ITS, 0x000E)), ("begin", "12025550123/7", "*123#", -1)),
        (PROFILES["6d"], deliver("1", 0x12, (ITS, 0x000E)), ("input", "12025550123/7", "", -1)),
        (PROFILES["6d"], deliver("", 0x12, (ITS, 0x000F)), ("abort", "12025550123/7", "", -1)),
        (PROFILES["6d"], deliver("", 0x81, (ITS, 0x000E)), ("abort", "12025550123/7", "", -1)),
        (PROFILES["mica"], deliver("*123#", 1, (UMR, 0x1234)), ("begin", "12025550123/4660", "*123#", -1)),
        (PROFILES["mica"], deliver("2", 0x12, (UMR, 0x1234)), ("input", "12025550123/4660", "", -1)),
        (PROFILES["standard"], deliver("*123#", 1, (ITS, 0x0700)), ("begin", "12025550123/7", "*123#", -1)),
        (PROFILES["standard"], deliver("1", 0x12, (ITS, 0x0704)), ("input", "12025550123/7", "", 2)),
        (PROFILES["standard"], deliver("1", 0x12, (ITS, 0x0705)), ("abort", "12025550123/7", "", -1)),
        (PROFILES["6d"], deliver("*123", 1), ("begin", "12025550123/", "*123#", -1)),
        (PROFILES["6d"], deliver("*123#", None), ("begin", "12025550123/", "*123#", -1)),
        (PROFILES["6d"], deliver("1", None), ("input", "12025550123/", "", -1)),
        (PROFILES["6d"], deliver("1", 0x77), ("abort", "12025550123/", "", -1)),
        (BY_ADDRESS, deliver("", 1, (UMR, 1), code="*123#"), ("begin", "12025550123/1", "*123#", -1)),
        (BY_ADDRESS, deliver("", 1, (UMR, 1)), ("begin", "12025550123/1", "*123#", -1)),
    ],
)
def test_what_a_gateways_pdu_says(profile: Profile, pdu: DeliverSm, expected: tuple[Any, ...]) -> None:
    found = profiles.heard(profile, decode_pdu(encode_pdu(pdu, 1)))  # type: ignore[arg-type]
    assert found
    said, line = found
    assert (said.kind, said.session, said.code, said.step) == expected
    assert line.session == said.session


def test_a_notice_that_was_seen_asks_for_nothing() -> None:
    assert profiles.heard(PROFILES["6d"], deliver("", 0x13, (ITS, 14))) is None


@pytest.mark.parametrize(
    ("name", "op", "show", "pushed", "tlvs"),
    [
        ("6d", 0x02, Show("1 Yes", more=True), False, {ITS: 0x000E}),
        ("6d", 0x11, Show("Bye", more=False), False, {ITS: 0x000F}),
        ("6d", 0x03, Show("Bye", more=False), True, {ITS: 0x000F}),
        ("mica", 0x02, Show("1 Yes", more=True), False, {UMR: 7}),
        ("standard", 0x02, Show("1 Yes", more=True), False, {ITS: 0x0704}),
        ("standard", 0x11, Show("Bye", more=False), False, {ITS: 0x0705}),
    ],
)
def test_a_screen_in_the_words_of_each_profile(
    name: str, op: int, show: Show, pushed: bool, tlvs: dict[int, int]
) -> None:
    line = profiles.Line("12025550123", "123", 7)
    pdu = decode_pdu(encode_pdu(profiles.shown(PROFILES[name], line, show, 2, pushed=pushed), 1))
    assert isinstance(pdu, SubmitSm)
    assert (pdu.service_type, pdu.source_addr, pdu.destination_addr) == ("USSD", "123", "12025550123")
    assert pdu.tlv(Tag.ussd_service_op) == bytes((op,))
    assert {tag: int.from_bytes(value, "big") for tag, value in pdu.tlvs[1:]} == tlvs
    assert decode(pdu.data_coding, pdu.short_message) == show.text
