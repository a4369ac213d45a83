"""Results are published only if the control says that the machine was steady."""

import pytest

from benchmarks.control import MOST_SPREAD, unsteady
from benchmarks.report import Published, publish
from benchmarks.results import Case

STEADY = {"raw TCP": [20.0, 22.0, 21.0], "raw disk": [60.0, 60.0 * MOST_SPREAD, 70.0]}
README = "before\n<!-- results begin -->\nold\n<!-- results end -->\nafter\n"


@pytest.fixture
def where(tmp_path):
    """The files of a project that has published before."""
    files = Published(tmp_path / "results.json", tmp_path / "README.md")
    files.results.write_text("{}\n")
    files.readme.write_text(README)
    return files


def case():
    found = Case("bulk", "one file")
    found.add("ours", seconds=1.5)
    return found


def test_a_spread_up_to_the_limit_is_steady():
    """The limit itself is allowed."""
    assert not unsteady(STEADY)


@pytest.mark.parametrize("name", STEADY)
def test_either_control_can_be_unsteady_and_its_figures_are_said(name):
    """A point is too high or too low, wherever it stands in the run."""
    for taken in ([10.0, 11.0, 15.1], [15.1, 11.0, 10.0], [15.0, 9.9, 15.0]):
        why = unsteady(STEADY | {name: taken})
        assert name in why
        assert all(f"{each:.3g}" in why for each in taken)
        assert str(MOST_SPREAD) in why


def test_an_unsteady_machine_changes_neither_file_and_says_why(where, capsys):
    """The old tables stay, byte for byte."""
    assert not publish([case()], STEADY | {"raw disk": [60.0, 126.0, 70.0]}, where)
    assert where.results.read_text() == "{}\n"
    assert where.readme.read_text() == README
    said = capsys.readouterr().err
    assert "raw disk took 60, 126, 70 ms: a spread of 2.10, at most 1.5" in said


def test_a_steady_machine_replaces_what_stands_between_the_marks(where):
    """The rest of the README stays."""
    assert publish([case()], STEADY, where)
    text = where.readme.read_text()
    assert text.startswith("before\n<!-- results begin -->\n")
    assert text.endswith("<!-- results end -->\nafter\n")
    assert "old" not in text
    assert "| ours | 1.5 |" in text
    assert '"ours"' in where.results.read_text()
