"""The landing page as HTML: whatever a playbook says is text, and what is empty is not there."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import fields, replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from kairos.api.landing import HEADERS, STYLE, Form, html
from kairos.deliver.page import Shown

HOSTILE = "</style><script>alert('1')</script>\"&<b>"
EVERYTHING = Shown(
    language="en",
    looks="open",
    fine=(HOSTILE,),
    reply_to=("5000", "1"),
    **{field.name: HOSTILE for field in fields(Shown) if field.name not in ("language", "looks", "fine", "reply_to")},
)


class Reader(HTMLParser):
    """The texts of a document, and its elements with their attributes."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_every_text_is_a_text() -> None:
    read = Reader(html(EVERYTHING, Form(HOSTILE, HOSTILE, HOSTILE)))
    said = [text for text in read.texts if text == HOSTILE]
    assert len(said) == len("title brand heading title words price news take decline stop reply fine".split())  # noqa: SIM905
    tags = {tag for tag, _ in read.elements}
    assert tags.isdisjoint({"script", "b", "img", "a href"})
    (form,) = (attributes for tag, attributes in read.elements if tag == "form")
    assert form == {"method": "post", "action": HOSTILE}


def test_the_policy_names_the_style_that_is_there() -> None:
    document = html(EVERYTHING)
    assert document.count(f"<style>{STYLE}</style>") == 1
    assert b64encode(sha256(STYLE.encode()).digest()).decode() in HEADERS["content-security-policy"]
    assert " style=" not in document
    assert "url(" not in STYLE


def test_what_is_empty_is_left_out() -> None:
    read = Reader(html(Shown("en", "nothing", news="Nothing.")))
    assert [tag for tag, _ in read.elements if tag in ("h1", "form", "button", "ul", "li", "a")] == []


@pytest.mark.parametrize(("looks", "again"), [("under_way", True), ("open", False), ("done", False)])
def test_only_what_is_under_way_is_looked_at_again(looks: str, again: bool) -> None:
    assert ('http-equiv="refresh"' in html(replace(EVERYTHING, looks=looks))) == again


@pytest.mark.parametrize(
    ("language", "direction"), [("ar-EG", "rtl"), ("fa", "rtl"), ("uz-Latn", "ltr"), ("az-Arab", "rtl"), ("fr", "ltr")]
)
def test_the_page_runs_as_its_language_does(language: str, direction: str) -> None:
    (root,) = (attributes for tag, attributes in Reader(html(Shown(language, "open"))).elements if tag == "html")
    assert root == {"lang": language, "dir": direction}
