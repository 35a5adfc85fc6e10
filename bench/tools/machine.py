"""The machine: what it is, and what a measurement borrows of it and gives back."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HUGEPAGES = Path("/proc/sys/vm/nr_hugepages")
ENDING = (signal.SIGTERM, signal.SIGHUP)


class Failed(Exception):
    """A sentence for the person at the terminal."""


def cpu_field(name: str) -> str:
    """A field of the first CPU in /proc/cpuinfo."""
    found = re.search(rf"^{name}\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else ""


def tsc_hertz() -> float:
    """The time-stamp counter's frequency. The kernel derives loops_per_jiffy, and so BogoMIPS, from it on every x86 whose counter is constant."""
    if "constant_tsc" not in cpu_field("flags"):
        raise Failed("this CPU has no constant time-stamp counter, in which everything here is counted")
    return float(cpu_field("bogomips")) * 5e5


def first_line(*command: str) -> str:
    """What a command says first, or nothing where there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.strip().splitlines() or [""])[0]


def facts() -> dict:
    """What a figure has to be quoted with."""
    dirty = first_line("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.toml", "Cargo.lock")
    return {
        "what": "machine",
        "cpu": cpu_field("model name"),
        "family": f"{cpu_field('cpu family')}/{cpu_field('model')}",
        "cpus": os.cpu_count(),
        "tsc_mhz": round(tsc_hertz() / 1e6),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "dpdk": first_line("pkg-config", "--modversion", "libdpdk"),
        "commit": first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD") + ("+changes" if dirty else ""),
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
    }


def turn_signals_into_exits() -> None:
    """So that SIGTERM and SIGHUP clean up as Ctrl-C does."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in ENDING:
        signal.signal(number, leave)


class Borrowed(ExitStack):
    """A folder, and processes, namespaces and hugepages that go, or go back, with it: also when a signal ends the program."""

    def __enter__(self) -> Borrowed:
        super().__enter__()
        turn_signals_into_exits()
        self.folder = Path(tempfile.mkdtemp(prefix="warren-bench."))
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(self, *raised: object) -> bool | None:
        """Gives everything back. A second Ctrl-C must not leave half of it behind."""
        kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *ENDING)}
        try:
            return super().__exit__(*raised)
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def hugepages(self, mebibytes: int) -> bool:
        """Asks for so much in hugepages; whether there is so much. The number of before comes back."""
        meminfo = Path("/proc/meminfo").read_text()
        size = int(re.search(r"^Hugepagesize:\s*(\d+) kB", meminfo, re.M)[1])
        free = int(re.search(r"^HugePages_Free:\s*(\d+)", meminfo, re.M)[1])
        wanted = -(-mebibytes * 1024 // size)
        if free < wanted:
            before = int(HUGEPAGES.read_text())
            try:
                HUGEPAGES.write_text(str(before + wanted - free))
            except OSError:
                return False
            self.callback(HUGEPAGES.write_text, str(before))
        free = int(re.search(r"^HugePages_Free:\s*(\d+)", Path("/proc/meminfo").read_text(), re.M)[1])
        return free >= wanted

    def namespace(self, name: str) -> str:
        """A network namespace with a loopback device that is up."""
        run("ip", "netns", "add", name)
        self.callback(subprocess.run, ["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def start(self, command: Sequence[str], log: Path, env: dict | None = None) -> subprocess.Popen:
        """A process that ends with this, at the latest, before others in the scheduler's eyes. Its input never says anything."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["nice", "-n", "-15", *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self.callback(end, process)
        return process


def end(process: subprocess.Popen) -> None:
    """SIGTERM, and SIGKILL for one that does not care."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin:
        process.stdin.close()


def run(*command: str, env: dict | None = None) -> str:
    """Runs a command to its end; what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if done.returncode:
        raise Failed(f"{' '.join(command[:3])}…: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def tail(log: Path, lines: int = 8) -> str:
    """The end of a log, for what is said when something failed."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def wait_for(what: str, done: Callable[[], object], seconds: float = 15, process: subprocess.Popen | None = None, log: Path | None = None):
    """Asks until there is an answer, which it returns."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            if answer := done():
                return answer
        except (OSError, ValueError, Failed):
            pass
        if process and process.poll() is not None:
            break
        time.sleep(0.05)
    raise Failed(f"{what}: not there after {seconds:.0f} s" + (f"; its log ends with\n{tail(log)}" if log else ""))


def progress(text: str) -> None:
    """A line for whoever waits; not a part of the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(json.dumps({**facts(), "quick": "quick" in sys.argv}))
