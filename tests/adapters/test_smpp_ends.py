"""The SMPP ends as the settings ask for them: binds, TLS with errors that name the file, and their figures."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from prometheus_client import CollectorRegistry, generate_latest

from kairos.adapters import tls
from kairos.adapters.smpp_figures import SmppCollector
from kairos.bootstrap import door_tls, smsc_binds
from kairos.errors import SettingsError
from kairos.settings import Also, Notifications, Smsc
from kairos.smpp import Pdu, Session, SubmitSm, passwords, serve


async def answer(session: Session, pdu: Pdu) -> Pdu:
    return pdu.response()


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates: an authority, one for each side, and what is wrong with such files."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("smsc", "kairos"):
        own = authority.issue_cert(f"{name}.example")
        own.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        for part in own.cert_chain_pems:
            part.write_to_path(str(folder / f"{name}.pem"), append=True)
        own.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}-both.pem"))
    key = serialization.load_pem_private_key((folder / "smsc.key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    (folder / "locked.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
    (folder / "not.pem").write_text("nothing of the kind")
    return folder


DOOR = partial(tls.for_door, "notifications")
BAD: dict[str, tuple[Callable[..., Any], tuple[str, str, str], str]] = {
    "no authorities": (tls.to_smsc, ("gone.pem", "", ""), r"gone\.pem: `smsc\.ca_file` cannot be read: no such file"),
    "authorities that are none": (tls.to_smsc, ("not.pem", "", ""), r"not\.pem: `smsc\.ca_file` cannot be used"),
    "a folder": (tls.to_smsc, ("ca.pem", ".", ""), "`smsc.cert_file` cannot be read: is a directory"),
    "a key alone": (tls.to_smsc, ("ca.pem", "", "kairos.key"), "`smsc.cert_file` is missing; name the PEM file"),
    "no key": (tls.to_smsc, ("ca.pem", "kairos.pem", "gone.key"), r"gone\.key: `smsc\.key_file` cannot be read"),
    "another's key": (
        tls.to_smsc,
        ("ca.pem", "kairos.pem", "smsc.key"),
        "`smsc.cert_file` and `smsc.key_file` cannot be used: key values mismatch; name a certificate and its own key",
    ),
    "a door without a certificate": (DOOR, ("", "", ""), "`notifications.cert_file` is missing"),
    "a key behind a passphrase": (
        DOOR,
        ("smsc.pem", "locked.key", ""),
        "`notifications.key_file` cannot be used: .*without a passphrase",
    ),
    "a certificate without its key": (
        DOOR,
        ("smsc.pem", "", ""),
        "`notifications.cert_file` and `notifications.key_file` cannot be used",
    ),
    "authorities of clients that are none": (
        DOOR,
        ("smsc.pem", "smsc.key", "not.pem"),
        r"not\.pem: `notifications\.client_ca_file` cannot be used",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_wrong_is_named(pem: Path, case: str) -> None:
    make, files, said = BAD[case]
    with pytest.raises(SettingsError, match=said):
        make(*(str(pem / file) if file else "" for file in files))


def test_certificates_without_tls_are_not_passed_over() -> None:
    with pytest.raises(SettingsError, match=r"`smsc\.ca_file` is set, but `smsc\.tls` is not true"):
        smsc_binds(Smsc(ca_file="ca.pem"), answer)
    with pytest.raises(SettingsError, match=r"set `tls = true` in \[notifications\]"):
        door_tls("notifications", Notifications(client_ca_file="ca.pem"))


def test_no_version_before_1_2(pem: Path) -> None:
    for context in (tls.to_smsc("", "", ""), tls.for_door("notifications", str(pem / "smsc-both.pem"), "", "")):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_binds_are_as_many_and_of_the_kinds_that_are_asked_for() -> None:
    also = [Also("standby", 3, standby=True), Also("parallel", 2)]
    smsc = Smsc(host="main", port=1, bind="transmitter+receiver", binds=2, window=8, rate=100, also=also)
    binds = smsc_binds(smsc, answer).statistics()
    assert [(one.address, one.kind, one.standby, one.window, one.rate) for one in binds[:4]] == [
        ("main:1", "transmitter", False, 8, 100),
        ("main:1", "receiver", False, 8, 100),
        ("main:1", "transmitter", False, 8, 100),
        ("main:1", "receiver", False, 8, 100),
    ]
    assert [(one.address, one.standby) for one in binds[4::4]] == [("parallel:2", False), ("standby:3", True)]
    assert [one.kind for one in smsc_binds(Smsc(), answer).statistics()] == ["transceiver"]


async def test_both_ends_over_tls_and_what_they_count(pem: Path) -> None:
    both, ca = str(pem / "smsc-both.pem"), str(pem / "ca.pem")
    door = door_tls("notifications", Notifications(tls=True, cert_file=both, client_ca_file=ca))
    async with AsyncExitStack() as stack:
        server = await serve("127.0.0.1", 0, passwords({"kairos": "k"}), answer, tls=door)
        stack.push_async_callback(server.close)
        own = {"cert_file": str(pem / "kairos.pem"), "key_file": str(pem / "kairos.key"), "ca_file": ca}
        also = [Also("127.0.0.1", server.port, "smsc.example")]
        wrong = Smsc("127.0.0.1", server.port, password="k", tls=True, server_name="other.example", also=also)
        binds = smsc_binds(msgspec.structs.replace(wrong, **own), answer)
        stack.push_async_callback(binds.close)
        await binds.start()
        async with asyncio.timeout(60):
            await binds.bound()
            while not binds.last_error:
                await asyncio.sleep(0.01)
        assert "other.example" in binds.last_error
        assert (await binds.request(SubmitSm(short_message=b"Hi"), urgent=True)).ok
        registry = CollectorRegistry()
        registry.register(SmppCollector(binds.statistics, server.statistics))
        shown = generate_latest(registry).decode()
        bind = f"smsc 2 127.0.0.1:{server.port} transceiver"
        assert f'kairos_smpp_now{{end="{bind}",what="bound"}} 1.0' in shown
        assert f'kairos_smpp_pdus_total{{command="SubmitSm",end="{bind}",way="out"}} 1.0' in shown
        assert 'kairos_smpp_pdus_total{command="SubmitSm",end="account kairos",way="in"} 1.0' in shown
        assert f'kairos_smpp_answers_total{{end="{bind}",status="ESME_ROK"}} 1.0' in shown
        assert f'kairos_smpp_latency_seconds_count{{end="{bind}"}} 1.0' in shown
        assert 'kairos_smpp_now{end="account kairos",what="bound"} 1.0' in shown
