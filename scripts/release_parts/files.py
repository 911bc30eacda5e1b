"""Archives that come out the same from the same input: sorted, owned by root, with one time for every entry."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A file, a directory or a symbolic link of an archive. `path` is relative, with `/` between its parts."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str | None = None
    is_directory: bool = False
    uid: int = 0
    gid: int = 0


def file(path: str, source: Path | bytes | str, mode: int = 0o644) -> Entry:
    """A regular file with the bytes of a file on disk, or those given."""
    if isinstance(source, Path):
        source = source.read_bytes()
    if isinstance(source, str):
        source = source.encode()
    return Entry(path, source, mode)


def directory(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    """A directory."""
    return Entry(path, mode=mode, is_directory=True, uid=uid, gid=gid)


def tree(source: Path, below: str, ignore: tuple[str, ...] = ()) -> list[Entry]:
    """All regular files below a directory, in the order of their names."""
    entries = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_symlink() or not path.is_file() or name.startswith(ignore):
            continue
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        entries.append(file(f"{below}/{name}", path, mode))
    return entries


def with_parents(entries: list[Entry]) -> list[Entry]:
    """The entries, with a directory entry before each for what it lies in; sorted by path."""
    by_path = {entry.path: entry for entry in entries}
    if len(by_path) != len(entries):
        raise ValueError("a path comes twice in an archive")
    for entry in entries:
        parts = entry.path.split("/")
        for end in range(1, len(parts)):
            parent = "/".join(parts[:end])
            by_path.setdefault(parent, directory(parent))
    return [by_path[path] for path in sorted(by_path)]


def tar(entries: list[Entry], epoch: int, prefix: str = "") -> bytes:
    """An uncompressed tar of the entries. Names are put below `prefix`, such as `./` in a Debian package."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(prefix + entry.path)
            info.mtime, info.mode = epoch, entry.mode
            info.uid, info.gid = entry.uid, entry.gid
            info.uname = info.gname = "root" if entry.uid == 0 else ""
            if entry.is_directory:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif entry.link is not None:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
                archive.addfile(info)
            else:
                info.size = len(entry.data)
                archive.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def gz(data: bytes) -> bytes:
    """The data, compressed without a time or a name."""
    return gzip.compress(data, compresslevel=6, mtime=0)


def sha256(data: bytes) -> str:
    """The SHA-256 digest, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
