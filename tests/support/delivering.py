"""The work of `sender send` in the test's own process, for tests that are not of the command."""

import tempfile

from prometheus_client import CollectorRegistry

from sender.jobs.delivery import Deliveries
from sender.jobs.send import Sending
from sender.metrics import Metrics
from sender.opening import Inputs
from sender.settings import SendSettings
from sender.terminal import Progress
from sonoduct.runtime.console import faults_console


async def delivered(*paths, **settings):
    """Send *paths* with *settings*, and a spool that is removed; return the outcomes."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="sonoduct-spool-") as spool:
        chosen = SendSettings(**{"spool": spool, **settings})
        progress, metrics = (
            Progress(faults_console(), shown=False),
            Metrics(CollectorRegistry(), "0"),
        )
        deliveries = Deliveries(chosen, metrics, progress, outcomes.append)
        inputs = Inputs(chosen, paths)
        await Sending(chosen, metrics, deliveries, None, inputs).run(paths, "1" * 32)
    return outcomes
