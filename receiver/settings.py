"""Every setting of the receiver: an option of ``receiver serve`` and a variable ``RECEIVER_…``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Final, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from sonoduct.audio import decoding
from sonoduct.audio.decoding import LEAST_MEMORY, DecodeOptions
from sonoduct.runtime.address import is_loopback
from sonoduct.runtime.replica import replica_name, require_name
from sonoduct.runtime.tls import TlsFiles, server_context
from sonoduct.runtime.webconfig import read_web_config
from sonoduct.wire import CHANNELS, HEADER_BYTES, SAMPLERATES, Deadlines, Encoding, Format

from .clients import read_tokens
from .processing.processor import find_processors

MINIMUM_WINDOW: Final = 64 * 1024
"""Bytes that every connection is sure to get, however many there are."""

CHUNK_COST: Final = 1024
"""
Bytes that a chunk counts against its window, if it has fewer: Python's objects for a waiting chunk
take 0.7 KiB, whatever its size.
"""

PLAIN_MESSAGE: Final = 1024 * 1024
"""Bytes of the largest message: the tutorial's 4096 frames of float32 in 64 channels."""

DECODING: Final = decoding.Limits()

LISTENING: Final = Group("Listening", sort_key=1)
ACCESS: Final = Group("Who may connect", sort_key=2)
TLS: Final = Group("Encryption", sort_key=3)
STORE: Final = Group("Storing streams", sort_key=4)
PROCESSORS: Final = Group("Processors", sort_key=5)
PLAIN: Final = Group("Plain clients", sort_key=6)
MEMORY: Final = Group("Memory", sort_key=7)
TIMES: Final = Group("Time limits", sort_key=8)
DECODING_GROUP: Final = Group("Decoding files", sort_key=9)
"""Headings of the help, in this order. Options stand below them in the order of the fields."""

LogLevel = Literal["debug", "info", "warning", "error"]
Positive = Number(gt=0)
Port = Number(gte=0, lte=65535)


def _findable(_type: object, value: tuple[str, ...]) -> None:
    find_processors(value)


def _tokens(_type: object, value: str | None) -> None:
    if value is not None:
        read_tokens(value)


