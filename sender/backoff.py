"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from typing import Final

FIRST_S: Final = 0.1
LAST_S: Final = 10.0


class Backoff:
    """
    Full jitter: anything up to a bound that doubles from 0.1 s to 10 s.

    Senders that lose a receiver together do not come back together; see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._bound = FIRST_S

    def next(self) -> float:
        """Return the seconds to wait, and double the bound."""
        bound, self._bound = self._bound, min(LAST_S, self._bound * 2)
        return self._chance.uniform(0.0, bound)

    def reset(self) -> None:
        """The last attempt got somewhere."""
        self._bound = FIRST_S
