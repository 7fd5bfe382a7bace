"""scan/web/ssrf.py: which addresses are blocked, in any notation."""

import socket

import pytest

from extractors.core.errors import DocumentError
from extractors.scan.web.ssrf import canonical, describe_block, resolve_public

PUBLIC = "93.184.216.34"


def build_resolver(**hosts):
    """Build a resolver that knows these hosts; `_` in a name stands for a dot."""

    def resolve(host, port, type=0):  # noqa: A002 - as getaddrinfo names it
        addresses = {name.replace("_", "."): answers for name, answers in hosts.items()}
        if host not in addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, type, 6, "", (address, port)) for address in addresses[host]]

    return resolve


def read_refusal(host, allowed=(), resolve=None, port=80):
    """Return the error for a host that is blocked."""
    with pytest.raises(DocumentError) as raised:
        resolve_public(host, port, allowed, resolve or build_resolver())
    assert "\n" not in raised.value.message
    return raised.value


BLOCKED = [
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "this network"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "shared"),
    ("100.127.255.255", "shared"),
    ("169.254.1.1", "link-local"),
    ("169.254.169.254", "metadata"),
    ("100.100.100.200", "metadata"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "metadata"),
    ("192.0.0.8", "reserved"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("192.88.99.1", "6to4"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("fd00:ec2::254", "metadata"),
    ("fd20:ce::254", "metadata"),
    ("fc00::1", "unique-local"),
    ("fdff::1", "unique-local"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("2606:4700::1111%eth0", "one interface"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("100::1", "discarded"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("2001:2::1", "benchmarking"),
    ("2001:10::1", "reserved"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:169.254.169.254", "metadata"),
    ("::ffff:168.63.129.16", "metadata"),
    ("::127.0.0.1", "IPv4-compatible"),
    (f"::{PUBLIC}", "IPv4-compatible"),
    ("::ffff:0:127.0.0.1", "IPv4-translated"),
    ("64:ff9b::10.0.0.1", "private"),
    ("64:ff9b::a9fe:a9fe", "metadata"),
    ("64:ff9b:1::1", "local NAT64"),
    ("2002:7f00:1::", "6to4"),
    ("2002:5db8:d822::1", "6to4"),
    ("2001::1", "Teredo"),
    ("2001:0:5ef5:79fd::1", "Teredo"),
    ("2606:4700::5efe:10.0.0.1", "ISATAP"),
    ("2606:4700::200:5efe:10.0.0.1", "ISATAP"),
]


@pytest.mark.parametrize(("address", "reason"), BLOCKED)
def test_resolve_blocks_an_address_that_is_not_public(address, reason):
    """The URL may contain the address, or a name may resolve to it."""
    literal = f"[{address.replace('%', '%25')}]" if ":" in address else address
    for error in (read_refusal(literal), read_refusal("a.example", resolve=build_resolver(a_example=[address]))):
        assert (error.kind, error.stage, error.final) == ("blocked_address", "scan", False)
        assert reason in error.message


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "169.253.0.1", "168.63.129.17", "192.0.1.1"],
)
def test_resolve_accepts_a_public_address(address):
    """Neighbours of blocked ranges are accepted, and addresses behind NAT64."""
    assert resolve_public(address, 80, ()) == (address,)
    assert describe_block(f"::ffff:{address}") is None
    assert describe_block(f"64:ff9b::{address}") is None


@pytest.mark.parametrize("address", ["2606:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "2001:200::1"])
def test_resolve_accepts_a_public_ipv6_address(address):
    """It is written in brackets."""
    assert resolve_public(f"[{address}]", 443, ()) == (address,)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0X7F000001",
        "017700000001",
        "0x7f.1",
        "0177.0.0.1",
        "0177.0x0.0.01",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "\uff11\uff12\uff17.0.0.1",  # full-width digits
        "127\u30020\u30020\u30021",  # ideographic full stops
        "\u2460\u2461\u2466.0.0.1",  # circled digits
        "127.0.0.\u00ad1",  # a soft hyphen
        "0x7f.0x0.0x0.0x1",
    ],
)
def test_canonical_reads_each_notation_of_an_ipv4_address(host):
    """Notations that resolvers and browsers read as 127.0.0.1 are blocked without a lookup."""
    assert read_refusal(host).kind == "blocked_address"
    assert canonical(host) == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "canonical_host"),
    [
        ("Images.Example", "images.example"),
        ("images.example.", "images.example"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("stra\u00dfe.example", "xn--strae-oqa.example"),
        ("\uff49mages.example", "images.example"),
        ("a_b.example", "a_b.example"),
        ("[2606:4700:0::1111]", "2606:4700::1111"),
        ("12.example", "12.example"),
    ],
)
def test_canonical_gives_each_host_one_spelling(host, canonical_host):
    """The host is resolved, compared and requested by that spelling."""
    assert canonical(host) == canonical_host


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "..", "a..b", "a b", "a/b", "a\\b", "a@b", "a%00b", "a%2fb", "08.1", "1.2.3.4.5", "256.1.1.1"),
        *("4294967296", "[::1", "[:::1]", "a" * 64, ".".join(["a" * 60] * 5), "\u2100.example", "example.1", "0x"),
    ],
)
def test_invalid_host_is_refused_without_a_lookup(host):
    """A resolver might read it otherwise."""

    def resolve(*_, **__):
        raise AssertionError(host)

    assert read_refusal(host, resolve=resolve).kind in {"unreadable", "blocked_address"}


