from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.network import Hosts, Origins, client_address, networks, subscriber
from services.settings import DEFAULT_CORS_ORIGINS

PROXIES = networks(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"])
texts = st.text(max_size=40)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "found"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),  # whoever this is, it is no proxy of ours
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),  # the left one was sent by the client
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1,198.51.100.7,192.0.2.1", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.9", "10.0.0.9"),
        ("10.0.0.1", "198.51.100.7, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7:443", "10.0.0.1"),
        ("10.0.0.1", ", ,", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8::5", "2a00::1", "2a00::1"),
        ("", "198.51.100.7", "198.51.100.7"),  # a unix socket
        ("", "", ""),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_proxy(peer: str, forwarded_for: str, found: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == found


def test_without_trusted_proxies_the_header_says_nothing() -> None:
    assert client_address("10.0.0.1", "198.51.100.7", ()) == "10.0.0.1"


@given(texts, texts)
def test_a_peer_that_is_no_proxy_cannot_choose_its_address(invented: str, more: str) -> None:
    assert client_address("203.0.113.9", f"{invented},{more}", PROXIES) == "203.0.113.9"


@given(texts, st.ip_addresses())
def test_what_stands_left_of_the_client_changes_nothing(invented: str, client: IPv4Address | IPv6Address) -> None:
    plain = client_address("10.0.0.1", str(client), PROXIES)
    if client_address(plain, "1.2.3.4", PROXIES) == plain:  # the client is no proxy itself
        assert client_address("10.0.0.1", f"{invented}, {client}", PROXIES) == plain


def test_an_ipv6_subscriber_is_one_client() -> None:
    assert subscriber("2a00:1:2:3::1") == subscriber("2a00:1:2:3:ffff::9") != subscriber("2a00:1:2:4::1")
    assert subscriber("198.51.100.7") == "198.51.100.7" == subscriber("::ffff:198.51.100.7")
    assert subscriber("") == ""


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "10.1.2.3", "10.1.2.3:80",
     "ai.example.com", "AI.example.com:8443", "localhost."],
)  # fmt: skip
def test_names_of_ours(host: str) -> None:
    assert Hosts(["ai.example.com"]).allows(host, "10.1.2.3")


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:80", "10.1.2.4", "0.0.0.0",
     "evil.example#localhost", "evil.example/localhost", "localhost@evil.example",
     "evil.example@localhost", "2130706433", "127.1", "[::1",
     "ai.example.com.evil.example", "notlocalhost", "0x7f.0.0.1", "[::1]evil.example", "local\x00host"],
)  # fmt: skip
def test_names_that_are_not(host: str) -> None:
    assert not Hosts(["ai.example.com"]).allows(host, "10.1.2.3")


@pytest.mark.parametrize(
    "origin", ["http://localhost", "http://localhost:3000", "HTTPS://LOCALHOST:1", "http://127.0.0.1:65535"]
)
def test_pages_of_this_machine_may_call(origin: str) -> None:
    assert Origins(DEFAULT_CORS_ORIGINS).allows(origin)


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://localhost.evil.example", "http://localhost:3000.evil.example", "http://evil.example",
     "http://localhost@evil.example", "http://localhost:", "http://localhost:3000/", "xhttp://localhost",
     "http://localhost\n", "http://127.0.0.1.evil.example", "http://127a0b0c1", "file://", "http://localhost:123456"],
)  # fmt: skip
def test_lookalikes_may_not(origin: str) -> None:
    assert not Origins(DEFAULT_CORS_ORIGINS).allows(origin)


def test_configured_origins() -> None:
    origins = Origins(["https://app.example.com", "https://*.not-a-pattern.example"])
    assert origins.allows("https://app.example.com")
    assert not origins.allows("https://app.example.com:8443")
    assert not origins.allows("https://appxexample.com")
    assert not origins.allows("https://a.not-a-pattern.example")
    assert Origins(["*"]).allows("https://anything.example")
