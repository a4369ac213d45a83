"""The protocol's test vectors: the code agrees with them, in both directions."""

import enum
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import xxhash

from sonoduct import wire
from sonoduct.audio.samples import pack24, to_float32

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))


def each(group):
    """Run a test with each vector of *group*."""
    vectors = VECTORS[group]
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def plain(value):
    """Return a message as JSON would hold it, with defaults."""
    match value:
        case msgspec.Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case list():
            return [plain(item) for item in value]
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case enum.Enum():
            return value.value
        case _:
            return value


@each("chunks")
def test_chunk_is_encoded(vector):
    """These fields make this message."""
    fields = (vector[name] for name in ("epoch", "offset", "units"))
    message = wire.encode_chunk(*fields, bytes.fromhex(vector["payload"]))

    assert vector["message"] == message.hex()


@each("chunks")
def test_chunk_is_decoded(vector):
    """This message holds these fields."""
    chunk = wire.decode_chunk(bytes.fromhex(vector["message"]))

    assert vector["payload"] == chunk.payload.hex()
    assert vector["epoch"] == chunk.epoch
    assert (vector["offset"], vector["units"]) == (chunk.offset, chunk.units)


@each("controls")
def test_control_is_encoded(vector):
    """These fields make this text."""
    tag = json.loads(vector["text"])["type"]
    message = msgspec.convert({"type": tag} | vector["fields"], wire.Control)

    assert vector["text"] == wire.encode_control(message)


@each("controls")
def test_control_is_decoded(vector):
    """This text holds these fields."""
    assert vector["fields"] == plain(wire.decode_control(vector["text"]))


def test_every_control_message_has_a_vector():
    """The vectors show every type of control message."""
    shown = {json.loads(vector["text"])["type"] for vector in VECTORS["controls"]}
    classes = wire.Control.__args__

    assert {cls.__struct_config__.tag for cls in classes} == shown


@each("encodings")
def test_encoding_is_converted(vector):
    """These bytes are these samples, bit for bit."""
    payload = bytes.fromhex(vector["payload"])
    samples = to_float32(payload, wire.Encoding(vector["encoding"]), vector["channels"])

    assert vector["channels"] == samples.shape[1]
    assert vector["float32"] == samples.astype("<f4").tobytes().hex()


@each("encodings")
def test_encoding_is_converted_back(vector):
    """These samples are these bytes: the conversion loses nothing."""
    samples = np.frombuffer(bytes.fromhex(vector["float32"]), "<f4")
    match vector["encoding"]:
        case wire.Encoding.S16LE:
            payload = (samples * 2**15).astype("<i2").tobytes()
        case wire.Encoding.S24LE:
            payload = pack24((samples.astype(np.float64) * 2**31).astype(np.int32))
        case wire.Encoding.F32LE:
            payload = samples.tobytes()

    assert vector["payload"] == payload.hex()


@each("digests")
def test_digest_is_computed(vector):
    """These bytes have this digest, with `wire` and without it."""
    payload = bytes.fromhex(vector["payload"])
    digest = wire.Digest()
    digest.update(0, len(payload), payload)

    assert vector["digest"] == digest.hexdigest() == xxhash.xxh3_128(payload).hexdigest()


@each("malformed")
def test_malformed_input_is_refused(vector):
    """This input closes the connection with this code."""
    binary, text = vector.get("binary"), vector.get("text")

    with pytest.raises(wire.WireError) as raised:
        wire.decode_control(text) if binary is None else wire.decode_chunk(bytes.fromhex(binary))

    assert vector["code"] == raised.value.close_code


@pytest.mark.parametrize("group", VECTORS)
def test_names_are_unique(group):
    """Within a group each vector has its own name, so that reports can use it."""
    names = [vector["name"] for vector in VECTORS[group]]

    assert sorted(set(names)) == sorted(names)
