"""A short stream, and steps that the tests of the journal share."""

from receiver.stores.journal import Layout, RecordingOptions
from receiver.stores.journal.fence import claim
from receiver.stores.journal.journal import Journal
from receiver.stores.journal.recordings import Recorder
from receiver.stores.journal.writer import Writer
from sonoduct import wire
from tests.support.rawclient import FORMAT, digest, sound

STREAM = "5eed" * 8
FRAMES = 600
SOUND = sound(FRAMES)
WIDTH = FORMAT.frame_bytes


def hello(instance="one", stream=STREAM, format_=FORMAT, **more):
    """Return the hello of the stream."""
    return wire.Hello(stream=stream, instance=instance, format=format_, **more)


def chunk(epoch, start, stop, source=SOUND, width=WIDTH):
    """Return the frames from *start* to *stop* as a chunk of *epoch*."""
    payload = source[start * width : stop * width]
    return wire.decode_chunk(wire.encode_chunk(epoch, start, stop - start, payload))


def chunks(epoch, start, stop, step=50):
    """Return the frames from *start* to *stop* as chunks of *step* frames."""
    return [chunk(epoch, at, min(at + step, stop)) for at in range(start, stop, step)]


def receipt(source=SOUND, form=FORMAT, stream=STREAM):
    """Return the receipt of a stream that consists of *source*."""
    frames = len(source) // form.frame_bytes
    return wire.Receipt(
        stream=stream,
        units=frames,
        digest=digest(source, form),
        frames=frames,
        samplerate=form.samplerate,
        channels=form.channels,
        seconds=frames / form.samplerate,
        durable=True,
    )


def writer(disk, folder, epoch=1, base=0, **how):
    """Return a writer with its first segment open."""
    disk.make_folder(folder)
    made = Writer(Journal(disk, folder), hello(), epoch, **how)
    made.open(base)
    return made


def claimed(disk, folder, said, takeover_s=10):
    """Claim the stream for a connection whose hello is *said*."""
    return claim(Journal(disk, folder), said, takeover_s)


def finish(disk, layout, folder, container="wav", *, running=lambda: None, **options):
    """Make the recording of a journal on *disk*; return the recording's path."""
    recorder = Recorder(Layout(disk, layout.root), RecordingOptions(container, **options), running)
    ((_, outcome),) = recorder.record_all([Journal(disk, folder)])
    if isinstance(outcome, wire.StorageFailed):
        raise outcome
    return outcome


def end_stream(journal, done):
    """Say durably how the stream ended; then remove its segments."""
    journal.write_done(done)
    journal.remove_segments()


def contents(disk, folder):
    """Return the bytes of audio that a reader of the journal gets."""
    records = Journal(disk, folder).records()
    return b"".join(each.payload for each in records if each.header.kind == wire.RecordKind.AUDIO)


def names(disk, folder):
    """Return the segments of a journal as (epoch, part)."""
    return [tuple(part) for part in Journal(disk, folder).parts()]
