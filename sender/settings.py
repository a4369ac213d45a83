"""Every setting of the sender: an option of its commands and a variable ``SENDER_…``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter
from cyclopts.validators import Number

from sonoduct.audio.decoding import LEAST_MEMORY, DecodeOptions, Limits
from sonoduct.wire import SAMPLERATES, Encoding, Level

from .sources.address import parse_address
from .sources.converted import Conversion, parse_channels
from .sources.pipe import parse_raw


def require_websocket(_type: object, value: str) -> None:
    """Refuse what is no receiver's address."""
    try:
        address = urlsplit(value)
        good = address.scheme in ("ws", "wss") and address.hostname and address.port != 0
    except ValueError:  # of a port that is none
        good = False
    if not good:
        raise ValueError(f"address {value!r}, expected ws://HOST:PORT or wss://HOST:PORT")


def require_channels(_type: object, value: str | None) -> None:
    """Refuse what names no channels."""
    if value is not None:
        parse_channels(value)


def require_raw(_type: object, value: str | None) -> None:
    """Refuse what says nothing of samples."""
    if value is not None:
        parse_raw(value)


def require_address(_type: object, value: str) -> None:
    """Refuse what is not to be opened."""
    parse_address(value)


def require_writable(_type: object, value: str | None) -> None:
    """Refuse a file that cannot be written to."""
    if value is not None:
        try:
            Path(value).open("a").close()
        except OSError as exc:
            raise ValueError(f"{value}: {exc.strerror}, expected a file to write to") from exc


