"""Progress bars, drawn from where a stream stands."""

import io
from contextlib import ExitStack

from prometheus_client import CollectorRegistry
from rich.console import Console

from sender.client import Client
from sender.metrics import Metrics
from sender.settings import Settings
from sender.sources.file import AudioFile
from sender.sources.whole import WholeFile
from sender.terminal import ROWS, Progress
from sonoduct.wire import Ack, Level, Opened
from tests.support.sounds import write


def drawn(progress):
    """What *progress* shows, as lines."""
    file = io.StringIO()
    Console(file=file, width=240).print(progress._draw())
    return file.getvalue().splitlines()


def transfer_of(path, opening=AudioFile):
    """A transfer that has not begun, and its source."""
    client = Client(Settings(), Metrics(CollectorRegistry(), "test"), "me")
    source = opening(path)
    return client.transfer(source), source


def test_a_row_follows_its_stream(tmp_path):
    """Position by what is acknowledged, speed, and what is on its way."""
    transfer, source = transfer_of(write(tmp_path / "take [live].wav", 16_000 * 80))
    progress = Progress(Console(file=io.StringIO()), shown=True)
    outbound = transfer.outbound
    with progress.row(transfer):
        (at_first,) = drawn(progress)
        outbound.greet()
        opened = Opened(epoch=1, offset=0, window=10**7, max_chunk=10**6, ack=Level.RECEIVED)
        outbound.feed(opened)
        for _ in range(3):
            outbound.chunk(16_000 * 25, bytes(2 * 16_000 * 25))
        outbound.feed(Ack(epoch=1, durable=0, received=16_000 * 25, window=10**7))
        (later,) = drawn(progress)
    source.close()

    assert "take [live].wav" in at_first
    assert "0:00 / 1:20" in at_first
    assert "no connection" in at_first
    assert "0:25 / 1:20" in later
    assert " x " in later
    assert f"{2 * (2 * 16_000 * 25 + 32) / 1024:.0f} KiB to ack" in later
    assert [] == drawn(progress)


def test_a_file_is_counted_in_bytes(tmp_path):
    """Nobody here knows how long it plays."""
    path = tmp_path / "a.mp3"
    path.write_bytes(bytes(3 * 2**20))
    transfer, source = transfer_of(path, WholeFile)
    progress = Progress(Console(file=io.StringIO()), shown=True)
    outbound = transfer.outbound
    with progress.row(transfer):
        outbound.greet()
        outbound.feed(Opened(epoch=1, offset=2**20, window=10**7, max_chunk=10**6))
        (line,) = drawn(progress)
    source.close()

    assert "1.0 MiB / 3.0 MiB" in line
    assert " MiB/s " in line


def test_rows_that_do_not_fit_are_counted(tmp_path):
    """A hundred jobs do not fill the screen."""
    transfers = [transfer_of(write(tmp_path / f"{n}.wav", 10)) for n in range(ROWS + 5)]
    progress = Progress(Console(file=io.StringIO()), shown=True)
    with ExitStack() as stack:
        for transfer, source in transfers:
            stack.enter_context(progress.row(transfer))
            stack.callback(source.close)
        lines = drawn(progress)

    assert ROWS + 1 == len(lines)
    assert "and 5 more" in lines[-1]


def test_hidden_it_draws_nothing():
    """A service has no screen."""
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=True), shown=False).drawn():
        pass

    assert "" == file.getvalue()
