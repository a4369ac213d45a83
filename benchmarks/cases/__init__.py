"""The cases: each module has a `run(scale)` that returns a `Case`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """How much work there is: all of it, or as much as fits into a minute together."""

    rounds: int
    quick: bool
    asked: bool = False
    """Whether the number of rounds was given by hand."""

    def few(self, most):
        """Return the rounds of a case that is long, or varies little."""
        return self.rounds if self.asked else min(self.rounds, most)

    def pick(self, full, quick):
        """Return *full*, or *quick* in a quick run."""
        return quick if self.quick else full
