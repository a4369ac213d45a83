"""
Devices, as far as they can be tested without one: errors, and samples from a callback.

PortAudio's own callbacks were tried by hand, on ALSA's virtual devices.
"""

import sys
import threading

import numpy as np
import pytest

from sender.__main__ import app
from sender.errors import SourceError
from sender.sources.converted import Conversion, Converter
from sender.sources.live import LiveStream
from sender.sources.microphone import PIECES, Microphone, input_devices, open_microphone
from sender.sources.spool import Spools
from sonoduct.runtime.command import run
from sonoduct.wire import Encoding, Format

STEREO = Format(samplerate=48_000, channels=2, encoding=Encoding.S16LE)
BLOCK = 480


class Device:
    """A device that calls back from its own thread and never waits, as PortAudio does."""

    def __init__(self, blocks):
        self._blocks = blocks
        self._thread = None

    def start(self, _form, hear):
        self._thread = threading.Thread(target=self._run, args=(hear,))
        self._thread.start()
        return self._thread.join

    def _run(self, hear):
        for block in self._blocks:
            hear(memoryview(block), BLOCK, None, 0)


def blocks(count):
    """Return blocks of noise, as a device delivers them."""
    return [np.random.default_rng(seed).bytes(BLOCK * 4) for seed in range(count)]


def test_samples_of_a_device_are_spooled(tmp_path):
    """Every block is spooled, in order and converted; reading ends when the device is closed."""
    heard = blocks(300)
    microphone = Microphone("device", STEREO, Device(heard).start)
    converter = Converter(Conversion(channels=(2,)), microphone.begin(), None, "device")
    spool = Spools(tmp_path, "ws://h", 2**20).create("device", converter.format)
    source = LiveStream(microphone, spool, converter, wait=True)
    data = b""
    while len(data) < 300 * BLOCK * 2:
        data += source.read(len(data) // 2, 10_000)
    source.close()
    expected = np.frombuffer(b"".join(heard), "<i2").reshape(-1, 2)[:, 1]

    assert expected.tobytes() == data
    assert b"" == source.read(300 * BLOCK, 1)


def test_a_callback_never_waits():
    """
    If the queue is full, the block is lost and counted.

    Losses that the device reports count as well.
    """
    microphone = Microphone("device", STEREO, Device(blocks(1)).start)
    for _ in range(PIECES + 3):
        microphone.hear(b"aabb", 1, None, 0)
    microphone.hear(b"aabb", 1, None, 2)

    assert 5 == microphone.lost
    microphone.close()


def test_without_the_library(monkeypatch, capsys):
    """If sounddevice is missing, the error says what to install."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SourceError, match=r"pip install 'sonoduct\[microphone\]'"):
        open_microphone("0", None)

    assert 1 == run(app, ["devices"])
    assert "sender: devices need sounddevice" in capsys.readouterr().err


def test_without_portaudio(monkeypatch, tmp_path):
    """If the PortAudio library is missing, the error says what to install."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(SourceError, match="PortAudio library not found: install it, as from lib"):
        input_devices()
