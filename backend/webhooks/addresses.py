"""Where a webhook may go: https, to hosts all of whose addresses are public, and to the very address that was checked.

Without the pin, a name could show a public address to the check and a private one to the connection a moment later.
"""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from backend.core.errors import InvalidInput

Resolver = Callable[[str, int], list[str]]

# Addresses that carry an IPv4 address inside: a gateway on the way may unwrap a private one.
_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class ForbiddenAddress(Exception):
    """The host cannot be resolved, or leads into a private network."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked address.

    Attributes:
        host: name for TLS and for the header Host.
        port: usually 443.
        address: the IP address to connect to.
        path: path and query.
    """

    host: str
    port: int
    address: str
    path: str


def resolve(host: str, port: int) -> list[str]:
    """All IP addresses of a host."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})


def check_url(url: str) -> None:
    """Check the form of a webhook's address; raises InvalidInput.

    Where it leads is checked when something is sent: names change their addresses.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = None, None
    message = ""
    if parts is None or not parts.hostname:
        message = "is not a web address"
    elif parts.scheme != "https":
        message = "must begin with https://"
    elif parts.username or parts.password:
        message = "must not hold a user name or a password"
    elif parts.fragment:
        message = "must not hold a fragment (#…)"
    elif port == 0 or any(char.isspace() for char in url) or not url.isascii():
        message = "is not a web address"
    elif (
        (_is_literal(parts.hostname) and not is_public(parts.hostname))
        or parts.hostname == "localhost"
        or parts.hostname.endswith((".localhost", ".local", ".internal"))
    ):
        message = "leads into a private network"
    if message:
        raise InvalidInput(
            f"This address cannot be used for webhooks: it {message}.",
            errors=[{"field": "body.url", "message": message}],
        )


def pin(url: str, resolver: Resolver = resolve) -> Target:
    """Resolve a webhook's address and choose where to connect.

    Raises:
        ForbiddenAddress: it does not resolve, or any of its addresses is not public.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    if parts.scheme != "https" or not host:
        raise ForbiddenAddress("the address does not begin with https://")
    try:
        addresses = resolver(host, port)
    except (OSError, UnicodeError) as error:
        raise ForbiddenAddress(f"the name {host} cannot be resolved") from error
    if not addresses:
        raise ForbiddenAddress(f"the name {host} cannot be resolved")
    # One private address among public ones is an attempt, not an accident.
    for address in addresses:
        if not is_public(address):
            raise ForbiddenAddress(f"the name {host} leads into a private network")
    path = parts.path or "/"
    return Target(host, port, addresses[0], f"{path}?{parts.query}" if parts.query else path)


def is_public(address: str) -> bool:
    """Whether an IP address, and any that it carries inside, belongs to the public internet."""
    try:
        ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in network for network in _NAT64):
            return False
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None and not is_public(str(inner)):
            return False
        if ip.ipv4_mapped is not None:
            return True
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
