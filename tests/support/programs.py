"""False programs in a decoder's place: scripts of a shell that can start no other program."""

HANG = "read line < /dev/stderr"
"""Commands that wait for ever, without another program and without computing."""


def script(path, commands):
    """Write *commands* as a program; return its path."""
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)
    return path
