"""A small receiver and a small sender around `wire`, without network, disk or clock."""

from __future__ import annotations

import enum
import zlib
from collections import defaultdict, deque
from dataclasses import dataclass

import xxhash

from sonoduct import wire

FORMAT = wire.Format(samplerate=8000, channels=2, encoding=wire.Encoding.S16LE)
UNIT_BYTES = FORMAT.frame_bytes


class Carriage(enum.Enum):
    """The form in which the units of a stream travel."""

    SAMPLES = FORMAT
    COMPRESSED = wire.Format(  # here by zlib: `wire` does not look into a payload
        samplerate=8000,
        channels=2,
        encoding=wire.Encoding.S16LE,
        compression=wire.Compression.FLAC,
    )
    BYTES = None

    @property
    def unit_bytes(self):
        """Return the bytes of one unit."""
        return 1 if self is Carriage.BYTES else UNIT_BYTES

    def hello(self, **fields):
        """Return the hello of a stream in this form."""
        kind = wire.Kind.FILE if self is Carriage.BYTES else wire.Kind.PCM
        return wire.Hello(kind=kind, format=self.value, **fields)


class Store(enum.Enum):
    """The units that a receiver still has after a fault."""

    JOURNAL = "released units survive a power cut"
    MEMORY = "units that came survive a lost connection"
    NOTHING = "a restart of the receiver loses every unit"


@dataclass(frozen=True)
class Plan:
    """The settings of one run."""

    seed: int
    sizes: tuple[int, ...] = (40,)
    """The number of units of each stream; one stream follows the other."""
    store: Store = Store.JOURNAL
    level: wire.Level = wire.Level.DURABLE
    window: int = 200
    max_chunk: int = 32
    trouble: float = 0.05
    """The probability of a fault at each step; the last steps of a run have no fault."""
    duplicates: float = 0.0
    """The probability that the link delivers a chunk twice."""
    carriage: Carriage = Carriage.SAMPLES


class Kept:
    """The receiver's units and claims of one stream."""

    def __init__(self, unit_bytes: int) -> None:
        self.data = bytearray()
        self.unit_bytes = unit_bytes
        self.epoch = 0
        self.durable = 0
        self.owner: Connection | None = None
        self.receipt: wire.Receipt | None = None

    @property
    def units(self) -> int:
        """Return the number of units that came."""
        return len(self.data) // self.unit_bytes


class Connection:
    """A queue in each direction, and the receiver's half at one end."""

    def __init__(self, inbound: wire.Inbound) -> None:
        self.up, self.down = deque(), deque()
        self.inbound = inbound
        self.hello: wire.Hello | None = None
        self.eos: wire.Eos | None = None
        self.kept: Kept | None = None
        self.arrived = deque()  # (the unit after a chunk, the size of its message)
        self.closed = False  # by the receiver
        self.left = False  # by the sender

    @property
    def fenced(self) -> bool:
        """Return whether another connection has claimed this connection's stream."""
        return self.kept is not None and self.kept.owner is not self

    @property
    def held(self) -> int:
        """Return the bytes in the receiver's memory, counted without the help of `wire`."""
        return sum(size for end, size in self.arrived if end > self.inbound.released)


