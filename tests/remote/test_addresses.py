"""Addresses that are never asked, however they are written."""

import socket
from typing import Any

import pytest

from haloes.errors import ConfigError
from haloes.remote.addresses import is_local, safe_addresses

FORBIDDEN = [
    "169.254.169.254",
    "169.254.0.1",
    "2852039166",  # the same as one number
    "0xa9fea9fe",
    "fe80::1",
    "febf::1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",  # the lengths of prefixes of RFC 6052
    "64:ff9b:1:ffa9:fe:a9fe::",
    "64:ff9b:1:0:a9:fea9:fe00:0",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "2001:db8::5efe:169.254.169.254",
    "2001:db8::200:5efe:100.100.100.200",
    "2001:0:a9fe:a9fe::1",
    "2001:0:808:808::5601:5601",  # Teredo: the client's address, turned over
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
]


def resolving_to(*addresses: str):
    def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return getaddrinfo


@pytest.mark.parametrize("address", FORBIDDEN)
def test_link_local_and_metadata_addresses_are_refused(address: str):
    with pytest.raises(ConfigError, match="never asked"):
        safe_addresses(address, 80)


@pytest.mark.parametrize("address", [*FORBIDDEN[:2], "fe80::1%lo", "::ffff:169.254.1.1"])
def test_a_name_that_leads_there_is_refused(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("93.184.216.34", address))

    with pytest.raises(ConfigError, match=r"judge\.test leads to"):
        safe_addresses("judge.test", 443)


def test_other_addresses_are_given_once_and_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("10.0.0.2", "93.184.216.34", "10.0.0.2"))

    assert safe_addresses("judge.test", 443) == ["10.0.0.2", "93.184.216.34"]


def test_a_name_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="not the name of a host"):
        safe_addresses("a" * 64 + ".test", 80)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("192.168.1.2", True),
        ("10.1.2.3", True),
        ("fc00::1", True),
        ("93.184.216.34", False),
        ("2606:2800:220:1::1", False),
        ("::ffff:8.8.8.8", False),
        ("::8.8.8.8", False),
        ("::ffff:0:8.8.8.8", False),
        ("64:ff9b:1::808:808", False),
    ],
)
def test_private_networks_are_local(address: str, local: bool):
    assert is_local(address) is local
