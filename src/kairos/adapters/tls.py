"""TLS contexts for doors, binds and the mail server: 1.2 at least, and every file that is wrong is named."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from kairos.errors import Diagnostic, SettingsError


def to_smsc(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """For binds of ours: the SMSC must be vouched for by `ca_file` (or the machine's authorities). SettingsError."""
    context = to_server("smsc", ca_file)
    if cert_file or key_file:
        _show(context, "smsc", cert_file, key_file)
    return context


def to_server(section: str, ca_file: str) -> ssl.SSLContext:
    """For calls of ours: the server must be vouched for by `ca_file` (or the machine's authorities). SettingsError."""
    with _named(f"{section}.ca_file", ca_file, "name a PEM file of certificates"):
        context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def for_door(section: str, cert_file: str, key_file: str, client_ca_file: str) -> ssl.SSLContext:
    """For a door of ours, by the section of its settings: with `client_ca_file`, who calls must show a certificate of
    these authorities. SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _show(context, section, cert_file, key_file)
    if client_ca_file:
        with _named(f"{section}.client_ca_file", client_ca_file, "name a PEM file of certificates"):
            context.load_verify_locations(client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _show(context: ssl.SSLContext, section: str, cert_file: str, key_file: str) -> None:
    """Load what shows who we are. Without `key_file`, the key is in `cert_file`."""
    if not cert_file:
        what = f"`{section}.cert_file` is missing"
        raise SettingsError([Diagnostic("", 0, what, "name the PEM file of the certificate")])
    for key, file in (("cert_file", cert_file), ("key_file", key_file or cert_file)):
        with _named(f"{section}.{key}", file, "name a file that can be read"), open(file, "rb"):
            pass
    fitting = "name a certificate and its own key, both PEM, the key without a passphrase"
    with _named(f"{section}.cert_file` and `{section}.key_file", cert_file, fitting):
        context.load_cert_chain(cert_file, key_file or None, password=lambda: "")


@contextmanager
def _named(setting: str, file: str, hint: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM").lower().replace("_", " ")
        raise SettingsError([Diagnostic(file, 0, f"`{setting}` cannot be used: {reason}", hint)]) from None
    except (OSError, ValueError) as error:  # ValueError: a passphrase that is too long, or a path with a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError([Diagnostic(file, 0, f"`{setting}` cannot be read: {reason.lower()}", hint)]) from None
