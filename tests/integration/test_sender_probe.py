"""`sender probe` describes files."""

import json
import os

from tests.support.commands import COMMANDS, started
from tests.support.corpus import encode
from tests.support.sounds import write


async def probed(*arguments, **how):
    """Run `sender probe` until it ends; return the program and its exit code."""
    async with started(COMMANDS / "sender", "probe", *arguments, **how) as program:
        code = await program.ended()
    return program, code


async def test_lines_of_json(tmp_path):
    """Each line has the facts of a file, with any name; frames are claimed, or counted."""
    write(tmp_path / "wrong.mp3.wav", 12_345, 2, "PCM_24").rename(tmp_path / "wrong.mp3")
    encode(tmp_path / "a.m4a", "-c:a", "aac", frames=16_000).unlink()
    flac = write(tmp_path / "b.flac", 20_000)
    data = flac.read_bytes()
    flac.write_bytes(data[:22] + (30_000).to_bytes(4) + data[26:])
    for how in ((), ("--count",)):
        program, code = await probed("--output", "json", *how, "a.m4a", ".", cwd=tmp_path)
        m4a, again, b, wrong = (json.loads(line) for line in program.lines)

        assert (0, []) == (code, program.errors)
        assert m4a == again
        assert {
            "container": "mov,mp4,m4a,3gp,3g2,mj2",
            "codec": "aac",
            "subtype": "fltp",
            "samplerate": 16_000,
            "channels": 1,
            "encoding": "f32le",
        }.items() <= m4a.items()
        assert ("ffmpeg", "soundfile", bool(how)) == (m4a["decoder"], b["decoder"], b["counted"])
        assert (20_000 if how else 30_000) == b["frames"]
        assert ("20000 frames, the file claims 30000" if how else "") == b["warning"]
        assert ("WAV", "pcm", "PCM_24", 12_345, "s24le") == tuple(
            wrong[key] for key in ("container", "codec", "subtype", "frames", "encoding")
        )


async def test_a_table(tmp_path):
    """Each file has a row; a file without audio is named on standard error, with exit code 1."""
    write(tmp_path / "a.wav", 1000)
    write(tmp_path / "c [x].wav", 2000, 2, "FLOAT")
    (tmp_path / "b.wav").write_text("no audio")
    program, code = await probed(".", "gone*.wav", cwd=tmp_path)
    rows = [" ".join(line.split()) for line in program.lines]

    assert 1 == code
    assert [
        "file container codec subtype samplerate channels frames encoding decoder",
        "a.wav WAV pcm PCM_16 16000 1 1000 claimed s16le soundfile",
        "c [x].wav WAV pcm FLOAT 16000 2 2000 claimed f32le soundfile",
    ] == rows
    assert [
        "b.wav: no audio: ffmpeg: Invalid data found when processing input\n",
        "gone*.wav: no file matches this pattern\n",
    ] == program.errors


async def test_output_and_names_that_are_not_utf_8(tmp_path):
    """Results and errors replace the characters that the output cannot show."""
    write(tmp_path / "Привет.wav", 1000)
    write(tmp_path / "[b] :cat: [x].wav", 1000)
    write(tmp_path / "a.wav", 1000).rename(tmp_path / os.fsdecode(b"odd\xff.wav"))
    (tmp_path / os.fsdecode("broken П\x1b".encode() + b"\xff.wav")).symlink_to("gone")
    (tmp_path / "notes.txt").touch()
    replaced = "\\u041f\\u0440\\u0438\\u0432\\u0435\\u0442.wav"
    for how in ("table", "json"):
        program, code = await probed(
            *(".", os.fsdecode(b"\xff*.wav"), "--output", how),
            env={"PYTHONIOENCODING": "ascii"},
            cwd=tmp_path,
        )
        broken = "No such file or directory"

        assert 1 == code
        assert ".: left out: 1 .txt\n" == program.errors[0]
        if how == "json":
            names = {json.loads(line)["name"]: json.loads(line) for line in program.lines}
            assert {"Привет.wav", "[b] :cat: [x].wav", "odd?.wav"} < names.keys()
            assert broken == names["broken П??.wav"]["error"]
            assert "no file matches this pattern" == names["?*.wav"]["error"]
        else:
            names = {line.split("  ")[0] for line in program.lines[1:]}
            assert {replaced, "[b] :cat: [x].wav", "odd?.wav"} == names
            assert f"broken \\u041f??.wav: {broken}\n" == program.errors[1]
            assert "?*.wav: no file matches this pattern\n" == program.errors[2]