def _web_config(_type: object, value: str | None) -> None:
    if value is not None:
        read_web_config(value)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of everything that a peer, or a processor, could otherwise make grow."""

    max_connections: Annotated[int, Parameter(group=LISTENING, validator=Positive)] = 500
    """Connections at once; one more is answered with HTTP 503."""

    address_connections: Annotated[int, Parameter(group=ACCESS, validator=Positive)] = 125
    """Connections at once of one address without a token; of IPv6, of one /64 network."""

    memory_bytes: Annotated[int, Parameter(group=MEMORY, validator=Positive)] = 256 * 1024 * 1024
    """Bytes of audio that all streams together may hold in memory."""

    window_bytes: Annotated[int, Parameter(group=MEMORY, validator=Number(gte=MINIMUM_WINDOW))] = (
        4 * 1024 * 1024
    )
    """Bytes of audio that one stream may hold in memory, provided there is enough for all; half of
    it without a store."""

    chunk_bytes: Annotated[
        int, Parameter(group=MEMORY, validator=Number(gte=1024, lte=PLAIN_MESSAGE // 2))
    ] = 524_288
    """Bytes of the largest payload of a chunk."""

    hello_timeout: Annotated[float, Parameter(group=TIMES, validator=Positive)] = 5.0
    """Seconds from the connection to its first hello; also for the WebSocket handshake."""

    progress_timeout: Annotated[float, Parameter(group=TIMES, validator=Positive)] = 60.0
    """Seconds of silence after which a connection that could send is closed."""

    takeover_timeout: Annotated[float, Parameter(group=TIMES, validator=Positive)] = 10.0
    """Seconds without progress after which another sender may take a stream over."""

    resume_timeout: Annotated[float, Parameter(group=STORE, validator=Positive)] = 300.0
    """Seconds that a receiver keeps a stream without a connection, so that its sender can come
    back."""

    processor_timeout: Annotated[float, Parameter(group=PROCESSORS, validator=Positive)] = 30.0
    """Seconds after which calls of a processor are cut off if none of them has ended."""

    max_stuck_calls: Annotated[int, Parameter(group=PROCESSORS, validator=Positive)] = 16
    """Calls cut off since the start; a processor that reaches it is switched off."""

    stream_bytes: Annotated[int, Parameter(group=STORE, validator=Positive)] = 64 * 1024**3
    """Bytes of audio of the longest stream that is stored; a file counts with its bytes, and with
    its decoded samples."""

    reserve_bytes: Annotated[int, Parameter(group=STORE, validator=Number(gte=0))] = (
        512 * 1024 * 1024
    )
    """Bytes left free on the disk; with less, the receiver accepts no audio until there is room
    again."""

    expiry_timeout: Annotated[float, Parameter(group=STORE, validator=Positive)] = 86_400.0
    """Seconds after which an incomplete stream that was not continued is removed."""

    waiting_share: Annotated[float, Parameter(group=STORE, validator=Number(gt=0, lte=1))] = 0.25
    """Share of the disk, and of its inodes, for incomplete streams whose senders are away; beyond
    it the oldest are removed."""

    receipt_timeout: Annotated[float, Parameter(group=STORE, validator=Positive)] = 2_592_000.0
    """Seconds that receipts of stored streams are remembered."""

    decode_memory_bytes: Annotated[
        int, Parameter(group=DECODING_GROUP, validator=Number(gte=LEAST_MEMORY))
    ] = DECODING.memory_bytes
    """Bytes of address space of a decoding process."""

    decode_cpu_seconds: Annotated[int, Parameter(group=DECODING_GROUP, validator=Positive)] = (
        DECODING.cpu_seconds
    )
    """CPU seconds of a decoding process, and as much again for each 16 MiB of the file."""

    decode_wall_seconds: Annotated[float, Parameter(group=DECODING_GROUP, validator=Positive)] = (
        DECODING.wall_seconds
    )
    """Seconds to wait for a decoding process, and as much again for each 16 MiB of the file."""

    decode_expansion: Annotated[int, Parameter(group=DECODING_GROUP, validator=Positive)] = (
        DECODING.expansion
    )
    """Bytes of samples for each byte of the file; up to 256 MiB are always allowed."""

    remembered_receipts: Annotated[int, Parameter(group=STORE, validator=Positive)] = 10_000
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

    host: Annotated[str, Parameter(group=LISTENING)] = "127.0.0.1"
    """Address to listen on; `::` stands for every address, of IPv4 and of IPv6. Any but this
    machine's own needs --tokens or --open."""

    port: Annotated[int, Parameter(group=LISTENING, validator=Port)] = 8766
    """Port for streams and for /healthz and /readyz; 0 for any free one."""

    metrics_host: Annotated[str, Parameter(group=LISTENING)] = "127.0.0.1"
    """Address of /metrics and /streams."""

    metrics_port: Annotated[int, Parameter(group=LISTENING, validator=Port)] = 8767
    """Port for /metrics and /streams; 0 for any free one."""

    metrics_config: Annotated[str | None, Parameter(group=LISTENING, validator=_web_config)] = None
    """File with TLS, users and a rate limit for /metrics and /streams, in the format of Prometheus'
    exporters."""

    replica: Annotated[str, Parameter(group=LISTENING, validator=require_name)] = ""
    """Name of this receiver in metrics, logs and manifests; by default the host's. `dns` takes the
    name that DNS has for its address: in Compose the container's."""

    trust_forwarded: Annotated[bool, Parameter(group=LISTENING, negative=())] = False
    """Take clients' addresses from the header X-Forwarded-For: only behind a gateway that sets
    it."""

    tokens: Annotated[str | None, Parameter(group=ACCESS, validator=_tokens)] = None
    """File of the tokens that clients need, in TOML; SIGHUP has it read again."""

    open: Annotated[bool, Parameter(group=ACCESS, negative=())] = False
    """Take streams of every client that reaches the port, at any address, without tokens."""

    origins: Annotated[tuple[str, ...], Parameter(group=ACCESS, negative=())] = ()
    """Origins of web pages that may connect, such as https://studio.example; by default none."""

    hosts: Annotated[tuple[str, ...], Parameter(group=ACCESS, negative=())] = ()
    """Names in the addresses by which clients reach the receiver. `localhost`, and addresses
    without a name, need not be listed."""

    tls_cert: Annotated[str | None, Parameter(group=TLS)] = None
    """File of the certificate for TLS, as PEM, and of those above it; with it the port speaks
    nothing else."""

    tls_key: Annotated[str | None, Parameter(group=TLS)] = None
    """File of the certificate's key, without a password. SIGHUP has both files read again."""

    tls_client_ca: Annotated[str | None, Parameter(group=TLS)] = None
    """File of the authorities whose client certificates count: a name in them may stand for a
    token."""

    store: Annotated[str, Parameter(group=STORE)] = "recordings"
    """Folder that stores every stream; `none` stores nothing and only feeds the processors."""

    recording: Annotated[Literal["wav", "flac"], Parameter(group=STORE)] = "wav"
    """Format of the recordings; WAV if FLAC cannot hold them, RF64 if WAV cannot."""

    keep_original: Annotated[bool, Parameter(group=STORE)] = False
    """Keep a file sent with `--encoding file` beside its recording."""

    processors: Annotated[tuple[str, ...], Parameter(group=PROCESSORS, validator=_findable)] = (
        "levels",
    )
    """Processors that see every stream: installed names, or MODULE:CLASS."""

    workers: Annotated[int, Parameter(group=PROCESSORS, validator=Number(gte=1, lte=64))] = 2
    """Threads of each processor, and threads that decompress chunks."""

    decoders: Annotated[int, Parameter(group=DECODING_GROUP, validator=Number(gte=1, lte=64))] = 2
    """Files decoded at once, each in its own process, and one more for a sender who has none there;
    others wait."""

    decode_queue: Annotated[int, Parameter(group=DECODING_GROUP, validator=Positive)] = 100
    """Files that wait for a decoder; beyond it, one of the sender with the most waiting is refused
    with 1013, and comes again later."""

    samplerate: Annotated[
        int, Parameter(group=PLAIN, validator=Number(gte=1, lte=SAMPLERATES.stop - 1))
    ] = 16000
    """Hertz of a plain client whose address does not say it."""

    channels: Annotated[
        int, Parameter(group=PLAIN, validator=Number(gte=1, lte=CHANNELS.stop - 1))
    ] = 1
    """Channels of a plain client whose address does not say it."""

    ffmpeg: Annotated[str | None, Parameter(group=DECODING_GROUP)] = None
    """Path of ffmpeg, for formats that libsndfile does not read; by default the one on PATH."""

    drain_lead: Annotated[float, Parameter(group=TIMES, validator=Number(gte=0))] = 3.0
    """Seconds from SIGTERM, when /readyz turns to 404, until new streams are refused."""

    drain_timeout: Annotated[float, Parameter(group=TIMES, validator=Positive)] = 22.0
    """Seconds from SIGTERM until the receiver closes the streams that are still open."""

    log_level: Annotated[LogLevel, Parameter(group=LISTENING)] = "info"
    """Minimum level to log."""

    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not (self.tokens or self.open or is_loopback(self.host)):
            expected = "127.0.0.1, or --tokens FILE, or --open"
            raise ValueError(f"host {self.host or 'empty'} without tokens, expected {expected}")
        if self.tls_client_ca and not self.tokens:
            expected = "--tokens with the names of certificates"
            raise ValueError(f"tls-client-ca without tokens, expected {expected}")
        server_context(self.tls)

    @cached_property
    def name(self) -> str:
        """The name of this receiver; the first call may ask DNS."""
        return replica_name(self.replica)

    @property
    def tls(self) -> TlsFiles:
        """The files for TLS."""
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_client_ca)

    @property
    def decode_options(self) -> DecodeOptions:
        """What files are decoded with."""
        limits = decoding.Limits(
            memory_bytes=self.limits.decode_memory_bytes,
            cpu_seconds=self.limits.decode_cpu_seconds,
            wall_seconds=self.limits.decode_wall_seconds,
            expansion=self.limits.decode_expansion,
        )
        return DecodeOptions(ffmpeg=self.ffmpeg, limits=limits)

    @property
    def plain_format(self) -> Format:
        """How the samples of a plain client are read that says nothing about them."""
        return Format(samplerate=self.samplerate, channels=self.channels, encoding=Encoding.F32LE)
