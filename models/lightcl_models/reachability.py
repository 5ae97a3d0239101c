"""Find out quickly whether weights can be downloaded at all."""

import urllib.error
import urllib.request

#: Long enough for a slow link, short enough that a person without a network does not wait.
TIMEOUT_SECONDS = 4.0


def can_reach(url: str) -> bool:
    """Whether the server behind the address answers anything within a few seconds (proxies are respected)."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - addresses come from the libraries
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
