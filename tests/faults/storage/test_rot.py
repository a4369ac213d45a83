"""Journals with bytes that have changed or vanished since they were written."""

import asyncio
import os
from contextlib import suppress

import pytest

from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.fence import claim
from receiver.stores.journal.journal import Journal
from receiver.stores.journal.reader import Part
from receiver.stores.journal.writer import ending
from sender.sources.file import AudioFile
from sonoduct import wire
from tests.faults.storage.scene import FORMAT
from tests.support.clients import connected
from tests.support.evidence import RATE, make, require_all
from tests.support.extent import either
from tests.support.journal import finish
from tests.support.receivers import Receiver, serving
from tests.support.sounds import noise
from tests.support.waits import until

pytestmark = pytest.mark.faults

FRAMES, CHUNK = 32_000, 1_000
SOUND = (noise(FRAMES, seed=9) * 32767).astype("<i2").tobytes()
HELLO = wire.Hello(stream="9" * 32, instance="one", format=FORMAT)


def receipt():
    """Return the receipt of the sound."""
    digest = wire.Digest()
    digest.update(0, FRAMES, SOUND)
    return wire.Receipt(
        stream=HELLO.stream,
        units=FRAMES,
        digest=digest.hexdigest(),
        frames=FRAMES,
        samplerate=RATE,
        channels=1,
        seconds=FRAMES / RATE,
        durable=True,
    )


def journal(root, claims):
    """Keep the sound in a journal below *root*, a segment for each claim; return its folder."""
    layout = Layout(PosixDisk(), root)
    folder = layout.journal(HELLO.stream).folder
    for left in reversed(range(claims)):
        granted = claim(Journal(PosixDisk(), folder), HELLO, takeover_s=0)
        writer, stop = granted.writer, FRAMES if not left else FRAMES // claims * (claims - left)
        for offset in range(granted.offset, stop, CHUNK):
            payload = SOUND[2 * offset : 2 * (offset + CHUNK)]
            message = wire.encode_chunk(granted.epoch, offset, CHUNK, payload)
            writer.commit([wire.Chunk(granted.epoch, offset, CHUNK, message)])
        writer.seal() if left else writer.commit([ending(writer.epoch, receipt())])
        writer.close()
    return folder


def require_detected(folder):
    """Require that a read gives a beginning of the sound, and reports that it is not whole."""
    heard, ended = b"", False
    try:
        for record in Journal(PosixDisk(), folder).records():
            if record.header.kind == wire.RecordKind.AUDIO:
                heard += record.payload
            else:
                ended = True
    except wire.StorageFailed:
        ended = False

    assert SOUND.startswith(heard), "wrong audio"
    assert not ended, "damage was not noticed"


def require_no_recording(root, folder):
    """Require that no recording is made of a damaged journal."""
    layout = Layout(PosixDisk(), root)
    layout.audio.mkdir(exist_ok=True)
    with suppress(wire.StorageFailed):
        assert finish(layout.disk, layout, folder) is None

    assert [] == list(layout.audio.iterdir())


@pytest.mark.parametrize("claims", [1, 3])
def test_every_byte_that_changes_is_noticed(tmp_path, chance, say, claims):
    """If one bit is wrong, no read and no recording takes the journal for whole."""
    folder = journal(tmp_path, claims)
    count = 0
    for part in Journal(PosixDisk(), folder).parts():
        path = folder / part.name
        data = path.read_bytes()
        last = part == Journal(PosixDisk(), folder).parts()[-1]
        end = len(data) if last else len(data) - wire.HEADER_BYTES  # a CLOSING may be missing
        places = either(chance.sample(range(end), 6000 // claims), range(end))
        for place in places:
            with path.open("r+b") as file:
                os.pwrite(file.fileno(), bytes([data[place] ^ 1 << chance.randrange(8)]), place)
                require_detected(folder)
                if not count % 50:
                    require_no_recording(tmp_path, folder)
                os.pwrite(file.fileno(), data[place : place + 1], place)
            count += 1
    say(f"{count} bytes")

    assert SOUND == b"".join(
        each.payload
        for each in Journal(PosixDisk(), folder).records()
        if each.header.kind == wire.RecordKind.AUDIO
    )


def test_every_length_that_is_cut_off_is_noticed(tmp_path, chance, say):
    """A segment of any shorter length is not taken for whole."""
    folder = journal(tmp_path, 1)
    path = folder / Part(1, 0).name
    size = path.stat().st_size
    lengths = sorted(either(chance.sample(range(size), 6000), range(size)), reverse=True)
    for number, length in enumerate(lengths):
        os.truncate(path, length)
        require_detected(folder)
        if not number % 50:
            require_no_recording(tmp_path, folder)
    say(f"{len(lengths)} lengths")


def spoil(segment, chance):
    """Flip a bit in the first half of *segment*: its end may not be acknowledged."""
    data = bytearray(segment.read_bytes())
    data[chance.randrange(len(data) // 2)] ^= 1 << chance.randrange(8)
    segment.write_bytes(data)


async def test_a_stream_whose_journal_has_changed(tmp_path, chance, say):
    """The sender learns that acknowledged audio is lost; a second send completes the stream."""
    receiver, count = Receiver(tmp_path / "store"), either(2, 20)
    sent = []
    async with serving(receiver):
        for number in range(count):
            path = make(tmp_path, number, 20 * RATE)
            source = AudioFile(path)
            async with connected(receiver.url, realtime=True, speed=10) as client:
                transfer = client.transfer(source)
                carrying = asyncio.create_task(client.carry(transfer))
                await until(lambda t=transfer: t.outbound.durable > 3 * RATE)
                await receiver.kill()
                folder = Layout(PosixDisk(), receiver.store).journal(source.stream).folder
                spoil(folder / Part(1, 0).name, chance)
                await receiver.start()
                with pytest.raises(wire.Malformed, match="offset"):
                    await carrying
            async with connected(receiver.url) as client:
                sent.append((path, await client.send(path)))
            source.close()
        await require_all(receiver.store, sent)
    say(f"{count} streams")
