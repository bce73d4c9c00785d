"""Settings: from the file and the environment; everything wrong is said at once, at its line, in the user's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kairos.errors import SettingsError
from kairos.settings import load_settings, read_settings, require_passwords

ROOT = Path(__file__).parents[2]
PATTERN = '[[patterns]]\naccount = "ocs"\nlanguage = "en"\nevent = "end_of_call"\ntexts = ["{id}"]\n'

BAD = {
    "a page's address with a slash too many": (
        "[page]\nurl = 'https://offers.example/'\n",
        ["2: `page.url`: `https://offers.example/` is no HTTP address; write it like `https://offers.example`"],
    ),
    "addresses with a bracket that is not closed": (
        "[oidc]\nissuer = 'https://['\n[page]\nurl = 'https://['\n[ussd]\npush = 'xml'\npush_url = 'http://['\n",
        [
            "2: `oidc.issuer`: `https://[` is no HTTPS address; write it like",
            "4: `page.url`: `https://[` is no HTTP address; write it like",
            "7: `ussd.push_url`: `http://[` is no HTTP address; write `http://host/path`",
        ],
    ),
    "a page's secret in the file": (
        "[page]\nsecret = 'x'\n",
        ["2: `secret` does not belong in the file; set KAIROS_PAGE_SECRET in the environment"],
    ),
    "a proxy that is none": (
        "[page]\nproxies = '10.0.0.0/8 gateway'\n",
        ["2: `page.proxies`: `gateway` is no address; write addresses or networks, such as `10.1.0.0/16`"],
    ),
    "what is no amount": ("[page]\ntap_up_to = 'much'\n", ["2: `page.tap_up_to` must be an amount such as `2.50`"]),
    "not TOML": ("[smsc\n", ["1: this is not TOML: Expected ']' at the end of a table declaration"]),
    "not TOML, at the end": ('[smsc]\nhost = "x', ["2: this is not TOML"]),
    "a key twice": ("[smsc]\nport = 1\nport = 2\n", ["3: this is not TOML: Cannot overwrite a value"]),
    "an unknown section": ("[smcs]\nport = 1\n", ["1: unknown setting `smcs`; did you mean `smsc`?"]),
    "an unknown key": ("\n[http]\nhst = 'a'\n", ["3: unknown setting `http.hst`; did you mean `host`?"]),
    "an unknown key, far from any": ("[http]\nzebra = 1\n", ["2: unknown setting `http.zebra`"]),
    "a key that stands in the wrong section": ("port = 1\n", ["1: unknown setting `port`"]),
    "text for a number": (
        '[http]\nport = "abc"\n',
        ["2: `http.port` must be a port from 0 (any that is free) to 65535, not `abc`"],
    ),
    "a number out of range": (
        "[engine]\nbatch = 0\npropensity = 1.5\nlinger_ms = nan\n",
        [
            "2: `engine.batch` must be a whole number from 1, not `0`",
            "3: `engine.propensity` must be a chance from 0 to 1, not `1.5`",
            "4: `engine.linger_ms` must be milliseconds from 0 to 1000, not `nan`",
        ],
    ),
    "a fraction for a whole number": (
        "[smsc]\nwindow = 1.5\n",
        ["2: `smsc.window` must be a whole number from 1 to 10000, not `1.5`"],
    ),
    "endless seconds": ("reload_every_s = inf", ["1: `reload_every_s` must be seconds from 0.01 to 3600, not `inf`"]),
    "a word for yes or no": (
        '[accounts.ocs]\nrides = "maybe"\n',
        ["2: `accounts.ocs.rides` must be true or false, not `maybe`"],
    ),
    "a word that is none of the choices": (
        '[engine]\nunknown_subscribers = "create it"\n',
        ["2: `engine.unknown_subscribers` must be `create` or `reject`, not `create it`"],
    ),
    "a value for a section": ("http = 8080\n", ["1: `http` must be a section, not `8080`"]),
    "a value for an account": ("[accounts]\nocs = 1\n", ["2: `accounts.ocs` must be a section, not `1`"]),
    "a section for a list": ("[patterns]\n", ["1: `patterns` must be a list, not `{}`"]),
    "an account that no bind could name": (
        "[accounts.a-name-much-too-long]\n",
        ["1: `accounts.a-name-much-too-long` must be a name of 1 to 15 characters"],
    ),
    "a key inside a line": (
        "[accounts]\nocs = { ryde = true }\n",
        ["2: unknown setting `accounts.ocs.ryde`; did you mean `rides`?"],
    ),
    "a dotted key": ("accounts.ocs.ryde = 1\n", ["1: unknown setting `accounts.ocs.ryde`; did you mean `rides`?"]),
    "a pattern without its texts": (
        '[accounts.ocs]\n[[patterns]]\naccount = "ocs"\nlanguage = "en"\n',
        ["2: `patterns.event` is missing", "2: `patterns.texts` is missing"],
    ),
    "the second pattern": (
        "[accounts.ocs]\n" + PATTERN + PATTERN + "texs = 1\n",
        ["12: unknown setting `patterns.texs`; did you mean `texts`?"],
    ),
    "a pattern without a text": (
        "[accounts.ocs]\n" + PATTERN.replace('["{id}"]', "[]"),
        ["6: `patterns.texts` must be a list of one text or more"],
    ),
    "a pattern's words": (
        "[accounts.ocs]\n" + PATTERN + "words.service = { call = 1 }\n",
        ["7: `patterns.words.service.call` must be a text in quotes, not `1`"],
    ),
    "a pattern of nobody": ("[accounts.ocss]\n" + PATTERN, ["3: there is no account `ocs`; did you mean `ocss`?"]),
    "a pattern and no account": (PATTERN, ["2: there is no account `ocs`; add a section [accounts.ocs]"]),
    "nothing that can be sent": (
        '[senders.vas]\nids = ["1234"]\nsends = "marketting service"\n',
        ["3: `marketting` is nothing that can be sent; did you mean `marketing`?"],
    ),
    "a sender that sends nothing": (
        '[senders.vas]\nids = ["1234"]\nsends = ""\n',
        ["3: `senders.vas.sends` is empty; say what it sends: emergency government service"],
    ),
    "a sender without an id": (
        "[senders.vas]\nids = []\n",
        ["2: `senders.vas.ids` must be a list of one text or more"],
    ),
    "messages that are valid for ever": (
        '[senders.vas]\nids = ["1234"]\nvalidity = "0"\n',
        ["3: `senders.vas.validity`: no message is valid for ever; write it like `24 hours`"],
    ),
    "another system's notifications": (
        '[senders.ocs]\nids = ["1"]\n[accounts.ocs]\n' + PATTERN,
        ["5: `ocs` is another system's: its messages are no notifications; remove [senders.ocs] or this"],
    ),
    "a password of an account": (
        "[accounts.night-desk]\npassword = 'hunter2'\n",
        ["2: `password` does not belong in the file; set KAIROS_ACCOUNTS_NIGHT_DESK_PASSWORD in the environment"],
    ),
    "a password inside a line": (
        "[http]\n[accounts]\nocs = {password = 'hunter2'}\n",
        ["3: `password` does not belong in the file; set KAIROS_ACCOUNTS_OCS_PASSWORD in the environment"],
    ),
    "a password in quotes": (
        "[smsc]\n\"password\" = 'hunter2'\n",
        ["2: `password` does not belong in the file; set KAIROS_SMSC_PASSWORD in the environment"],
    ),
    "a region that is none": ('region = "UK"\n', ["1: `UK` is no region of phone numbers; write its ISO 3166 code"]),
    "no address for orders": (
        '[fulfilment]\nurl = "127.0.0.1:8081/v1/orders"\n',
        ["2: `fulfilment.url`: `127.0.0.1:8081/v1/orders` is no HTTP address; write it like `http://host:port/path`"],
    ),
    "another address without its port": (
        '[smsc]\n[[smsc.also]]\nhost = "a"\nport = 1\n[[smsc.also]]\nhost = "b"\n',
        ["5: `smsc.also.port` is missing"],
    ),
    "a list of a section's own": (
        '[[smsc.also]]\nhost = "a"\nport = 1\nstandbye = true\n',
        ["4: unknown setting `smsc.also.standbye`; did you mean `standby`?"],
    ),
    "everything at once, in the order of the lines": (
        '[smsc]\nport = -1\n[http]\nhots = "a"\n[engine]\nqueue = "many"\n',
        ["2: `smsc.port` must be", "4: unknown setting `http.hots`", "6: `engine.queue` must be a whole number"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_at_its_line(case: str) -> None:
    text, expected = BAD[case]
    with pytest.raises(SettingsError) as raised:
        read_settings(text, {}, "shop/kairos.toml")
    said = [str(diagnostic) for diagnostic in raised.value.diagnostics]
    assert len(said) == len(expected), said
    for line, start in zip(said, expected, strict=True):
        assert line.startswith(f"shop/kairos.toml:{start}")
        assert "hunter2" not in line
        assert "Expected `" not in line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"kairos\.toml: is not there; name the file with --settings"):
        load_settings(tmp_path / "kairos.toml", {})


def test_a_folder_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {})


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "kairos.toml").write_bytes(b"[smsc]\nhost = '\xe9'\n")
    with pytest.raises(SettingsError, match=r"kairos\.toml:2: is not UTF-8; save it as UTF-8"):
        load_settings(tmp_path / "kairos.toml", {})


def test_nothing_is_needed_in_the_file() -> None:
    settings = read_settings("", {})
    assert (settings.http.port, settings.accounts, settings.smsc.system_id) == (8080, {}, "kairos")


def test_the_store_is_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "kairos.toml").write_text('[store]\npath = "data/kairos.db"\n')
    assert load_settings(tmp_path / "kairos.toml", {}).store.path == str(tmp_path / "data" / "kairos.db")
    assert load_settings(tmp_path / "kairos.toml", {"KAIROS_STORE_PATH": "/data/k.db"}).store.path == "/data/k.db"


def test_the_playbook_is_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "kairos.toml").write_text('playbook = "books/prepaid"\n')
    assert load_settings(tmp_path / "kairos.toml", {}).playbook == str(tmp_path / "books" / "prepaid")
    assert load_settings(tmp_path / "kairos.toml", {"KAIROS_PLAYBOOK": "other"}).playbook == str(tmp_path / "other")
    assert load_settings(tmp_path / "kairos.toml", {"KAIROS_PLAYBOOK": "/books"}).playbook == "/books"


def test_certificates_are_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "kairos.toml").write_text(
        '[smsc]\nca_file = "tls/ca.pem"\n[notifications]\nkey_file = "/tls/key.pem"\n'
    )
    settings = load_settings(tmp_path / "kairos.toml", {"KAIROS_NOTIFICATIONS_CLIENT_CA_FILE": "ocs.pem"})
    assert settings.smsc.ca_file == str(tmp_path / "tls" / "ca.pem")
    assert settings.smsc.cert_file == ""
    assert settings.notifications.key_file == "/tls/key.pem"
    assert settings.notifications.client_ca_file == str(tmp_path / "ocs.pem")


# -- the environment ---------------------------------------------------------------------------------------------------


def test_every_kind_of_value_can_come_from_the_environment() -> None:
    settings = read_settings(
        '[smsc]\nhost = "a"\nport = 1\n[accounts.ocs]\nrides = true\n[accounts.Night-Desk]\n',
        {
            "KAIROS_SMSC_HOST": "b",
            "KAIROS_SMSC_PORT": "3000",
            "KAIROS_SMSC_RESPONSE_TIMEOUT_S": "2.5",
            "KAIROS_ACCOUNTS_OCS_RIDES": "false",
            "KAIROS_ACCOUNTS_OCS_PASSWORD": "secret",
            "KAIROS_ACCOUNTS_NIGHT_DESK_PASSWORD": "secret too",
            "KAIROS_ACCOUNTS_NEW_ONE_PASSWORD": "third",
            "KAIROS_ENGINE_UNKNOWN_SUBSCRIBERS": "reject",
            "KAIROS_REGION": "US",
            "KAIROS_RELOAD_EVERY_S": "0.5",
            "PATH": "/bin",
        },
    )
    assert (settings.smsc.host, settings.smsc.port, settings.smsc.response_timeout_s) == ("b", 3000, 2.5)
    assert settings.accounts["ocs"].rides is False
    passwords = {name: account.password for name, account in settings.accounts.items()}
    assert passwords == {"ocs": "secret", "Night-Desk": "secret too", "new_one": "third"}
    assert settings.engine.unknown_subscribers == "reject"
    assert (settings.region, settings.reload_every_s) == ("US", 0.5)


NAMED = [
    ("KAIROS_SENDERS_GAMES_IDS", '["1234", "My Bank"]', ("senders", "games", "ids"), ["1234", "My Bank"]),
    ("KAIROS_SENDERS_GAMES_PRIORITY", "2", ("senders", "games", "priority"), 2),
    (
        "KAIROS_SENDERS_A_LOT_CALLBACKS",
        '["https://a.example"]',
        ("senders", "a-lot", "callbacks"),
        ["https://a.example"],
    ),
    ("KAIROS_NEWS_CRM_TELL", "decisions", ("news", "crm", "tell"), "decisions"),
    ("KAIROS_SOURCES_DPI_2_PRESET", "x", ("sources", "dpi_2", "preset"), "x"),
    ("KAIROS_USSD_SYSTEMS_BANK_TIMEOUT_S", "0.5", ("ussd", "systems", "bank", "timeout_s"), 0.5),
    ("KAIROS_USSD_PROFILES_OWN_SESSION_MASK", "3", ("ussd", "profiles", "own", "session", "mask"), 3),
    ("KAIROS_USSD_PROFILES_OWN_STEP", "{tag = 0x1383}", ("ussd", "profiles", "own", "step", "tag"), 0x1383),
    ("KAIROS_USSD_PROFILES_OWN_OPERATIONS", "{ask = 2}", ("ussd", "profiles", "own", "operations", "ask"), 2),
    ("KAIROS_USSD_PUSH_FROM", "[7]", ("ussd", "push_from"), "[7]"),
    ("KAIROS_CHANNELS_EMAIL_PORT", "26", ("channels", "email", "port"), 26),
    ("KAIROS_SMSC_ALSO", '[{host = "b", port = 2}]', ("smsc", "also", 0, "host"), "b"),
    ("KAIROS_RECOMMENDATIONS_CALLBACKS", "[]", ("recommendations", "callbacks"), []),
]
SECTIONS_WITH_NAMES = """
[senders.games]
ids = ["1"]
[senders.a-lot]
ids = ["2"]
[news.crm]
url = "https://crm.example"
[ussd.systems.bank]
url = "https://bank.example"
[ussd.profiles.own]
session = {tag = 1}
"""


@pytest.mark.parametrize(("name", "value", "place", "stands"), NAMED)
def test_sections_with_names_come_from_the_environment_like_all_others(
    name: str, value: str, place: tuple[Any, ...], stands: Any
) -> None:
    found: Any = read_settings(SECTIONS_WITH_NAMES, {name: value})
    for step in place:
        found = found[step] if isinstance(found, dict | list) else getattr(found, step)
    assert found == stands


def test_a_section_with_a_name_can_be_in_the_environment_alone() -> None:
    environment = {"KAIROS_SENDERS_GAMES_IDS": '["1234"]', "KAIROS_SENDERS_GAMES_SENDS": "service"}
    sender = read_settings("", environment).senders["games"]
    assert (sender.ids, sender.kinds) == (["1234"], ("service",))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("KAIROS_SENDERS_X_IDS", "1234", "KAIROS_SENDERS_X_IDS: `senders.x.ids` must be a list of one text or more"),
        ("KAIROS_SMSC_ALSO", '[{host = "b", port = "x"}]', "KAIROS_SMSC_ALSO: `smsc.also.port` must be a port"),
        ("KAIROS_CHANNELS_EMAIL_PRT", "1", "KAIROS_CHANNELS_EMAIL_PRT: unknown setting `channels.email.prt`"),
        ("KAIROS_HTTP_PORT", "http", "KAIROS_HTTP_PORT: `http.port` must be a port"),
        ("KAIROS_HTTP_PRT", "1", "KAIROS_HTTP_PRT: unknown setting `http.prt`; did you mean `port`?"),
        ("KAIROS_ACCOUNTS_OCS_RIDES", "2", "KAIROS_ACCOUNTS_OCS_RIDES: `accounts.ocs.rides` must be true or false"),
    ],
)
def test_a_wrong_value_names_its_variable(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings("[http]\nport = 1\n[accounts.ocs]\n", {name: value})
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    "name",
    ["KAIROS_HOME", "KAIROS_", "KAIROS_PATTERNS_X", "KAIROS_ACCOUNTS_OCS_SHOE", "KAIROS_SMSC", "KAIROS_PATTERNS"],
)
def test_a_variable_that_names_no_setting_is_somebody_elses(name: str) -> None:
    assert read_settings(PATTERN + "[accounts.ocs]\n", {name: "x"}) == read_settings(PATTERN + "[accounts.ocs]\n", {})


def test_a_variable_of_a_section_that_is_gone_says_so() -> None:
    said = "`clients.app.roles` is missing; there is no [clients.app] in kairos.toml; add it, or unset the variable"
    with pytest.raises(SettingsError) as raised:
        read_settings("[clients.care]\nroles = 'care'\n", {"KAIROS_CLIENTS_APP_KEY": "x" * 32})
    assert str(raised.value) == f"KAIROS_CLIENTS_APP_KEY: {said}"


def test_a_broken_section_is_said_once_even_if_the_environment_would_fill_it() -> None:
    with pytest.raises(SettingsError, match=r"^kairos\.toml:1: `smsc` must be a section, not `x`$"):
        read_settings("smsc = 'x'", {"KAIROS_SMSC_PORT": "1"})


# -- passwords ---------------------------------------------------------------------------------------------------------

PASSWORDS = {
    "KAIROS_SMSC_PASSWORD": "one",
    "KAIROS_ACCOUNTS_OCS_PASSWORD": "two",
    "KAIROS_ACCOUNTS_INFO_PASSWORD": "three",
}


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("name", PASSWORDS)
def test_nobody_can_bind_without_a_password(name: str, empty: bool) -> None:
    environment = PASSWORDS | {name: ""} if empty else {n: v for n, v in PASSWORDS.items() if n != name}
    settings = read_settings("[accounts.ocs]\n[accounts.info]\n", environment)
    with pytest.raises(SettingsError) as raised:
        require_passwords(settings)
    (said,) = raised.value.diagnostics
    assert said.message.endswith("password` is not set")
    assert said.hint == f"set {name}"


def test_all_passwords_are_there() -> None:
    require_passwords(read_settings("[accounts.ocs]\n[accounts.info]\n", PASSWORDS))


def test_the_example_is_sound() -> None:
    settings = load_settings(ROOT / "examples" / "prepaid" / "kairos.toml", {})
    assert list(settings.accounts) == ["ocs", "info"]
    assert len(settings.patterns) == 3


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "`page.secret` is not set; set KAIROS_PAGE_SECRET"),
        (" ", "`page.secret` is not set; set KAIROS_PAGE_SECRET"),
        ("x" * 32 + " short", "`page.secret` is too short: links could be guessed"),
    ],
)
def test_a_page_needs_a_secret_that_nobody_can_guess(secret: str, said: str) -> None:
    environment = {"KAIROS_SMSC_PASSWORD": "x", "KAIROS_PAGE_SECRET": secret}
    with pytest.raises(SettingsError) as error:
        require_passwords(read_settings("[page]\nurl = 'https://offers.example'", environment))
    assert said in str(error.value)


def test_without_a_page_no_secret_is_needed() -> None:
    require_passwords(read_settings("", {"KAIROS_SMSC_PASSWORD": "x"}))


def test_a_secret_of_a_source_that_can_be_guessed_is_refused() -> None:
    environment = {"KAIROS_SMSC_PASSWORD": "x", "KAIROS_SOURCES_DPI_2_SECRET": "x" * 31}
    settings = read_settings("[sources.dpi-2]\n[sources.vas]\n", environment)
    with pytest.raises(
        SettingsError, match=r"`sources.dpi-2.secret` is too short; set KAIROS_SOURCES_DPI_2_SECRET to 32"
    ):
        require_passwords(settings)
    require_passwords(read_settings("[sources.dpi-2]\n", environment | {"KAIROS_SOURCES_DPI_2_SECRET": "x" * 32}))


def test_a_mapping_without_its_source_is_refused_at_its_line() -> None:
    toml = '[sources.dpi]\n[[mappings]]\nevent = "x"\nid = "a"\nsubscriber = "b"\nsource = "dip"\n'
    with pytest.raises(SettingsError, match=r"kairos.toml:6: there is no source `dip`; did you mean `dpi`\?"):
        read_settings(toml, {})
    for key, said in (
        ("where = 1", "unknown setting `mappings.where`; did you mean `when`?"),
        ("lenient = true", "unknown setting `mappings.lenient`"),
        ('happened = {pth = "a"}', "unknown setting `mappings.happened.pth`; did you mean `path`?"),
        ("data.x = 1", "`mappings.data.x` must be a JMESPath expression"),
        ('data.x = {path = "a", round = "up"}', "`mappings.data.x.round` must be `` or `nearest` or `down`, not `up`"),
        ("data.x = [{wallet = 1}]", "`mappings.data.x.wallet` must be a text in quotes, not `1`"),
    ):
        with pytest.raises(SettingsError) as refused:
            read_settings(toml.replace("dip", "dpi") + key, {})
        assert f"kairos.toml:7: {said}" in str(refused.value)


def test_all_that_ways_out_need_is_named_at_once() -> None:
    text = """[channels.webhook]
url = "https://hooks.example"
[channels.ivr]
url = "https://dialler.example"
callback = "https://kairos.example"
[channels.push]
url = "fcm://project/{secret}/{address}"
[channels.whatsapp]
url = "json://hub.example/{address}"
[channels.email]
host = "mail.example"
user = "kairos"
sender = "offers@fictel.example"
[channels.mms]
url = "https://mmsc.example"
user = "kairos"
[news.crm]
url = "https://crm.example"
"""
    with pytest.raises(SettingsError) as raised:
        require_passwords(read_settings(text, {"KAIROS_SMSC_PASSWORD": "x"}))
    named = [said.hint.removeprefix("set ").split()[0].rstrip(",") for said in raised.value.diagnostics]
    assert sorted(named) == [
        "KAIROS_CHANNELS_EMAIL_PASSWORD",
        "KAIROS_CHANNELS_IVR_KEY",
        "KAIROS_CHANNELS_IVR_SECRET",
        "KAIROS_CHANNELS_MMS_PASSWORD",
        "KAIROS_CHANNELS_PUSH_SECRET",
        "KAIROS_CHANNELS_WEBHOOK_SECRET",
        "KAIROS_NEWS_CRM_SECRET",
    ]
