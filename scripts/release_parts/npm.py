"""Two npm packages: `callgate`, a launcher, and `callgate-linux-<cpu>-<libc>` with the binary, which it depends on where
the system is that one. `npx callgate serve` runs it."""

from __future__ import annotations

import json
from pathlib import Path

from . import files
from .binary import Binary
from .files import file


def platform_package(binary: Binary) -> str:
    """The name of the package with the binary."""
    return f"callgate-linux-{binary.npm}" + ("" if binary.is_static else "-gnu")


def shared(binary: Binary) -> dict:
    return {
        "version": binary.version,
        "license": "Apache-2.0",
        "repository": {"type": "git", "url": "git+https://github.com/callgate/callgate.git"},
    }


def pack(target: Path, package: dict, entries: list[files.Entry], epoch: int) -> Path:
    manifest = file("package.json", json.dumps(package, indent=2) + "\n")
    target.write_bytes(files.gz(files.tar([manifest, *entries], epoch, "package/")))
    return target


def build(root: Path, binary: Binary, documents: dict[str, bytes], epoch: int, out: Path) -> list[Path]:
    """Writes both packages, and says where."""
    name = platform_package(binary)
    platform = {
        "name": name,
        "description": f"The binary of callgate for Linux on {binary.npm}",
        **shared(binary),
        "os": ["linux"],
        "cpu": [binary.npm],
        "preferUnplugged": True,
    }
    if not binary.is_static:
        platform["libc"] = ["glibc"]
    entries = [
        file("bin/callgate", binary.path, 0o755),
        file("LICENSE", root / "LICENSE"),
        file("THIRD-PARTY-LICENSES.txt", documents["THIRD-PARTY-LICENSES.txt"]),
        file("callgate.cdx.json", documents["callgate.cdx.json"]),
    ]
    launcher = {
        "name": "callgate",
        "description": "A policy decision point for the tool calls of AI agents: Cedar policies, gRPC decisions",
        "keywords": ["mcp", "cedar", "authorization", "policy", "agents"],
        **shared(binary),
        "bin": {"callgate": "callgate.js"},
        "engines": {"node": ">=18"},
        "optionalDependencies": {name: binary.version},
    }
    own = [
        file("callgate.js", root / "scripts/release_parts/callgate.js", 0o755),
        file("README.md", root / "README.md"),
        file("LICENSE", root / "LICENSE"),
    ]
    return [
        pack(out / f"npm-{name}-{binary.version}.tgz", platform, entries, epoch),
        pack(out / f"npm-callgate-{binary.version}.tgz", launcher, own, epoch),
    ]
