"""Both halves with connections that fail: every unit arrives exactly once, in order."""

import random

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from sonoduct import wire
from sonoduct.wire import Level
from tests.support.peers import UNIT_BYTES, Carriage, Plan, Receiver, Sender, Store

TROUBLED_STEPS = 1500


class Simulation:
    """One sender, one receiver, and a schedule that depends on the plan only."""

    def __init__(self, plan, inbound=wire.Inbound, outbound=wire.Outbound, **receiver):
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.receiver = Receiver(plan, self.rng, inbound, **receiver)
        self.sender = Sender(plan, self.rng, self.receiver, outbound)
        self.faults = 0
        self.pace, self.frozen = 0.5, None

    def run(self):
        """Run with trouble and then without it, until every source has its receipt."""
        calm_steps = 4000 + 400 * sum(self.plan.sizes)
        for step in range(TROUBLED_STEPS + calm_steps):
            if self.sender.done:
                break
            self.step(self.plan.trouble if step < TROUBLED_STEPS else 0)
            self.check()
        self.check_end()

    def step(self, trouble):
        """Let one side do one thing, or let something fail."""
        self.receiver.now += self.rng.random() / 100
        if self.rng.random() < 0.03:
            self.vary()
        if self.rng.random() < trouble:
            self.rng.choice([self.cut, self.cut, self.crash, self.wait, self.drain])()
        elif self.rng.random() < self.pace:
            self.sender.act()
        else:
            connections = [c for c in self.receiver.connections if c is not self.frozen]
            if connections:
                self.receiver.act(self.rng.choice(connections))

    def vary(self):
        """Choose which side is slow, and which connection's messages are late."""
        self.pace = self.rng.uniform(0.1, 0.9)
        self.frozen = self.rng.choice([None, *self.receiver.connections])

    def cut(self):
        """Lose the sender's connection; the receiver notices it later."""
        if self.sender.connection is not None:
            self.faults += 1
            self.sender.lose()

    def crash(self):
        """Lose all connections of the receiver, and the units that it does not keep."""
        self.faults += 1
        self.receiver.crash(self.plan.store)

    def wait(self):
        """Let more time pass than the deadline allows."""
        self.receiver.now += 61

    def drain(self):
        """Have the receiver send one connection away."""
        if self.receiver.connections:
            self.receiver.drain(self.rng.choice(self.receiver.connections))

    def check(self):
        """Check the conditions that hold at any moment."""
        half = self.sender.outbound
        kept = self.receiver.streams[half.hello.stream]
        for stream, source in self.sender.sources.items():
            assert source.startswith(self.receiver.streams[stream].data)
        for connection in self.receiver.connections:
            assert connection.held <= self.plan.window
            assert connection.fenced or connection.held == connection.inbound.held
        assert half.unacknowledged <= self.plan.window
        assert half.durable <= kept.durable

    def check_end(self):
        """Check the conditions that hold at the end."""
        assert self.sender.done, "no end"
        for stream, data in self.receiver.completed:
            assert self.sender.sources[stream] == data
        for stream, receipt in self.sender.receipts.items():
            source = self.sender.sources[stream]
            assert len(source) // self.plan.carriage.unit_bytes == receipt.units
            assert xxhash.xxh3_128(source).hexdigest() == receipt.digest


LEVELS = [
    (Store.JOURNAL, Level.DURABLE),
    (Store.JOURNAL, Level.RECEIVED),
    (Store.MEMORY, Level.RECEIVED),
    (Store.NOTHING, Level.RECEIVED),
]


@st.composite
def plans(draw):
    """Generate any store, any level that it can promise, and any sizes that fit together."""
    store, level = draw(st.sampled_from(LEVELS))
    carriage = draw(st.sampled_from(Carriage))
    # FLAC may need 300 bytes for one frame.
    least = 300 if carriage is Carriage.COMPRESSED else UNIT_BYTES
    max_chunk = draw(st.integers(least, least + 36))
    return Plan(
        seed=draw(st.integers(0, 2**32)),
        sizes=tuple(draw(st.lists(st.integers(0, 120), min_size=1, max_size=3))),
        store=store,
        level=level,
        window=draw(st.integers(max_chunk + wire.HEADER_BYTES, max_chunk + 360)),
        max_chunk=max_chunk,
        trouble=draw(st.sampled_from([0.0, 0.01, 0.05, 0.2])),
        duplicates=draw(st.sampled_from([0.0, 0.0, 0.05])),
        carriage=carriage,
    )


@given(plans())
@settings(deadline=None, max_examples=100)
def test_every_unit_arrives_exactly_once(plan):
    """Through all faults, a complete stream equals its source, and the sender has the receipt."""
    Simulation(plan).run()


