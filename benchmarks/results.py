"""What a case found: figures of each contender for each round, and whether goals are reached."""

import statistics
from dataclasses import dataclass, field

SECONDS = "seconds"


@dataclass
class Case:
    """The outcome of one case."""

    name: str
    work: str
    """What was done, in one line."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """For each contender and each kind of figure: one value for each round."""

    goals: list[dict] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Contenders that could not take part, and why."""

    def add(self, contender, **figures):
        """Take the figures of one round."""
        kept = self.figures.setdefault(contender, {})
        for name, value in figures.items():
            kept.setdefault(name, []).append(value)

    def values(self, contender, figure=SECONDS):
        """Return what every round gave; nothing if the contender is absent."""
        return self.figures.get(contender, {}).get(figure, [])

    def median(self, contender, figure=SECONDS):
        """Return the median of the rounds."""
        values = self.values(contender, figure)
        return statistics.median(values) if values else None

    def ratio(self, above, below, figure=SECONDS):
        """Return the median over the rounds of *above* / *below*, of the same round each."""
        pairs = zip(self.values(above, figure), self.values(below, figure), strict=False)
        ratios = [high / low for high, low in pairs]
        return statistics.median(ratios) if ratios else None

    def goal(self, text, reached, *, least=None, most=None):
        """Compare a figure with its goal, if it has one; None says that it was not measured."""
        if reached is None or (least is None and most is None):
            met = None
        else:
            met = (least is None or reached >= least) and (most is None or reached <= most)
        self.goals.append(
            {"goal": text, "reached": reached, "least": least, "most": most, "met": met}
        )
