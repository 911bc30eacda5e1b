"""The plain archive: one folder with the binary, its unit, its licences and policies to start from."""

from __future__ import annotations

from pathlib import Path

from . import files
from .binary import Binary
from .files import file


def build(root: Path, binary: Binary, documents: dict[str, bytes], epoch: int, out: Path) -> Path:
    """Writes the archive, and says where."""
    name = f"callgate-{binary.version}-{binary.target}"
    entries = [
        file("bin/callgate", binary.path, 0o755),
        file("README.md", root / "README.md"),
        file("CHANGELOG.md", root / "CHANGELOG.md"),
        file("LICENSE", root / "LICENSE"),
        *(file(path, data) for path, data in documents.items()),
        *files.tree(root / "deploy/systemd", "systemd"),
        *files.tree(root / "policies", "policies"),
    ]
    target = out / f"{name}.tar.gz"
    target.write_bytes(files.gz(files.tar(files.with_parents(entries), epoch, f"{name}/")))
    return target
