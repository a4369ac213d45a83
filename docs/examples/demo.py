"""
What `make demo` runs: the two commands as processes of their own, over a real WebSocket.

Prints each file's receipt, what the processors made of its samples, and the receiver's own count.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent
METRICS = ("receiver_frames_total", "receiver_audio_seconds_total", "receiver_chunks_received")


def main():
    """Run the demo; return the exit code."""
    with tempfile.TemporaryDirectory() as folder, running_receiver(folder) as (url, metrics_port):
        print(f"receiver serve    listens on {url}, processors: levels, voice\n")
        report = Path(folder) / "report.jsonl"
        command = [COMMANDS / "sender", "send", "audio", "--to", url, "--report", report]
        print(f"sender send audio --to {url}\n", flush=True)
        quiet = ["--progress", "auto" if sys.stderr.isatty() else "never", "--log-level", "warning"]
        code = subprocess.run([*command, *quiet], cwd=ROOT, check=False).returncode
        receipts = [json.loads(line)["receipt"] for line in report.open()]
        show_processors(report)
        return code or show_metrics(metrics_port, receipts)


@contextmanager
def running_receiver(folder):
    """A receiver on free ports, with the processor of docs/examples/voice.py beside its own."""
    command = [COMMANDS / "receiver", "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--metrics-port", "0", "--drain-lead", "0", "--store", f"{folder}/recordings"]
    command += ["--processors", "levels", "--processors", "voice:Voice"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "docs" / "examples")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        ready = next(line for line in map(json.loads, process.stderr) if "url" in line)
        yield ready["url"], ready["metrics_port"]
    finally:
        process.terminate()
        process.communicate()


def show_processors(report):
    """Print what the processors said of each stream, as its receipt has it."""
    print("\nWhat the processors made of the arrays:")
    outcomes = [json.loads(line) for line in report.open()]
    for outcome in sorted(outcomes, key=lambda each: each["name"]):
        print(f"  {outcome['name']}")
        for name, values in outcome["receipt"]["processors"].items():
            print(f"    {name}: " + ", ".join(f"{key} {value}" for key, value in values.items()))


def show_metrics(port, receipts):
    """Print the receiver's own count of the same frames; return 1 if it is another one."""
    print(f"\nWhat the receiver counted (http://127.0.0.1:{port}/metrics):")
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    lines = [line for line in page.splitlines() if line.startswith(METRICS)]
    print("\n".join(f"  {line}" for line in lines))
    sent = sum(receipt["frames"] for receipt in receipts)
    counted = next(float(line.split()[1]) for line in lines if line.startswith(METRICS[0]))
    print(f"\n{sent} frames in the receipts, {counted:.0f} frames counted: ", end="")
    print("every one arrived." if sent == counted else "THESE DIFFER.")
    return 0 if sent == counted else 1


if __name__ == "__main__":
    sys.exit(main())
