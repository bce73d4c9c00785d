"""The playbook: what marketers write, parsed, typed and cross-checked into one immutable value.

load_texts -> read -> Playbook, or a PlaybookError that names everything that is wrong
                   -> check              what is allowed, but probably not meant
                   -> measure_messages   how long each text can become
"""

from kairos.playbook.action import Action, ActionKind, ArmRule, NamedRule, Treatment, Variant
from kairos.playbook.advice import check
from kairos.playbook.folder import load_texts, new
from kairos.playbook.keywords import fold
from kairos.playbook.measure import Measured, measure_messages
from kairos.playbook.playbook import ANSWERS, Playbook, PlaybookTest, Tester
from kairos.playbook.policy import ContactPolicy, Limit
from kairos.playbook.reader import read, revision
from kairos.playbook.replies import ReplyWords
from kairos.playbook.vocabulary import Attribute, Counter, Vocabulary, Wallet

__all__ = [
    "ANSWERS",
    "Action",
    "ActionKind",
    "ArmRule",
    "Attribute",
    "ContactPolicy",
    "Counter",
    "Limit",
    "Measured",
    "NamedRule",
    "Playbook",
    "PlaybookTest",
    "ReplyWords",
    "Tester",
    "Treatment",
    "Variant",
    "Vocabulary",
    "Wallet",
    "check",
    "fold",
    "load_texts",
    "measure_messages",
    "new",
    "read",
    "revision",
]
