"""The name of a replica: a setting, the host's name, or the name that DNS has for its address."""

import socket

import pytest

from sonoduct.runtime.replica import replica_name, require_name

ANSWERING = """#!/bin/sh
[ "$1 $2 $3" = "-s hosts:dns hosts" ] || exit 3
echo "$4      {name}"
"""


@pytest.fixture(name="getent")
def _getent(tmp_path, monkeypatch):
    """Return a function that puts a program in the place of getent."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(text):
        (tmp_path / "getent").write_text(text)
        (tmp_path / "getent").chmod(0o755)

    return put


def test_a_setting_wins():
    """Any text but `dns` is the name; without one the host has it."""
    assert "north" == replica_name("north")
    assert socket.gethostname() == replica_name("")


def test_a_name_by_dns(getent, monkeypatch):
    """The first label of the name is the container's, without the network behind it."""
    monkeypatch.setattr("socket.gethostbyname", lambda _: "172.18.0.3")
    getent(ANSWERING.format(name="sonoduct-receiver-2.sonoduct_inside"))

    assert "sonoduct-receiver-2" == replica_name("dns")


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 2\n", ANSWERING.format(name="-odd"), None])
def test_without_an_answer(getent, text):
    """If DNS has no name, an odd one, or cannot be asked, the host's name is taken."""
    if text is not None:
        getent(text)

    assert socket.gethostname() == replica_name("dns")


@pytest.mark.parametrize("name", ["", "dns", "sonoduct-receiver-1", "north.example_2", "x" * 64])
def test_names_that_are_taken(name):
    """Names that can stand in a header, a label and a log."""
    require_name(str, name)


@pytest.mark.parametrize("name", ["a b", "a\nb", "-a", "x" * 65, "ü"])
def test_names_that_are_refused(name):
    """The error names the value and what is expected."""
    with pytest.raises(ValueError, match="expected letters, digits"):
        require_name(str, name)
