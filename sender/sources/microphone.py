"""
Audio devices as live input, through PortAudio; only this module imports sounddevice.

The library is an extra. It is imported only if a command needs a device.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import structlog
from typing_extensions import override

from sender.errors import SourceError
from sonoduct.wire import Encoding, Format

from .live import Input

log = structlog.get_logger()

PIECES: Final = 1000
"""Blocks that may wait for `read_some` before samples are lost: 10 s or more of audio."""

POLL_S: Final = 0.2
"""Seconds until a waiting read notices `close`."""

_DTYPES: Final = {Encoding.S16LE: "int16", Encoding.S24LE: "int24", Encoding.F32LE: "float32"}

StartDevice = Callable[[Format, Callable[..., None]], Callable[[], None]]
"""Starts a device in a format, with a callback; returns a function that stops it."""


@dataclass(frozen=True)
class Device:
    """A device that records."""

    index: int
    name: str
    channels: int
    samplerate: int
    default: bool


class Microphone(Input):
    """
    The samples that a device records.

    PortAudio's thread calls `hear`, which must not wait: it only puts bytes into a queue.
    """

    decoder = "raw"

    def __init__(self, name: str, audio_format: Format, start: StartDevice) -> None:
        self.closed = False
        self.lost = 0
        """How often samples were lost, because the device or the reader was too slow."""
        self._name = name
        self._format = audio_format
        self._start = start
        self._stop: Callable[[], None] | None = None
        self._heard: queue.Queue[bytes] = queue.Queue(PIECES)

    @override
    def begin(self) -> Format:
        self._stop = self._start(self._format, self.hear)
        return self._format

    def hear(self, data: Any, _frames: int, _time: object, status: Any) -> None:
        """Take *data* from the device; *status* is true if samples before it were lost."""
        self.lost += bool(status)
        try:
            self._heard.put_nowait(bytes(data))
        except queue.Full:
            self.lost += 1

    @override
    def read_some(self, size: int) -> bytes:
        """Return the next block of the device, of any size."""
        del size
        while not self.closed:
            try:
                return self._heard.get(timeout=POLL_S)
            except queue.Empty:
                continue
        return b""

    @override
    def close(self) -> None:
        stop, self._stop, self.closed = self._stop, None, True
        if stop is not None:
            stop()
        if self.lost:
            log.warning("samples_lost", name=self._name, times=self.lost)
            self.lost = 0


def input_devices() -> list[Device]:
    """
    Return the devices that record.

    Raises:
        SourceError: without sounddevice, or without PortAudio.
    """
    library = _library()
    default = library.default.device[0]
    return [
        Device(
            each["index"],
            each["name"],
            each["max_input_channels"],
            int(each["default_samplerate"]),
            each["index"] == default,
        )
        for each in library.query_devices()
        if each["max_input_channels"]
    ]


def open_microphone(device: str, audio_format: Format | None) -> Microphone:
    """
    Return the device with this index or name.

    Its samples have *audio_format*: by default 16 bit, at most two channels, the device's rate.

    Raises:
        SourceError: if there is no such device, no sounddevice, or no PortAudio.
    """
    library, which = _library(), int(device) if device.isdecimal() else device
    try:
        found = library.query_devices(which, "input")
    except (ValueError, library.PortAudioError) as exc:
        raise SourceError(f"{device}: {exc}; `sender devices` lists what there is") from exc
    chosen = audio_format or Format(
        samplerate=int(found["default_samplerate"]),
        channels=min(found["max_input_channels"], 2),
        encoding=Encoding.S16LE,
    )

    def start(audio_format: Format, hear: Callable[..., None]) -> Callable[[], None]:
        try:
            stream = library.RawInputStream(
                samplerate=audio_format.samplerate,
                channels=audio_format.channels,
                dtype=_DTYPES[audio_format.encoding],
                device=found["index"],
                callback=hear,
            )
            stream.start()
        except library.PortAudioError as exc:
            raise SourceError(f"{found['name']}: {exc}") from exc
        close: Callable[[], None] = stream.close
        return close

    return Microphone(found["name"], chosen, start)


def _library() -> ModuleType:
    try:
        import sounddevice  # an extra; loads PortAudio when imported
    except ImportError as exc:
        raise SourceError("devices need sounddevice: pip install 'sonoduct[microphone]'") from exc
    except OSError as exc:
        raise SourceError(f"devices: {exc}: install it, as from libportaudio2") from exc
    library: ModuleType = sounddevice
    return library
