"""The work of each command: send, watch, probe; and the parts that they share."""
