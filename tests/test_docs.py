"""The documents agree with the code."""

import dataclasses
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import receiver
import sender.jobs.find
import sender.metrics
import sender.settings
from sonoduct import wire
from tests.support.rawclient import running, speaking

ROOT = Path(__file__).parents[1]
AUDIO = (ROOT / "docs" / "audio.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

COMPOSE = (ROOT / "docker-compose.yml").read_text()
OVERRIDES = "".join(path.read_text() for path in (ROOT / "deploy" / "compose").glob("*.yml"))


def compose_variables():
    """Return the variables that the files for compose read themselves, with their defaults."""
    return dict(re.findall(r"\$\{([A-Z_]+):-(.*?)\}", OVERRIDES + COMPOSE))


def settings():
    for prefix, cls in (
        ("RECEIVER", receiver.Settings),
        ("RECEIVER", receiver.Limits),
        ("SENDER", sender.settings.SendSettings),
        ("SENDER", sender.settings.WatchSettings),
        ("SENDER", sender.settings.ProbeSettings),
    ):
        for field in dataclasses.fields(cls):
            if field.name != "limits":
                default = field.default
                shown = " ".join(default) if isinstance(default, tuple) else default
                yield prefix, field.name, "" if shown is None else f"`{shown}`"


@pytest.mark.parametrize(("prefix", "name", "default"), sorted(set(settings())))
def test_each_setting_is_documented_with_its_default(prefix, name, default):
    """operations.md has a row with the option, the variable and the default."""
    option = f"`--{name.replace('_', '-')}`"

    assert f"| {option} | `{prefix}_{name.upper()}` | {default} |" in OPERATIONS


def test_no_setting_is_documented_that_is_gone():
    """Every variable that operations.md names is a setting, or one of compose."""
    known = {f"{prefix}_{name.upper()}" for prefix, name, _ in settings()}
    named = set(re.findall(r"`((?:RECEIVER|SENDER)_[A-Z_]+)`", OPERATIONS))

    assert known <= named <= known | compose_variables().keys()


def test_each_variable_of_the_containers_is_documented_with_its_default():
    """operations.md has a row for each variable that the files for compose read themselves."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(.*?)` \|", OPERATIONS, re.MULTILINE)

    assert compose_variables() == dict(rows)


def test_containers_pass_every_setting_on():
    """docker-compose.yml passes each setting, except addresses and ports."""
    passed = set(re.findall(r"^ +((?:RECEIVER|SENDER)_[A-Z_]+):", COMPOSE, re.MULTILINE))
    names = {
        cls: {field.name for field in dataclasses.fields(cls)}
        for cls in (
            sender.settings.SendSettings,
            sender.settings.ProbeSettings,
            sender.settings.WatchSettings,
        )
    }
    watched = names.pop(sender.settings.WatchSettings)
    only_by_hand = set.union(*names.values()) - watched
    settable = {
        f"{prefix}_{name.upper()}"
        for prefix, name, _ in settings()
        if not name.endswith(("host", "port")) and name not in only_by_hand
    }

    assert settable == passed


def test_each_suffix_is_documented_and_each_documented_one_is_taken():
    """audio.md and the code name the same suffixes, once each."""
    table = AUDIO[AUDIO.index("| suffixes |") :].partition("\n\n")[0]
    documented = re.findall(r"`(\.\w+)`", table)

    assert sorted(sender.jobs.find.SUFFIXES) == sorted(documented)
    assert len(set(documented)) == len(documented)


def test_the_tables_of_metrics_are_those_of_the_code():
    """operations.md has exactly the exported metrics, with their types, labels and help."""
    assert OPERATIONS == loaded("metrics").written(OPERATIONS)


def test_readme_shows_the_example_processor():
    """The README shows the ten lines of the processor that the demo runs."""
    example = (ROOT / "docs" / "examples" / "voice.py").read_text()
    code = example[example.index("class Voice") :]

    assert code in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("frames", [1, 300, 1024, 64_800])
async def test_the_example_processor_hears_the_same_in_any_chunks(frames):
    """Its report depends on the samples only."""
    spec = importlib.util.spec_from_file_location("voice", ROOT / "docs" / "examples" / "voice.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pcm = soundfile.read(ROOT / "audio" / "voice-mono-16bit.wav", dtype="int16")[0][:20_000]
    form = wire.Format(samplerate=16_000, channels=1, encoding=wire.Encoding.S16LE)
    async with running(module.Voice) as listening, speaking(listening.url, format_=form) as client:
        await client.greet()
        await client.send(pcm.tobytes(), chunk_bytes=2 * frames)
        receipt = await client.commit()

    assert {"voice": {"loud_seconds": 0.64}} == receipt.processors


def test_example_in_one_program_runs():
    """The documented use of both Python interfaces prints arrays and a receipt."""
    program = ROOT / "docs" / "examples" / "in_one_program.py"
    sample = ROOT / "audio" / "voice-mono-16bit.wav"

    run = subprocess.run(
        [sys.executable, program, sample], capture_output=True, text=True, timeout=60
    )

    assert (0, "") == (run.returncode, run.stderr)
    assert "frame 0: float32 (64800, 1)" in run.stdout
    assert "receipt: 64800 frames" in run.stdout


def test_demo_counts_every_frame():
    """`make demo` ends with two equal counts."""
    program = ROOT / "docs" / "examples" / "demo.py"

    run = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)

    assert 0 == run.returncode, run.stderr
    assert "402840 frames in the receipts, 402840 frames counted: every one arrived." in run.stdout


def test_sample_audio_is_what_its_script_makes():
    """The samples in audio/ decode to what make_samples.py computes."""
    run = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=ROOT / "audio",
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (0, "") == (run.returncode, run.stderr)


CHECK = """
import numpy, soundfile, make_samples
for sample in make_samples.render():
    frames, rate = soundfile.read(sample.name, dtype=sample.frames.dtype.name)
    assert rate == sample.samplerate, sample
    assert numpy.array_equal(frames, sample.frames), sample
"""


def loaded(name):
    """Return the program docs/NAME.py as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_map_has_every_module():
    """architecture.md names each module, with the first paragraph of its docstring."""
    modules = loaded("modules")

    assert modules.page() == modules.PAGE.read_text()


def test_every_event_of_the_log_is_documented():
    """operations.md lists the events that the code logs, and no other."""
    calls = re.compile(r"\blog\.(?:debug|info|warning|error)\(\s*\"(\w+)\"")
    lines = re.compile(r"\{\"event\": \"(\w+)\"")
    logged = set()
    for package in ("sender", "receiver", "sonoduct"):
        for path in (ROOT / package).rglob("*.py"):
            logged |= {*calls.findall(path.read_text()), *lines.findall(path.read_text())}
    section = OPERATIONS.partition("## Logs")[2]
    named = set()
    for events in re.findall(r"^\| (`[^|]*`) \| (?:both|sender|receiver)", section, re.MULTILINE):
        named |= set(re.findall(r"`(\w+)`", events))

    assert logged == named
