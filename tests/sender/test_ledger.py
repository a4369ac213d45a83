"""The ledger, in which the sender records the digests of its files."""

import threading

import pytest

from sender.ledger import open_ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "receipts.db"


def test_a_record_is_found(path):
    """
    A record is found by stream and evidence when the ledger is opened again.

    The folder is created.
    """
    with open_ledger(str(path), 10) as ledger:
        assert ledger.find("a", "1") is None

        ledger.record("a", "1", 5, "d")
    with open_ledger(str(path), 10) as ledger:
        assert (5, "d") == ledger.find("a", "1")
        assert ledger.find("a", "2") is None
        assert ledger.find("b", "1") is None


def test_the_latest_record_counts(path):
    """If a file has changed, the new record replaces the old one."""
    with open_ledger(str(path), 10) as ledger:
        ledger.record("a", "1", 5, "d")
        ledger.record("a", "2", 6, "e")

        assert (6, "e") == ledger.find("a", "2")
        assert ledger.find("a", "1") is None


def test_the_oldest_records_are_removed(path, monkeypatch):
    """However many files are sent, the ledger keeps a bounded number of records."""
    monkeypatch.setattr("sender.ledger.TOGETHER", 2)
    with open_ledger(str(path), 3) as ledger:
        for number in range(10):
            ledger.record(str(number), "1", number, "d")
        found = [number for number in range(10) if ledger.find(str(number), "1")]

    assert [7, 8, 9] == found


def test_an_empty_path_switches_the_ledger_off():
    """With an empty path there is no ledger."""
    with open_ledger("", 3) as ledger:
        assert ledger is None


def spoilt(path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but long enough to be looked at" * 50)


def blocked(path):
    path.parent.write_text("a file where the folder should be")


@pytest.mark.parametrize("spoil", [spoilt, blocked])
def test_a_ledger_that_cannot_be_used_is_empty(path, spoil, capsys):
    """If the ledger's file is unusable, a line of the log says so, and no record is found."""
    spoil(path)
    for _ in range(2):
        with open_ledger(str(path), 3) as ledger:
            assert ledger.find("a", "1") is None

            ledger.record("a", "1", 5, "d")

    assert 2 == capsys.readouterr().out.count("ledger_unusable")


def test_a_record_is_found_before_it_is_written(path):
    """The ledger writes records together, and keeps them in memory until then."""
    with open_ledger(str(path), 10) as ledger:
        ledger.record("a", "1", 5, "d")

        assert not path.exists()
        assert (5, "d") == ledger.find("a", "1")
        assert ledger.find("a", "2") is None


def test_threads_and_ledgers_share_a_file(path, monkeypatch):
    """Several threads and two open ledgers write to one file, and every record is found."""
    monkeypatch.setattr("sender.ledger.TOGETHER", 3)
    with open_ledger(str(path), 10_000) as one, open_ledger(str(path), 10_000) as two:
        threads = [
            threading.Thread(target=record, args=(ledger, name))
            for name, ledger in (("a", one), ("b", one), ("c", two))
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        one.close()
        found = [two.find(f"{name}{number}", "1") for name in "abc" for number in range(50)]

    assert all(found)


def record(ledger, name):
    for number in range(50):
        ledger.record(f"{name}{number}", "1", number, "d")


def test_a_user_without_a_home(monkeypatch, capsys):
    """If there is no home directory, a line of the log says so, and the ledger is empty."""

    def expanduser(_path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", expanduser)
    with open_ledger("~/receipts.db", 3) as ledger:
        assert ledger.find("a", "1") is None

    assert 1 == capsys.readouterr().out.count("ledger_unusable")
