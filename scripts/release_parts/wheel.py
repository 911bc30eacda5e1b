"""The Python wheel: the binary as a script, and nothing to import. `uvx callgate serve` runs it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from datetime import datetime, timezone
from pathlib import Path

from .binary import Binary


def python_version(version: str) -> str:
    """A version as PEP 440 writes it; one that it has no form for is an error."""
    found = re.fullmatch(r"(\d+\.\d+\.\d+)(?:-(alpha|beta|rc)\.?(\d+))?", version)
    if not found:
        raise ValueError(f"`{version}` has no form in Python")
    release, kind, number = found.groups()
    return release if kind is None else release + {"alpha": "a", "beta": "b", "rc": "rc"}[kind] + number


def platform(binary: Binary) -> str:
    """The platform tag (PEP 600). A static binary runs with musl and glibc of any version."""
    if binary.glibc is None:
        return f"manylinux_2_17_{binary.python}.musllinux_1_1_{binary.python}"
    return "manylinux_{}_{}_{}".format(*binary.glibc, binary.python)


def tags(binary: Binary) -> list[str]:
    return [f"py3-none-{it}" for it in platform(binary).split(".")]


def core_metadata(root: Path, version: str) -> str:
    summary = "A policy decision point for the tool calls of AI agents: Cedar policies, gRPC decisions."
    return (
        "Metadata-Version: 2.4\n"
        "Name: callgate\n"
        f"Version: {version}\n"
        f"Summary: {summary}\n"
        "License-Expression: Apache-2.0\n"
        "License-File: LICENSE\n"
        "License-File: THIRD-PARTY-LICENSES.txt\n"
        "Project-URL: Source, https://github.com/callgate/callgate\n"
        "Classifier: Operating System :: POSIX :: Linux\n"
        "Classifier: Topic :: Security\n"
        "Requires-Python: >=3.8\n"
        "Description-Content-Type: text/markdown\n\n" + (root / "README.md").read_text()
    )


def build(root: Path, binary: Binary, documents: dict[str, bytes], epoch: int, out: Path) -> Path:
    """Writes the wheel, and says where. `documents` has the SBOM (PEP 770) and the licences of others."""
    version = python_version(binary.version)
    info = f"callgate-{version}.dist-info"
    wheel = "Wheel-Version: 1.0\nGenerator: callgate\nRoot-Is-Purelib: false\n"
    wheel += "".join(f"Tag: {tag}\n" for tag in tags(binary))
    entries = [
        (f"callgate-{version}.data/scripts/callgate", binary.path.read_bytes(), 0o755),
        (f"{info}/METADATA", core_metadata(root, version).encode(), 0o644),
        (f"{info}/WHEEL", wheel.encode(), 0o644),
        (f"{info}/licenses/LICENSE", (root / "LICENSE").read_bytes(), 0o644),
        (f"{info}/licenses/THIRD-PARTY-LICENSES.txt", documents["THIRD-PARTY-LICENSES.txt"], 0o644),
        (f"{info}/sboms/callgate.cdx.json", documents["callgate.cdx.json"], 0o644),
    ]
    target = out / f"callgate-{version}-py3-none-{platform(binary)}.whl"
    target.write_bytes(archive(entries, f"{info}/RECORD", epoch))
    return target


def archive(entries: list[tuple[str, bytes, int]], record: str, epoch: int) -> bytes:
    """The zip, its record last."""
    lines = []
    for name, data, _ in entries:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    lines.append(f"{record},,\n")
    # Zip knows no time before 1980.
    time = datetime.fromtimestamp(max(epoch, 315532800), timezone.utc).timetuple()[:6]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as zipped:
        for name, data, mode in [*entries, (record, "".join(lines).encode(), 0o644)]:
            entry = zipfile.ZipInfo(name, time)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            zipped.writestr(entry, data)
    return out.getvalue()