class Receiver:
    """Accepts connections, keeps the units, and answers at random times."""

    def __init__(self, plan, rng, inbound=wire.Inbound, *, fences=True, tamper=lambda text: text):
        kept = plan.store is Store.JOURNAL
        self.terms = wire.Terms(plan.window, plan.max_chunk, plan.level, kept=kept)
        self.carriage = plan.carriage
        self.streams: defaultdict[str, Kept] = defaultdict(lambda: Kept(plan.carriage.unit_bytes))
        self.connections: list[Connection] = []
        self.completed: list[tuple[str, bytes]] = []
        self.now = 0.0
        self._rng, self._inbound, self._fences, self._tamper = rng, inbound, fences, tamper

    def accept(self) -> Connection:
        """Take a new connection."""
        self.connections.append(Connection(self._inbound(wire.Deadlines(), self.now)))
        return self.connections[-1]

    def act(self, connection) -> None:
        """Do one random act on *connection*; close it if the act raises a WireError."""
        acts = [self._take, self._take, self._claim, self._release, self._ack, self._commit]
        if self._fences and connection.fenced:
            acts = [self._take, self._refuse]
        try:
            self._rng.choice([*acts, self._look])(connection)
        except wire.WireError as error:
            self._send(connection, wire.Error(code=error.close_code, message=str(error)))
            self.close(connection)

    def close(self, connection) -> None:
        """Close *connection*: the receiver takes and sends nothing more on it."""
        connection.closed = True
        self.connections.remove(connection)

    def drain(self, connection) -> None:
        """Ask the sender of *connection* to connect elsewhere, and close it."""
        self._send(connection, wire.Drain(retry_ms=1))
        self.close(connection)

    def crash(self, store) -> None:
        """Lose every connection, and the units that *store* does not keep."""
        for connection in [*self.connections]:
            self.close(connection)
        if store is Store.NOTHING:
            self.streams.clear()
        for kept in self.streams.values():
            kept.owner = None
            if store is Store.JOURNAL:
                del kept.data[kept.unit_bytes * self._rng.randint(kept.durable, kept.units) :]

    def _take(self, connection) -> None:
        if connection.up:
            data = connection.up.popleft()
            binary = isinstance(data, bytes)
            message = wire.decode_chunk(data) if binary else wire.decode_control(data)
            connection.inbound.feed(message, self.now)
            if not (self._fences and connection.fenced):
                self._keep(connection, message)
        elif connection.left:
            self.close(connection)

    def _keep(self, connection, message) -> None:
        match message:
            case wire.Hello():
                connection.hello = message
            case wire.Chunk():
                packed = self.carriage is Carriage.COMPRESSED
                units = zlib.decompress(message.payload) if packed else message.payload
                connection.kept.data += units
                size = wire.HEADER_BYTES + max(len(units), len(message.payload))
                connection.arrived.append((message.end, size))
            case wire.Eos():
                connection.eos = message

    def _claim(self, connection) -> None:
        if connection.inbound.phase.name != "CLAIMING":
            return
        kept = self.streams[connection.hello.stream]
        kept.epoch += 1
        if kept.receipt is not None:
            opened = connection.inbound.reopen(kept.epoch, kept.receipt, self.now)
        else:
            kept.owner, connection.kept = connection, kept
            kept.durable = kept.units if self.terms.kept else 0
            connection.arrived.clear()
            opened = connection.inbound.open(kept.epoch, kept.units, self.terms, self.now)
        self._send(connection, opened)

    def _release(self, connection) -> None:
        half = connection.inbound
        if half.phase.name in ("OPEN", "ENDING"):
            half.release(self._rng.randint(half.released, half.received), self.now)
            if self.terms.kept:
                connection.kept.durable = max(connection.kept.durable, half.released)

    def _ack(self, connection) -> None:
        ack = connection.inbound.ack()
        if ack is not None:
            self._send(connection, ack)

    def _commit(self, connection) -> None:
        half = connection.inbound
        if half.phase.name == "ENDING" and half.released == half.received:
            kept, connection.kept = connection.kept, None
            data = bytes(kept.data)
            assert connection.eos.digest == xxhash.xxh3_128(data).hexdigest()
            kept.receipt = self._receipt(connection.hello.stream, data)
            self.completed.append((connection.hello.stream, data))
            self._send(connection, half.commit(kept.receipt, self.now))

    def _receipt(self, stream, data) -> wire.Receipt:
        units = len(data) // self.carriage.unit_bytes
        return wire.Receipt(
            stream=stream,
            units=units,
            digest=xxhash.xxh3_128(data).hexdigest(),
            frames=units,
            samplerate=FORMAT.samplerate,
            channels=FORMAT.channels,
            seconds=units / FORMAT.samplerate,
            durable=self.terms.kept,
        )

    def _look(self, connection) -> None:
        self._send(connection, wire.Event(processor="p", offset=0, values={}))
        connection.inbound.expire(self.now)

    def _refuse(self, _connection) -> None:
        raise wire.Fenced("a newer connection has claimed the stream")

    def _send(self, connection, message) -> None:
        connection.down.append(self._tamper(wire.encode_control(message)))


