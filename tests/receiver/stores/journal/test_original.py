"""Files that senders sent as they are: from the journal, decoded, into a recording."""

import errno
import hashlib
import io
from contextlib import suppress

import msgspec
import numpy as np
import pytest
import soundfile

import receiver.stores.journal.original
from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.journal import Journal
from receiver.stores.journal.original import assembled
from receiver.stores.journal.recordings import Manifest
from receiver.stores.journal.verify import verify
from receiver.stores.journal.writer import Writer, ending
from sonoduct.audio import decoding
from sonoduct.wire import Digest, Kind, Receipt, StorageFailed
from tests.support.faultydisk import FaultyDisk, HastyDisk
from tests.support.journal import STREAM, chunk, finish, hello
from tests.support.sounds import noise

DISK, HASTY = PosixDisk(), HastyDisk()
FRAMES = 3000
HELLO = hello(kind=Kind.FILE, format_=None, name="talks/a b.OGG")


def encoded(subtype="PCM_24", container="FLAC"):
    """Return the bytes of a file."""
    made = io.BytesIO()
    soundfile.write(made, 0.5 * noise(FRAMES, 2), 8000, subtype, format=container)
    return made.getvalue()


DATA = encoded()
SAMPLES = soundfile.read(io.BytesIO(DATA), dtype="int32")[0]


def receipt(data=DATA, frames=FRAMES):
    """Return the receipt of the file."""
    digest = Digest()
    digest.update(0, len(data), data)
    return Receipt(
        stream=STREAM,
        units=len(data),
        digest=digest.hexdigest(),
        frames=frames,
        samplerate=8000,
        channels=2,
        seconds=frames / 8000,
        durable=True,
        sha256=hashlib.sha256(data).hexdigest(),
        decoder="soundfile",
    )


def stored(root, data=DATA, ended=None):
    """Write the journal of a file over two claims; return the layout and the journal."""
    layout = Layout(PosixDisk(), root)
    folder = layout.journal(STREAM).folder
    HASTY.make_folder(folder)
    HASTY.make_folder(layout.audio)
    for epoch, start, stop in ((1, 0, 1001), (2, 1001, len(data))):
        made = Writer(Journal(HASTY, folder), HELLO, epoch)
        made.open(start)
        for at in range(start, stop, 700):
            made.commit([chunk(epoch, at, min(at + 700, stop), data, 1)])
    made.commit([ending(made.epoch, ended or receipt(data))])
    made.close()
    return layout, folder


@pytest.fixture
def near(monkeypatch):
    """Decode in this process: 150 ms faster than in a child."""

    def opened(path, means, *, isolated):
        assert isolated
        return decoding.open_decoder(path, means, isolated=False)

    monkeypatch.setattr(receiver.stores.journal.original, "open_decoder", opened)


def drafts(layout):
    """Return the files among the recordings that are drafts."""
    return list(layout.audio.glob(".*"))


def require_finished(layout, folder, path):
    """Require that the recording has the file's samples, and that its manifest names the file."""
    manifest = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Manifest)
    assert np.array_equal(SAMPLES, soundfile.read(path, dtype="int32")[0])
    assert receipt() == manifest.receipt
    assert (8000, 2, "s24le") == (
        manifest.format.samplerate,
        manifest.format.channels,
        manifest.format.encoding,
    )
    assert str(path.relative_to(layout.root)) == Journal(DISK, folder).done().recording
    assert [None] == [finding.fault for finding in verify(layout)]
    assert [] == drafts(layout)


def test_a_file_comes_back_unchanged(tmp_path):
    """The file exists inside the context only."""
    layout, _ = stored(tmp_path)
    with assembled(layout, layout.journal(HELLO.stream)) as original:
        data = original.path.read_bytes()

    assert data == DATA
    assert (receipt().digest, receipt().sha256) == (original.digest, original.sha256)
    assert [] == drafts(layout)


