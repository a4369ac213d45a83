"""Every setting of the sender: an option of its commands, and a variable ``SENDER_…``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from cyclopts import CycloptsError, Group, Parameter
from cyclopts.validators import Number

from sonoduct.audio.decoding import LEAST_MEMORY, DecodeOptions, Limits
from sonoduct.runtime.webconfig import read_web_config
from sonoduct.wire import SAMPLERATES, Encoding, Level

from .access import Access, read_token
from .errors import AccessError
from .sources.address import parse_address
from .sources.converted import Conversion, parse_channels
from .sources.pipe import parse_raw

PROTOCOLS: Final = {"sonoduct": "", "plain": "sender.dialects.plain:send_plain"}
"""By the name that --protocol takes: the function that sends, or nothing for our own protocol."""


def require_websocket(_type: object, value: str) -> None:
    """Refuse a value that is not the address of a receiver."""
    try:
        address = urlsplit(value)
        good = address.scheme in ("ws", "wss") and address.hostname and address.port != 0
    except ValueError:  # the port is not a number
        good = False
    if good and address.username is not None:  # the log names the address
        # The library would show the value of a ValueError.
        message = "--to: address with a user or password in it, expected --token-file"
        raise CycloptsError(msg=message, verbose=False)
    if not good:
        raise ValueError(f"address {value!r}, expected ws://HOST:PORT or wss://HOST:PORT")


def require_token(_type: object, value: str | None) -> None:
    """Refuse a file without a usable token."""
    if value is not None:
        try:
            read_token(value)
        except AccessError as exc:
            raise ValueError(str(exc)) from exc


def require_config(_type: object, value: str | None) -> None:
    """Refuse a web configuration file that is not valid."""
    if value is not None:
        read_web_config(value)


def require_channels(_type: object, value: str | None) -> None:
    """Refuse a value that names no channels."""
    if value is not None:
        parse_channels(value)


def require_protocol(_type: object, value: str) -> None:
    """Refuse a protocol that the sender does not speak."""
    if value not in PROTOCOLS:
        raise ValueError(f"protocol {value!r}, expected {' or '.join(PROTOCOLS)}")


def require_raw(_type: object, value: str | None) -> None:
    """Refuse a value that is not a format of samples."""
    if value is not None:
        parse_raw(value)


def require_address(_type: object, value: str) -> None:
    """Refuse an address that may not be opened."""
    parse_address(value)


def require_web(_type: object, value: str | None) -> None:
    """Refuse a value that is not an address of a web server."""
    if value is None:
        return
    try:
        address = urlsplit(value)
        good = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:  # the port is not a number
        good = False
    if not good:
        raise ValueError(f"address {value!r}, expected http://HOST:PORT or https://HOST:PORT")


def require_writable(_type: object, value: str | None) -> None:
    """Refuse a file that cannot be written to."""
    if value is not None:
        try:
            Path(value).open("a").close()
        except OSError as exc:
            raise ValueError(f"{value}: {exc.strerror}, expected a file to write to") from exc


INPUT: Final = Group("What to send", sort_key=1)
FILES: Final = Group("Files", sort_key=1)
FOLDER: Final = Group("The folder", sort_key=1)
RECEIVER: Final = Group("The receiver", sort_key=2)
AUDIO: Final = Group("Audio", sort_key=3)
OUTPUT: Final = Group("Output", sort_key=4)
METRICS: Final = Group("Metrics", sort_key=5)
PATIENCE: Final = Group("How long to try", sort_key=6)
STATE: Final = Group("State on disk", sort_key=7)
DECODING: Final = Group("Limits of decoding", sort_key=8)
"""Headings of the help, in this order. Options stand below them in the order of the fields."""

LogLevel = Literal["debug", "info", "warning", "error"]
Positive = Number(gt=0)
LIMITS: Final = Limits()
Samplerate = Number(gte=SAMPLERATES.start, lt=SAMPLERATES.stop)
Port = Number(gte=0, lte=65535)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """How files are decoded, and the limits of decoding."""

    ffmpeg: Annotated[str | None, Parameter(group=DECODING)] = None
    """Path of ffmpeg, for formats that libsndfile does not read; by default the one on PATH."""

    decode_memory_bytes: Annotated[
        int, Parameter(group=DECODING, validator=Number(gte=LEAST_MEMORY))
    ] = LIMITS.memory_bytes
    """Bytes of address space of a decoding process."""

    decode_cpu_seconds: Annotated[int, Parameter(group=DECODING, validator=Positive)] = (
        LIMITS.cpu_seconds
    )
    """CPU seconds of a decoding process, and as much again for each 16 MiB of the file."""

    decode_wall_seconds: Annotated[float, Parameter(group=DECODING, validator=Positive)] = (
        LIMITS.wall_seconds
    )
    """Seconds to wait for a decoding process, and as much again for each 16 MiB of the file."""

    decode_expansion: Annotated[int, Parameter(group=DECODING, validator=Positive)] = (
        LIMITS.expansion
    )
    """Bytes of samples for each byte of the file; up to 256 MiB are always allowed."""

    @property
    def decode_options(self) -> DecodeOptions:
        """These settings as `sonoduct.audio.decoding` takes them."""
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
    """How streams are sent, from any source."""

    to: Annotated[str, Parameter(group=RECEIVER, validator=require_websocket)] = (
        "ws://127.0.0.1:8766"
    )
    """The receiver's address."""

    token_file: Annotated[str | None, Parameter(group=RECEIVER, validator=require_token)] = None
    """File with the token that the receiver wants; read for each connection, so that it can be
    replaced."""

    ca_file: Annotated[str | None, Parameter(group=RECEIVER)] = None
    """With wss: file with the certificates of the only authorities to believe, in PEM; by default
    those of the system."""

    client_cert: Annotated[str | None, Parameter(group=RECEIVER)] = None
    """With wss: file with the certificate that the sender shows, in PEM."""

    client_key: Annotated[str | None, Parameter(group=RECEIVER)] = None
    """File with the key of --client-cert, if it is not in the same file; without a password."""

    encoding: Annotated[
        Literal["auto", "s16le", "s24le", "f32le", "flac", "file"], Parameter(group=AUDIO)
    ] = "auto"
    """How audio travels: `auto` is the smallest exact encoding, `flac` compresses, `file` sends the
    file unchanged."""

    samplerate: Annotated[int | None, Parameter(group=AUDIO, validator=Samplerate)] = None
    """Hertz to resample to; by default the source's."""

    mono: Annotated[bool, Parameter(group=AUDIO, negative=())] = False
    """Mix the channels to one: their mean."""

    channels: Annotated[str | None, Parameter(group=AUDIO, validator=require_channels)] = None
    """Channels to send, and in which order, such as `1,3`; by default all. Before --mono."""

    chunk_frames: Annotated[int, Parameter(group=AUDIO, validator=Number(gte=0))] = 0
    """Frames of a chunk. 0: 4096 in real time, otherwise as many as the receiver takes at once."""

    realtime: Annotated[bool, Parameter(group=AUDIO)] = False
    """Send as fast as a microphone would."""

    speed: Annotated[float, Parameter(group=AUDIO, validator=Positive)] = 1.0
    """With --realtime: this many times as fast."""

    ack: Annotated[Literal["received", "durable"], Parameter(group=RECEIVER)] = "durable"
    """What the receiver must promise before the sender forgets audio."""

    trust_known: Annotated[bool, Parameter(group=STATE, negative=())] = False
    """Believe a receiver that says it has a file already, without comparing digests. The risk: if
    the receiver has another file under the same id, this one is never sent, and the exit code is
    0."""

    ledger: Annotated[str, Parameter(group=STATE)] = "~/.local/state/sonoduct/receipts.db"
    """File to remember digests in, so that known files need not be read again; empty for none."""

    ledger_entries: Annotated[int, Parameter(group=STATE, validator=Positive)] = 1_000_000
    """Files that the ledger remembers; the oldest go first."""

    connect_timeout: Annotated[float, Parameter(group=PATIENCE, validator=Positive)] = 10.0
    """Seconds to try to reach the receiver for the first time."""

    patience: Annotated[float, Parameter(group=PATIENCE, validator=Positive)] = 300.0
    """Seconds without any progress, over all attempts, after which a stream fails."""

    silence_timeout: Annotated[float, Parameter(group=PATIENCE, validator=Positive)] = 60.0
    """Seconds without an answer after which the sender tries another connection."""

    busy_timeout: Annotated[float, Parameter(group=PATIENCE, validator=Positive)] = 86400.0
    """Seconds without any progress, although the receiver says that it still works on the whole
    stream or that another sender holds it, after which a stream fails."""

    @property
    def exact_encoding(self) -> Encoding | None:
        """The requested encoding; None for the smallest exact one."""
        return Encoding(self.encoding) if self.encoding in list(Encoding) else None

    @property
    def access(self) -> Access:
        """The files with the token and the certificates."""
        return Access(self.token_file, self.ca_file, self.client_cert, self.client_key)

    def __post_init__(self) -> None:
        if self.client_key and not self.client_cert:
            raise ValueError("client-key without client-cert, expected both")
        if self.untouched and (given := [name for name, value in self._touching if value]):
            raise ValueError(f"encoding file with {', '.join(given)}, expected the file as it is")

    @property
    def untouched(self) -> bool:
        """Whether files are sent unchanged."""
        return self.encoding == "file"

    @property
    def _touching(self) -> list[tuple[str, object]]:
        """The settings that concern samples only, and their values."""
        return [
            ("samplerate", self.samplerate),
            ("mono", self.mono),
            ("channels", self.channels),
            ("chunk-frames", self.chunk_frames),
            ("realtime", self.realtime),
        ]

    @property
    def conversion(self) -> Conversion:
        """The conversion that these settings request."""
        channels = parse_channels(self.channels) if self.channels else ()
        flac = self.encoding == "flac"
        return Conversion(self.samplerate, mono=self.mono, channels=channels, flac=flac)

    @property
    def level(self) -> Level:
        """The requested level of acknowledgements."""
        return Level(self.ack)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SendSettings(Settings):
    """Settings of `sender send`."""

    jobs: Annotated[int, Parameter(group=RECEIVER, validator=Number(gte=1, lte=1000))] = 4
    """Streams at once, each on its own connection."""

    protocol: Annotated[str, Parameter(group=RECEIVER, validator=require_protocol)] = "sonoduct"
    """`plain` speaks the tutorial's dialect: no resume, no receipt, no bar."""

    follow_links: Annotated[bool, Parameter(group=INPUT, negative=())] = False
    """Take files behind links that lead out of a folder as well, and walk linked folders."""

    raw: Annotated[str | None, Parameter(group=INPUT, validator=require_raw)] = None
    """Standard input is samples without a header: ENCODING:SAMPLERATE:CHANNELS."""

    url: Annotated[
        tuple[Annotated[str, Parameter(validator=require_address)], ...], Parameter(group=INPUT)
    ] = ()
    """Addresses to read live: http, https or rtsp, in any format that ffmpeg decodes."""

    url_timeout: Annotated[float, Parameter(group=INPUT, validator=Positive)] = 30.0
    """Seconds without a byte after which the sender gives an address up."""

    device: Annotated[str | None, Parameter(group=INPUT)] = None
    """Audio device to send from, by its name or its index in `sender devices`."""

    capture: Annotated[str | None, Parameter(group=INPUT, validator=require_raw)] = None
    """Format to record the device in: ENCODING:SAMPLERATE:CHANNELS; by default 16 bit, at most 2
    channels."""

    spool: Annotated[str, Parameter(group=STATE)] = "~/.local/state/sonoduct"
    """Folder that holds live input until a receiver has it; it outlives this run."""

    spool_bytes: Annotated[int, Parameter(group=STATE, validator=Number(gte=1024 * 1024))] = (
        1024 * 1024 * 1024
    )
    """Bytes of one stream that the folder may hold."""

    spool_full: Annotated[Literal["wait", "fail"], Parameter(group=STATE)] = "wait"
    """If the spool is full: `wait` lets a pipe's writer wait, `fail` ends the stream."""

    metrics_host: Annotated[str, Parameter(group=METRICS)] = "127.0.0.1"
    """Address of /metrics, if there is a --metrics-port."""

    metrics_port: Annotated[int | None, Parameter(group=METRICS, validator=Port)] = None
    """Port for /metrics while the command runs; 0 for any free one; by default none."""

    push_gateway: Annotated[str | None, Parameter(group=METRICS, validator=require_web)] = None
    """Address of a Prometheus Pushgateway that gets the metrics at the end: for runs that are too
    short to be scraped."""

    report: Annotated[str | None, Parameter(group=OUTPUT, validator=require_writable)] = None
    """File to write one line of JSON to for each stream."""

    progress: Annotated[Literal["auto", "always", "never"], Parameter(group=OUTPUT)] = "auto"
    """Bars while sending; `auto` shows them on a terminal."""

    log_level: Annotated[LogLevel, Parameter(group=OUTPUT)] = "info"
    """Minimum level to log."""

    @property
    def resumes(self) -> bool:
        """Whether the server resumes streams, as our own receivers do."""
        return not PROTOCOLS[self.protocol]

    @property
    def _touching(self) -> list[tuple[str, object]]:
        return [
            *super()._touching,
            ("raw", self.raw),
            ("url", self.url),
            ("device", self.device),
            (f"protocol {self.protocol}", not self.resumes),
        ]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class WatchSettings(Settings):
    """Settings of `sender watch`."""

    jobs: Annotated[int, Parameter(group=RECEIVER, validator=Number(gte=1, lte=1000))] = 4
    """Streams at once, each on its own connection."""

    settle: Annotated[float, Parameter(group=FOLDER, validator=Number(gte=0))] = 2.0
    """Seconds that a file must have kept its size and modification time before it is sent."""

    rescan: Annotated[float, Parameter(group=FOLDER, validator=Positive)] = 5.0
    """Seconds between scans of the whole folder, if --settle is not less."""

    retry: Annotated[float, Parameter(group=FOLDER, validator=Positive)] = 30.0
    """Longest wait in seconds between attempts at a file that cannot be read for now; the first
    wait is short. Also the wait after a token or a certificate was refused."""

    follow_links: Annotated[bool, Parameter(group=FOLDER, negative=())] = False
    """Take files behind links that lead out of a folder as well, and walk linked folders."""

    metrics_host: Annotated[str, Parameter(group=METRICS)] = "127.0.0.1"
    """Address of /metrics."""

    metrics_port: Annotated[int, Parameter(group=METRICS, validator=Port)] = 8768
    """Port for /metrics; 0 for any free one."""

    metrics_config: Annotated[str | None, Parameter(group=METRICS, validator=require_config)] = None
    """File with TLS, users and a rate limit for /metrics, in the format of Prometheus'
    exporters."""

    log_level: Annotated[LogLevel, Parameter(group=OUTPUT)] = "info"
    """Minimum level to log."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ProbeSettings(DecodeSettings):
    """Settings of `sender probe`."""

    count: Annotated[bool, Parameter(group=OUTPUT)] = False
    """Decode all of each file and count its frames, instead of believing its header."""

    output: Annotated[Literal["table", "json"], Parameter(group=OUTPUT)] = "table"
    """`json` prints a line for each file."""
