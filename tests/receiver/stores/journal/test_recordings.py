"""From a complete journal to a recording, with failures and other receivers in between."""

import errno
import itertools
import json
import shutil
from contextlib import suppress

import msgspec
import pytest

import sonoduct.audio.recording
from receiver.stores.journal import Layout, PosixDisk, RecordingOptions, committer
from receiver.stores.journal import recordings as recordings_
from receiver.stores.journal.committer import MANY
from receiver.stores.journal.journal import Done, Journal, State
from receiver.stores.journal.original import digest_of
from receiver.stores.journal.recordings import Manifest, Recorder
from receiver.stores.journal.verify import verify
from receiver.stores.journal.writer import Writer, ending
from sonoduct.audio.recording import digest_recording, read_recording
from sonoduct.wire import Encoding, Format, StorageFailed
from tests.support.faultydisk import FaultyDisk, HastyDisk
from tests.support.journal import (
    FRAMES,
    SOUND,
    STREAM,
    WIDTH,
    chunk,
    claimed,
    finish,
    hello,
    names,
    receipt,
)
from tests.support.rawclient import FORMAT, sound

DISK = PosixDisk()
HASTY = HastyDisk()
HELLO = hello(name="talks/a b.mp3", metadata={"room": "12"})


class Interrupted(BaseException):
    """An exception that no code catches, as no code survives a kill."""


def interrupt(*_):
    raise Interrupted


