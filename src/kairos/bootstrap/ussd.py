"""USSD: the gateways that the settings name."""

from __future__ import annotations

from functools import partial

from kairos.adapters.ussd.dialogues import Dialogues
from kairos.adapters.ussd.doors import UssdDoors
from kairos.adapters.ussd.http import HttpSystems, HttpUssd, XmlPush
from kairos.adapters.ussd.smpp import UssdSmpp
from kairos.bootstrap.smpp import smsc_binds
from kairos.engine.loop import Loop
from kairos.ports import Clock
from kairos.settings import Settings
from kairos.settings import Smsc as SmscSettings
from kairos.settings import Ussd as UssdSettings
from kairos.ussd import Room
from kairos.ussd.callback import Fields
from kairos.ussd.profiles import OPERATIONS, PROFILES, Bits, Profile


def ussd_doors(settings: Settings, loop: Loop, clock: Clock) -> UssdDoors:
    """The USSD gateways that the settings name. Raises SettingsError."""
    ussd = settings.ussd
    session, msisdn, code, text, *step = ussd.fields.split()
    fields = Fields(session, msisdn, code, text, "".join(step), ussd.text == "accumulated")
    systems = HttpSystems({name: (one.url, one.timeout_s) for name, one in ussd.systems.items()}, fields)
    room = Room(ussd.gsm7, ussd.ucs2)
    dialogues = Dialogues(
        loop, clock, systems=systems, region=settings.region, ttl=ussd.ttl_s, within=ussd.within_s, room=room
    )
    shared = SmscSettings.__struct_fields__
    bind = SmscSettings(**{name: getattr(ussd, name) for name in ussd.__struct_fields__ if name in shared})
    return UssdDoors(
        dialogues,
        HttpUssd(dialogues, ussd.secret, fields),
        UssdSmpp(partial(smsc_binds, bind, section="ussd"), dialogues, ussd_profile(ussd), ussd.push_from)
        if ussd.host
        else None,
        XmlPush(dialogues, ussd.push_url) if ussd.push == "xml" else None,
        systems,
        pushes=bool(ussd.push),
    )


def ussd_profile(ussd: UssdSettings) -> Profile:
    """How the gateway speaks, as the settings have it."""
    own = ussd.profiles.get(ussd.profile)
    if own is None:
        return PROFILES[ussd.profile]
    session, step, end = (Bits(one.tag, one.mask) if one else None for one in (own.session, own.step, own.end))
    assert session
    return Profile(session, step, end, own.code, {**OPERATIONS, **own.operations}, own.gsm7, own.ucs2, own.renumbers)
