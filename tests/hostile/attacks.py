"""All attacks, in the order in which they run."""

from tests.hostile import crowds, floods
from tests.hostile.beside import Attack

CONTROL = Attack("control", None, full_s=20.0)
CONTROL_TOKENS = Attack("control with tokens", None, full_s=20.0, tokens=True)

ATTACKS = (
    Attack("chunks of one frame, 8 connections", floods.chunks(8), "metering"),
    Attack("the same with tokens", floods.chunks(8), "metering", tokens=True),
    Attack("chunks of one frame, 64 connections", floods.chunks(64), "metering"),
    Attack("pings that are read", floods.PINGS_READ, "metering"),
    Attack("pings that are not read", floods.PINGS_UNREAD, "unread"),
    Attack("plain messages of 4 bytes", floods.PLAIN, "metering"),
    Attack("fragments of 1 byte", floods.FRAGMENTS, "metering"),
    Attack("fragments of nothing", floods.EMPTY_FRAGMENTS, "metering"),
    Attack("messages of nothing", floods.EMPTY, "metering"),
    Attack("texts", floods.TEXTS, "metering"),
    Attack("more than the window, acks unread", floods.window_cheat, "credit"),
    Attack("600 streams of one frame held", crowds.held, "places"),
    Attack("5,000 half-open connections", crowds.HALF_OPEN, "handshakes"),
    Attack("2,000 handshakes, a byte at a time", crowds.SLOWLORIS, "handshakes"),
    Attack("5,000 connections", crowds.CONNECTIONS, "handshakes"),
    Attack("600 silent connections to /metrics", crowds.METRICS, "metrics"),
    Attack("garbage in every layer", crowds.garbage, full_s=60),
)
