"""The landing page as HTML: one small document without script, which asks nothing of any other address."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from kairos.deliver.page import Shown

STYLE: Final = Path(__file__).with_name("landing.css").read_text("utf-8").replace("\n", "")
AGAIN: Final = 4  # seconds: what is under way is looked at again

HEADERS: Final = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

SIGNS: Final = {
    "under_way": '<path d="M12 3a9 9 0 1 0 9 9"/>',
    "done": '<path d="m5 12.5 4.5 4.5L19 7.5"/>',
    "over": '<path d="M6 12h12"/>',
    "nothing": '<path d="M12 7v6m0 4v.01"/>',
}


class Form(NamedTuple):
    """What a button sends, and where to."""

    token: str
    nonce: str = ""
    seal: str = ""


def html(shown: Shown, form: Form | None = None) -> str:
    """The document. Every text is escaped: titles and words come from playbooks."""
    name = escape(shown.title or shown.news or shown.brand)
    again = f'<meta http-equiv="refresh" content="{AGAIN}">' if shown.looks == "under_way" else ""
    return (
        f'<!doctype html><html lang="{escape(shown.language)}" dir="{shown.direction}"><head>'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="robots" content="noindex,nofollow"><link rel="icon" href="data:,">{again}'
        f"<title>{name}</title><style>{STYLE}</style></head>"
        f'<body><main>{_p("brand", shown.brand)}<article class="{shown.looks}">{_inside(shown, form)}</article></main>'
        "</body></html>"
    )


def _inside(shown: Shown, form: Form | None) -> str:
    sign = SIGNS.get(shown.looks, "")
    drawn = f'<div class="sign"><svg viewBox="0 0 24 24" aria-hidden="true">{sign}</svg></div>' if sign else ""
    title = f"<h1><bdi>{escape(shown.title)}</bdi></h1>" if shown.title else ""
    news = f'<p class="news" role="status"><bdi>{escape(shown.news)}</bdi></p>' if shown.news else ""
    fine = "".join(f"<li><bdi>{escape(line)}</bdi></li>" for line in shown.fine)
    return "".join(
        (
            drawn,
            _p("above", shown.heading),
            title,
            _p("words", shown.words),
            _p("price", shown.price),
            news,
            _buttons(shown, form),
            _reply(shown),
            f"<ul>{fine}</ul>" if fine else "",
        )
    )


def _buttons(shown: Shown, form: Form | None) -> str:
    words = {"accept": shown.take, "decline": shown.decline}
    drawn = [_button("answer", value, said) for value, said in words.items() if said]
    if shown.stop:
        drawn.append(_button("List-Unsubscribe", "One-Click", shown.stop))
    if not drawn or form is None:
        return ""
    hidden = {"nonce": form.nonce, "seal": form.seal} if form.seal else {}
    fields = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in hidden.items())
    return f'<form method="post" action="{escape(form.token)}">{fields}{"".join(drawn)}</form>'


def _button(name: str, value: str, said: str) -> str:
    kind = "no" if value == "decline" else "go"
    return f'<button class="{kind}" name="{name}" value="{value}">{escape(said)}</button>'


def _reply(shown: Shown) -> str:
    """A tap that opens the telephone's own messages, with the answer written (RFC 5724)."""
    code, body = shown.reply_to
    return f'<a class="reply go" href="sms:{quote(code)}?body={quote(body)}">{escape(shown.reply)}</a>' if code else ""


def _p(kind: str, text: str) -> str:
    return f'<p class="{kind}"><bdi>{escape(text)}</bdi></p>' if text else ""
