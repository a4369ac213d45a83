"""Which folders can be a store; no other folder is changed."""

import errno

import pytest

from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.layout import SHELVES
from sonoduct.wire import StorageFailed
from tests.support.faultydisk import FaultyDisk, HastyDisk

HASTY = HastyDisk()
MADE = ["audio", "store.json", "streams"]


def contents(root):
    """Return all paths below *root*, with the content of files."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


def names(folder):
    """Return the names in *folder* itself."""
    return sorted(path.name for path in folder.iterdir())


def refused(root, why, disk=HASTY, reserve=0):
    """Require that *root* is refused with *why*, and unchanged."""
    before = contents(root)
    with pytest.raises(StorageFailed, match=why):
        Layout(disk, root).prepare(reserve)

    assert before == contents(root)


def test_a_new_folder_becomes_a_store(tmp_path):
    """Missing parent folders are made."""
    Layout(HASTY, tmp_path / "a" / "b").prepare(0)

    assert MADE == names(tmp_path / "a" / "b")


@pytest.mark.parametrize("there", [[], ["lost+found"], [".store.json.1234abcd"]])
def test_an_empty_folder_becomes_a_store(tmp_path, there):
    """Files that a new disk or a crash leaves do no harm."""
    for name in there:
        (tmp_path / name).mkdir()
    Layout(HASTY, tmp_path).prepare(0)

    assert sorted(MADE + there) == names(tmp_path)


@pytest.mark.parametrize("there", [[], ["00", "7f"]])
def test_claims_need_not_make_shelves_durable(tmp_path, there):
    """All shelves exist from the start, from this receiver or from one that crashed."""
    for name in there:
        (tmp_path / "streams" / name).mkdir(parents=True)
    (tmp_path / "store.json").write_text('{"version": 1}')
    disk = FaultyDisk()
    Layout(disk, tmp_path).prepare(0)

    assert list(SHELVES) == names(tmp_path / "streams")
    made = disk.calls.index("make_folders")
    assert 2 == disk.calls[made:].count("sync_folder")


def test_a_store_stays_a_store(tmp_path):
    """Foreign files that came later do no harm."""
    Layout(HASTY, tmp_path).prepare(0)
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    Layout(PosixDisk(), tmp_path).prepare(0)

    assert before == contents(tmp_path)


def test_a_file_is_no_store(tmp_path):
    """A file is refused, and so is a folder below a file."""
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", "file: Not a directory")
    refused(tmp_path / "file" / "store", "store: Not a directory")


@pytest.mark.parametrize("name", ["notes.txt", "streams", "audio"])
def test_foreign_files_are_not_mixed_with_ours(tmp_path, name):
    """A folder with files of other origin is refused, even if they have our names."""
    (tmp_path / name).mkdir()
    refused(tmp_path, f"has no store.json, and holds {name}, expected an empty folder")


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ('{"version": 2}', "has version 2, expected 1"),
        ('{"version": "1"}', "store.json: Expected `int`"),
        ("", "store.json: Input data was truncated"),
    ],
)
def test_another_version_is_left_alone(tmp_path, mark, why):
    """Commands that only read refuse it as well."""
    (tmp_path / "store.json").write_text(mark)
    (tmp_path / "streams").mkdir()
    refused(tmp_path, why)
    with pytest.raises(StorageFailed, match=why):
        Layout(HASTY, tmp_path).require_version()


def test_a_disk_that_is_too_small(tmp_path):
    """A disk within the reserve would never have room."""
    size = HASTY.capacity(tmp_path)
    refused(tmp_path, f"bytes of its disk {size}, expected more than", reserve=size)


@pytest.mark.parametrize("which", ["", "streams", "audio"])
def test_a_store_that_cannot_be_written_to(tmp_path, which):
    """Each folder is tried, because they may belong to different users."""
    Layout(HASTY, tmp_path).prepare(0)
    disk = FaultyDisk()
    disk.writable = lambda folder: folder != tmp_path / which
    refused(tmp_path, f"{tmp_path / which} cannot be written to", disk)


@pytest.mark.parametrize("method", ["make_folder", "capacity", "replace"])
def test_a_disk_that_refuses(tmp_path, method):
    """The error has the system's reason."""
    disk = FaultyDisk()
    disk.fail(method, errno.EROFS)
    refused(tmp_path, "Read-only file system", disk)


def test_two_receivers_start_at_once(tmp_path):
    """Files that the other receiver has just made are not foreign."""
    disk = FaultyDisk()
    disk.before("names", lambda _: Layout(HASTY, tmp_path).prepare(0))
    Layout(disk, tmp_path).prepare(0)

    assert MADE == names(tmp_path)
