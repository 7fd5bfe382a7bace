"""scan/web/ssrf.py: which addresses are refused, in any spelling."""

import socket

import pytest

from extractors.core.errors import DocumentError
from extractors.scan.web.ssrf import canonical, describe_block, resolve_public

PUBLIC = "93.184.216.34"


def names(**hosts):
    """Name servers that know these hosts; `_` in a name stands for a dot."""

    def resolve(host, port, type=0):  # noqa: A002 - as getaddrinfo names it
        known = {name.replace("_", "."): answers for name, answers in hosts.items()}
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, type, 6, "", (address, port)) for address in known[host]]

    return resolve


def refuse(host, allowed=(), resolve=None, port=80):
    """The error for a host that is not connected to."""
    with pytest.raises(DocumentError) as raised:
        resolve_public(host, port, allowed, resolve or names())
    assert "\n" not in raised.value.message
    return raised.value


REFUSED = [
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


@pytest.mark.parametrize(("address", "why"), REFUSED)
def test_an_address_that_is_not_public_is_refused(address, why):
    """Whether it is written in the URL, or a name resolves to it."""
    literal = f"[{address.replace('%', '%25')}]" if ":" in address else address
    for error in (refuse(literal), refuse("a.example", resolve=names(a_example=[address]))):
        assert (error.kind, error.stage, error.final) == ("blocked_address", "scan", False)
        assert why in error.message


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "169.253.0.1", "168.63.129.17", "192.0.1.1"],
)
def test_a_public_address_is_connected_to(address):
    """Also those just beside what is refused, and behind a network that translates."""
    assert resolve_public(address, 80, ()) == (address,)
    assert describe_block(f"::ffff:{address}") is None
    assert describe_block(f"64:ff9b::{address}") is None


@pytest.mark.parametrize("address", ["2606:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "2001:200::1"])
def test_a_public_ipv6_address_is_connected_to(address):
    """In brackets, as a URL has it."""
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
        "\uff11\uff12\uff17.0.0.1",  # digits of full width
        "127\u30020\u30020\u30021",  # the full stops of Chinese
        "\u2460\u2461\u2466.0.0.1",  # digits in circles
        "127.0.0.\u00ad1",  # a hyphen that is not seen
        "0x7f.0x0.0x0.0x1",
    ],
)
def test_every_spelling_of_an_ipv4_address_is_known(host):
    """What resolvers and browsers take for 127.0.0.1 is taken for it here, without asking a resolver."""
    assert refuse(host).kind == "blocked_address"
    assert canonical(host) == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "written"),
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
def test_a_host_has_one_spelling(host, written):
    """It is resolved, compared and asked for by that one."""
    assert canonical(host) == written


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "..", "a..b", "a b", "a/b", "a\\b", "a@b", "a%00b", "a%2fb", "08.1", "1.2.3.4.5", "256.1.1.1"),
        *("4294967296", "[::1", "[:::1]", "a" * 64, ".".join(["a" * 60] * 5), "\u2100.example", "example.1", "0x"),
    ],
)
def test_what_is_no_host_is_refused_before_anybody_is_asked(host):
    """It never reaches a resolver, which might read it otherwise."""

    def resolve(*_, **__):
        raise AssertionError(host)

    assert refuse(host, resolve=resolve).kind in {"unreadable", "blocked_address"}


@pytest.mark.parametrize("answers", [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], ["2606:4700::1111", "::1"]])
def test_one_address_that_is_not_public_refuses_the_host(answers):
    """Which of them would be connected to is chance."""
    error = refuse("mixed.example", resolve=names(mixed_example=answers))
    assert error.kind == "blocked_address"


def test_the_message_names_host_and_reason_and_what_opens_it():
    """In one line."""
    error = refuse("Inside.Example", resolve=names(inside_example=["10.0.0.1"]))
    assert error.message == (
        "host inside.example is blocked: it resolves to 10.0.0.1, a private address;"
        " TILEWISE_ALLOW_HOSTS=inside.example allows it"
    )


def test_all_public_addresses_of_a_name_are_given_once():
    """In the resolver's order."""
    resolve = names(a_example=[PUBLIC, "8.8.8.8", PUBLIC])
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
def test_a_host_that_is_named_is_not_checked(host, allowed):
    """By its name or its address, with the port or without."""
    resolve = names(inside_example=["10.0.0.5"])
    assert resolve_public(host, 8080, ["other.example", allowed], resolve)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("inside.example", "inside.example:8081"),
        ("inside.example", "example"),
        ("inside.example", ".example"),
        ("inside.example", "*"),
        ("inside.example", "a.inside.example"),
        ("inside.example", "10.0.0.5"),  # a name is opened by its name
        ("10.0.0.5", "inside.example"),
        ("10.0.0.5", "10.0.0.0/8"),
        ("[::ffff:10.0.0.5]", "10.0.0.5"),
        ("inside.example", ""),
    ],
)
def test_only_what_is_named_is_open(host, allowed):
    """Another host, another port, or a part of the name opens nothing."""
    resolve = names(inside_example=["10.0.0.5"])
    assert refuse(host, [allowed], resolve, port=8080).kind == "blocked_address"


@pytest.mark.parametrize("resolve", [names(), names(a_example=[])])
def test_a_name_without_an_address_is_said(resolve):
    """Today; so it is asked for again another day."""
    error = refuse("a.example", resolve=resolve)
    assert (error.kind, error.final) == ("unreadable", False)
    assert "a.example has no address" in error.message


def test_silent_name_servers_are_no_answer():
    """Another try may cure it, which is for others to decide."""

    def resolve(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    with pytest.raises(OSError, match="Temporary"):
        resolve_public("a.example", 80, (), resolve)
