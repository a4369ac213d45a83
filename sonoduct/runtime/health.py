"""A container's health check: ``python -m sonoduct.runtime.health URL`` exits with 0 on 2xx."""

from __future__ import annotations

import sys
import urllib.request
from http.client import HTTPException
from typing import Final

TIMEOUT_S: Final = 2.0


def main(url: str) -> int:
    """Request *url*; return an exit code, and print an error on standard error."""
    # A health check asks its own container, so never through a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=TIMEOUT_S).close()
    except (OSError, HTTPException, ValueError) as exc:  # no answer, no HTTP, no URL
        sys.stderr.write(f"{url}: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
