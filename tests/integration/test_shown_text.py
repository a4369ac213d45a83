"""Text that a peer chose, wherever people see it: one line, without a character that acts."""

import json
import signal

import pytest

from sonoduct import wire
from sonoduct.text import clean
from tests.support.commands import COMMANDS, outcomes, sent, started
from tests.support.liars import closing
from tests.support.rawclient import sound, speaking
from tests.support.sounds import write

EVIL = "take\x1b]0;title\x07\x1b[2J\x9b31m\u202egpj\u2066\u2028two\nlines\u200b\x7f.wav"
SHOWN = "take?]0;title??[2J?31m?gpj??two?lines??.wav"
ERROR = json.dumps({"type": "error", "code": 4500, "message": EVIL, "seen": EVIL})


def texts(value):
    """Yield each text in *value*, which came from JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from (key, *texts(each))
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def test_the_text_is_as_bad_as_it_should_be():
    """It has a character of each kind."""
    assert SHOWN == clean(EVIL)


async def test_a_name_in_the_receiver(tmp_path):
    """The log, `receiver streams`, the manifest and the recording's name show it cleaned."""
    store = tmp_path / "store"
    options = ("--store", store, "--port", 0, "--metrics-port", 0, "--reserve-bytes", 0)
    arguments = map(str, (*options, "--log-level", "debug"))
    async with started(COMMANDS / "receiver", "serve", *arguments) as program:
        begun = await program.said("receiver_ready")
        url = begun["url"]
        more = {"name": EVIL, "metadata": {EVIL: EVIL}, "instance": EVIL}
        async with speaking(url, **more) as client:
            await client.greet()
            await client.send(sound(100))
            names = f"127.0.0.1:{begun['metrics_port']}"
            async with started(COMMANDS / "receiver", "streams", names) as streams:
                assert 0 == await streams.ended()
            await client.commit()
        await program.said("recording_written")
        async with speaking(url) as client:
            await client.connection.send(f"{{{EVIL}")
            await client.closed()
        program.interrupt(signal.SIGTERM)
        await program.ended()

    assert "take?]0;title?" in streams.out
    assert all(line.rstrip("\n").isprintable() for line in streams.lines)
    assert SHOWN in list(texts(program.log))
    assert [] == [text for text in texts(program.log) if text != clean(text)]
    assert all(line.isascii() for line in program.errors)
    (manifest,) = (store / "audio").glob("*.json")
    assert manifest.name.isascii()
    text = manifest.read_text()
    assert text == clean(text, len(text))
    assert SHOWN == json.loads(text)["name"]
    assert {EVIL: EVIL} == json.loads(text)["metadata"]


@pytest.mark.parametrize("code", [4500, 1013])
async def test_the_words_of_a_receiver_in_the_sender(tmp_path, code):
    """The log, the table and the report show them cleaned, at the end and before each retry."""
    report = tmp_path / "report"
    server = closing(code, ERROR if code == wire.ProcessingFailed.close_code else None)
    options = ("--report", report, "--patience", 0.3, "--connect-timeout", 0.3)
    async with server as url:
        program, exit_code = await sent(write(tmp_path / "a.wav"), "--to", url, *options)

    assert 1 == exit_code
    assert all(line.rstrip("\n").isprintable() for line in program.lines)
    assert [] == [text for text in texts(program.log) if text != clean(text)]
    (outcome,) = outcomes(report).values()
    assert outcome["error"] == clean(outcome["error"])
    assert "?" in outcome["error"]
    if code == wire.Overloaded.close_code:
        assert "?[31mbecause?" in next(
            line["why"] for line in program.log if line["event"] == "retrying"
        )