LogLevel = Literal["debug", "info", "warning", "error"]
Positive = Number(gt=0)
LIMITS: Final = Limits()
Samplerate = Number(gte=SAMPLERATES.start, lt=SAMPLERATES.stop)
Port = Number(gte=0, lte=65535)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """What decoding a file is done with, and may take."""

    ffmpeg: str | None = None
    """ffmpeg's path, for what libsndfile does not read; by default the one on PATH."""

    decode_memory_bytes: Annotated[int, Parameter(validator=Number(gte=LEAST_MEMORY))] = (
        LIMITS.memory_bytes
    )
    """Bytes of address space of a process that decodes."""

    decode_cpu_seconds: Annotated[int, Parameter(validator=Positive)] = LIMITS.cpu_seconds
    """Seconds that such a process may compute, and as much again for each 16 MiB of the file."""

    decode_wall_seconds: Annotated[float, Parameter(validator=Positive)] = LIMITS.wall_seconds
    """Seconds that such a process may be waited for, and as much again for each 16 MiB."""

    decode_expansion: Annotated[int, Parameter(validator=Positive)] = LIMITS.expansion
    """Bytes of samples for each byte of the file; up to 256 MiB are always allowed."""

    @property
    def decode_options(self) -> DecodeOptions:
        """The same, as decoding takes it."""
        limits = Limits(
            memory_bytes=self.decode_memory_bytes,
            cpu_seconds=self.decode_cpu_seconds,
            wall_seconds=self.decode_wall_seconds,
            expansion=self.decode_expansion,
        )
        return DecodeOptions(ffmpeg=self.ffmpeg, limits=limits)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings(DecodeSettings):
    """How streams are sent, whatever they come from."""

    to: Annotated[str, Parameter(validator=require_websocket)] = "ws://127.0.0.1:8766"
    """The receiver's address."""

    encoding: Literal["auto", "s16le", "s24le", "f32le", "flac", "file"] = "auto"
    """How audio travels: `auto` is the smallest that is exact, `flac` packs it, `file` as it is."""

    samplerate: Annotated[int | None, Parameter(validator=Samplerate)] = None
    """Hertz to resample to; by default the source's."""

    mono: Annotated[bool, Parameter(negative=())] = False
    """Mix the channels to one: their mean."""

    channels: Annotated[str | None, Parameter(validator=require_channels)] = None
    """Channels to send, and in which order, such as `1,3`; by default all. Before --mono."""

    chunk_frames: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Frames of a chunk. 0: 4096 in real time, otherwise as many as the receiver takes at once."""

    realtime: bool = False
    """Send as fast as a microphone would."""

    speed: Annotated[float, Parameter(validator=Positive)] = 1.0
    """With --realtime: this many times as fast."""

    ack: Literal["received", "durable"] = "durable"
    """What the receiver is to promise before audio is forgotten here."""

    trust_known: Annotated[bool, Parameter(negative=())] = False
    """Believe a receiver that says it has a file already, without comparing digests. The risk: a
    file that another one's stream is mistaken for is never sent, and the exit code is 0."""

    ledger: str = "~/.local/state/sonoduct/receipts.db"
    """File to remember digests in, so that known files need not be read again; empty for none."""

    ledger_entries: Annotated[int, Parameter(validator=Positive)] = 1_000_000
    """Files that the ledger remembers; the oldest go first."""

    connect_timeout: Annotated[float, Parameter(validator=Positive)] = 10.0
    """Seconds to try to reach the receiver for the first time."""

    patience: Annotated[float, Parameter(validator=Positive)] = 300.0
    """Seconds without any progress, over all attempts, after which a stream fails."""

    silence_timeout: Annotated[float, Parameter(validator=Positive)] = 60.0
    """Seconds without an answer after which a connection is given up and another one tried."""

    @property
    def exact_encoding(self) -> Encoding | None:
        """The encoding that was asked for; None for the smallest exact one."""
        return Encoding(self.encoding) if self.encoding in list(Encoding) else None

    def __post_init__(self) -> None:
        if self.untouched and (asked := [name for name, wish in self._touching if wish]):
            raise ValueError(f"encoding file with {', '.join(asked)}, expected the file as it is")

    @property
    def untouched(self) -> bool:
        """Whether files are to travel as they are."""
        return self.encoding == "file"

    @property
    def _touching(self) -> list[tuple[str, object]]:
        """What makes sense for samples only, and whether it is asked for."""
        return [
            ("samplerate", self.samplerate),
            ("mono", self.mono),
            ("channels", self.channels),
            ("chunk-frames", self.chunk_frames),
            ("realtime", self.realtime),
        ]

    @property
    def conversion(self) -> Conversion:
        """What is to become of the samples."""
        channels = parse_channels(self.channels) if self.channels else ()
        flac = self.encoding == "flac"
        return Conversion(self.samplerate, mono=self.mono, channels=channels, flac=flac)

    @property
    def level(self) -> Level:
        """The ack level that is asked for."""
        return Level(self.ack)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SendSettings(Settings):
    """Settings of `sender send`."""

    jobs: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 4
    """Streams at once, each on a connection of its own."""

    protocol: Literal["sonoduct", "plain"] = "sonoduct"
    """`plain` speaks as the tutorial's client does: no resume, no receipt, no bar."""

    raw: Annotated[str | None, Parameter(validator=require_raw)] = None
    """Standard input is samples without a header: ENCODING:SAMPLERATE:CHANNELS."""

    url: tuple[Annotated[str, Parameter(validator=require_address)], ...] = ()
    """Addresses to send as they come: http, https, or rtsp, of anything that ffmpeg decodes."""

    url_timeout: Annotated[float, Parameter(validator=Positive)] = 30.0
    """Seconds without a byte from such an address after which it is given up."""

    device: str | None = None
    """Audio device to send from, by its name or its index in `sender devices`."""

    capture: Annotated[str | None, Parameter(validator=require_raw)] = None
    """How to take it: ENCODING:SAMPLERATE:CHANNELS; by default 16 bit, at most 2 channels."""

    spool: str = "~/.local/state/sonoduct"
    """Folder that live input is kept in until a receiver has it; it outlives this run."""

    spool_bytes: Annotated[int, Parameter(validator=Number(gte=1024 * 1024))] = 1024 * 1024 * 1024
    """Bytes of one stream that the folder may hold."""

    spool_full: Literal["wait", "fail"] = "wait"
    """What to do without room for more: `wait` lets a pipe's writer wait, `fail` ends there."""

    report: Annotated[str | None, Parameter(validator=require_writable)] = None
    """File to write one line of JSON to for each stream."""

    progress: Literal["auto", "always", "never"] = "auto"
    """Bars while sending; `auto` shows them on a terminal."""

    log_level: LogLevel = "info"
    """What is logged: this and what is worse."""

    @property
    def _touching(self) -> list[tuple[str, object]]:
        return [
            *super()._touching,
            ("raw", self.raw),
            ("url", self.url),
            ("device", self.device),
            ("protocol plain", self.protocol == "plain"),
        ]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class WatchSettings(Settings):
    """Settings of `sender watch`."""

    jobs: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 4
    """Streams at once, each on a connection of its own."""

    settle: Annotated[float, Parameter(validator=Number(gte=0))] = 2.0
    """Seconds that a file must have kept its size and modification time before it is sent."""

    rescan: Annotated[float, Parameter(validator=Positive)] = 5.0
    """Seconds between looks at the whole folder, if --settle is not less."""

    retry: Annotated[float, Parameter(validator=Positive)] = 30.0
    """Seconds between attempts at a file that cannot be read for now, at most; it starts low."""

    metrics_host: str = "0.0.0.0"  # noqa: S104  # a container is reached from outside
    """Address of /metrics."""

    metrics_port: Annotated[int, Parameter(validator=Port)] = 9101
    """Port for /metrics; 0 for any free one."""

    log_level: LogLevel = "info"
    """What is logged: this and what is worse."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ProbeSettings(DecodeSettings):
    """Settings of `sender probe`."""

    count: bool = False
    """Decode all of each file, and count its frames, instead of believing what it claims."""

    output: Literal["table", "json"] = "table"
    """`json` prints a line for each file."""
