"""What else the machine is doing: processor time that a measurement did not use itself. Linux only; elsewhere None."""
import os

DISTURBED = 0.06  # of a core: above it a measurement is said to be disturbed
TICKS = os.sysconf("SC_CLK_TCK")


def processor():
    """Model and what matters of its features."""
    try:
        with open("/proc/cpuinfo") as f:
            lines = f.read().split("\n")
    except OSError:
        return "unknown processor"
    field = {line.split(":")[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
    have = field.get("flags", "").split()
    found = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in have]
    return f"{field.get('model name', 'unknown processor')} ({', '.join(found) or 'no AVX2'})"


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def busy():
    """Processor seconds that anybody has used since the start of the machine, and seconds stolen by its host."""
    try:
        with open("/proc/stat") as f:
            t = [int(x) / TICKS for x in f.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _, _, irq, softirq, steal = t
    return user + nice + system + irq + softirq + steal


def used_by(pid):
    """Processor seconds of a process with all its threads."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            t = f.read().rsplit(")", 1)[1].split()
        return (int(t[11]) + int(t[12])) / TICKS
    except (OSError, IndexError):
        return 0.0


def busiest(seconds_by_pid, but):
    """Name of the process that used most since `seconds_by_pid`, a dict that `everybody` gave; `but`: pids to skip."""
    now = everybody()
    grown = {pid: t - seconds_by_pid.get(pid, 0.0) for pid, t in now.items() if pid not in but}
    if not grown:
        return "?"
    pid = max(grown, key=grown.get)
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return "?"


def everybody():
    try:
        return {int(p): used_by(p) for p in os.listdir("/proc") if p.isdigit()}
    except OSError:
        return {}


def load():
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
