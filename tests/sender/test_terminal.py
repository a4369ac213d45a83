"""What is said about each stream at its end."""

import io
import json

from sender.terminal import Outcome, print_table, write_line
from sonoduct.runtime.console import results_console
from sonoduct.wire import Receipt

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


def test_only_what_has_arrived_is_good():
    """Sent now, or before."""
    assert [True, True, False, False] == [each.good for each in (SENT, KNOWN, FAILED, STOPPED)]


def test_lines_of_the_report():
    """Each is one JSON object with all that is known."""
    file = io.BytesIO()
    for outcome in (SENT, FAILED):
        write_line(outcome, file)
    sent, failed = (json.loads(line) for line in file.getvalue().splitlines())

    assert ("a [red].wav", "sent", 64_064) == (sent["name"], sent["result"], sent["sent_bytes"])
    assert ("d" * 32, 32_000) == (sent["receipt"]["digest"], sent["receipt"]["frames"])
    assert {"levels": {"peak_dbfs": None}} == sent["receipt"]["processors"]
    assert (None, "c.wav: no [audio]") == (failed["receipt"], failed["error"])


def test_rows_of_the_table(capsys):
    """Names and errors are shown as they are; speed only where something was sent."""
    print_table([SENT, KNOWN, FAILED, STOPPED, EMOJI], results_console())
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]

    assert [
        ["a", "[red].wav", "sent", "32000", "2.00", "4", "d" * 32],
        ["b.wav", "known", "32000", "2.00", "-", "d" * 32],
        ["c.wav", "failed", "c.wav:", "no", "[audio]"],
        ["d.wav", "interrupted"],
        ["a:cat:.wav", "interrupted"],
    ] == rows
