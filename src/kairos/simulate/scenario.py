"""What the handsets understand and say: the phrases of the example playbook's messages, and words to answer with.

Data for one scenario, `examples/prepaid`: a playbook with other phrases needs others here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

SHORT_CODE = "5000"
INFO_CODE = "5001"
USSD_CODE = "*123#"
PARTNER = "Games"  # the sender id of a content partner
OTHERS = frozenset({PARTNER, "Alert", "City"})  # of those who send through kairos and are not answered

# An offer names the number to answer with, or, where it is a promise, the recharge that takes it.
NUMBERED = re.compile(r"(?:\bReply|\bRépondez|أرسل|أجب)\s+(?:\w+\s+)?(\d{1,3})\b", re.IGNORECASE)
PROMISED = re.compile(r"(?:\b(?:Recharge|Top up|Rechargez)\b|اشحن)\D*?T\$(\d+(?:\.\d\d)?)", re.IGNORECASE)
_AMOUNT = re.compile(r"T\$(\d+)(?:\.(\d\d))?")
_SIZE = re.compile(r"\b\d+(?:GB|MB|min)\b")

LINK = re.compile(r"https?://\S+/o/\w+")

# The first theme with a matching word is what the offer is about, for the handset's taste.
THEMES: Mapping[str, re.Pattern[str]] = {
    "content": re.compile(r"video|music|gam(?:es|ing)|vidéo|musique|jeux|jouez|فيديو|موسيقى|ألعاب|العب", re.IGNORECASE),
    "care": re.compile(r"saver|pay less|paie|payez|half|moitié|خطة التوفير|نصف", re.IGNORECASE),
}

# Why an accepted offer was not given, as the answer's text says it.
REFUSALS: Mapping[str, re.Pattern[str]] = {
    "insufficient_funds": re.compile(r"balance is too low|solde est trop bas|لا يكفي", re.IGNORECASE),
    "already_taken": re.compile(r"\balready\b|\bdéjà\b|بالفعل", re.IGNORECASE),
    "expired": re.compile(r"\bnot open any more\b|a pris fin|انتهى", re.IGNORECASE),
    "not_activated": re.compile(r"could not be activated|n'a pas pu s'activer|تعذر", re.IGNORECASE),
    "not_now": re.compile(r"cannot be taken now|n'est pas possible maintenant|لا يمكن ذلك الآن", re.IGNORECASE),
    "nothing_open": re.compile(r"no open offer|aucune offre n'est ouverte|لا يوجد عرض", re.IGNORECASE),
}

# Words of a reply, as `plain` leaves them.
ACCEPT: Mapping[str, Sequence[str]] = {
    "en": ("yes", "ok", "y"),
    "fr": ("oui", "ok", "d'accord"),
    "ar": ("نعم", "موافق"),
}
DECLINE: Mapping[str, Sequence[str]] = {
    "en": ("no", "n", "no thanks"),
    "fr": ("non", "non merci"),
    "ar": ("لا", "لا شكرا"),
}
STOP: Mapping[str, Sequence[str]] = {
    "en": ("stop", "stop all", "unsubscribe"),
    "fr": ("stop", "arret", "desabonner"),
    "ar": ("توقف", "ايقاف", "الغاء"),
}
GIBBERISH: Sequence[str] = ("hm", "thx", "who is this", "asdf", "Hello there")
BALANCE = "BAL"


def plain(text: str) -> str:
    """A text without its case, accents, and spaces more than one.

    >>> plain("  ARRÊT "), plain("Non   merci")
    ('arret', 'non merci')
    """
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return " ".join("".join(char for char in decomposed if not unicodedata.combining(char)).split())


def number_in(text: str) -> str:
    """The number to answer with, or an empty text.

    >>> number_in("500 MB for 1 day, T$2. Reply 3"), number_in("Thank you.")
    ('3', '')
    """
    found = NUMBERED.search(text)
    return found[1] if found else ""


def link_in(text: str) -> str:
    """What opens the offer's page, or an empty text.

    >>> link_in("2 GB for T$5: https://offers.example/o/39S2CwjV1hE4 or reply 1."), link_in("Reply 1")
    ('https://offers.example/o/39S2CwjV1hE4', '')
    """
    found = LINK.search(text)
    return found[0] if found else ""


def promised_in(text: str) -> int:
    """The recharge that takes a promise, in minor units; 0 where the text is none.

    >>> promised_in("Recharge T$10 today, get 30 free minutes"), promised_in("500 MB, T$2. Reply 3")
    (1000, 0)
    """
    found = PROMISED.search(text)
    if not found:
        return 0
    major, _, minor = found[1].partition(".")
    return int(major) * 100 + int(minor or 0)


def amounts_in(text: str) -> set[int]:
    """Every amount that a text names, in minor units: an offer's price is among them.

    >>> sorted(amounts_in("Data 500MB T$1, Talk 60 T$0.70"))
    [70, 100]
    """
    return {int(major) * 100 + int(minor or 0) for major, minor in _AMOUNT.findall(text)}


def theme_of(text: str) -> str:
    """What an offer's text is about: content, care, promise or bundle."""
    if promised_in(text):
        return "promise"
    return next((theme for theme, words in THEMES.items() if words.search(text)), "bundle")


def same_offer(one: str, other: str) -> bool:
    """Whether two texts, on whichever screens, speak of one offer: its price, its size and what it is about.

    >>> same_offer("1GB for 24 hours T$1.50", "Data is low! 1GB for 24 hours at T$1.50. Reply 2")
    True
    >>> same_offer("Play on with gaming data: Games Pass for T$1.20?", "Your evenings online: 3GB for T$1.20. Reply 1")
    False
    """
    alike = (theme_of(one), set(_SIZE.findall(one))) == (theme_of(other), set(_SIZE.findall(other)))
    return alike and bool(amounts_in(one) & amounts_in(other))


def refusal_in(text: str) -> str:
    """The reason in a text that says no, or an empty text.

    >>> refusal_in("Talk 60 costs T$0.70, and your balance is too low."), refusal_in("Talk 60 is active.")
    ('insufficient_funds', '')
    """
    return next((reason for reason, words in REFUSALS.items() if words.search(text)), "")
