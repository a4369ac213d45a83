"""Which files a path on the command line stands for."""

import os
import threading
from collections import Counter

import pytest

from sender.jobs.find import Fault, find_files, summary, walk
from tests.support.rights import enterable_folder, without_rights


@pytest.fixture(name="folder")
def _folder(tmp_path):
    for name in ("b.wav", "a.FLAC", "deep/c.ogg", "cover.jpg", ".hidden.wav", ".git/d.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "x.wav").mkdir()
    (tmp_path / "quiet").mkdir()
    return tmp_path


def names(folder, found):
    """Return the files of *found* relative to *folder*; there must be no fault."""
    assert [] == found.faults
    return [str(path.relative_to(folder)) for path in found.files]


def test_a_folder_stands_for_its_audio_files(folder):
    """
    Audio files at any depth are found, in order.

    Hidden files, and folders named like audio, are not.
    """
    assert ["a.FLAC", "b.wav", "deep/c.ogg"] == names(folder, find_files(str(folder)))


def test_files_that_are_left_out_are_counted(folder):
    """Files count by suffix in lower case; hidden entries, linked folders and pipes count apart."""
    for name in ("x.wav/e.JPG", "deep/README", "f.wav.part", "g.wav~", "quiet/._b.wav"):
        (folder / name).touch()
    os.mkfifo(folder / "pipe.wav")
    (folder / "elsewhere.wav").symlink_to(folder / "deep")
    (folder / "notes").symlink_to(folder / "gone")
    found = find_files(str(folder))

    assert ["a.FLAC", "b.wav", "deep/c.ogg"] == names(folder, found)
    assert {
        "hidden": 3,
        ".jpg": 2,
        "no suffix": 2,
        ".part": 1,
        ".wav~": 1,
        "no regular file": 1,
        "linked folder": 1,
    } == found.left_out


def test_a_summary_names_the_most_frequent(folder):
    """The summary names the ten most frequent suffixes, and counts the others together."""
    left_out = Counter({f".{number}": 20 - number for number in range(12)})

    assert "3 .jpg, 1 hidden" == summary(Counter({".jpg": 3, "hidden": 1}))
    assert summary(left_out).startswith("20 .0, 19 .1, ")
    assert summary(left_out).endswith(" 11 .9, 19 others")


def test_a_folder_that_is_named_like_audio_is_walked(folder):
    """The folder may lie in another one, be given on the command line, or match a pattern."""
    (folder / "x.wav" / "e.mp3").touch()

    for path in (folder, folder / "x.wav", folder / "*.wav"):
        assert "x.wav/e.mp3" in names(folder, find_files(str(path)))


def test_a_hidden_folder_on_the_command_line_is_walked(folder):
    """Only files and folders below the given path are left out because they are hidden."""
    assert [".git/d.wav"] == names(folder, find_files(str(folder / ".git")))


def test_a_file_on_the_command_line_may_have_any_name(folder):
    """Whether the file exists and holds audio shows only when it is opened."""
    for name in ("cover.jpg", "gone", "x" * 300, "b.wav/below"):
        assert [folder / name] == find_files(str(folder / name)).files


def test_links(folder):
    """Links to files and broken links are found as files; loops of linked folders end."""
    (folder / "linked.wav").symlink_to(folder / "cover.jpg")
    (folder / "broken.wav").symlink_to(folder / "gone")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "deep" / "here").symlink_to(".")
    links = ["broken.wav", "linked.wav", "loop.wav"]

    assert ["a.FLAC", "b.wav", *links[:1], "deep/c.ogg", *links[1:]] == names(
        folder, find_files(str(folder))
    )
    assert ["deep/c.ogg"] == names(folder, find_files(f"{folder}/**/*.ogg"))
    assert ["deep/c.ogg"] == names(folder, find_files(f"{folder}/*/c.ogg"))
    assert links == names(folder, find_files(f"{folder}/[bl]*[dnp].wav"))
    broken = folder / "broken.[wv]av"
    broken.symlink_to(folder / "gone")
    assert [broken] == find_files(str(broken)).files


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.wav", ["b.wav"]),
        ("[ab].*", ["a.FLAC", "b.wav"]),
        ("**/*.ogg", ["deep/c.ogg"]),
        ("**/*.wav", ["b.wav"]),
        ("**", ["a.FLAC", "b.wav", "deep/c.ogg"]),
        ("**/deep/**", ["deep/c.ogg"]),
        ("?eep", ["deep/c.ogg"]),
        ("?eep/c.ogg", ["deep/c.ogg"]),
        ("*/../b.wav", ["deep/../b.wav", "quiet/../b.wav", "x.wav/../b.wav"]),
        ("*/*", ["deep/c.ogg"]),
        ("*.jpg", ["cover.jpg"]),  # a file that matches may have any suffix
        (".g*/*", [".git/d.wav"]),
        ("[dq]*", ["deep/c.ogg"]),  # one of the folders holds nothing
    ],
)
def test_a_pattern_stands_for_its_matches(folder, pattern, expected):
    """Folders that match are walked; hidden ones match only if the pattern has a leading dot."""
    assert expected == names(folder, find_files(str(folder / pattern)))


