"""By which names a browser may call this machine. A page elsewhere that points its own name here is refused."""

import ipaddress
import socket
from collections.abc import Iterable

_LOCAL = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
#: Endings that home networks add to a machine's name.
_ENDINGS = ("", ".local", ".lan", ".home", ".home.arpa", ".fritz.box", ".internal")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in _LOCAL


class KnownHosts:
    """Addresses as numbers, this machine's own names, and names that the owner added."""

    def __init__(self, more: Iterable[str]) -> None:
        own = socket.gethostname().lower().partition(".")[0]
        self._names = {*_LOCAL, socket.getfqdn().lower(), *(own + ending for ending in _ENDINGS)}
        self._names |= {name.lower().rstrip(".") for name in more}

    def allow(self, header: str) -> bool:
        """Whether a request's Host header, with or without a port, names this machine."""
        name = header.strip().lower()
        if name.startswith("["):
            name, closed, _ = name[1:].partition("]")
            name = name if closed else ""
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._names and name != ""
        return True  # the name of a foreign page is never a number
