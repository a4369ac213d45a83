"""Progress bars, the table, and the lines of the report."""

import io
import json
from contextlib import ExitStack

from prometheus_client import CollectorRegistry
from rich.console import Console

from sender.client import Client
from sender.metrics import Metrics
from sender.settings import Settings
from sender.sources.file import AudioFile
from sender.sources.whole import WholeFile
from sender.terminal import ROWS, Outcome, Progress, print_table, write_line
from sonoduct.runtime.console import results_console
from sonoduct.wire import Ack, Level, Opened, Receipt
from tests.support.sounds import write

RECEIPT = Receipt(
    stream="1" * 32,
    units=32_000,
    digest="d" * 32,
    frames=32_000,
    samplerate=16_000,
    channels=1,
    seconds=2.0,
    durable=False,
    processors={"levels": {"peak_dbfs": None}},
)
SENT = Outcome(name="a [red].wav", result="sent", elapsed=0.5, receipt=RECEIPT, sent_bytes=64_064)
KNOWN = Outcome(name="b.wav", result="known", elapsed=0.1, receipt=RECEIPT)
FAILED = Outcome(name="c.wav", result="failed", elapsed=0.1, error="c.wav: no [audio]")
EMOJI = Outcome(name="a:cat:.wav", result="interrupted", elapsed=0.1)
STOPPED = Outcome(name="d.wav", result="interrupted", elapsed=0.1)


def test_which_outcomes_are_good():
    """An outcome is good if the receiver has the file, from this run or from an earlier one."""
    assert [True, True, False, False] == [each.good for each in (SENT, KNOWN, FAILED, STOPPED)]


def test_lines_of_the_report():
    """Each line is one JSON object with the result, and with the receipt or the error."""
    file = io.BytesIO()
    for outcome in (SENT, FAILED):
        write_line(outcome, file.write)
    sent, failed = (json.loads(line) for line in file.getvalue().splitlines())

    assert ("a [red].wav", "sent", 64_064) == (sent["name"], sent["result"], sent["sent_bytes"])
    assert ("d" * 32, 32_000) == (sent["receipt"]["digest"], sent["receipt"]["frames"])
    assert {"levels": {"peak_dbfs": None}} == sent["receipt"]["processors"]
    assert (None, "c.wav: no [audio]") == (failed["receipt"], failed["error"])


def test_rows_of_the_table(capsys):
    """The table shows names and errors verbatim, and a speed only if something was sent."""
    print_table([SENT, KNOWN, FAILED, STOPPED, EMOJI], results_console())
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]

    assert [
        ["a", "[red].wav", "sent", "32000", "2.00", "4", "d" * 32],
        ["b.wav", "known", "32000", "2.00", "-", "d" * 32],
        ["c.wav", "failed", "c.wav:", "no", "[audio]"],
        ["d.wav", "interrupted"],
        ["a:cat:.wav", "interrupted"],
    ] == rows


def drawn(progress):
    """Return the lines that *progress* shows."""
    file = io.StringIO()
    Console(file=file, width=240).print(progress._draw())
    return file.getvalue().splitlines()


def transfer_of(path, opening=AudioFile):
    """Return a transfer that has not begun, and its source."""
    client = Client(Settings(), Metrics(CollectorRegistry(), "test"), "me")
    source = opening(path)
    return client.transfer(source), source


def test_a_row_follows_its_stream(tmp_path):
    """The row shows the acknowledged position, the speed and the unacknowledged bytes."""
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
    """The sender does not know how long an undecoded file plays, so its row shows bytes."""
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
    """The rows beyond the limit become one line that says how many they are."""
    transfers = [transfer_of(write(tmp_path / f"{n}.wav", 10)) for n in range(ROWS + 5)]
    progress = Progress(Console(file=io.StringIO()), shown=True)
    with ExitStack() as stack:
        for transfer, source in transfers:
            stack.enter_context(progress.row(transfer))
            stack.callback(source.close)
        lines = drawn(progress)

    assert ROWS + 1 == len(lines)
    assert "and 5 more" in lines[-1]


def test_hidden_progress_draws_nothing():
    """If progress is not shown, nothing is written, even to a terminal."""
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=True), shown=False).drawn():
        pass

    assert "" == file.getvalue()
