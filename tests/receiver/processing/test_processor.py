"""The search for processors, and their names."""

import functools

import pytest

from receiver.processing.processor import find_processors, named
from receiver.processors.levels import Levels


def test_installed_and_spelled_out_processors_are_found():
    """A setting names an entry point, or MODULE:CLASS."""
    assert {"levels": Levels} == find_processors(["levels"])
    assert {"levels": Levels} == find_processors(["receiver.processors.levels:Levels"])
    assert {} == find_processors([])


def test_all_that_cannot_be_found_is_said_together():
    """One sentence names every wrong processor, and the installed ones."""
    with pytest.raises(ValueError, match="nope") as caught:
        find_processors(["nope", "levels", "no.module:Class", "receiver.processors.levels:Missing"])

    sentence = str(caught.value)
    assert "processor 'nope': expected MODULE:CLASS or one of levels" in sentence
    assert "processor 'no.module:Class': No module named 'no'" in sentence
    assert (
        "processor 'receiver.processors.levels:Missing': module 'receiver.processors.levels' has no"
        in sentence
    )


class Configured:
    """A factory that is not a class."""

    def __call__(self):
        return Levels()


def test_names_are_those_of_metrics_and_receipts():
    """A class, a function and any other callable have a name in lower case."""

    def Make():  # noqa: N802
        return Levels()

    assert ["levels", "make", "configured"] == list(named([Levels, Make, Configured()]))


def test_names_that_would_hide_each_other_are_refused():
    """Two processors cannot share a name: one of them would silently see nothing."""
    partials = [functools.partial(Levels), functools.partial(Levels)]
    with pytest.raises(ValueError, match=r"processors named 'partial': 2, expected 1"):
        named(partials)
    with pytest.raises(ValueError, match=r"processors named 'levels': 2, expected 1"):
        find_processors(["levels", "receiver.processors.levels:Levels"])
