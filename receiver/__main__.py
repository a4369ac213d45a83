"""The command ``receiver``."""

from __future__ import annotations

import sys
from importlib.metadata import version

from prometheus_client import CollectorRegistry, disable_created_metrics
from structlog import get_logger

from runtime.command import command_line, run
from runtime.exposition import metrics_endpoint
from runtime.logs import configure
from runtime.loop import run_loop
from runtime.signals import stop_event

from .service import serve
from .settings import Settings

app = command_line("receiver", version("sonoduct"), "Turns streams of audio into numpy arrays.")


@app.command(name="serve")
def serve_command(settings: Settings | None = None) -> int:
    """Listen for streams until SIGTERM or Ctrl-C, then send the senders elsewhere and end."""
    settings = settings or Settings()
    configure(settings.log_level)
    return run_loop(_serve(settings))


async def _serve(settings: Settings) -> int:
    registry = CollectorRegistry()
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    log = get_logger()
    try:
        with metrics_endpoint(registry, settings.host, settings.metrics_port) as metrics_port:
            async with serve(settings, registry=registry) as receiver:
                with stop_event() as stop:
                    log.info("receiver_ready", url=receiver.url, metrics_port=metrics_port)
                    await stop.wait()
                    log.info("receiver_draining")
                    await receiver.drain()
    except OSError as exc:
        log.error("receiver_failed", reason=str(exc))
        return 1
    log.info("receiver_stopped")
    return 0


def main() -> None:
    """Run the command that the process's arguments name."""
    sys.exit(run(app, sys.argv[1:]))


if __name__ == "__main__":
    main()
