"""Run the attacks: `python -m tests.hostile [--quick] [--only NAME] [--without-guards]`."""

import argparse
import json
import sys
import time
from pathlib import Path

import structlog

from tests.hostile.attacks import ATTACKS, CHECKS, CONTROL, CONTROL_TOKENS
from tests.hostile.beside import measured
from tests.hostile.figures import HEAD, Figures, misses, row
from tests.hostile.victim import can_mount, has_groups, memory_folder


def show(cells, verdict):
    """Print one line."""
    widths = (40, 7, 9, 9, 9, 6, 7, 6)
    shown = "  ".join(f"{each:<{width}}" for each, width in zip(cells, widths, strict=False))
    print(f"{shown}  {cells[-1]}  {verdict}", flush=True)


def main():
    """Run what is asked for; return 1 if an attack has missed a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, in minutes")
    parser.add_argument("--only", action="append", help="a part of a name; again for more")
    parser.add_argument("--without-guards", action="store_true", help="each must do harm then")
    parser.add_argument("--output", type=Path, help="file for the figures, as JSON")
    parser.add_argument("--work", default=memory_folder(), help="folder for stores; in memory")
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    return Run(chosen).all()


class Run:
    """One run: its controls, its attacks, and what has missed."""

    def __init__(self, chosen):
        self._chosen = chosen
        self._controls = {}
        self._lines = []
        self._mounts = can_mount()

    def all(self):
        """Run all attacks that are chosen; return the exit code."""
        limits = "a control group" if has_groups() else "limits of the process, and of its RSS"
        print(f"receiver in {limits}: 512 MiB, 128 threads, 4096 files")
        show(HEAD, "")
        failed = []
        for attack in filter(self._is_wanted, ATTACKS):
            if attack.disk and not self._mounts:
                print(f"{attack.name}: NOT RUN: mounting a disk needs root")
                continue
            if not self._one(attack):
                failed.append(attack.name)
        failed += [each.name for each in filter(self._is_wanted, CHECKS) if not self._checked(each)]
        if self._chosen.output:
            self._chosen.output.write_text(json.dumps(self._lines, indent=1) + "\n")
        for name in failed:
            print(f"MISSED: {name}")
        return 1 if failed else 0

    def _is_wanted(self, attack):
        names = self._chosen.only
        return not names or any(each in attack.name for each in names)

    def _checked(self, check):
        without = check.guard if self._chosen.without_guards else ""
        if self._chosen.without_guards and not check.guard:
            return True
        if check.only_without and not without:
            return True
        chosen = self._chosen
        figure, missed = check.run(quick=chosen.quick, work=chosen.work, without=without)
        verdict = "ok" if not missed else "MISSED " + "; ".join(missed)
        name = f"{check.name}{' WITHOUT ' + without if without else ''}"
        print(f"{name:<40}  {figure}  {verdict}", flush=True)
        line = {"attack": check.name, "without": without, "figures": figure, "missed": missed}
        self._lines.append(line)
        return bool(missed) == bool(without)

    def _control(self, attack, *, anew=False):
        control = CONTROL_TOKENS if attack.tokens else CONTROL
        if anew or control.name not in self._controls:
            seen = measured(control, quick=self._chosen.quick, work=self._chosen.work)
            show(row(seen), "")
            self._controls[control.name] = seen
        return self._controls[control.name]

    def _one(self, attack):
        if self._chosen.without_guards:
            return self._unguarded(attack)
        missed = self._judged(attack, self._control(attack))
        if missed:  # is the machine busy, or is it the attack?
            missed = self._judged(attack, self._control(attack, anew=True))
        return not missed

    def _judged(self, attack, control, without=""):
        chosen = self._chosen
        try:
            seen = measured(attack, quick=chosen.quick, without=without, work=chosen.work)
            missed = misses(seen, control, tokens=attack.tokens)
        except (RuntimeError, TimeoutError, OSError) as exc:  # the others run all the same
            seen, missed = Figures(attack.name, alive=False), [f"no figures: {exc!r}"[:300]]
        verdict = "ok" if not missed else "MISSED " + "; ".join(missed)
        name = f"{attack.name}{' WITHOUT ' + without if without else ''}"
        show((name, *row(seen)[1:]), verdict)
        self._lines.append(
            {
                "at": time.time(),
                "attack": attack.name,
                "without": without,
                "figures": dict(zip(HEAD, row(seen), strict=True)),
                "missed": missed,
                "said": seen.said,
                "faults": seen.faults,
            }
        )
        return missed

    def _unguarded(self, attack):
        """With its guard an attack must do no harm, and without it some."""
        if not attack.guard:
            return True
        control = self._control(attack)
        return bool(self._judged(attack, control, attack.guard))


if __name__ == "__main__":
    sys.exit(main())
