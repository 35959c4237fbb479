"""Workloads of whole programs: made from what is on the machine, the same every time."""

import dataclasses
import os
import random
import shutil
import subprocess
import sys
import tarfile
import typing


@dataclasses.dataclass
class Workload:
    """Something that programs do."""

    name: str
    # Made in the directory, once; the command that is measured.
    make: typing.Callable[[str], list]
    # The ratios to native that are wanted: unlocked, and locked at start; none where none was set.
    goals: tuple
    needs: tuple = ("bash",)
    # Puts the directory back as it was, before each run; not measured.
    reset: typing.Callable[[str], None] = lambda directory: None
    # What the time is divided by.
    times: int = 1
    # The sandbox is not around the command: it is put in at `SANDBOX`, which is inside of a loop.
    inside: bool = False
    # Not in memory, where the file system costs least and the sandbox shows most.
    disk: bool = False


SANDBOX = "SANDBOX"


def all_workloads(quick):
    starts = 10 if quick else 20
    return [
        Workload("true (from bash)", lambda d: loop(starts, SANDBOX, "/bin/true"), (1.5, 1.5), times=starts, inside=True),
        Workload("300 forks and execs of echo", lambda d: loop(300, shutil.which("echo"), "hello"), (1.10, 1.05)),
        Workload("autoconf configure", lambda d: configure(d, 20 if quick else 100), (1.05, 1.03), ("cc", "sed"), empty),
        Workload("make -j2 of a C library", lambda d: library(d, 30 if quick else 150), (1.03, 1.02), ("make", "cc", "ar"), clean),
        Workload("ten python3 starts with imports", lambda d: python(3 if quick else 10), (1.05, 1.01)),
        Workload("find /usr -size", lambda d: ["find", "/usr", "-size", "+1000000k"], (1.02, 1.01), ("find",)),
        Workload("git status, 8500 files", repository, (1.05, 1.02), ("git",)),
        Workload("untar and remove files, in memory", lambda d: archive(d, 3000 if quick else 12000), (), ("tar",)),
        Workload("untar and remove files, on disk", lambda d: archive(d, 500 if quick else 1000), (1.15, 1.15), ("tar",), disk=True),
    ]


def loop(times, *command):
    """bash that forks and executes the command so often."""
    return ["bash", "-c", f'for ((i = 0; i < {times}; i++)); do "$@"; done', "bash", *command]


def empty(directory):
    shutil.rmtree(directory)
    os.mkdir(directory)


def configure(directory, probes):
    del directory
    return ["sh", os.path.join(os.path.dirname(os.path.abspath(__file__)), "configure"), str(probes)]


def python(starts):
    modules = "argparse, asyncio, csv, ctypes, decimal, email.message, http.client, json, logging, shutil, subprocess, unittest"
    return loop(starts, sys.executable, "-c", f"import {modules}")


def write(directory, name, text):
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


MAKEFILE = """\
CFLAGS = -O1 -g -Wall -fPIC -Iinclude
OBJECTS = $(patsubst src/%.c,build/%.o,$(wildcard src/*.c))

all: build/libbench.a build/libbench.so

build/libbench.a: $(OBJECTS)
\t$(AR) rcs $@ $(OBJECTS)

build/libbench.so: $(OBJECTS)
\t$(CC) -shared -o $@ $(OBJECTS)

build/%.o: src/%.c
\t@mkdir -p build
\t$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)
"""


def library(directory, files):
    """Sources, headers that include each other, and a Makefile with dependencies."""
    chance = random.Random(1)
    headers = 24
    for number in range(headers):
        includes = "".join(f'#include "bench{n}.h"\n' for n in range(max(0, number - 2), number))
        functions = "".join(f"int bench_{n}_run(const struct bench{number} *self, int n);\n" for n in range(number, files, headers))
        write(
            directory,
            f"include/bench{number}.h",
            f"#ifndef BENCH{number}_H\n#define BENCH{number}_H\n#include <stddef.h>\n#include <stdint.h>\n{includes}\n"
            f"struct bench{number} {{ char name[32]; size_t length; uint32_t values[64]; struct bench{number} *next; }};\n"
            f"static inline size_t bench{number}_length(const struct bench{number} *self) "
            f"{{ return self ? self->length + bench{number}_length(self->next) : 0; }}\n{functions}#endif\n",
        )
    for number in range(files):
        header = number % headers
        parts = [
            "#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/stat.h>\n"
            f'#include <unistd.h>\n#include "bench{header}.h"\n#include "bench{chance.randrange(headers)}.h"\n'
        ]
        for function in range(12):
            a, b, c = (chance.randrange(1, 1000) for _ in range(3))
            parts.append(
                f"static int step{function}(const struct bench{header} *self, int n)\n{{\n\tint i, sum = {a};\n"
                f"\tfor (i = 0; i < n; i++) {{\n\t\tswitch ((i * {b} + sum) % 5) {{\n"
                f"\t\tcase 0: sum += (int)self->values[i % 64]; break;\n\t\tcase 1: sum ^= {c}; break;\n"
                f"\t\tcase 2: sum += (int)strlen(self->name) * i; break;\n"
                f"\t\tcase 3: if (sum > {a * 1000}) return -EINVAL; break;\n\t\tdefault: sum -= {b};\n\t\t}}\n\t}}\n"
                "\treturn sum;\n}\n"
            )
        calls = " + ".join(f"step{function}(self, n)" for function in range(12))
        parts.append(f"int bench_{number}_run(const struct bench{header} *self, int n)\n{{\n\treturn {calls};\n}}\n")
        write(directory, f"src/file{number}.c", "\n".join(parts))
    write(directory, "Makefile", MAKEFILE)
    return ["make", "-s", "-j2"]


def clean(directory):
    shutil.rmtree(os.path.join(directory, "build"), ignore_errors=True)


def repository(directory):
    """A git repository of 8500 files in 500 directories, committed."""
    chance = random.Random(2)
    for number in range(8500):
        text = "".join(f"line {chance.randrange(1 << 30)}\n" for _ in range(chance.randrange(1, 20)))
        write(directory, f"part{number % 20}/module{number % 500}/file{number}.txt", text)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", *identity, *command], cwd=directory, check=True)
    return ["git", "status", "--porcelain"]


def archive(directory, files):
    """A tar of small files in directories of twenty, beside the directory that it is unpacked in."""
    source = os.path.join(directory, "source")
    chance = random.Random(3)
    for number in range(files):
        text = "0123456789abcde\n" * chance.randrange(0, 400)
        write(source, f"sub{number // 20 % 30}/dir{number // 20}/file{number}", text)
    with tarfile.open(os.path.join(directory, "files.tar"), "w") as tar:
        tar.add(source, "tree")
    shutil.rmtree(source)
    return ["sh", "-c", "tar xf files.tar && rm -r tree"]