def test_nested_folders_that_match(folder):
    """A file that a pattern reaches twice is found once, or counted once as left out."""
    (folder / "deep" / "down").mkdir()
    for name in ("deep/down/e.wav", "deep/down/f.doc"):
        (folder / name).touch()
    found = find_files(f"{folder}/**/d*")

    assert ["deep/c.ogg", "deep/down/e.wav"] == names(folder, found)
    assert {".doc": 1} == found.left_out


def test_a_pattern_in_the_working_folder(folder, monkeypatch):
    """If the pattern is relative, the paths that it matches are relative."""
    monkeypatch.chdir(folder)

    assert ["b.wav"] == [str(path) for path in find_files("*.wav").files]
    assert ["deep/c.ogg"] == [str(path) for path in find_files("./*/*.ogg").files]


def test_a_name_that_looks_like_a_pattern(folder):
    """If a file has exactly this name, the name is no pattern."""
    (folder / "take[1].wav").touch()

    assert ["take[1].wav"] == names(folder, find_files(str(folder / "take[1].wav")))


def test_a_name_that_is_not_utf_8(folder):
    """Such a file is found in a folder and by a pattern, like any other file."""
    odd = folder / os.fsdecode(b"odd\xff.wav")
    odd.touch()

    assert odd in find_files(str(folder)).files
    assert [odd] == find_files(f"{folder}/o*.wav").files


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("quiet", ": no audio in this folder, expected .aac, "),
        ("*.mp3", ": no file matches this pattern"),
        ("q*", ": no file matches this pattern"),
        ("gone/*.wav", ": no file matches this pattern"),
        ("b.wav/*", ": no file matches this pattern"),
        ("x" * 300 + "[12]", ": no file matches this pattern"),
        (f"{'x' * 300}/*", f"{'x' * 300}: File name too long"),
    ],
)
def test_a_path_without_audio_is_a_fault(folder, path, reason):
    """The fault names the path and the reason."""
    (fault,) = find_files(str(folder / path)).faults

    expected = f"{folder / path}{reason}" if reason.startswith(":") else f"{folder / reason}"
    assert str(fault).startswith(expected)


def test_a_folder_without_audio_lists_its_other_files(folder):
    """The fault says which suffixes were left out."""
    (folder / "quiet" / "a.doc").touch()
    (fault,) = find_files(str(folder / "quiet")).faults

    assert fault.reason.endswith("; left out: 1 .doc")


def test_folders_that_cannot_be_read():
    """If a folder cannot be listed or entered, it is a fault; all other files are found."""
    with enterable_folder() as folder:
        for name in ("open/a.wav", "unlisted/b.wav", "unentered/c.wav"):
            (folder / name).parent.mkdir()
            (folder / name).touch()
        (folder / "open" / "link.wav").symlink_to(folder / "unlisted" / "b.wav")
        (folder / "unlisted").chmod(0o000)
        (folder / "unentered").chmod(0o744)
        faults = [
            Fault(folder / "unentered", "Permission denied"),
            Fault(folder / "unlisted", "Permission denied"),
        ]
        good = [folder / "open" / "a.wav", folder / "open" / "link.wav"]
        with without_rights():
            for path in (folder, folder / "*", folder / "**" / "*.wav", folder / "*" / "*.wav"):
                found = find_files(str(path))

                assert good == found.files
                assert faults == sorted(found.faults)
            by_name = find_files(str(folder / "*" / "a.wav"))
            only = find_files(str(folder / "unlisted"))
            within = find_files(str(folder / "unlisted" / "deeper" / "*.wav"))

    assert ([good[0]], faults) == (by_name.files, sorted(by_name.faults))
    assert ([], faults[1:]) == (only.files, only.faults)
    assert ([], faults[1:]) == (within.files, within.faults)


def test_a_tree_that_changes_while_it_is_walked(tmp_path):
    """
    If folders come and go during the walk, it finds the other files.

    The only fault is a missing folder.
    """
    (tmp_path / "a.wav").touch()
    ended = threading.Event()

    def change():
        while not ended.is_set():
            for number in range(5):
                (tmp_path / f"{number}" / "deep").mkdir(parents=True)
            for number in range(5):
                (tmp_path / f"{number}" / "deep").rmdir()
                (tmp_path / f"{number}").rmdir()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            found = walk(tmp_path)

            assert [tmp_path / "a.wav"] == found.files
            assert {fault.reason for fault in found.faults} <= {"No such file or directory"}
    finally:
        ended.set()
        thread.join()
