"""SMPP: the binds to an SMSC, and who may send through us."""

from __future__ import annotations

from kairos.adapters import tls
from kairos.adapters.esme_notifications import Account
from kairos.adapters.senders import Sender
from kairos.bootstrap.doors import need_tls
from kairos.settings import Settings, milliseconds
from kairos.settings import Smsc as SmscSettings
from kairos.smpp import BindReceiver, Binds, BindTransceiver, BindTransmitter, Client, Handler, SessionOptions

# seconds that what is no notification waits for room on a bind; then it is asked again whether it may go
PATIENCE = 1.0


def smsc_binds(smsc: SmscSettings, handle: Handler, section: str = "smsc") -> Binds:
    """The binds to an SMSC, or to another gateway, that a section asks for. Raises SettingsError."""
    files = {"ca_file": smsc.ca_file, "cert_file": smsc.cert_file, "key_file": smsc.key_file}
    need_tls(section, smsc.tls, files | {"server_name": smsc.server_name})
    context = tls.to_smsc(**files) if smsc.tls else None
    options = SessionOptions(
        window=smsc.window, response_timeout=smsc.response_timeout_s, rate=smsc.rate, reserve=smsc.reserve
    )
    kinds = (BindTransceiver,) if smsc.bind == "transceiver" else (BindTransmitter, BindReceiver)
    binds = [
        kind(system_id=smsc.system_id, password=smsc.password, system_type=smsc.system_type)
        for _ in range(smsc.binds)
        for kind in kinds
    ]

    def clients(host: str, port: int, server_name: str) -> list[Client]:
        return [Client(host, port, bind, handle, options, tls=context, server_name=server_name) for bind in binds]

    parallel = clients(smsc.host, smsc.port, smsc.server_name)
    standby: list[Client] = []
    for one in smsc.also:
        (standby if one.standby else parallel).extend(clients(one.host, one.port, one.server_name))
    return Binds(parallel, standby, PATIENCE, smsc.response_timeout_s)


def accounts_of(settings: Settings) -> list[Account]:
    """The accounts that may bind to us: those that submit notifications, and those of other systems."""
    return [
        Account(name, account.rides, account.rides_on_flash, account.identity_tlv, name in settings.senders)
        for name, account in settings.accounts.items()
    ]


def senders_of(settings: Settings) -> dict[str, Sender]:
    """The other systems that may send, by the name of their account and client."""
    return {
        name: Sender(
            name,
            frozenset(one.ids),
            one.kinds,
            milliseconds(one.validity),
            one.priority,
            tuple(one.callbacks),
        )
        for name, one in settings.senders.items()
    }
