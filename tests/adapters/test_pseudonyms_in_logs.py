"""No log line names a subscriber, whoever writes it, and none can be made to look like two."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from kairos.adapters.pseudonyms import Pseudonyms, visible

SPEAK = Pseudonyms(b"key")
WHOM = SPEAK.of("12025550123")

MASKED = [
    ("nobody is known by `12025550123`", f"nobody is known by `{WHOM}`"),
    ("+12025550123", WHOM),
    ("/v1/subscribers/+12025550123/decisions", f"/v1/subscribers/{WHOM}/decisions"),
    ("imsi:001010000000001", f"imsi:{SPEAK.of('001010000000001')}"),
    ("msisdn%2B12025550123", f"msisdn%2B{WHOM}"),
    ("c/12025550123-7 and 12025550123.", f"c/{WHOM}-7 and {WHOM}."),
    *((written, WHOM) for written in ("+1 202 555 0123", "+1-202-555-0123", "+1 (202) 555-0123", "1-202-555-0123")),
    *((f"`{written}`!", f"`{WHOM}`!") for written in ("1 (202) 555-0123", "%2B1%20202%20555%200123", "1-202-555-0123")),
    ("/v1/subscribers/+1-202-555-0123/export", f"/v1/subscribers/{WHOM}/export"),
    ("?msisdn=1-202-555-0123&x=1", f"?msisdn={WHOM}&x=1"),
    ("(202) 555-0123 or 202-555-0123", f"{SPEAK.of('2025550123')} or {SPEAK.of('2025550123')}"),
    ("+44 20 7946 0018, +33 1 99 00 01 23", f"{SPEAK.of('442079460018')}, {SPEAK.of('33199000123')}"),
    *(
        (written, None)
        for written in (
            *("2026-11-29", "2026-11-29 00:47:16", "2026-11-29T00:47:16.123+00:00", "20:50-08:00", "29-11-2026"),
            *("T$1 000 000 000", "+1 000 000", "+12 345 678,90", "1,234,567.89", "T$ -100-200", "+5 10 20"),
            *("5da2-4447", "c1-2", "a202-555-0123", "7f3a-202-555-0123", "sent 100 200 3000", "0f3c9a7be215"),
            *("fixed-0.05", "learned-2-0f3c9a7be215", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "(12) 34-56"),
        )
    ),
    ("bound to 192.0.2.7:2775 at 20:50:07.123456, 4.0000001 s, 6 digits: 202555", None),
]


@pytest.mark.parametrize(("text", "shown"), MASKED)
def test_numbers_are_masked_and_nothing_else(text: str, shown: str | None) -> None:
    assert SPEAK.masked(text) == (shown or text)


def test_a_line_is_one_line() -> None:
    line: Any = {"event": "refused\r\n{forged}", "reason": "a\x1b[2Jb\u2028c\u202ed", "n": 7, "big": 12025550123}
    assert SPEAK.in_log(None, "info", line) == {
        "event": "refused\\x0d\\x0a{forged}",
        "reason": "a\\x1b[2Jb\\x2028c\\x202ed",
        "n": 7,
        "big": WHOM,
    }
    assert visible("Réf. 5 €, 漢字") == "Réf. 5 €, 漢字"


def test_traces_and_lines_of_others_are_masked_too() -> None:
    script = """
import logging, structlog
from kairos.adapters.log import logs
logs()
try:
    {}["12025550123"]
except KeyError as error:
    structlog.get_logger().error("broke", exc_info=error, msisdn="+12025550123")
    logging.getLogger("uvicorn.error").error("bad %s", "12025550123\\nforged", exc_info=error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    assert "12025550123" not in told.replace('{}["12025550123"]', "")
    ours, theirs = map(json.loads, told.splitlines())  # both as whoever gathers logs reads them
    assert "KeyError" in ours["exception"]
    assert "KeyError" in theirs["exception"]
    assert (theirs["level"], theirs["logger"]) == ("error", "uvicorn.error")
    assert theirs["event"].endswith("\\x0aforged")
    assert theirs["timestamp"]
