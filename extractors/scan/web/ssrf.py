"""SSRF guard: resolve a host name to addresses and refuse those that are not public."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import unquote

import idna

from extractors.core.errors import DocumentError

# As socket.getaddrinfo: rows that end in (address, port, …).
Resolve = Callable[..., Sequence[tuple[Any, Any, Any, Any, tuple[Any, ...]]]]

# Listed here, because `is_global` differs between patch levels of Python. The first match names the reason.
_V4 = [
    (IPv4Network(block), what)
    for block, what in (
        ("169.254.169.254/32", "a cloud's metadata address"),
        ("100.100.100.200/32", "a cloud's metadata address"),
        ("168.63.129.16/32", "a cloud's metadata address"),  # Azure's, among the public ones
        ("192.0.0.192/32", "a cloud's metadata address"),
        ("0.0.0.0/32", "the unspecified address"),
        ("0.0.0.0/8", "an address of this network"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a shared address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
]
_V6 = [
    (IPv6Network(block), what)
    for block, what in (
        ("fd00:ec2::254/128", "a cloud's metadata address"),
        ("fd20:ce::254/128", "a cloud's metadata address"),
        ("::/128", "the unspecified address"),
        ("::1/128", "a loopback address"),
        ("::/96", "an IPv4-compatible address"),
        ("::ffff:0:0:0/96", "an IPv4-translated address"),
        ("64:ff9b:1::/48", "a local NAT64 address"),
        ("100::/64", "a discarded address"),
        ("2001::/32", "a Teredo address"),
        ("2001:2::/48", "a benchmarking address"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "a documentation address"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a documentation address"),
        ("fc00::/7", "a unique-local address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
]
_PUBLIC = IPv6Network("2000::/3")  # all allocated space
# Networks with NAT64 reach public servers through these, so the IPv4 address inside is checked.
_CARRIERS = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})

_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_MAX_LENGTH = 253


def resolve_public(
    host: str, port: int, allowed_hosts: Collection[str], resolve: Resolve = socket.getaddrinfo
) -> tuple[str, ...]:
    """Resolve a host to the only addresses to connect to: a second resolution may differ.

    Raises DocumentError `blocked_address` when one of them is not public, unless the host is among `allowed_hosts`
    (names or addresses, with or without a port), and `unreadable` for an invalid host or one without an address. Raises
    OSError when no name server answers, which a retry may cure.
    """
    name = canonical(host)
    addresses = (name,) if _is_literal(name) else _resolve_name(name, port, resolve)
    if is_allowed(name, port, allowed_hosts):
        return addresses
    for address in addresses:
        if why := describe_block(address):
            raise _blocked_error(name, address, why)
    return addresses


def is_allowed(host: str, port: int, allowed_hosts: Collection[str]) -> bool:
    """Return whether `allowed_hosts` holds this host, spelled as by `canonical`."""
    return any(_parse_allowed(each) in {(host, None), (host, port)} for each in allowed_hosts)


def canonical(host: str) -> str:
    """Normalize a host: lower case, IDNA, no trailing dot; an IPv4 address in any spelling as four numbers.

    Raises DocumentError for text that is neither a name nor an address.
    """
    name = unquote(host).strip("[]")
    try:
        if ":" in name:
            return str(IPv6Address(name))
        if not name.isascii():
            name = idna.encode(name, uts46=True).decode("ascii")
        name = name.lower().removesuffix(".")
        labels = name.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            return str(_parse_ipv4(labels))
    except ValueError as error:  # also what idna raises
        raise _host_error(host) from error
    if len(name) > _MAX_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise _host_error(host)
    return name


def describe_block(address: str) -> str | None:
    """Return why an address is blocked, None for a public one."""
    known = ip_address(address)
    if isinstance(known, IPv4Address):
        return next((what for block, what in _V4 if known in block), None)
    carried = next((IPv4Address(int(known) & 0xFFFF_FFFF) for block in _CARRIERS if known in block), None)
    if carried:
        return (what := describe_block(str(carried))) and f"{what} ({carried}) inside an IPv6 address"
    if what := next((what for block, what in _V6 if known in block), None):
        return what
    if known not in _PUBLIC:
        return "a reserved address"
    if known.scope_id:
        return "an address of one interface"
    return "an ISATAP address" if int(known) >> 32 & 0xFFFF_FFFF in _ISATAP else None


def _parse_ipv4(labels: list[str]) -> IPv4Address:
    """Parse an IPv4 address as resolvers and browsers do: decimal, octal or hexadecimal, the last number fills up.

    Raises ValueError for anything else.
    """
    *front, last = [_parse_number(label) for label in labels]
    if len(front) > 3 or any(each > 255 for each in front) or last >= 256 ** (4 - len(front)):
        raise ValueError("out of range")
    return IPv4Address(sum(each * 256 ** (3 - index) for index, each in enumerate(front)) + last)


def _parse_number(label: str) -> int:
    if not _NUMBER.fullmatch(label) or not label.isascii() or len(label) > 64:
        raise ValueError("not a number")
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8) if label.startswith("0") else int(label)


def _is_literal(name: str) -> bool:
    return ":" in name or bool(_NUMBER.fullmatch(name.rpartition(".")[2]))


def _resolve_name(name: str, port: int, resolve: Resolve) -> tuple[str, ...]:
    try:
        rows = resolve(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        message = f"host {name} has no address: {error.strerror or 'the name is unknown'}"
        raise DocumentError(message, kind="unreadable", stage="scan", final=False) from error
    addresses = tuple(dict.fromkeys(str(row[4][0]) for row in rows))
    if not addresses:
        raise DocumentError(f"host {name} has no address", kind="unreadable", stage="scan", final=False)
    return addresses


@lru_cache(maxsize=1024)
def _parse_allowed(text: str) -> tuple[str, int | None]:
    """Split an allowed host into host and port or None. An invalid entry matches nothing."""
    written = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::(\d+))?|.*", text.strip())
    assert written is not None
    host, port = written[1] or written[0], written[2]
    try:
        return canonical(host), int(port) if port else None
    except DocumentError:
        return "", None


def _blocked_error(name: str, address: str, why: str) -> DocumentError:
    what = f"it is {why}" if name == address else f"it resolves to {address}, {why}"
    message = f"host {name} is blocked: {what}; TILEWISE_ALLOW_HOSTS={name} allows it"
    return DocumentError(message, kind="blocked_address", stage="scan", final=False)


def _host_error(host: str) -> DocumentError:
    return DocumentError(f"{host[:100]!r} is not a host name or an address", kind="unreadable", stage="scan")
