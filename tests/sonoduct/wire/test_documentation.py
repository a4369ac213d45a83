"""docs/protocol.md agrees with the code: vectors, codes, fields, and an exchange that runs."""

import json
import re
from pathlib import Path

import pytest

from sonoduct import wire

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))
DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text("utf-8")


def row(*cells):
    """A line of a table in Markdown."""
    return f"| {' | '.join(map(str, cells))} |"


def code(text):
    """A cell that shows *text* as it is."""
    return f"`{text}`" if text else "(empty)"


def shown(group, vector):
    """Return the line or block in which the page shows *vector*."""
    name = vector["name"]
    match group:
        case "chunks":
            fields = (vector[field] for field in ("epoch", "offset", "units"))
            return row(name, *fields, code(vector["payload"]), code(vector["message"]))
        case "controls":
            return f"{name}:\n\n```json\n{vector['text']}\n```"
        case "encodings":
            cells = (code(vector[cell]) for cell in ("payload", "float32"))
            return row(name, vector["encoding"], vector["channels"], *cells)
        case "flac":
            fields = ("samplerate", "channels", "encoding", "units")
            cells = (code(vector[cell]) for cell in ("payload", "canonical"))
            return row(name, *(vector[field] for field in fields), *cells)
        case "digests":
            return row(name, code(vector["payload"]), code(vector["digest"]))
        case "malformed":
            form = "binary" if "binary" in vector else "text"
            return row(name, form, code(vector[form]), vector["code"])


@pytest.mark.parametrize("group", VECTORS)
def test_every_vector_is_shown(group):
    """The page has every vector verbatim, for authors of other clients."""
    missing = [v["name"] for v in VECTORS[group] if f"\n{shown(group, v)}\n" not in DOCUMENT]

    assert [] == missing


def test_every_close_code_is_explained():
    """The table has every close code, and marks the ones after which the sender resumes."""
    rows = re.findall(r"^\| (\d{4}) \| .+ \| (yes|no|once in a row) \|$", DOCUMENT, re.MULTILINE)
    bases = (wire.PeerError, wire.OwnError, wire.EnvironmentFault)
    codes = {cls.close_code for base in bases for cls in base.__subclasses__()}

    assert codes | wire.RETRYABLE == {int(number) for number, _ in rows}
    assert wire.RETRYABLE == {int(number) for number, resumes in rows if resumes != "no"}
    assert ["4416", "4460"] == [number for number, resumes in rows if resumes == "once in a row"]


@pytest.mark.parametrize(
    "message", [*wire.Control.__args__, wire.Receipt, wire.Format], ids=lambda cls: cls.__name__
)
def test_every_field_is_explained(message):
    """The page explains every field of every message."""
    missing = [name for name in message.__struct_fields__ if f"\n| `{name}` |" not in DOCUMENT]

    assert [] == missing


SILENCE = bytes(2 * 8192)
EXCHANGE = re.search(r"^```\n(> .+?)\n```$", DOCUMENT, re.MULTILINE | re.DOTALL)[1].splitlines()


class Walk:
    """Both halves of `wire`, which take the page's example exchange line by line."""

    def __init__(self):
        self.sender = wire.Outbound(wire.decode_control(EXCHANGE[0][2:]))
        self.receiver = wire.Inbound(wire.Deadlines(), 0)
        self.kept = self.receiver.received

    def take(self, line):
        """Check that *line* is the next event of the exchange."""
        if line == "connection lost":
            self.kept = self.receiver.received
            self.receiver = wire.Inbound(wire.Deadlines(), 0)
            self.sender.lose()
        elif line.startswith("> chunk"):
            self.send_chunk(*map(int, re.findall(r"\d+", line)), lost=line.endswith("(lost)"))
        elif line.startswith("> "):
            self.send(line[2:])
        else:
            self.answer(line[2:])

    def send_chunk(self, epoch, offset, units, *, lost):
        """Check that the sender's next message is this chunk."""
        message = b"".join(self.sender.chunk(units, SILENCE[2 * offset : 2 * (offset + units)]))
        assert wire.encode_chunk(epoch, offset, units, bytes(2 * units)) == message
        if not lost:
            self.receiver.feed(wire.decode_chunk(message), 0)

    def send(self, text):
        """Check that the sender's next message is this text."""
        message = self.sender.greet() if '"hello"' in text else self.sender.eos()
        assert text == wire.encode_control(message)
        self.receiver.feed(message, 0)

    def answer(self, text):
        """Check that the receiver's next message is this text."""
        match wire.decode_control(text):
            case wire.Opened(epoch=epoch, window=window, max_chunk=max_chunk):
                terms = wire.Terms(window, max_chunk, wire.Level.DURABLE, kept=True)
                message = self.receiver.open(epoch, self.kept, terms, 0)
            case wire.Ack(durable=durable):
                self.receiver.release(durable, 0)
                message = self.receiver.ack()
            case wire.Committed(receipt=receipt):
                message = self.receiver.commit(receipt, 0)
        assert text == wire.encode_control(message)
        self.sender.feed(message)


def test_example_exchange_runs():
    """Both halves say exactly the messages of the page's example of a resume."""
    walk = Walk()
    for line in EXCHANGE:
        walk.take(line)

    assert "DONE" == walk.sender.phase.name
    assert 8192 == walk.sender.receipt.units


def test_example_chunk_is_a_vector():
    """The chunk that the page takes apart at the top is the first vector."""
    spaced = re.search(r"^```\n(01 01 [0-9a-f ]+)\n```$", DOCUMENT, re.MULTILINE)[1]

    assert VECTORS["chunks"][0]["message"] == spaced.replace(" ", "")
