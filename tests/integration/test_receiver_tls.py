"""TLS at the receiver's port, and client certificates that stand for tokens."""

import ssl

import pytest
import trustme
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

import receiver
from sonoduct import wire
from sonoduct.runtime.loop import run_loop
from tests.support.rawclient import digest, running, sound, speaking

ANNA = "anna-0123456789abcdef"
TOKENS = f"""
[anna]
token = "{ANNA}"
certificate = "mic-7"
"""


class Authority:
    """A certificate authority, and files of what it has issued."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.pem")

    def issue(self, name="server"):
        """Write a new certificate and its key for this machine; return their paths."""
        issued = self.ca.issue_cert("127.0.0.1", "localhost", common_name=name)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return {"tls_cert": str(cert), "tls_key": str(key)}

    def trusting(self, name=None):
        """Return a client's context that trusts the authority; with a certificate for *name*."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if name is not None:
            self.ca.issue_cert(common_name=name).configure_cert(context)
        return context


@pytest.fixture
def authority(tmp_path):
    """Return an authority with a certificate for the receiver."""
    return Authority(tmp_path)


@pytest.mark.parametrize("run", [run_loop], ids=["uvloop"])
def test_a_stream_over_tls(authority, run, tmp_path):
    """Large and small chunks arrive, with the loop that the command uses."""
    run(_streamed(authority, tmp_path))


async def test_a_stream_over_tls_with_asyncio(authority, tmp_path):
    """The same with Python's own event loop."""
    await _streamed(authority, tmp_path)


async def _streamed(authority, tmp_path):
    settings = {**authority.issue(), "store": str(tmp_path / "store")}
    payload = sound(300_000)
    async with running(**settings, limits={"reserve_bytes": 0}) as inside:
        assert inside.url.startswith("wss://")
        async with speaking(inside.url, tls=authority.trusting()) as client:
            await client.greet()
            await client.send(payload[:400_000], chunk_bytes=400)
            await client.send(payload, chunk_bytes=262_144)
            receipt = await client.commit()
            version = client.connection.transport.get_extra_info("ssl_object").version()

    assert digest(payload) == receipt.digest
    assert version in ("TLSv1.2", "TLSv1.3")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_without_tls_nothing_is_answered(authority):
    """A client that speaks no TLS, or only an old version, gets no handshake."""
    async with running(**authority.issue()) as inside:
        with pytest.raises((OSError, InvalidHandshake)):
            async with speaking(inside.url.replace("wss", "ws")):
                pass
        old = authority.trusting()
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            async with speaking(inside.url, tls=old):
                pass


async def test_the_certificate_is_renewed_while_streams_run(authority):
    """A new connection sees the new certificate; the old one continues."""
    async with running(**authority.issue()) as inside:
        async with speaking(inside.url, tls=authority.trusting()) as client:
            await client.greet()
            before = _serial(client)
            authority.issue()
            inside.inside.reload()
            async with speaking(inside.url, tls=authority.trusting()) as other:
                assert _serial(other) != before
            await client.send(sound(400))
            await client.commit()

        (authority.folder / "server.key").write_text("no key")
        with pytest.raises(ValueError, match=r"server\.pem and key .*server\.key"):
            inside.inside.reload()
        async with speaking(inside.url, tls=authority.trusting()) as other:
            assert _serial(other) != before


def _serial(client):
    return client.connection.transport.get_extra_info("ssl_object").getpeercert()["serialNumber"]


async def test_a_client_certificate_stands_for_a_token(authority, tmp_path):
    """Its name is listed with the token; another name, or another authority's, is none."""
    (tmp_path / "tokens.toml").write_text(TOKENS)
    settings = {
        **authority.issue(),
        "tls_client_ca": str(tmp_path / "ca.pem"),
        "tokens": str(tmp_path / "tokens.toml"),
    }
    stream = "0123456789abcdef" * 2
    async with running(**settings) as inside:
        async with speaking(inside.url, tls=authority.trusting("mic-7"), stream=stream) as client:
            await client.greet()
            await client.send(sound(400))
            receipt = await client.commit()
        async with speaking(
            inside.url, tls=authority.trusting(), token=ANNA, stream=stream
        ) as client:
            opened = await client.greet()
        for context in (authority.trusting("mic-8"), authority.trusting()):
            with pytest.raises(InvalidStatus, match="401"):
                async with speaking(inside.url, tls=context):
                    pass
        (tmp_path / "other").mkdir()
        stranger = authority.trusting()
        Authority(tmp_path / "other").ca.issue_cert(common_name="mic-7").configure_cert(stranger)
        with pytest.raises((OSError, InvalidHandshake, ConnectionClosed)):
            async with speaking(inside.url, tls=stranger):
                pass

    assert (wire.State.COMMITTED, receipt) == (opened.state, opened.receipt)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tls_cert": "{cert}"}, "TLS without a key"),
        ({"tls_key": "{key}"}, "TLS without a certificate"),
        ({"tls_client_ca": "{ca}"}, "tls-client-ca without tokens"),
        ({"tls_client_ca": "{ca}", "tokens": "{tokens}"}, "TLS without a certificate"),
        ({"tls_cert": "{ca}", "tls_key": "{key}"}, "mismatch"),
        ({"tls_cert": "{cert}", "tls_key": "/nowhere"}, "No such file"),
        ({"tls_cert": "{key}", "tls_key": "{key}"}, "server.key: no pem"),
        (
            {
                "tls_cert": "{cert}",
                "tls_key": "{key}",
                "tls_client_ca": "{key}",
                "tokens": "{tokens}",
            },
            "authorities",
        ),
    ],
)
def test_files_that_cannot_be_used(authority, files, expected):
    """Settings name the file, and what is wrong with it."""
    issued = authority.issue()
    names = {"cert": issued["tls_cert"], "key": issued["tls_key"]}
    names["ca"] = str(authority.folder / "ca.pem")
    names["tokens"] = str(authority.folder / "tokens.toml")
    (authority.folder / "tokens.toml").write_text(TOKENS)
    chosen = {name: value.format(**names) for name, value in files.items()}

    with pytest.raises(ValueError, match=expected):
        receiver.Settings(**chosen)
