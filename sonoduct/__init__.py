"""The parts that the sender and the receiver share: protocol, audio, and service processes."""
