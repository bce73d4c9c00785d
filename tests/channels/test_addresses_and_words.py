"""Where an offer may go, and with what words: addresses, consents of a channel, subjects and HTML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.channels.conftest import by_mail

from kairos.adapters.calls import CallList
from kairos.bootstrap.ways_out import Nowhere, callbacks, open_ways, rooms
from kairos.cli.playbook import check as command
from kairos.decide import explain
from kairos.domain.decision import Decision
from kairos.domain.inbound import Word
from kairos.domain.inputs import Delivery
from kairos.domain.message import Text
from kairos.engine.program import compile_program
from kairos.errors import PlaybookError, SettingsError
from kairos.playbook import check, measure_messages, read
from kairos.settings import lacking, read_settings, require_ways

ADDRESS = "ada@mail.example"


def session(bench: Any) -> Text | None:
    """A data session ends: what goes out."""
    work = bench.apply(bench.event("data_session", app="video", bytes=1.0))
    texts = [msgspec.msgpack.decode(row.payload, type=Text) for row in work.batch.outgoing if row.channel == "email"]
    return texts[0] if texts else None


def why(bench: Any) -> str:
    """What refused the booster in the latest decision."""
    blob = bench.store.decision(bench.state().decisions[-1])
    verdicts = explain(bench.program.decide, msgspec.msgpack.decode(blob, type=Decision))
    return next(verdict.reason for verdict in verdicts if verdict.action == "booster")


def test_it_goes_to_the_address_that_is_known_with_all_that_is_beside_the_text(mail_bench: Any) -> None:
    mail_bench.profile(email=ADDRESS)
    text = session(mail_bench)
    assert text is not None
    assert (text.destination, text.msisdn, text.subject) == (ADDRESS, "12025550123", "500 MB for 1 day")
    assert text.html == "<p>500 MB for 1 day for <b>T$10</b>, prepaid</p>"
    assert "Text 1 to 5000" in text.text
    assert mail_bench.state().offers[0].channel == "email"


@pytest.mark.parametrize(
    ("email", "reason"),
    [
        (None, "no address"),
        ("", "address cannot be used"),
        ("ada", "address cannot be used"),
        ("ada@mail.example\r\nBcc: all@mail.example", "address cannot be used"),
        ("ada@mail.example, bob@mail.example", "address cannot be used"),
    ],
)
def test_who_has_none_that_can_be_used_is_not_written_to_and_it_says_why(
    mail_bench: Any, email: str | None, reason: str
) -> None:
    mail_bench.profile(**({} if email is None else {"email": email}))
    assert session(mail_bench) is None
    assert why(mail_bench) == reason
    assert mail_bench.state().contacts == []


def test_nothing_that_is_known_of_them_becomes_markup(mail_bench: Any) -> None:
    mail_bench.profile(email=ADDRESS, plan="<img src=x onerror=alert(1)> & 'more'")
    text = session(mail_bench)
    assert text is not None
    assert text.html.endswith("&lt;img src=x onerror=alert(1)&gt; &amp; &#x27;more&#x27;</p>")


def test_a_message_that_lacks_a_value_of_its_html_is_not_said(mail_bench: Any) -> None:
    mail_bench.apply(mail_bench.event("profile", marketing_consent=True, email=ADDRESS))
    assert session(mail_bench) is None
    assert why(mail_bench) == "no text fits"


def test_limits_consents_and_stop_of_a_channel_hold(mail_bench: Any) -> None:
    mail_bench.profile(email=ADDRESS)
    assert session(mail_bench)
    (offer,) = mail_bench.state().offers
    word = Word("w1", "12025550123", offer.key, "stop", "page", mail_bench.now)  # one click in the e-mail
    mail_bench.apply(word)
    state, places = mail_bench.state(), mail_bench.program.plan.places
    assert state.offers[0].status == "withdrawn"
    assert (state.attributes[places["mail_consent"]], state.attributes[places["marketing_consent"]]) == (False, True)
    assert session(mail_bench) is None
    assert why(mail_bench) == "mail consent"
    mail_bench.apply(mail_bench.event("profile", mail_consent=True))
    assert session(mail_bench)
    mail_bench.apply(mail_bench.reply("NO"))
    mail_bench.now += 3_600_000
    assert session(mail_bench) is None


def test_a_stop_by_the_link_of_an_old_e_mail_ends_e_mails_alone(mail_bench: Any) -> None:
    mail_bench.profile(email=ADDRESS)
    assert session(mail_bench)
    for _ in range(2):  # it expires, and is let go of
        mail_bench.now += 30 * 86_400_000
        mail_bench.apply(*mail_bench.store.timers_due(mail_bench.now, 10))
        mail_bench.profile(email=ADDRESS)
    assert not mail_bench.state().offers
    mail_bench.apply(Word("page/stop/1", "12025550123", "", "stop", "page", mail_bench.now))
    state, places = mail_bench.state(), mail_bench.program.plan.places
    assert (state.attributes[places["mail_consent"]], state.attributes[places["marketing_consent"]]) == (False, True)


def test_an_address_that_goes_before_it_is_sent_stops_it(mail_bench: Any) -> None:
    mail_bench.profile(email=ADDRESS)
    text = session(mail_bench)
    assert text is not None
    row = mail_bench.engine.store.outgoing([1])[0]
    mail_bench.apply(mail_bench.event("profile", email="nobody"))
    asked = Delivery(row.id, row.subscriber, "sending", mail_bench.now, offer=text.offer, decision=text.decision)
    asked = msgspec.structs.replace(asked, destination=text.msisdn, action=text.action, channel="email")
    answer = mail_bench.apply(asked).answers[0]
    assert (answer.status, answer.reason) == ("dropped", "address cannot be used")


BAD = {
    "no address": (
        ("contact_policy.yaml", "addresses: {email: email_address}", ""),
        "offers/booster.yaml:2: `booster` goes out on `email`, and nothing says to which address",
    ),
    "an address of what is sent to numbers": (
        ("contact_policy.yaml", "{email: email_address}", "{sms: email_address, email: email_address}"),
        "contact_policy.yaml:5: nothing is sent to an address on `sms`",
    ),
    "an unknown attribute": (
        ("contact_policy.yaml", "{email: email_address}", "{email: email_adress}"),
        "contact_policy.yaml:5: email: unknown attribute `email_adress`; did you mean `email_address`?",
    ),
    "an attribute that is no text": (
        ("contact_policy.yaml", "{email: email_address}", "{email: mail_consent}"),
        "contact_policy.yaml:5: email: `mail_consent` is no text; an address is one: write `type: text`",
    ),
    "a STOP that withdraws no consent": (
        ("contact_policy.yaml", "{email: mail_consent}", "{email: plan}"),
        "contact_policy.yaml:6: email: `plan` is no yes or no",
    ),
    "no subject": (
        ("messages.yaml", '    subject: "{title}"\n', ""),
        "messages.yaml:22: `booster_mail` goes out by e-mail, and this text has no `subject`",
    ),
    "an unknown placeholder in HTML": (
        ("messages.yaml", "{plan}</p>", "{plam}</p>"),
        "messages.yaml:23: unknown placeholder `{plam}`; did you mean `plan`?",
    ),
    "a placeholder where it is no text": (
        ("messages.yaml", "<p>{title}", "<p title={title}>"),
        "messages.yaml:24: html: a placeholder stands in a tag without quotes",
    ),
    "an address that a value could be": (
        ("messages.yaml", "<b>{price}</b>", "<a href='{plan}'>x</a>"),
        "messages.yaml:24: html: the address of `href` begins with a placeholder",
    ),
    "a script": (
        ("messages.yaml", "<b>{price}</b>", "<script>1</script>"),
        "messages.yaml:24: html: `<script>` is not allowed in a message",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_at_its_line(texts: dict[str, str], case: str) -> None:
    (file, old, new), said = BAD[case]
    files = by_mail(texts)
    assert files[file].count(old) == 1
    with pytest.raises(PlaybookError) as wrong:
        read(files | {file: files[file].replace(old, new)})
    assert str(wrong.value.diagnostics[0]).startswith(said), str(wrong.value)


@pytest.mark.parametrize(
    "html",
    [
        "<p onclick=\"x('{title}')\">",
        "<!-- {title} -->",
        "<style>p {{color: {title}}}</style>",
        '<p style="color: {title}">',
        "<a href=' {plan}'>",
        "<{title}>",
        "<iframe src='x'>",
    ],
)
def test_html_in_which_a_value_could_become_more_than_text_is_refused(texts: dict[str, str], html: str) -> None:
    files = by_mail(texts)
    messages = files["messages.yaml"].replace('"<p>{title} for <b>{price}</b>, {plan}</p>"', f"|\n      {html}")
    with pytest.raises(PlaybookError):
        read(files | {"messages.yaml": messages})


def test_what_is_no_sms_is_not_measured_as_one(texts: dict[str, str]) -> None:
    files = by_mail(texts)
    long = files["messages.yaml"].replace("Running low? {title} for {price}. Text", f"{'Ünïcode “words” ' * 90} Text")
    playbook = read(files | {"messages.yaml": long})
    assert "booster_mail" not in {found.message for found in measure_messages(playbook)}
    said = [str(warning) for warning in check(playbook) if "booster_mail" in str(warning)]
    assert said == ["messages.yaml:23: `booster_mail` has no text in fr; it is said in en until it has one"]


def test_what_nobody_ever_sees_is_said(texts: dict[str, str]) -> None:
    files = by_mail(texts)
    messages = files["messages.yaml"].replace('    subject: "{title}"\n', '    subject: "{title}"\n    media: a.jpg\n')
    said = [warning.message for warning in check(read(files | {"messages.yaml": messages}))]
    assert "nobody sees the `media` of `booster_mail`" in said


def test_minutes_are_too_few_for_people(texts: dict[str, str]) -> None:
    files = by_mail(texts)
    booster = files["offers/booster.yaml"].replace("channel: email", "channel: calls")
    for within, many in (("", 1), ("send_within: 2 hours\n", 0)):
        said = [one.message for one in check(read(files | {"offers/booster.yaml": booster + within}))]
        assert said.count("agents have 10 minutes to call for `booster`: most is never told") == many


# -- settings ----------------------------------------------------------------------------------------------------------

SETTINGS = {
    "[channels.email]\nhost = 'mail'\nsender = 'Fictel'\n": "`channels.email.sender`: `Fictel` is no address",
    "[channels.email]\nhost = 'mail'\nuser = 'k'\ntls = 'none'\nsender = 'o@fictel.example'\n": "for all to read",
    "[channels.push]\nurl = 'fcm://project/key'\n": "`channels.push.url` has no `{address}`",
    "[channels.webhook]\nurl = 'ftp://x'\n": "`channels.webhook.url`: `ftp://x` is no HTTP address",
    "[channels.webhook]\nurl = 'http://[x'\n": "is no HTTP address",
    "[channels.ivr]\nurl = 'http://dialler.example'\n": "`channels.ivr.callback`: `` is no HTTP address",
    "[channels.fax]\nurl = 'x'\n": "unknown setting `channels.fax`",
    "[news.crm]\nurl = 'http://c.example'\ntell = 'fulfillments'\n": "there is no news of `fulfillments`; did you mean",
    "[news.crm]\nurl = 'nowhere'\n": "`news.crm.url`: `nowhere` is no HTTP address",
    "[news.crm]\ntell = 'responses'\n": "`news.crm.url` is missing",
}


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_that_cannot_be_used_are_said(text: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        read_settings(text, {})
    assert SETTINGS[text] in str(wrong.value)


def test_secrets_come_from_the_environment_to_their_place() -> None:
    text = "[channels.email]\nhost='mail'\nsender='o@fictel.example'\n[news.call-desk]\nurl='http://crm.example'\n"
    environment = {
        "KAIROS_CHANNELS_EMAIL_PASSWORD": "p",
        "KAIROS_CHANNELS_EMAIL_AT_ONCE": "2",
        "KAIROS_CHANNELS_CALLS_LEASE_S": "60",
        "KAIROS_NEWS_CALL_DESK_SECRET": "s",
    }
    settings = read_settings(text, environment)
    email = settings.channels.email
    assert (email.password, email.at_once, settings.channels.calls.lease_s) == ("p", 2, 60.0)
    assert settings.news["call-desk"].secret == "s"


def test_a_playbook_that_uses_a_channel_without_a_way_out_is_refused_and_both_are_named(texts: dict[str, str]) -> None:
    playbook = read(by_mail(texts))
    with pytest.raises(PlaybookError) as wrong:
        require_ways(playbook, read_settings("", {}).channels)
    assert str(wrong.value) == (
        "offers/booster.yaml:2: `booster` goes out on `email`, which has no way out; "
        "set `host` of [channels.email] in kairos.toml, or leave the treatment out"
    )
    settings = read_settings("[channels.email]\nhost='mail'\nsender='o@fictel.example'\n", {})
    assert lacking(playbook, settings.channels) == []


async def test_each_way_out_is_opened_and_one_that_is_not_set_loses_nothing() -> None:
    text = (
        "[channels.push]\nurl='json://127.0.0.1/{secret}/{address}'\n[channels.calls]\non=true\n"
        "[channels.ivr]\nurl='http://dialler.example'\ncallback='https://kairos.example/'\n"
    )
    environment = {
        "KAIROS_CHANNELS_PUSH_SECRET": "k",
        "KAIROS_CHANNELS_IVR_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "KAIROS_CHANNELS_IVR_KEY": "0123456789abcdef",
    }
    settings = read_settings(text, environment).channels
    ways = open_ways(settings, lambda: 0)
    assert {name for name, way in ways.items() if not isinstance(way, Nowhere)} == {"push", "ivr", "calls"}
    assert isinstance(rooms(settings, ways)["calls"], CallList)
    assert callbacks(settings.ivr) == "https://kairos.example/v1/ivr/0123456789abcdef"
    outcome = await ways["email"].send(Text("", ADDRESS, "x"))
    assert outcome.status == "failed"
    assert "[channels.email]" in outcome.reason
    with pytest.raises(SettingsError, match="KAIROS_CHANNELS_IVR_KEY"):
        callbacks(read_settings("", {}).channels.ivr)


@pytest.mark.parametrize(
    ("url", "says"), [("nonsense://{address}", "that Apprise knows"), ("json://x/{address}?retry=3", "at most once")]
)
def test_a_service_that_cannot_be_used_is_said(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_ways(read_settings(f"[channels.push]\nurl='{url}'\n", {}).channels, lambda: 0)


def test_what_is_not_used_costs_nothing(small: Any, texts: dict[str, str], bench_with: Callable[..., Any]) -> None:
    """A playbook without addresses has no gate for them, on any channel."""
    assert all(gates == () for gates in small.decide.gates_on)
    assert compile_program(read(by_mail(texts))).decide.gates_on[1] != ()


def test_check_says_which_channel_has_no_way_out_in_the_settings_beside_it(
    texts: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, content in by_mail(texts).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    command(tmp_path)
    assert "no way out" not in capsys.readouterr().err
    (tmp_path / "kairos.toml").write_text("", encoding="utf-8")
    command(tmp_path)
    assert (
        "`booster` goes out on `email`, which has no way out; set `host` of [channels.email]" in capsys.readouterr().err
    )
