"""Who a request comes from, and what it calls us: addresses, hosts and origins.  Pure."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SUBSCRIBER_BITS = 64
"""The part of an IPv6 address that tells subscribers apart: each can use any address below it (RFC 6177)."""
PORT = r"(:\d{1,5})?"
ANY_PORT = ":*"
HOST = re.compile(r"(?:\[(?P<literal>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))" + PORT, re.IGNORECASE)
"""``Host`` (RFC 9110, 7.2): a name or an address, and perhaps a port."""


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks as networks."""
    return tuple(ipaddress.ip_network(name) for name in names)


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The address that a request comes from: the nearest one that is no proxy we trust.

    ``peer`` is who opened the connection ("" for a unix socket, which only a proxy uses), ``forwarded_for`` the values
    of X-Forwarded-For: each proxy adds the one it got the request from at the right, so what stands further left than
    the first untrusted address may be invented.
    """
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()] if trusted or not peer else []
    nearest = peer
    while hops and _is_trusted(nearest, trusted):
        address = _address(hops.pop())
        if address is None:
            break
        nearest = str(address)
    return nearest


def _is_trusted(name: str, trusted: Sequence[Network]) -> bool:
    if not name:
        return True
    address = _address(name)
    return address is not None and any(address in network for network in trusted)


@lru_cache(maxsize=256)
def _address(name: str) -> Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def subscriber(name: str) -> str:
    """What stands for everybody who shares an address: itself, or the network that an IPv6 subscriber has."""
    address = _address(name)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, SUBSCRIBER_BITS), strict=False))
    return str(address) if address is not None else name


class Hosts:
    """The values of ``Host`` that a server without keys answers to.

    A page of another site can let its own name point to us (DNS rebinding) but cannot make a browser send a Host that
    is not that name.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = {"localhost", *(name.lower() for name in allowed)}

    def allows(self, host: str, own_address: str) -> bool:
        """Whether ``host`` (with or without a port) is us; ``own_address`` is where the connection came in."""
        found = HOST.fullmatch(host)
        if found is None:
            return False
        name = (found["literal"] or found["name"]).lower().rstrip(".")
        if name in self._allowed:
            return True
        address = _address(name)
        return address is not None and (address.is_loopback or address == _address(own_address))


class Origins:
    """The web pages that may call the server: origins, where ``*`` stands for any port or for everything."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self.patterns = tuple(_pattern(origin) for origin in allowed)
        self._compiled = tuple(re.compile(pattern, re.IGNORECASE) for pattern in self.patterns)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may call us."""
        return any(pattern.fullmatch(origin) for pattern in self._compiled)


def _pattern(origin: str) -> str:
    """The regular expression of an allowed origin."""
    if origin == "*":
        return r".*\Z"
    fixed, port = (origin.removesuffix(ANY_PORT), PORT) if origin.endswith(ANY_PORT) else (origin, "")
    return rf"{re.escape(fixed)}{port}\Z"
