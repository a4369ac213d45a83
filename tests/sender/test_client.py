"""A client and its transfers, as a debugger shows them."""

from prometheus_client import CollectorRegistry

from sender.client import Client
from sender.metrics import Metrics
from sender.settings import Settings
from sender.sources.file import AudioFile
from tests.support.sounds import write


def test_a_debugger_shows_the_client_and_its_transfers(tmp_path):
    """One line has the client and its receiver, another one the transfer and its position."""
    path = write(tmp_path / "a.wav", 1000)
    client = Client(Settings(to="ws://a:1"), Metrics(CollectorRegistry(), "test"), "0123456789")
    source = AudioFile(path)
    transfer = client.transfer(source)
    source.close()

    assert "<Client 0123… to ws://a:1, no connection>" == repr(client)
    stream = f"<Outbound {source.stream[:4]}… LOST at 0, 0 bytes unacknowledged>"
    assert f"<Transfer of '{path}', 0 reconnects: {stream}>" == repr(transfer)
