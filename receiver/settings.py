"""Every setting of the receiver: an option of ``receiver serve`` and a variable ``RECEIVER_…``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from sonoduct.audio import decoding
from sonoduct.audio.decoding import LEAST_MEMORY, DecodeOptions
from sonoduct.wire import CHANNELS, HEADER_BYTES, SAMPLERATES, Deadlines, Encoding, Format

from .processing.processor import find_processors

MINIMUM_WINDOW: Final = 64 * 1024
"""Bytes that every connection is sure to get, however many there are."""

PLAIN_MESSAGE: Final = 1024 * 1024
"""Bytes of the largest message: the tutorial's 4096 frames of float32 in 64 channels."""

DECODING: Final = decoding.Limits()

LogLevel = Literal["debug", "info", "warning", "error"]
Positive = Number(gt=0)
Port = Number(gte=0, lte=65535)


def _findable(_type: object, value: tuple[str, ...]) -> None:
    find_processors(value)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of everything that a peer, or a processor, could otherwise make grow."""

    max_connections: Annotated[int, Parameter(validator=Positive)] = 500
    """Connections at once; one more is answered with HTTP 503."""

    memory_bytes: Annotated[int, Parameter(validator=Positive)] = 256 * 1024 * 1024
    """Bytes of audio that all streams together may hold in memory."""

    window_bytes: Annotated[int, Parameter(validator=Number(gte=MINIMUM_WINDOW))] = 4 * 1024 * 1024
    """Bytes of audio that one stream may hold in memory, where there is enough for all; half of it
    without a store."""

    chunk_bytes: Annotated[int, Parameter(validator=Number(gte=1024, lte=PLAIN_MESSAGE // 2))] = (
        262_144
    )
    """Bytes of the largest payload of a chunk."""

    hello_timeout: Annotated[float, Parameter(validator=Positive)] = 5.0
    """Seconds from the connection to its first hello; also for the WebSocket handshake."""

    progress_timeout: Annotated[float, Parameter(validator=Positive)] = 60.0
    """Seconds of silence after which a connection that could send is closed."""

    takeover_timeout: Annotated[float, Parameter(validator=Positive)] = 10.0
    """Seconds without progress after which another sender may take a stream over."""

    resume_timeout: Annotated[float, Parameter(validator=Positive)] = 300.0
    """Seconds that a stream without a connection is kept for its sender to come back."""

    processor_timeout: Annotated[float, Parameter(validator=Positive)] = 30.0
    """Seconds without the end of any call of a processor after which its calls are cut off."""

    max_stuck_calls: Annotated[int, Parameter(validator=Positive)] = 16
    """Calls cut off since the start; a processor that reaches it is switched off."""

    stream_bytes: Annotated[int, Parameter(validator=Positive)] = 64 * 1024**3
    """Bytes of audio of the longest stream that is kept."""

    reserve_bytes: Annotated[int, Parameter(validator=Number(gte=0))] = 512 * 1024 * 1024
    """Bytes left free on the disk; with less, nothing new is taken until there is room again."""

    expiry_timeout: Annotated[float, Parameter(validator=Positive)] = 86_400.0
    """Seconds after which a stream that was kept in part, and not continued, is removed."""

    receipt_timeout: Annotated[float, Parameter(validator=Positive)] = 2_592_000.0
    """Seconds that the receipts of streams that are kept are remembered."""

    decode_memory_bytes: Annotated[int, Parameter(validator=Number(gte=LEAST_MEMORY))] = (
        DECODING.memory_bytes
    )
    """Bytes of address space of a process that decodes."""

    decode_cpu_seconds: Annotated[int, Parameter(validator=Positive)] = DECODING.cpu_seconds
    """Seconds that such a process may compute, and as much again for each 16 MiB of the file."""

    decode_wall_seconds: Annotated[float, Parameter(validator=Positive)] = DECODING.wall_seconds
    """Seconds that such a process may be waited for, and as much again for each 16 MiB."""

    decode_expansion: Annotated[int, Parameter(validator=Positive)] = DECODING.expansion
    """Bytes of samples for each byte of the file; up to 256 MiB are always allowed."""

    remembered_receipts: Annotated[int, Parameter(validator=Positive)] = 10_000
    """Receipts that the store `none` remembers, so that sending again sends nothing."""

    def __post_init__(self) -> None:
        needed = self.max_connections * MINIMUM_WINDOW
        if self.memory_bytes < needed:
            raise ValueError(
                f"memory-bytes {self.memory_bytes}, expected at least {needed}: "
                f"{MINIMUM_WINDOW} for each of {self.max_connections} connections"
            )

    @property
    def deadlines(self) -> Deadlines:
        """What a peer's silence is measured by."""
        return Deadlines(self.hello_timeout, self.progress_timeout)

    @property
    def decoding(self) -> decoding.Limits:
        """What decoding one file may take."""
        return decoding.Limits(
            memory_bytes=self.decode_memory_bytes,
            cpu_seconds=self.decode_cpu_seconds,
            wall_seconds=self.decode_wall_seconds,
            expansion=self.decode_expansion,
        )

    def window(self, *, kept: bool) -> int:
        """
        Bytes of a full window.

        A stream that is not kept waits for no disk, and what waits longer leaves the caches: at
        full speed 0.095 s for ten minutes of CD audio, 0.111 s with as much as the others have.
        """
        return self.window_bytes if kept else max(MINIMUM_WINDOW, self.window_bytes // 2)

    def max_chunk(self, window: int) -> int:
        """Bytes of the largest payload on a connection with *window*: two chunks fit at least."""
        return min(self.chunk_bytes, window // 2 - HEADER_BYTES)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `receiver.serve` takes; the defaults are those of the container."""

    host: str = "0.0.0.0"  # noqa: S104  # a container is reached from outside; its network is its own
    """Address to listen on; `::` stands for every address, of IPv4 and of IPv6."""

    port: Annotated[int, Parameter(validator=Port)] = 8766
    """Port for streams and for /healthz and /readyz; 0 for any free one."""

    metrics_port: Annotated[int, Parameter(validator=Port)] = 9100
    """Port for /metrics; 0 for any free one."""

    store: str = "recordings"
    """Folder that keeps every stream; `none` hands it to the processors and keeps nothing."""

    recording: Literal["wav", "flac"] = "wav"
    """Form of the recordings; what FLAC cannot hold becomes WAV, what WAV cannot, RF64."""

    keep_original: bool = False
    """Keep a file that was sent as it is beside its recording."""

    processors: Annotated[tuple[str, ...], Parameter(validator=_findable)] = ("levels",)
    """Processors that see every stream: installed names, or MODULE:CLASS."""

    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 2
    """Threads of each processor, and as many that unpack compressed chunks."""

    decoders: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 2
    """Files that are decoded at once, each in a process of its own; others wait for their turn."""

    samplerate: Annotated[int, Parameter(validator=Number(gte=1, lte=SAMPLERATES.stop - 1))] = 16000
    """Hertz of a plain client that does not say it in its address."""

    channels: Annotated[int, Parameter(validator=Number(gte=1, lte=CHANNELS.stop - 1))] = 1
    """Channels of a plain client that does not say it in its address."""

    ffmpeg: str | None = None
    """ffmpeg's path, for what libsndfile does not read; by default the one on PATH."""

    drain_lead: Annotated[float, Parameter(validator=Number(gte=0))] = 3.0
    """Seconds from SIGTERM, when /readyz turns to 404, until new streams are refused."""

    drain_timeout: Annotated[float, Parameter(validator=Positive)] = 22.0
    """Seconds from SIGTERM until the process ends, whatever is still open."""

    log_level: LogLevel = "info"
    """What is logged: this and what is worse."""

    limits: Limits = field(default_factory=Limits)

    @property
    def means(self) -> DecodeOptions:
        """What files are decoded with."""
        return DecodeOptions(ffmpeg=self.ffmpeg, limits=self.limits.decoding)

    @property
    def plain_format(self) -> Format:
        """How the samples of a plain client are read that says nothing about them."""
        return Format(samplerate=self.samplerate, channels=self.channels, encoding=Encoding.F32LE)