def stored(layout, said=HELLO, source=SOUND, ended=None):
    """Write the journal of a complete stream: over two claims, the second in several parts."""
    folder, width = layout.journal(said.stream).folder, said.format.frame_bytes
    frames = len(source) // width
    HASTY.make_folder(folder)
    for epoch, start, stop in ((1, 0, frames // 3), (2, frames // 3, frames)):
        made = Writer(Journal(HASTY, folder), said, epoch, roll_bytes=400)
        made.open(start)
        for at in range(start, stop, 50):
            made.commit([chunk(epoch, at, min(at + 50, stop), source, width)])
    made.commit([ending(made.epoch, ended or receipt(source, said.format, said.stream))])
    made.close()
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Make a store with the journal of the stream."""
    root = tmp_path_factory.mktemp("template")
    stored(Layout(PosixDisk(), root))
    return root


def copied(template, root):
    """Copy a store; return its layout, and the journal of the stream."""
    layout = Layout(PosixDisk(), shutil.copytree(template, root, dirs_exist_ok=True))
    return layout, layout.journal(STREAM).folder


def recordings(layout):
    """Return the names of all files in audio, except the drafts, which the janitor removes."""
    return {path.name for path in layout.audio.iterdir() if not path.name.startswith(".")}


def require_finished(layout, folder, path, said=HELLO, source=SOUND):
    """Require the recording, its manifest and done.json, and no other file."""
    manifest = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Manifest)
    done = Journal(DISK, folder).done()
    made = receipt(source, said.format, said.stream)

    assert source == b"".join(read_recording(path, said.format))
    assert {path.with_suffix(".json").name, path.name} == recordings(layout)
    assert (path.name, said.name, said.format) == (
        manifest.recording,
        manifest.name,
        manifest.format,
    )
    assert (said.metadata, made) == (manifest.metadata, manifest.receipt)
    assert (
        Done(state=State.COMMITTED, epoch=2, receipt=made, recording=f"audio/{path.name}") == done
    )
    assert ["done.json"] == [each.name for each in folder.glob("[!.]*")]


@pytest.fixture
def layout(tmp_path):
    return Layout(PosixDisk(), tmp_path)


@pytest.mark.parametrize("wanted", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("encoding", Encoding)
def test_a_journal_becomes_a_recording(layout, encoding, channels, wanted):
    """The recording is bit for bit the stream, with a manifest; floats never become FLAC."""
    form = Format(samplerate=48_000, channels=channels, encoding=encoding)
    said, source = hello(format_=form, name="talk.wav"), sound(FRAMES, form)
    folder = stored(layout, said, source)
    path = finish(DISK, layout, folder, wanted)
    kind = "wav" if encoding is Encoding.F32LE else wanted

    assert layout.audio / f"talk-{STREAM[:8]}.{kind}" == path
    require_finished(layout, folder, path, said, source)


def test_a_long_recording_is_rf64(layout, monkeypatch):
    """A recording that is too long for WAV is RF64."""
    monkeypatch.setattr(sonoduct.audio.recording, "WAV_BYTES", len(SOUND) - 1)
    folder = stored(layout)
    path = finish(DISK, layout, folder, "wav")

    assert b"RF64" == path.read_bytes()[:4]
    require_finished(layout, folder, path)


def test_an_empty_stream_becomes_an_empty_recording(layout):
    """FLAC cannot be empty, so the recording is a WAV."""
    folder = stored(layout, source=b"")
    path = finish(DISK, layout, folder, "flac")

    assert ".wav" == path.suffix
    require_finished(layout, folder, path, source=b"")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("", "stream"),
        ("../../etc/passwd", "passwd"),
        ("..", "stream"),
        ("/", "stream"),
        (".hidden.wav", "hidden"),
        ("a\0b\nc/ü é%.flac", "stream"),
        ("-rf", "rf"),
        ("x" * 255, "x" * 80),
        ("日本.wav", "stream"),
    ],
)
def test_any_name_is_a_file_in_audio(layout, name, stem):
    """No name of a stream leads to another folder."""
    path = finish(DISK, layout, stored(layout, hello(name=name)), "wav")

    assert layout.audio / f"{stem}-{STREAM[:8]}.wav" == path


def test_streams_of_one_name_do_not_replace_each_other(layout):
    """This is true even if their ids begin alike, as ids from the time do."""
    first, second = hello(name="a"), hello(name="a", stream=STREAM[:-1] + "0")
    other = sound(FRAMES, seed=1)
    folders = stored(layout, first), stored(layout, second, other)
    paths = [finish(DISK, layout, folder, "wav") for folder in folders]

    assert [f"a-{STREAM[:8]}.wav", f"a-{STREAM[:-1]}0.wav"] == [path.name for path in paths]
    assert [SOUND, other] == [b"".join(read_recording(path, FORMAT)) for path in paths]


def test_a_stream_that_is_open_is_not_finished(layout):
    """A journal without an END gets no recording."""
    folder = layout.journal(STREAM).folder
    granted = claimed(DISK, folder, HELLO)
    granted.writer.commit([chunk(1, 0, FRAMES)])
    granted.writer.seal()

    assert finish(DISK, layout, folder, "wav") is None
    assert finish(DISK, layout, layout.journal("0" * 32).folder, "wav") is None
    assert [(1, 0)] == names(DISK, folder)


def test_finishing_again_after_an_interruption(template, tmp_path):
    """After an interruption at any step, a second run ends as the first would have."""
    for nth in itertools.count(1):
        layout, folder = copied(template, tmp_path / str(nth))
        disk = FaultyDisk()
        disk.before("any", interrupt, nth)
        with suppress(Interrupted):
            finish(disk, layout, folder, "wav")
        finish(DISK, layout, folder, "wav")
        require_finished(layout, folder, layout.audio / f"a_b-{STREAM[:8]}.wav")
        if nth > len(disk.calls):
            break

    assert nth > 30


def test_any_call_may_fail(template, tmp_path):
    """After a failed call no audio is lost, no file is left over, and the next attempt succeeds."""
    for nth in itertools.count(1):
        layout, folder = copied(template, tmp_path / str(nth))
        disk = FaultyDisk()
        disk.fail("any", errno.ENOSPC, nth)
        try:
            finish(disk, layout, folder, "wav")
        except StorageFailed as exc:
            assert "No space left on device" in str(exc)
            finish(DISK, layout, folder, "wav")
        drafts = [path for path in layout.audio.iterdir() if path.name.startswith(".")]
        assert [] == drafts or disk.calls[nth - 1] == "remove"
        for each in drafts:
            each.unlink()
        require_finished(layout, folder, layout.audio / f"a_b-{STREAM[:8]}.wav")
        if nth > len(disk.calls):
            break


def test_a_journal_that_is_not_what_the_receipt_says(layout):
    """The journal stays, without a recording."""
    ended = msgspec.structs.replace(receipt(), digest="0" * 32)
    folder = stored(layout, ended=ended)
    before = names(DISK, folder)
    with pytest.raises(StorageFailed) as raised:
        finish(DISK, layout, folder, "wav")

    text = f"{STREAM}: digest of the journal {receipt().digest}, expected {'0' * 32}"
    assert text == str(raised.value)
    assert before == names(DISK, folder)
    assert (set(), None) == (recordings(layout), Journal(DISK, folder).done())


def test_a_journal_with_a_rotten_record(layout):
    """Audio is missing, and nothing replaces it."""
    folder = stored(layout)
    path = next(folder.glob("*2.000000.seg"))
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageFailed, match="starts at unit 250, expected at most 200"):
        finish(DISK, layout, folder, "wav")

    assert set() == recordings(layout)


@pytest.mark.parametrize("wanted", ["wav", "flac"])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_recording_that_was_not_written_in_full(layout, wanted, harm):
    """The recording is read before the journal is removed: libsndfile hides some disk errors."""
    folder, disk = stored(layout), FaultyDisk()

    def damage(draft):
        data = bytearray(draft.read_bytes())
        data[-100] ^= 0x10
        draft.write_bytes(data if harm == "flip" else data[:-100])

    disk.before("sync_file", damage)
    with pytest.raises(StorageFailed):
        finish(disk, layout, folder, wanted)

    assert [] == list(layout.audio.iterdir())
    require_finished(layout, folder, finish(DISK, layout, folder, wanted))


def test_another_receiver_is_faster(template, tmp_path):
    """At whichever step, the recording is the same, and neither receiver fails."""
    for nth in itertools.count(1):
        layout, folder = copied(template, tmp_path / str(nth))
        disk = FaultyDisk()
        disk.before("any", lambda *_, at=(layout, folder): finish(DISK, *at, "wav"), nth)
        finish(disk, layout, folder, "wav")
        require_finished(layout, folder, layout.audio / f"a_b-{STREAM[:8]}.wav")
        if nth > len(disk.calls):
            break


def test_another_stream_takes_the_name(template, tmp_path):
    """At whichever step, each recording has its own name and manifest."""
    other = STREAM[:8] + "0" * 24
    for nth in itertools.count(1):
        layout, folder = copied(template, tmp_path / str(nth))
        others = stored(layout, hello(name=HELLO.name, stream=other), sound(FRAMES, seed=1))
        disk = FaultyDisk()
        disk.before("any", lambda *_, at=(layout, others): finish(DISK, *at, "wav"), nth)
        finish(disk, layout, folder, "wav")
        finish(DISK, layout, others, "wav")
        digests = {
            made.receipt.stream: (made.receipt.digest, digest_recording(path, FORMAT).hexdigest())
            for place in layout.audio.glob("*.json")
            for made in [msgspec.json.decode(place.read_bytes(), type=Manifest)]
            for path in [place.with_name(made.recording)]
        }

        assert {STREAM, other} == digests.keys()
        assert all(said == found for said, found in digests.values())
        assert 4 == len(recordings(layout))
        if nth > len(disk.calls):
            break


def test_a_recording_without_its_manifest_is_left_alone(layout):
    """If a user removed the manifest, the audio is not overwritten."""
    DISK.make_folder(layout.audio)
    theirs = layout.audio / f"a_b-{STREAM[:8]}.wav"
    theirs.write_bytes(b"theirs")
    path = finish(DISK, layout, stored(layout), "wav")

    assert f"a_b-{STREAM}.wav" == path.name
    assert b"theirs" == theirs.read_bytes()


def test_no_name_is_left(layout):
    """If no name is free, the journal stays, and no file is overwritten."""
    folder = stored(layout)
    DISK.make_folder(layout.audio)
    for digits in (8, 32):
        (layout.audio / f"a_b-{STREAM[:digits]}.json").write_text("{")
    before = names(DISK, folder)
    with pytest.raises(StorageFailed, match=r"name of the recording a_b-.*json, expected a free"):
        finish(DISK, layout, folder, "wav")

    assert before == names(DISK, folder) != []


def test_a_damaged_manifest_is_left_alone(layout):
    """Its recording's stream is unknown, so the next recording gets another name."""
    DISK.make_folder(layout.audio)
    (layout.audio / f"a_b-{STREAM[:8]}.json").write_text("{")
    path = finish(DISK, layout, stored(layout), "wav")

    assert f"a_b-{STREAM}.wav" == path.name


def test_the_manifest_is_plain_json(layout):
    """The manifest is plain JSON, with the names of the protocol."""
    path = finish(DISK, layout, stored(layout), "wav")
    manifest = json.loads(path.with_suffix(".json").read_text())

    assert {"recording", "name", "format", "metadata", "receipt", "connections"} == set(manifest)
    assert {"samplerate": 8000, "channels": 2, "encoding": "s16le"} == manifest["format"]
    assert receipt().digest == manifest["receipt"]["digest"]
    first, second = manifest["connections"]
    assert (1, 0, HELLO.instance) == (first["epoch"], first["offset"], first["instance"])
    assert (2, FRAMES // 3) == (second["epoch"], second["offset"])


def test_verify_while_the_recording_is_finished(template, tmp_path):
    """If a receiver finishes the recording while verify reads the journal, nothing is damaged."""

    class Meanwhile(PosixDisk):
        """Has another process finish the recording before a read, once."""

        def __init__(self, before):
            self.before = before

        def read(self, path):
            if path.suffix == ".seg":
                self.before -= 1
                if self.before == 0:
                    finish(DISK, layout, folder, "wav")
            return super().read(path)

    _, whole = copied(template, tmp_path / "count")
    counting = Meanwhile(1000)
    list(verify(Layout(counting, tmp_path / "count")))
    assert 1000 - counting.before > 5
    for before in range(1, 1001 - counting.before):
        root = tmp_path / str(before)
        layout, folder = copied(template, root)

        findings = list(verify(Layout(Meanwhile(before), root)))

        assert [None] * len(findings) == [each.fault for each in findings], before
        assert "recording" == findings[-1].state
    assert whole.exists()


def test_the_digest_of_a_journal(layout):
    """The digest covers all claims; if the disk refuses, the fault is the storage's."""
    folder, disk = stored(layout), FaultyDisk()

    assert receipt().digest == digest_of(Journal(DISK, folder)).hexdigest()
    disk.fail("read")
    with pytest.raises(StorageFailed, match="Input/output error"):
        digest_of(Journal(disk, folder))


def test_one_receiver_at_a_time(layout):
    """If several receivers share a store, one of them makes the recording."""
    folder = stored(layout)
    with DISK.lock(folder) as mine:
        others = finish(DISK, layout, folder, "wav")
        before = recordings(layout) if layout.audio.exists() else set()
    path = finish(DISK, layout, folder, "wav")

    assert (True, None, set()) == (mine, others, before)
    require_finished(layout, folder, path)


def test_no_room_for_the_recording(layout):
    """Without room it is not begun and nothing is lost; with room it is made."""
    folder = stored(layout)
    disk = FaultyDisk()
    disk.free = lambda _: len(SOUND) - 1
    with pytest.raises(StorageFailed, match=f"free bytes for the recording {len(SOUND) - 1}, exp"):
        finish(disk, layout, folder, "wav")
    before = recordings(layout)
    disk.free = lambda _: len(SOUND)
    path = finish(disk, layout, folder, "wav")

    assert set() == before
    require_finished(layout, folder, path)


class Counting(FaultyDisk):
    """A disk on which one call makes everything durable, and is counted."""

    whole = 0

    def all_at_once(self):
        """Do nothing but count: no power fails here."""
        self.whole += 1


def several(layout, count):
    """Write the journals of *count* complete streams; return them."""
    ids = [f"{number:032x}"[::-1] for number in range(count)]
    for each in ids:
        stored(layout, hello(name="a.wav", stream=each))
    return [layout.journal(each) for each in ids]


def made_by(disk, layout, journals, **how):
    """Make the recordings of *journals* together; return the errors by the stream."""
    recorder = Recorder(Layout(disk, layout.root), RecordingOptions("wav"), **how)
    return {
        each.stream: str(made)
        for each, made in recorder.record_all([Journal(disk, each.folder) for each in journals])
        if isinstance(made, StorageFailed)
    }


def require_all(layout, journals):
    """Require the recording, the manifest and the end of each stream, and nothing else."""
    ends = [Journal(DISK, each.folder).done() for each in journals]

    assert [receipt(stream=each.stream) for each in journals] == [each.receipt for each in ends]
    for end in ends:
        assert SOUND == b"".join(read_recording(layout.root / end.recording, FORMAT))
    assert 2 * len(journals) == len(list(layout.audio.iterdir()))
    assert [] == [part for each in journals for part in each.parts()]


def syncs(disk):
    """Return how often each call was made that waits for the disk."""
    return {
        name: disk.calls.count(name)
        for name in ("sync_all", "sync_file", "sync", "sync_folder")
        if name in disk.calls
    }


def test_many_recordings_share_their_syncs(layout):
    """Each of the four steps is made durable at once, by one call for all."""
    journals, disk = several(layout, MANY), Counting()
    disk.make_folder(layout.audio)
    disk.calls.clear()
    faults = made_by(disk, layout, journals, sync_all=disk.all_at_once)

    assert ({}, {}) == (faults, syncs(disk))
    assert 4 == disk.whole
    require_all(layout, journals)


def test_a_few_recordings_share_the_syncs_of_the_folder(layout):
    """Below MANY, every file is synced alone, and the common folder once for each step."""
    journals, disk = several(layout, 3), Counting()
    disk.make_folder(layout.audio)
    disk.calls.clear()
    faults = made_by(disk, layout, journals, sync_all=disk.all_at_once)

    assert ({}, 0) == (faults, disk.whole)
    assert {"sync_file": 3, "sync": 6, "sync_folder": 3 + 3} == syncs(disk)
    require_all(layout, journals)


@pytest.mark.parametrize("whole", [False, True])
def test_one_of_a_group_fails(layout, whole):
    """The others are recorded; the one that fails keeps its journal and its error."""
    journals, disk = several(layout, MANY), Counting()
    bad = journals[2]
    (path,) = bad.folder.glob("*2.000000.seg")
    path.write_bytes(path.read_bytes()[:-150] + bytes(150))
    before = bad.parts()
    sync_all = disk.all_at_once if whole else None
    faults = made_by(disk, layout, journals, sync_all=sync_all)

    assert {bad.stream} == set(faults) or bad.complete() is None
    assert before == bad.parts()
    require_all(layout, [each for each in journals if each is not bad])


@pytest.mark.parametrize("call", ["sync_file", "sync", "move"])
def test_a_disk_that_fails_for_one_of_a_group(layout, call):
    """Only its stream fails, leaves no draft, and is recorded the next time."""
    journals, disk = several(layout, 3), Counting()
    disk.fail(call, nth=2)
    faults = made_by(disk, layout, journals)
    drafts = [*layout.audio.glob(".[!.]*[!n]"), *layout.streams.glob("*/*/.*")]

    assert (1, []) == (len(faults), drafts)
    assert {} == made_by(DISK, layout, journals)
    require_all(layout, journals)


def test_a_sync_that_fails_for_all(layout):
    """Every recording that relies on it fails: a second sync would succeed and prove nothing."""
    journals, disk = several(layout, 3), Counting()
    disk.make_folder(layout.audio)
    disk.fail("sync_folder")
    faults = made_by(disk, layout, journals)

    assert 3 == len(faults)
    assert {} == made_by(DISK, layout, journals)
    require_all(layout, journals)


def test_a_sync_of_the_disk_that_fails(layout):
    """A sync of each file tells whose data was lost."""
    journals, disk = several(layout, MANY), Counting()

    def refused():
        disk.whole += 1
        disk.fail("sync_file", nth=5)
        raise OSError(errno.EIO, "another program's file")

    faults = made_by(disk, layout, journals, sync_all=refused)

    assert [journals[4].stream] == list(faults)
    assert {} == made_by(DISK, layout, journals)
    require_all(layout, journals)


def test_a_slow_sync_of_the_disk(layout, monkeypatch):
    """If the call waits long for others' data, it is not used for a while."""
    monkeypatch.setattr(committer, "SLOW_S", -1)
    journals, disk = several(layout, MANY), Counting()

    assert {} == made_by(disk, layout, journals, sync_all=disk.all_at_once)
    assert 1 == disk.whole
    require_all(layout, journals)


@pytest.mark.parametrize(
    ("bounds", "most"), [({"GROUP_BYTES": 1}, 1), ({"GROUP_FILES": 2}, 2), ({}, 5)]
)
def test_groups_are_bounded(layout, monkeypatch, bounds, most):
    """A long recording needs the room of one draft; a group has at most GROUP_FILES."""
    for name, value in bounds.items():
        monkeypatch.setattr(recordings_, name, value)
    journals, disk, seen = several(layout, 5), FaultyDisk(), []

    def look():
        drafts = [each for each in layout.audio.glob(".*") if each.suffix != ".taken"]
        seen.append(len(drafts))

    for nth in range(1, 6):
        disk.before("evict", lambda *_: look(), nth)
    assert {} == made_by(disk, layout, journals)
    assert most == max(seen)
    require_all(layout, journals)


def test_a_group_that_is_interrupted(layout, tmp_path):
    """After an interruption at any step, a second run ends as the first would have."""
    several(layout, 2)
    for nth in itertools.count(1, 3):
        root = shutil.copytree(layout.root, tmp_path / f"copy{nth}", ignore=lambda *_: ["copy*"])
        place = Layout(PosixDisk(), root)
        journals, disk = [*place.journals()], FaultyDisk()
        disk.before("any", interrupt, nth)
        with suppress(Interrupted):
            made_by(disk, place, journals)
        assert {} == made_by(DISK, place, journals)
        for draft in place.audio.glob(".*"):
            draft.unlink()
        require_all(place, journals)
        shutil.rmtree(root)
        if nth > len(disk.calls):
            break

    assert nth > 60


def test_a_stop_in_the_middle_of_a_group(layout):
    """What was not begun is left to the next start; what was read is finished."""
    journals, calls = several(layout, 3), itertools.count()

    def running():
        if next(calls) >= len(SOUND) // WIDTH // 50 + 1:
            raise StorageFailed("the receiver stops")

    faults = made_by(DISK, layout, journals, require_running=running)

    assert [each.stream for each in journals[1:]] == list(faults)
    require_all(layout, journals[:1])
    assert {} == made_by(DISK, layout, journals)
    require_all(layout, journals)