@pytest.mark.parametrize(("store", "level"), LEVELS)
def test_long_streams_arrive_exactly_once(store, level):
    """Longer streams arrive exactly once as well, with every store and level."""
    for seed in range(20):
        Simulation(Plan(seed, (400, 50), store, level, window=300, trouble=0.1)).run()


@pytest.mark.parametrize("carriage", Carriage)
def test_every_carriage_resumes(carriage):
    """Compressed samples, and the bytes of a file, survive the same faults."""
    for seed in range(10):
        plan = Plan(seed, (400, 50), window=900, max_chunk=400, trouble=0.1, carriage=carriage)
        Simulation(plan).run()


def test_the_schedule_causes_faults():
    """Connections fail, epochs pass, and chunks are sent again."""
    simulation = Simulation(Plan(seed=1, sizes=(400,), trouble=0.1))
    simulation.run()

    assert simulation.faults > 10
    assert simulation.receiver.streams[f"{0:032x}"].epoch > 10
    assert simulation.sender.outbound.resent_bytes > 0


@pytest.mark.parametrize("duplicates", [0.0, 0.05])
def test_calm_link_needs_one_claim_unless_it_duplicates(duplicates):
    """Without faults a stream takes one connection; a duplicated chunk costs another one."""
    simulation = Simulation(Plan(seed=3, sizes=(200,), trouble=0, duplicates=duplicates))
    simulation.run()

    assert (duplicates > 0) == (simulation.receiver.streams[f"{0:032x}"].epoch > 1)


def tampered(text):
    """Return a message whose receipt, if it has one, has another digest."""
    message = wire.decode_control(text)
    receipt = getattr(message, "receipt", None)
    if receipt is None:
        return text
    receipt = msgspec.structs.replace(receipt, digest="0" * 32)
    return wire.encode_control(msgspec.structs.replace(message, receipt=receipt))


@pytest.mark.parametrize("trouble", [0.0, 0.05])
def test_corrupted_receipt_is_a_bad_checksum(trouble):
    """If a receipt has another digest than the sender's, the sender refuses it."""
    simulation = Simulation(Plan(seed=1, trouble=trouble), tamper=tampered)

    with pytest.raises(wire.BadChecksum, match="digest 00000000000000000000000000000000"):
        simulation.run()


class Careless(wire.Inbound):
    """A receiver that accepts any offset."""

    def _take(self, chunk):
        self.received = chunk.offset
        super()._take(chunk)


class Boastful(wire.Inbound):
    """A receiver that acknowledges received units as durable."""

    def ack(self):
        ack = super().ack()
        return ack and msgspec.structs.replace(ack, durable=ack.received)


class Generous(wire.Inbound):
    """A receiver that frees its window when a chunk arrives, before the chunk is done."""

    def feed(self, message, now):
        super().feed(message, now)
        self._credit.settle(self.received)


class Stubborn(wire.Outbound):
    """A sender that continues at its own position instead of the receiver's offset."""

    def _open(self, opened):
        position = self.position
        super()._open(opened)
        self.position = position


class Greedy(wire.Outbound):
    """A sender that sends without credit."""

    @property
    def room(self):
        return self.max_chunk


class Impatient(wire.Outbound):
    """A sender that still counts the bytes of a lost connection as unacknowledged."""

    def lose(self):
        ledger, window = self._ledger, self._window
        super().lose()
        self._ledger, self._window = ledger, window

    def _open(self, opened):
        ledger = self._ledger
        super()._open(opened)
        self._ledger = ledger


class Forgetful(wire.Outbound):
    """A sender that sums only the units of its last connection."""

    def lose(self):
        super().lose()
        self._digest = wire.Digest()
        self._digest.units = self.position


BUGS = {
    "receiver does not check offsets": {"inbound": Careless},
    "receiver calls received units durable": {"inbound": Boastful},
    "receiver frees memory that is in use": {"inbound": Generous},
    "receiver does not fence": {"fences": False},
    "sender ignores the offset": {"outbound": Stubborn},
    "sender ignores the window": {"outbound": Greedy},
    "sender counts bytes of lost connections": {"outbound": Impatient},
    "sender forgets its digest": {"outbound": Forgetful},
}


def caught(bug, seed):
    """Return whether the run of *seed* fails with *bug*."""
    try:
        Simulation(Plan(seed=seed, sizes=(100,), duplicates=0.05), **bug).run()
    except (AssertionError, ValueError, wire.WireError):
        return True
    return False


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_caught(bug):
    """The simulation fails if one half has a bug."""
    assert any(caught(bug, seed) for seed in range(10))


def test_nothing_is_caught_without_a_bug():
    """Without a bug the same runs pass."""
    assert not any(caught({}, seed) for seed in range(10))
