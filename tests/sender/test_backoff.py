"""How long a sender waits between attempts."""

import random

from sender.retry import Backoff


class Highest(random.Random):
    """Always the upper bound."""

    def uniform(self, _a, b):
        return b


def test_bounds_double_up_to_ten_seconds():
    """The longest waits are 0.1, 0.2, 0.4 … and never more than 10 s."""
    backoff = Backoff(Highest())

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0] == [backoff.next() for _ in range(9)]


def test_any_wait_up_to_the_bound_may_come():
    """Full jitter: senders that lose a receiver together do not come back together."""
    first = [Backoff(random.Random(seed)).next() for seed in range(200)]

    assert 0 <= min(first) < 0.01
    assert 0.09 < max(first) <= 0.1


def test_reset_starts_anew():
    """An attempt that got somewhere makes the next wait short."""
    backoff = Backoff(Highest())
    for _ in range(5):
        backoff.next()
    backoff.reset()

    assert 0.1 == backoff.next()
