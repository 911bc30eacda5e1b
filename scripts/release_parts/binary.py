"""What a built binary needs from the system that runs it, read from the binary itself."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Libraries that every system with glibc has: those of PEP 600 that a program without a user interface can need.
GLIBC_LIBRARIES = {
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
}

# For each machine of an ELF header its names in Rust, Debian, Python, npm and OCI.
MACHINES = {
    "Advanced Micro Devices X86-64": ("x86_64", "amd64", "x86_64", "x64", "amd64"),
    "AArch64": ("aarch64", "arm64", "aarch64", "arm64", "arm64"),
}


class UnfitBinary(Exception):
    """The binary cannot be packaged, and why."""


@dataclass(frozen=True)
class Binary:
    """A built `callgate` and what it needs."""

    path: Path
    version: str
    rust: str
    debian: str
    python: str
    npm: str
    oci: str
    #: The newest version of glibc that a symbol is taken from, as (2, 34); None if it is linked statically.
    glibc: tuple[int, int] | None
    #: The libraries that it names.
    libraries: tuple[str, ...]

    @property
    def is_static(self) -> bool:
        return self.glibc is None

    @property
    def libc_name(self) -> str:
        """The last part of names: `static` if it runs anywhere, else `gnu2.34` for what it needs."""
        return "static" if self.glibc is None else "gnu{}.{}".format(*self.glibc)

    @property
    def triple(self) -> str:
        """Rust's name of the target that it was built for."""
        return f"{self.rust}-unknown-linux-{'musl' if self.is_static else 'gnu'}"

    @property
    def target(self) -> str:
        """The name of the system that it is for, e.g. `x86_64-linux-gnu2.34`."""
        return f"{self.rust}-linux-{self.libc_name}"


def run(*command: str | Path) -> str:
    """The output of a command; an error with what it said if it fails."""
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnfitBinary(f"`{command[0]}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def newest_glibc(symbols: str) -> tuple[int, int] | None:
    """The newest version in the output of `objdump -T`; None if there is none."""
    versions = re.findall(r"\bGLIBC_(\d+)\.(\d+)", symbols)
    return max(((int(major), int(minor)) for major, minor in versions), default=None)


def inspect(path: Path, most_glibc: tuple[int, int]) -> Binary:
    """Reads a binary. Refuses one that needs a newer glibc than `most_glibc`, or libraries that not every system has."""
    if not path.is_file():
        raise UnfitBinary(f"there is no `{path}`")
    header = run("readelf", "--file-header", path)
    machine = re.search(r"Machine:\s+(.+)", header)
    names = MACHINES.get(machine.group(1).strip()) if machine else None
    if names is None:
        raise UnfitBinary(f"`{path}` is for a machine that is not known here")
    dynamic = run("readelf", "--dynamic", path)
    libraries = tuple(sorted(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)))
    glibc = newest_glibc(run("objdump", "-T", path)) if libraries else None
    foreign = [it for it in libraries if it not in GLIBC_LIBRARIES]
    if foreign:
        raise UnfitBinary(f"`{path}` needs {', '.join(foreign)}, which not every system has")
    if libraries and glibc is None:
        raise UnfitBinary(f"`{path}` is linked dynamically, and not against glibc")
    if glibc is not None and glibc > most_glibc:
        raise UnfitBinary(
            "`{}` needs glibc {}.{}, and {}.{} is the newest that it may need: build it on an older system, or for musl".format(
                path, *glibc, *most_glibc
            )
        )
    said = run(path, "--version").split()
    if len(said) != 2 or said[0] != "callgate":
        raise UnfitBinary(f"`{path} --version` does not say what it is")
    return Binary(path, said[1], *names, glibc, libraries)
