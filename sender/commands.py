"""The commands of ``sender``: each reads its settings, builds the parts, and runs its job."""

from __future__ import annotations

import asyncio
import socket
import stat
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from http.client import HTTPException
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Annotated

from cyclopts import CycloptsError, Parameter
from prometheus_client import CollectorRegistry, disable_created_metrics, push_to_gateway
from structlog import get_logger

from sonoduct.runtime.command import INTERRUPTED
from sonoduct.runtime.console import faults_console, results_console
from sonoduct.runtime.guards import log_missing_guards
from sonoduct.runtime.logs import LogLines, configure
from sonoduct.runtime.loop import run_loop
from sonoduct.runtime.metrics import export_process, metrics_endpoint
from sonoduct.runtime.signals import stop_event
from sonoduct.text import clean

from .dialects import dialect_of
from .errors import SourceError
from .jobs.delivery import Deliveries
from .jobs.find import summary
from .jobs.probe import probe_paths
from .jobs.send import Sending
from .jobs.watch import Watch
from .ledger import open_ledger
from .metrics import Metrics
from .opening import Inputs
from .settings import FILES, FOLDER, INPUT, ProbeSettings, SendSettings, WatchSettings
from .sources.microphone import input_devices
from .terminal import Outcome, Progress, print_devices, print_table, write_line

VERSION = version("sonoduct")

PUSH_S = 5.0
"""Time for a Pushgateway to answer."""


def send_command(
    paths: Annotated[tuple[str, ...], Parameter(group=INPUT, negative=())] = (),
    *,
    settings: SendSettings | None = None,
) -> int:
    """
    Send files, folders, patterns, live input; 0 only if every stream has its receipt.

    Args:
        paths: Files, folders (walked, sorted), patterns, or - for standard input.
        settings: Everything else.
    """
    settings = settings or SendSettings()
    inputs = Inputs(settings, paths)
    if not (paths or inputs.starters):
        raise CycloptsError(msg="nothing to send, expected PATH, --url or --device", verbose=False)
    forced = True if settings.progress == "always" else None
    terminal, results = faults_console(force_terminal=forced), results_console()
    shown = {"auto": terminal.is_terminal, "always": True, "never": False}[settings.progress]
    lines = configure("warning" if shown else settings.log_level)
    log = get_logger()
    outcomes: list[Outcome] = []
    unwritten: list[OSError] = []  # for lines of the report
    with ExitStack() as stack:
        report = settings.report and stack.enter_context(
            Path(settings.report).open("ab", buffering=0)
        )

        def record(outcome: Outcome) -> None:
            outcomes.append(outcome)
            if report:
                try:
                    write_line(outcome, report.write)
                except OSError as exc:
                    unwritten.append(exc)
                    log.error("report_failed", path=settings.report, reason=exc.strerror)

        progress = Progress(terminal, shown=shown)
        registry = CollectorRegistry(auto_describe=True)  # for /metrics?name[]=
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        metrics = Metrics(registry, VERSION)
        export_process(registry, "sender", lines)
        stack.callback(push, settings.push_gateway, registry)
        if settings.metrics_port is not None:
            stack.enter_context(
                metrics_endpoint(registry, settings.metrics_host, settings.metrics_port)
            )
        dialect = dialect_of(settings.protocol)
        deliveries = Deliveries(settings, metrics, progress, record, dialect=dialect)
        ledger = stack.enter_context(open_ledger(settings.ledger, settings.ledger_entries))
        sending = Sending(settings, metrics, deliveries, ledger, inputs)
        stack.enter_context(progress.drawn())
        interrupted = run_loop(_until_stopped(sending, paths))
    print_table(sorted(outcomes, key=attrgetter("name")), results)
    if sending.left_out:
        results.print(f"left out: {clean(summary(sending.left_out))}", soft_wrap=True)
    if interrupted:
        return INTERRUPTED
    return 0 if all(outcome.good for outcome in outcomes) and not unwritten else 1


def push(gateway: str | None, registry: CollectorRegistry) -> None:
    """Push the metrics; each host has one group there, which this replaces."""
    if gateway is None:
        return
    try:
        host = {"instance": socket.gethostname()}
        push_to_gateway(gateway, "sender", registry, host, PUSH_S)
    except (OSError, HTTPException, ValueError) as exc:
        log = get_logger()
        log.warning("push_failed", to=gateway, reason=str(exc))


def probe_command(
    paths: Annotated[list[str], Parameter(group=FILES, negative=())],
    *,
    settings: ProbeSettings | None = None,
) -> int:
    """
    Print the formats of files, and how they would be decoded; 0 only if all can be.

    Args:
        paths: Files, folders (walked, sorted) or patterns.
        settings: Everything else.
    """
    return probe_paths(paths, settings or ProbeSettings(), results_console(), faults_console())


def devices_command() -> int:
    """List the audio devices that can be sent from, for ``sender send --device``."""
    try:
        found = input_devices()
    except SourceError as exc:
        faults_console().print(f"sender: {clean(exc)}", soft_wrap=True)
        return 1
    print_devices(found, results_console())
    return 0


def _folder(_type: object, value: Path) -> None:
    try:
        folder = stat.S_ISDIR(value.stat().st_mode)
    except OSError as exc:
        raise ValueError(f"{value}: {exc.strerror}, expected a folder") from exc
    if not folder:
        raise ValueError(f"{value} is no folder, expected one")


def watch_command(
    folder: Annotated[Path, Parameter(group=FOLDER, validator=_folder)],
    *,
    settings: WatchSettings | None = None,
) -> int:
    """
    Send the audio files in a folder, then new ones as they appear, until SIGTERM or Ctrl-C.

    Args:
        folder: The folder in which audio files appear; files that still grow are left alone.
        settings: Everything else.
    """
    settings = settings or WatchSettings()
    lines = configure(settings.log_level)
    return run_loop(_watch(folder, settings, lines))


async def _until_stopped(sending: Sending, paths: Sequence[str]) -> bool:
    """Send everything; return True if a signal came first."""
    with stop_event() as stop:
        work = asyncio.create_task(sending.run(paths, uuid.uuid4().hex))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if work.done():
            await work
            return False
        work.cancel()
        await asyncio.wait({work})
        return True


async def _watch(folder: Path, settings: WatchSettings, lines: LogLines) -> int:
    log = get_logger()
    registry = CollectorRegistry(auto_describe=True)  # for /metrics?name[]=
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    metrics = Metrics(registry, VERSION)
    export_process(registry, "sender", lines)
    progress = Progress(faults_console(), shown=False)
    deliveries = Deliveries(settings, metrics, progress, lambda _outcome: None, again=True)
    try:
        with (
            metrics_endpoint(
                registry,
                settings.metrics_host,
                settings.metrics_port,
                config=settings.metrics_config,
            ) as port,
            stop_event() as stop,
            open_ledger(settings.ledger, settings.ledger_entries) as ledger,
        ):
            log.info("sender_watching", folder=clean(folder), to=settings.to, metrics_port=port)
            await log_missing_guards()
            await Watch(folder, settings, metrics, deliveries, ledger).run(uuid.uuid4().hex, stop)
    except OSError as exc:
        log.error("sender_failed", reason=str(exc))
        return 1
    log.info("sender_stopped")
    return 0
