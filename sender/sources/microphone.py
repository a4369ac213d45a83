"""
Audio devices as live input, through PortAudio; the sender's only importer of sounddevice.

The library is an extra: it is imported when a device is asked for, not before.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import structlog

from sender.errors import SourceError
from sonoduct.wire import Encoding, Format

log = structlog.get_logger()

PIECES: Final = 1000
"""What a callback may leave behind before it loses samples: 10 s or more of it."""

POLL_S: Final = 0.2
"""How soon a waiting read notices that it is to end."""

_DTYPES: Final = {Encoding.S16LE: "int16", Encoding.S24LE: "int24", Encoding.F32LE: "float32"}

Start = Callable[[Format, Callable[..., None]], Callable[[], None]]
"""Starts a device in a format, with a callback; returns how to stop it."""


@dataclass(frozen=True)
class Device:
    """A device that samples come from."""

    index: int
    name: str
    channels: int
    samplerate: int
    default: bool


class Microphone:
    """
    What a device hears; an Input.

    The callback runs in PortAudio's thread and must not wait: it only puts bytes into a queue.
    """

    decoder = "raw"

    def __init__(self, name: str, audio_format: Format, start: Start) -> None:
        self.closed = False
        self.lost = 0
        """How often samples were lost: the device, or whoever reads it, was too slow."""
        self._name = name
        self._format = audio_format
        self._start = start
        self._stop: Callable[[], None] | None = None
        self._heard: queue.Queue[bytes] = queue.Queue(PIECES)

    def begin(self) -> Format:
        """See Input."""
        self._stop = self._start(self._format, self.hear)
        return self._format

    def hear(self, data: Any, _frames: int, _time: object, status: Any) -> None:
        """Take what the device brings; *status* is true if samples were lost before it."""
        self.lost += bool(status)
        try:
            self._heard.put_nowait(bytes(data))
        except queue.Full:
            self.lost += 1

    def read_some(self, size: int) -> bytes:
        """See Input; *size* is what a callback brings."""
        del size
        while not self.closed:
            try:
                return self._heard.get(timeout=POLL_S)
            except queue.Empty:
                continue
        return b""

    def close(self) -> None:
        """See Input."""
        stop, self._stop, self.closed = self._stop, None, True
        if stop is not None:
            stop()
        if self.lost:
            log.warning("samples_lost", name=self._name, times=self.lost)
            self.lost = 0


def input_devices() -> list[Device]:
    """
    Return the devices that have inputs.

    Raises:
        SourceError: without sounddevice, or PortAudio.
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
    Return the device with this index or name, in *audio_format*: by default 16 bit, one or two channels.

    Raises:
        SourceError: if there is none, or nothing to reach it with.
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
        import sounddevice  # an extra; looks for PortAudio when imported
    except ImportError as exc:
        raise SourceError("devices need sounddevice: pip install 'sonoduct[microphone]'") from exc
    except OSError as exc:
        raise SourceError(f"devices: {exc}: install it, as from libportaudio2") from exc
    library: ModuleType = sounddevice
    return library
