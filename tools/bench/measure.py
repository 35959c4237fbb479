"""Running one thing once, and what is made of many times."""

import dataclasses
import os
import select
import statistics
import time

# A run that takes longer hangs: it is killed, and counts as failed.
LIMIT = 300


@dataclasses.dataclass
class Run:
    """What one run came to."""

    seconds: float
    status: int
    # Of the process itself, without the children that it waited for: of a supervisor, what supervising costs.
    cpu: float
    # VmHWM in KiB; 0 where it ended before it could be looked at.
    peak: int
    output: str
    errors: str

    @property
    def failed(self):
        return self.status != 0

    @property
    def violations(self):
        return self.errors.count("-- Access Violation! --")


def run(argv, cwd, scratch, environment, look_every=0.05):
    """Run `argv` in `cwd` to its end. Its output goes to files in `scratch`."""
    names = [os.path.join(scratch, name) for name in ("stdout", "stderr")]
    create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_OPEN, fd, name, create, 0o644) for fd, name in enumerate(names, 1)]
    os.chdir(cwd)
    start = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
    pidfd = os.pidfd_open(pid)
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    peak = 0
    while not ended.poll(look_every * 1000):
        peak = peak_memory(pid) or peak
        if time.perf_counter() - start > LIMIT:
            os.kill(pid, 9)
    seconds = time.perf_counter() - start
    os.close(pidfd)
    # While it is a zombie its own time can be told from that of its children.
    cpu = own_cpu(pid)
    _, status, _ = os.wait4(pid, 0)
    output, errors = (read(name) for name in names)
    return Run(seconds, os.waitstatus_to_exitcode(status), cpu, peak, output, errors)


def read(path):
    with open(path, errors="replace", encoding="utf-8") as file:
        return file.read()


def peak_memory(pid):
    try:
        status = read(f"/proc/{pid}/status")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def own_cpu(pid):
    # The clock of another process, as clock_getcpuclockid(3) makes its number.
    return time.clock_gettime((~pid << 3) | 2)


def interleaved(rounds, variants, once):
    """Call `once(variant)` for each, round after round, forwards and backwards, so that what else the machine does hits all
    alike; the results by the variants' names. One that is None (it failed) ends the rounds of its variant."""
    results = {variant.name: [] for variant in variants}
    left = list(variants)
    for number in range(rounds):
        for variant in left if number % 2 == 0 else left[::-1]:
            result = once(variant)
            if result is not None:
                results[variant.name].append(result)
        left = [variant for variant in left if len(results[variant.name]) > number]
    return results


def summary(samples):
    """A median with what it was made of; None where there is nothing."""
    if not samples:
        return None
    return {"median": statistics.median(samples), "min": min(samples), "max": max(samples), "samples": samples}
