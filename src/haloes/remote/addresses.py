"""The addresses that a server's name leads to; those that only the machine itself should ask are refused."""

import ipaddress
import socket
from typing import TypeAlias

from haloes.errors import ConfigError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
"""Addresses beside the link-local ranges where clouds serve a machine's credentials (AWS, Alibaba, Azure, Oracle)."""
_ENDS_IN_IPV4 = tuple(
    ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
"""Networks whose addresses end in an IPv4 address: compatible (RFC 4291), translated (RFC 7915), NAT64 (RFC 6052,
8215)."""
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_ISATAP = frozenset({0x5EFE, 0x02005EFE})
"""Third quarter of an address whose last one is an IPv4 address (RFC 5214)."""
_WORD = 0xFFFFFFFF


def safe_addresses(host: str, port: int) -> list[str]:
    """
    Return the addresses of a host, in the order in which the system would try them.

    Raises:
        ConfigError: one of them is link-local (169.254.0.0/16, fe80::/10) or serves a cloud machine's metadata, or
            the name is no name at all.
        OSError: the name cannot be resolved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise ConfigError(f"{host} is not the name of a host") from error
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    # One bad address refuses the name: the name's owner decides which address comes first at the next look-up.
    for text in addresses:
        if any(_is_internal(address) for address in _meanings(ipaddress.ip_address(text))):
            raise ConfigError(
                f"{host} leads to {text}, a link-local or metadata address, which is never asked: it may give away "
                "this machine's credentials. Give the server's own address"
            )
    return addresses


def is_local(address: str) -> bool:
    """Return whether an address is this machine's or of a private network."""
    return all(meaning.is_private or meaning.is_loopback for meaning in _meanings(ipaddress.ip_address(address)))


def _is_internal(address: Address) -> bool:
    return address.is_link_local or address.is_multicast or address in _METADATA


def _meanings(address: Address) -> list[Address]:
    """Return an address and the IPv4 addresses that may be written inside it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    # The system connects to the IPv4 address inside, so that one has to pass the checks.
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    number = int(address)
    plain = ipaddress.IPv6Address(number)  # without the zone
    if number <= 1:  # unspecified, and this machine
        return [plain]
    inside = {ipaddress.IPv4Address(number & _WORD)} if _ends_in_ipv4(plain) else set()
    if plain in _LOCAL_NAT64:
        # Its operator decides where the address stands, and byte 8 is left out (RFC 6052, section 2.2).
        octets = plain.packed[6:8] + plain.packed[9:]
        inside |= {ipaddress.IPv4Address(octets[start : start + 4]) for start in range(3)}
    if plain.sixtofour is not None:
        inside.add(plain.sixtofour)
    if plain.teredo is not None:
        inside |= set(plain.teredo)
    return [plain, *sorted(inside)]


def _ends_in_ipv4(address: ipaddress.IPv6Address) -> bool:
    return any(address in network for network in _ENDS_IN_IPV4) or (int(address) >> 32) & _WORD in _ISATAP