class Sender:
    """Sends its sources one after another, and connects again after each loss."""

    def __init__(self, plan, rng, receiver, outbound=wire.Outbound):
        self.sources = {
            f"{n:032x}": rng.randbytes(plan.carriage.unit_bytes * s)
            for n, s in enumerate(plan.sizes)
        }
        self.receipts: dict[str, wire.Receipt] = {}
        self.connection: Connection | None = None
        self.tolerated = {wire.Fenced, wire.Stalled, wire.Draining}
        if plan.duplicates:
            self.tolerated.add(wire.Gap)
        self._unit_bytes = plan.carriage.unit_bytes
        self._plan, self._rng, self._receiver, self._class = plan, rng, receiver, outbound
        self.outbound = self._next()

    @property
    def done(self) -> bool:
        """Return whether every source has its receipt."""
        return len(self.receipts) == len(self.sources)

    def act(self) -> None:
        """Connect if there is no connection; otherwise take a message or send one."""
        if self.connection is None:
            self.connection = self._receiver.accept()
            self._send(self.outbound.greet())
        else:
            self._rng.choice([self._hear, self._speak])()

    def lose(self) -> None:
        """Lose the connection; a random part of the messages still arrives at each end."""
        connection = self.connection
        for _ in range(self._rng.randint(0, len(connection.down))):
            if self.connection is connection:
                self._hear()
        if self.connection is connection:
            self._leave()

    def _leave(self) -> None:
        up = self.connection.up
        arriving = [up.popleft() for _ in range(self._rng.randint(0, len(up)))]
        up.clear()
        up.extend(arriving)
        self.connection.left = True
        self.connection = None
        self.outbound.lose()

    def _hear(self) -> None:
        down = self.connection.down
        if down:
            self._feed(wire.decode_control(down.popleft()))
        elif self.connection.closed:
            self._leave()

    def _feed(self, message) -> None:
        try:
            self.outbound.feed(message)
        except wire.WireError as error:
            if type(error) not in self.tolerated:
                raise
            self._leave()
        if self.outbound.phase.name == "PROVING":
            units, unit = self.outbound.content[0], self._unit_bytes
            rest = self.sources[self.outbound.hello.stream][unit * units :]
            if rest:
                self.outbound.sum(units, len(rest) // unit, rest)
            self.outbound.prove(self.outbound.content)
        if self.outbound.receipt is not None:
            self._finish()

    def _finish(self) -> None:
        self.receipts[self.outbound.hello.stream] = self.outbound.receipt
        if not self.done:
            self.outbound = self._next()
            self._send(self.outbound.greet())

    def _next(self) -> wire.Outbound:
        stream = list(self.sources)[len(self.receipts)]
        level = self._plan.level
        return self._class(self._plan.carriage.hello(stream=stream, instance="a", ack=level))

    def _speak(self) -> None:
        half = self.outbound
        if half.phase.name != "OPEN":
            return
        if half.read_from < half.position:
            units = self._rng.randint(1, half.position - half.read_from)
            half.skip(units, self._read(half.read_from, units))
        elif half.position * self._unit_bytes == len(self.sources[half.hello.stream]):
            self._send(half.eos())
        elif most := half.hello.units_in(max(0, half.room)):
            payload = self._read(half.position, self._rng.randint(1, most))
            packed = self._plan.carriage is Carriage.COMPRESSED
            carried = zlib.compress(payload) if packed else None
            message = b"".join(half.chunk(len(payload) // self._unit_bytes, payload, carried))
            times = 2 if self._rng.random() < self._plan.duplicates else 1
            self.connection.up.extend([message] * times)

    def _read(self, offset, units) -> bytes:
        source = self.sources[self.outbound.hello.stream]
        return source[self._unit_bytes * offset : self._unit_bytes * (offset + units)]

    def _send(self, message) -> None:
        self.connection.up.append(wire.encode_control(message))
