"""Limits on how often one client, or all of them, may do what costs the board something."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

#: Clients that are remembered; the one not seen for longest is forgotten first.
_REMEMBERED = 1024
#: An IPv6 client has a whole network of addresses.
_IPV6_PREFIX = 64


class Rate:
    """A token bucket for each client: ``burst`` at once, then ``per_second``."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, client: str) -> int:
        """Take a token; 0 when there was one, else the whole seconds until there is."""
        now = self._clock()
        tokens, before = self._buckets.pop(client, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - before) * self._per_second)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        while len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - tokens) / self._per_second))

    def give_back(self, client: str) -> None:
        """What the token was taken for cost nothing after all."""
        tokens, before = self._buckets.get(client, (float(self._burst), self._clock()))
        self._buckets[client] = (min(float(self._burst), tokens + 1), before)


def client_of(address: str) -> str:
    """A client's address, or its network where one client has many."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if found.version == 6 and not found.is_loopback:
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))
    return str(found)