@pytest.mark.parametrize("answers", [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], ["2606:4700::1111", "::1"]])
def test_resolve_blocks_a_host_with_one_address_that_is_not_public(answers):
    """A client could connect to any of its addresses."""
    error = read_refusal("mixed.example", resolve=build_resolver(mixed_example=answers))
    assert error.kind == "blocked_address"


def test_message_names_host_reason_and_setting():
    """It has one line."""
    error = read_refusal("Inside.Example", resolve=build_resolver(inside_example=["10.0.0.1"]))
    assert error.message == (
        "host inside.example is blocked: it resolves to 10.0.0.1, a private address;"
        " TILEWISE_ALLOW_HOSTS=inside.example allows it"
    )


def test_resolve_returns_each_public_address_once():
    """They are in the resolver's order."""
    resolve = build_resolver(a_example=[PUBLIC, "8.8.8.8", PUBLIC])
    assert resolve_public("a.example", 80, (), resolve) == (PUBLIC, "8.8.8.8")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("inside.example", "inside.example"),
        ("INSIDE.example.", "Inside.Example"),
        ("inside.example", "inside.example:8080"),
        ("10.0.0.5", "10.0.0.5"),
        ("[::1]", "::1"),
        ("[::1]", "[::1]"),
        ("[0:0::1]", "[::1]:8080"),
    ],
)
def test_resolve_accepts_an_allowed_host_unchecked(host, allowed):
    """It is allowed by name or address, with or without a port."""
    resolve = build_resolver(inside_example=["10.0.0.5"])
    assert resolve_public(host, 8080, ["other.example", allowed], resolve)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("inside.example", "inside.example:8081"),
        ("inside.example", "example"),
        ("inside.example", ".example"),
        ("inside.example", "*"),
        ("inside.example", "a.inside.example"),
        ("inside.example", "10.0.0.5"),  # a name is allowed by its name
        ("10.0.0.5", "inside.example"),
        ("10.0.0.5", "10.0.0.0/8"),
        ("[::ffff:10.0.0.5]", "10.0.0.5"),
        ("inside.example", ""),
    ],
)
def test_resolve_allows_exactly_the_named_hosts(host, allowed):
    """Another host, another port or a part of a name allows nothing."""
    resolve = build_resolver(inside_example=["10.0.0.5"])
    assert read_refusal(host, [allowed], resolve, port=8080).kind == "blocked_address"


@pytest.mark.parametrize("resolve", [build_resolver(), build_resolver(a_example=[])])
def test_resolve_refuses_a_name_without_an_address(resolve):
    """The error is not final, since the name may get an address."""
    error = read_refusal("a.example", resolve=resolve)
    assert (error.kind, error.final) == ("unreadable", False)
    assert "a.example has no address" in error.message


def test_resolve_raises_a_failed_lookup_unchanged():
    """The caller decides whether to retry it."""

    def resolve(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    with pytest.raises(OSError, match="Temporary"):
        resolve_public("a.example", 80, (), resolve)
