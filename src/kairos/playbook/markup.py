"""HTML of a message: where a placeholder may stand, so that no value can become markup, a script or an address."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

from kairos.playbook.placeholders import placeholders

NEVER: Final = frozenset({"script", "iframe", "object", "embed", "form", "base"})
ADDRESSES: Final = frozenset({"href", "src", "background", "poster", "cite", "action"})
CODE: Final = frozenset({"style", "srcdoc"})
LINK: Final = "{link}"  # kairos makes it
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


def unsafe(html: str) -> tuple[str, str] | None:
    """What is wrong with it and what to do; None where every value that is filled in stays a text.

    >>> unsafe('<p title="{title}">{title} for {price}: <a href="{link}">take it</a></p>')
    >>> unsafe("<p title={title}>")[0]
    'a placeholder stands in a tag without quotes'
    >>> unsafe('<a href="{plan}">')[0]
    'the address of `href` begins with a placeholder'
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.wrong


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.wrong: tuple[str, str] | None = None
        self.inside = ""  # of a style

    def _say(self, what: str, hint: str) -> None:
        self.wrong = self.wrong or (what, hint)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in NEVER:
            self._say(f"`<{tag}>` is not allowed in a message", "leave it out: no mail program shows it")
        if placeholders(_QUOTED.sub("", self.get_starttag_text() or "")):
            self._say("a placeholder stands in a tag without quotes", 'write it as in `title="{title}"`')
        for name, value in attrs:
            if name.startswith("on"):
                self._say(f"`{name}` is not allowed in a message", "leave it out: no mail program runs it")
            if value and placeholders(value):
                self._attribute(name, value)
        self.inside = tag if tag == "style" else ""

    def _attribute(self, name: str, value: str) -> None:
        if name in CODE:
            self._say(f"a placeholder stands in `{name}`", "write the value out")
        if name in ADDRESSES and value.lstrip().startswith("{") and not value.startswith(LINK):
            self._say(
                f"the address of `{name}` begins with a placeholder", "begin it with `https://`, or with `{link}`"
            )

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside and placeholders(data):
            self._say("a placeholder stands in a style", "write the value out")
        if not self.inside and "<" in data:  # what is filled in after it could make a tag of it
            self._say("a `<` begins no tag", "write `&lt;` for the character")

    def handle_comment(self, data: str) -> None:
        if placeholders(data):
            self._say("a placeholder stands in a comment", "leave it out")

    def handle_decl(self, decl: str) -> None:
        self.handle_comment(decl)

    def unknown_decl(self, data: str) -> None:
        self.handle_comment(data)

    def handle_pi(self, data: str) -> None:
        self.handle_comment(data)
