"""Identifiers: a prefix that names the kind, then a UUIDv7, so that ids sort by the time they were made."""

from uuid_utils import uuid7


def new_id(prefix: str) -> str:
    """Return a fresh id such as ``sty_019b…`` (prefix, underscore, 32 hex digits).

    Ids made later sort after ids made earlier (RFC 9562, section 5.7), which is what keyset pagination relies on.
    """
    return f"{prefix}_{uuid7().hex}"
