"""The only place where parts are wired together: settings in, a running kairos out.

    open_playbook -> Kairos -> start ... stop

What `Kairos` wires is made by the files beside it, each from its sections of the settings.
"""

from kairos.bootstrap.doors import door_tls
from kairos.bootstrap.kairos import Kairos
from kairos.bootstrap.playbooks import check_links, old_vocabulary, open_playbook, page_links, read_patterns
from kairos.bootstrap.smpp import smsc_binds
from kairos.bootstrap.store import suppression_of

__all__ = [
    "Kairos",
    "check_links",
    "door_tls",
    "old_vocabulary",
    "open_playbook",
    "page_links",
    "read_patterns",
    "smsc_binds",
    "suppression_of",
]
