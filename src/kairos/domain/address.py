"""Where somebody is reached on a channel: whether what is known of it can be an address at all.

What passes has no space, no control character and no line break: nothing that could become a header, or a second
address, wherever it is written.
"""

from __future__ import annotations

import re
from typing import Any, Final

# RFC 5321, section 4.1.2, without quoted local parts, address literals, what is not ASCII, and `=` and `?` (of which
# RFC 2047 makes words that mean others): no mail that anybody gives an operator has them, and each is a way to say
# something else.
EMAIL: Final = re.compile(
    r"(?=.{3,254}\Z)(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])"
)
TELEPHONE: Final = re.compile(r"\+?[0-9]{3,15}")  # E.164, or a number of the operator's own
WORD: Final = re.compile(r"[\x21-\x7e]{1,1024}")  # a token, a device's id

FORMS: Final = {"email": EMAIL, "push": WORD, "webhook": WORD, "whatsapp": TELEPHONE, "mms": TELEPHONE}


def usable(channel: str, address: Any) -> bool:
    """Whether something can be sent there.

    >>> usable("email", "ada@mail.example"), usable("email", "ada@mail.example\\r\\nBcc: all@mail.example")
    (True, False)
    >>> usable("email", "=?utf-8?q?=0D=0ABcc=3Aall=40mail.example@x.example")
    False
    >>> usable("whatsapp", "+12025550123"), usable("whatsapp", "12025550123/5")
    (True, False)
    """
    return isinstance(address, str) and FORMS.get(channel, TELEPHONE).fullmatch(address) is not None