@pytest.mark.parametrize("wanted", ["wav", "flac"])
def test_a_file_becomes_a_recording(tmp_path, wanted):
    """A child decodes it, from the journal alone."""
    layout, folder = stored(tmp_path)
    path = finish(DISK, layout, folder, wanted)

    require_finished(layout, folder, path)
    assert f"a_b-{STREAM[:8]}.{wanted}" == path.name


def test_the_original_is_kept_beside_it(tmp_path, near):
    """Its name differs from the recording's, even if its own was the same."""
    layout, folder = stored(tmp_path)
    path = finish(DISK, layout, folder, "wav", keep_original=True)

    require_finished(layout, folder, path)
    assert DATA == path.with_name(f"a_b-{STREAM[:8]}.original.OGG").read_bytes()


def test_any_failure_can_be_repeated(tmp_path, near):
    """Each call to the disk fails once; then the recording is made, and no draft is left."""
    layout, folder = stored(tmp_path / "counted")
    counting = FaultyDisk()
    finish(counting, layout, folder, "wav", keep_original=True)
    for nth in range(1, len(counting.calls) + 1):
        layout, folder = stored(tmp_path / str(nth))
        disk = FaultyDisk()
        disk.fail("any", errno.EIO, nth)
        with suppress(StorageFailed, OSError):
            finish(disk, layout, folder, "wav", keep_original=True)
        if Journal(DISK, folder).done() is None:
            finish(DISK, layout, folder, "wav", keep_original=True)
        (path,) = layout.audio.glob("[!.]*.wav")
        for left in drafts(layout):
            left.unlink()  # the sweep does so later

        require_finished(layout, folder, path)
        assert set() == disk.open


def test_other_frames_than_before_are_a_fault(tmp_path, near):
    """If a file decodes to other frames than its receipt has, its journal stays."""
    layout, folder = stored(tmp_path, ended=receipt(frames=FRAMES + 1))
    with pytest.raises(StorageFailed) as raised:
        finish(DISK, layout, folder, "wav")

    assert "frames that came out of the file 3000, expected 3001" in str(raised.value)
    assert ([], []) == (drafts(layout), list(layout.audio.iterdir()))
    with assembled(layout, layout.journal(HELLO.stream)) as original:
        assert DATA == original.path.read_bytes()


def test_a_file_that_no_longer_decodes_stays(tmp_path, near):
    """A decoder that is gone, or another version that refuses, costs no byte."""
    data = b"no audio" * 500
    layout, folder = stored(tmp_path, data)
    with pytest.raises(StorageFailed, match="it was decoded before, and now: "):
        finish(DISK, layout, folder, "wav")

    assert [] == drafts(layout)
    assert [None] == [finding.fault for finding in verify(layout)]


def test_a_stop_is_heeded(tmp_path, near):
    """A stop ends the writing and the decoding; the next start makes the recording."""
    layout, folder = stored(tmp_path)
    for after in range(1, 8):
        calls = iter(range(after))

        def stopping(left=calls):
            if next(left, None) is None:
                raise StorageFailed("the receiver stops")

        with pytest.raises(StorageFailed, match="the receiver stops"):
            finish(DISK, layout, folder, "wav", running=stopping)
        assert [] == drafts(layout)

    require_finished(layout, folder, finish(DISK, layout, folder, "wav"))


def test_without_room_nothing_is_begun(tmp_path, monkeypatch, near):
    """Without room, neither the file nor its recording is begun."""
    layout, folder = stored(tmp_path)
    monkeypatch.setattr(PosixDisk, "free", lambda *_: len(DATA) - 1)
    with pytest.raises(StorageFailed, match="free bytes for the recording"):
        finish(DISK, layout, folder, "wav")

    assert [] == list(layout.audio.iterdir())


def test_verify_counts_the_frames_of_complete_journals(tmp_path):
    """Verify takes the frames of a file that is not decoded yet from its receipt."""
    layout, _ = stored(tmp_path)

    assert [("complete", FRAMES, None)] == [
        (finding.state, finding.frames, finding.fault) for finding in verify(layout)
    ]
