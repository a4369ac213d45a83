"""Both halves joined by connections that fail: every unit arrives exactly once, in order."""

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
    """One sender, one receiver, and a schedule that is a pure function of the plan."""

    def __init__(self, plan, inbound=wire.Inbound, outbound=wire.Outbound, **receiver):
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.receiver = Receiver(plan, self.rng, inbound, **receiver)
        self.sender = Sender(plan, self.rng, self.receiver, outbound)
        self.faults = 0
        self.pace, self.frozen = 0.5, None

    def run(self):
        """Have trouble, then calm, until every source has its receipt."""
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
        """Change who is slow: a side, or a connection whose messages are late."""
        self.pace = self.rng.uniform(0.1, 0.9)
        self.frozen = self.rng.choice([None, *self.receiver.connections])

    def cut(self):
        """The sender loses its connection; the receiver notices later."""
        if self.sender.connection is not None:
            self.faults += 1
            self.sender.lose()

    def crash(self):
        """The receiver loses all connections and what it does not keep."""
        self.faults += 1
        self.receiver.crash(self.plan.store)

    def wait(self):
        """Nothing happens for longer than the deadline."""
        self.receiver.now += 61

    def drain(self):
        """The receiver sends somebody away."""
        if self.receiver.connections:
            self.receiver.drain(self.rng.choice(self.receiver.connections))

    def check(self):
        """What must hold at any moment."""
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
        """What must hold when all is over."""
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
    """Any store, any level it can promise, any sizes that fit together."""
    store, level = draw(st.sampled_from(LEVELS))
    carriage = draw(st.sampled_from(Carriage))
    least = 300 if carriage is Carriage.COMPRESSED else UNIT_BYTES  # what FLAC may need for a frame
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
    """Whatever fails on the way, what is complete is the source, and the sender knows it."""
    Simulation(plan).run()


@pytest.mark.parametrize(("store", "level"), LEVELS)
def test_long_streams_arrive_exactly_once(store, level):
    """The same for streams that outlast all of the trouble."""
    for seed in range(20):
        Simulation(Plan(seed, (400, 50), store, level, window=300, trouble=0.1)).run()


@pytest.mark.parametrize("carriage", Carriage)
def test_every_carriage_resumes(carriage):
    """Compressed samples, and the bytes of a file, survive what samples do."""
    for seed in range(10):
        plan = Plan(seed, (400, 50), window=900, max_chunk=400, trouble=0.1, carriage=carriage)
        Simulation(plan).run()


def test_trouble_is_had():
    """The schedule does what it is for: connections fail, epochs pass, chunks are sent again."""
    simulation = Simulation(Plan(seed=1, sizes=(400,), trouble=0.1))
    simulation.run()

    assert simulation.faults > 10
    assert simulation.receiver.streams[f"{0:032x}"].epoch > 10
    assert simulation.sender.outbound.resent_bytes > 0


@pytest.mark.parametrize("duplicates", [0.0, 0.05])
def test_calm_link_needs_one_claim_unless_it_duplicates(duplicates):
    """Without trouble a stream takes one connection; a chunk that comes twice costs another."""
    simulation = Simulation(Plan(seed=3, sizes=(200,), trouble=0, duplicates=duplicates))
    simulation.run()

    assert (duplicates > 0) == (simulation.receiver.streams[f"{0:032x}"].epoch > 1)


def tampered(text):
    """A receipt with another digest; any other message as it is."""
    message = wire.decode_control(text)
    receipt = getattr(message, "receipt", None)
    if receipt is None:
        return text
    receipt = msgspec.structs.replace(receipt, digest="0" * 32)
    return wire.encode_control(msgspec.structs.replace(message, receipt=receipt))


@pytest.mark.parametrize("trouble", [0.0, 0.05])
def test_corrupted_receipt_is_a_bad_checksum(trouble):
    """The sender believes no receipt whose digest is not its own."""
    simulation = Simulation(Plan(seed=1, trouble=trouble), tamper=tampered)

    with pytest.raises(wire.BadChecksum, match="digest 00000000000000000000000000000000"):
        simulation.run()


class Careless(wire.Inbound):
    """Takes any offset for the right one."""

    def _take(self, chunk):
        self.received = chunk.offset
        super()._take(chunk)


class Boastful(wire.Inbound):
    """Calls durable what has only come."""

    def ack(self):
        ack = super().ack()
        return ack and msgspec.structs.replace(ack, durable=ack.received)


class Generous(wire.Inbound):
    """Frees its window when a chunk comes, not when it is done."""

    def feed(self, message, now):
        super().feed(message, now)
        self._credit.settle(self.received)


class Stubborn(wire.Outbound):
    """Goes on where it was, whatever the receiver has."""

    def _open(self, opened):
        position = self.position
        super()._open(opened)
        self.position = position


class Greedy(wire.Outbound):
    """Sends without credit."""

    @property
    def room(self):
        return self.max_chunk


class Impatient(wire.Outbound):
    """Believes that what it sent before the connection was lost has arrived."""

    def lose(self):
        ledger, window = self._ledger, self._window
        super().lose()
        self._ledger, self._window = ledger, window

    def _open(self, opened):
        ledger = self._ledger
        super()._open(opened)
        self._ledger = ledger


class Forgetful(wire.Outbound):
    """Sums only what it sends on the last connection."""

    def lose(self):
        super().lose()
        self._digest = wire.Digest()
        self._digest.units = self.position


BUGS = {
    "receiver does not check offsets": {"inbound": Careless},
    "receiver calls durable what came": {"inbound": Boastful},
    "receiver frees memory that is in use": {"inbound": Generous},
    "receiver does not fence": {"fences": False},
    "sender ignores the offset": {"outbound": Stubborn},
    "sender ignores the window": {"outbound": Greedy},
    "sender counts lost connections": {"outbound": Impatient},
    "sender forgets its digest": {"outbound": Forgetful},
}


def caught(bug, seed):
    """Whether the run of *seed* fails with *bug*."""
    try:
        Simulation(Plan(seed=seed, sizes=(100,), duplicates=0.05), **bug).run()
    except (AssertionError, ValueError, wire.WireError):
        return True
    return False


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_caught(bug):
    """The simulation is worth something: it fails when something is wrong."""
    assert any(caught(bug, seed) for seed in range(10))


def test_nothing_is_caught_without_a_bug():
    """The same runs pass when nothing is wrong."""
    assert not any(caught({}, seed) for seed in range(10))
