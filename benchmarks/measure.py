"""What every benchmark shares: CPU and peak memory of whole processes, medians of runs in turn, a table and a JSON line.

CPU is user and system time of a process and its children; ratios of commands that ran in turn hold on a busy machine,
times do not. This module imports the standard library alone: the peak memory of a child counts from that of its parent.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-bench" / "bin" / "python"  # `make bench` creates it from benchmarks/requirements.lock
VERSIONS = "import sys, importlib.metadata as m; print(*(m.version(name) for name in sys.argv[1:]))"


@dataclass(frozen=True)
class Usage:
    """CPU seconds, peak memory and duration of one process, and what it printed."""

    cpu: float
    peak_mib: float
    seconds: float = 0.0
    output: str = ""


def run_process(command, *, env=None, cwd=None):
    """The usage of one process, which must end with exit code 0."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=env, cwd=cwd
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{command} ended with {process.returncode}:\n{errors.read().decode()[-4000:]}")
        return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, seconds, output.read().decode())


def run_way(file, way, *arguments, python=sys.executable):
    """One way of a benchmark in a process of its own, which prints the CPU seconds of the measured part alone."""
    used = run_process([python, file, *arguments, "--way", way], env=clean_environment())
    printed = json.loads(used.output.splitlines()[-1])
    return replace(used, cpu=printed["cpu"], output=used.output)


def run_in_turn(cases, repeats):
    """Median usage of each case: every case once, then every case again."""
    usages = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            usages[name].append(case())
            print(
                f"  {name}: {usages[name][-1].cpu:.3g} s CPU, {usages[name][-1].peak_mib:.0f} MiB",
                file=sys.stderr,
                flush=True,
            )
    return {name: median(results) for name, results in usages.items()}


def median(usages):
    """The median CPU, peak and duration of several runs."""
    fields = ("cpu", "peak_mib", "seconds")
    cpu, peak, seconds = (statistics.median(getattr(usage, field) for usage in usages) for field in fields)
    return Usage(cpu, peak, seconds, usages[-1].output)


def describe_repeats(repeats):
    """How the figures of so many runs are given."""
    return "one run each" if repeats == 1 else f"medians of {repeats}"


def clean_environment(**settings):
    """The environment without settings of tilewise and Prefect, and with these; bytecode is kept, as where it is installed."""
    dropped = ("TILEWISE_", "PREFECT_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"PYTHONPATH": str(ROOT)} | settings


def peer_versions(*packages):
    """Versions in the environment of the peers; empty where it does not exist."""
    if not PEERS.exists():
        return {}
    printed = subprocess.run([PEERS, "-c", VERSIONS, *packages], check=True, capture_output=True, text=True)
    return dict(zip(packages, printed.stdout.split(), strict=True))


def own_versions(*packages):
    """Versions in this environment; packages that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe_machine():
    """Processor, cores, Python and system."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def report(name, title, header, rows, **facts):
    """Print a Markdown table, and one JSON line with the rows, the machine and the facts."""
    print(f"\n{title}\n")
    print("| " + " | ".join(header) + " |")
    print("|---" + "|--:" * (len(header) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(show(value) for value in row) + " |")
    values = [dict(zip(header, row, strict=True)) for row in rows]
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    line = {"benchmark": name, "day": day, "rows": values, "machine": describe_machine()} | facts
    print("\n" + json.dumps(line), flush=True)


def show(value):
    """A number with three digits that count; anything else as it is."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
