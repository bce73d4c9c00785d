"""Settings (`kairos.toml`): addresses, binds, patterns. They belong to operations; the playbook belongs to marketers.

Every key can be set from the environment: KAIROS_SMSC_HOST is `host` of [smsc], KAIROS_ACCOUNTS_OCS_RIDES is `rides` of
[accounts.ocs]. Secrets come only from there: KAIROS_SMSC_PASSWORD, KAIROS_CLIENTS_CARE_KEY,
KAIROS_SOURCES_DPI_SECRET. See docs/settings.md.

    file -> environment -> misfits -> Settings -> checks     (`reading` leads through them)
"""

from kairos.settings.channels import lacking, require_ways
from kairos.settings.checks import is_loopback
from kairos.settings.environment import variable
from kairos.settings.mappings import presets, read_preset
from kairos.settings.misfits import OURS
from kairos.settings.reading import load_settings, read_settings
from kairos.settings.secrets import require_passwords
from kairos.settings.sections import (
    Account,
    Also,
    Audit,
    Calls,
    Channels,
    Client,
    Email,
    Engine,
    Fulfilment,
    Gateway,
    Http,
    Ivr,
    Learning,
    Mms,
    News,
    Notifications,
    Notifier,
    Oidc,
    Page,
    Patterns,
    Recommendations,
    Retention,
    Section,
    Sender,
    Settings,
    Smsc,
    Store,
    Ussd,
    UssdProfile,
    UssdSystem,
    Webhook,
    is_age,
    milliseconds,
)

__all__ = [
    "OURS",
    "Account",
    "Also",
    "Audit",
    "Calls",
    "Channels",
    "Client",
    "Email",
    "Engine",
    "Fulfilment",
    "Gateway",
    "Http",
    "Ivr",
    "Learning",
    "Mms",
    "News",
    "Notifications",
    "Notifier",
    "Oidc",
    "Page",
    "Patterns",
    "Recommendations",
    "Retention",
    "Section",
    "Sender",
    "Settings",
    "Smsc",
    "Store",
    "Ussd",
    "UssdProfile",
    "UssdSystem",
    "Webhook",
    "is_age",
    "is_loopback",
    "lacking",
    "load_settings",
    "milliseconds",
    "presets",
    "read_preset",
    "read_settings",
    "require_passwords",
    "require_ways",
    "variable",
]
