"""The sender: the real wire.Outbound, over several connections."""

from __future__ import annotations

from sonoduct import wire

from .plan import HELLO, UNIT_BYTES, Broken


class Client:
    """One stream; the client connects again after each loss."""

    def __init__(self, world):
        self.outbound = wire.Outbound(HELLO)
        self.connection = None
        self._world = world

    @property
    def done(self):
        """Return whether the stream has its receipt."""
        return self.outbound.receipt is not None

    def act(self):
        """Connect if there is no connection; otherwise take a message or send one."""
        if self.done:
            return
        if self.connection is None:
            self.connection = self._world.connect()
            self._say(self.outbound.greet())
        elif self._world.rng.random() < 0.5:
            self._hear()
        else:
            self._speak()

    def lose(self, *, noticed):
        """Lose the connection; unless *noticed*, the other end still believes in it."""
        if self.connection is not None:
            self.connection.left = noticed
            self.connection = None
            self.outbound.lose()

    def _hear(self):
        down = self.connection.down
        if not down:
            if self.connection.closed:
                self.lose(noticed=True)
            return
        try:
            self.outbound.feed(wire.decode_control(down.popleft()))
        except (wire.Fenced, wire.StorageFailed):
            self.lose(noticed=True)
        except wire.WireError as exc:
            raise Broken(f"the sender gives up: {exc}") from exc

    def _speak(self):
        half, rng, plan = self.outbound, self._world.rng, self._world.plan
        if half.phase is not wire.Phase.OPEN:
            return
        if half.read_from < half.position:
            half.skip(half.position - half.read_from, self._read(half.read_from, half.position))
        elif half.position == plan.units:
            self._say(half.eos())
        elif half.room >= UNIT_BYTES:
            most = min(plan.most_units, half.room // UNIT_BYTES, plan.units - half.position)
            units = rng.randint(1, most)
            payload = self._read(half.position, half.position + units)
            self.connection.up.append(b"".join(half.chunk(units, payload)))

    def _read(self, start, stop):
        return self._world.plan.source[UNIT_BYTES * start : UNIT_BYTES * stop]

    def _say(self, message):
        self.connection.up.append(wire.encode_control(message))
