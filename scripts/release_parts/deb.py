"""The Debian package: binary, hardened systemd unit, settings, documentation. Made by `dpkg-deb`."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from . import files
from .binary import Binary
from .files import Entry, directory, file

CONFFILES = ("etc/callgate/callgate.toml", "etc/default/callgate")

POSTINST = """#!/bin/sh
set -e
root="${DPKG_ROOT:-}"
if [ "$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null 2>&1; then
        systemd-sysusers --root="$root/" callgate.conf
    elif [ -z "$root" ] && ! getent passwd callgate >/dev/null; then
        adduser --system --group --home /var/lib/callgate --no-create-home --quiet callgate
    fi
    if grep -q '^callgate:' "$root/etc/group" 2>/dev/null; then
        gid=$(sed -n 's/^callgate:[^:]*:\\([0-9]*\\):.*/\\1/p' "$root/etc/group")
        chown "root:$gid" "$root/etc/callgate" "$root/etc/callgate/callgate.toml" "$root/etc/callgate/policies"
    fi
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
        systemctl daemon-reload || true
        # An upgrade goes on with the new binary. A new installation waits for its settings: nothing is started.
        systemctl try-restart callgate.service || true
    fi
fi
"""

PRERM = """#!/bin/sh
set -e
if [ "$1" = remove ] && [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now callgate.service || true
fi
"""

# What has been delegated, approved and stopped is the administrator's: a purge does not delete it.
POSTRM = """#!/bin/sh
set -e
if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
if [ "$1" = purge ] && [ -e "${DPKG_ROOT:-}/var/lib/callgate/callgate.db" ]; then
    echo "callgate: /var/lib/callgate is kept; delete it if its delegations, approvals and stops are not needed" >&2
fi
"""


def entries(root: Path, binary: Binary, documents: dict[str, bytes]) -> list[Entry]:
    """What the package installs."""
    systemd = root / "deploy/systemd"
    share = "usr/share/doc/callgate"
    installed = [
        file("usr/bin/callgate", binary.path, 0o755),
        file("usr/lib/systemd/system/callgate.service", systemd / "callgate.service"),
        file("usr/lib/sysusers.d/callgate.conf", systemd / "sysusers.conf"),
        file("etc/callgate/callgate.toml", systemd / "callgate.toml", 0o640),
        file("etc/default/callgate", systemd / "environment"),
        directory("etc/callgate", 0o750),
        directory("etc/callgate/policies", 0o750),
        file(f"{share}/copyright", copyright_file(root)),
        file(f"{share}/changelog.gz", files.gz((root / "CHANGELOG.md").read_bytes())),
        *files.tree(root / "policies", f"{share}/examples/policies"),
    ]
    installed += [file(f"{share}/{name}", data) for name, data in documents.items()]
    return files.with_parents(installed)


def copyright_file(root: Path) -> str:
    """Debian's machine-readable form; the licence itself is on every Debian system."""
    return (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        "Upstream-Name: callgate\n\n"
        "Files: *\nCopyright: the authors of Callgate\nLicense: Apache-2.0\n\n"
        "License: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n"
        "Comment: the packages of others that are linked in are listed with their licences in\n"
        " /usr/share/doc/callgate/THIRD-PARTY-LICENSES.txt\n"
    )


def control(binary: Binary, version: str, installed_kib: int) -> str:
    depends = []
    if binary.glibc is not None:
        depends = ["libc6 (>= {}.{})".format(*binary.glibc), "libgcc-s1"]
    depends.append("systemd | systemd-standalone-sysusers | adduser")
    return (
        "Package: callgate\n"
        f"Version: {version}\n"
        f"Architecture: {binary.debian}\n"
        "Maintainer: The Callgate authors <callgate@users.noreply.github.com>\n"
        f"Installed-Size: {installed_kib}\n"
        f"Depends: {', '.join(depends)}\n"
        "Recommends: ca-certificates\n"
        "Suggests: cvc5\n"
        "Section: admin\nPriority: optional\n"
        "Homepage: https://github.com/callgate/callgate\n"
        "Description: policy decision point for tool calls of AI agents\n"
        " A gateway asks Callgate before every call of the Model Context Protocol: may this\n"
        " agent call this tool, with these arguments, for this user, now? It answers from\n"
        " Cedar policies and from live facts about the call, over gRPC and HTTP.\n"
    )


def debian_version(version: str) -> str:
    """A version as Debian orders it: what comes before a release has `~` in place of the first `-`."""
    if not re.fullmatch(r"[0-9A-Za-z.+-]+", version):
        raise ValueError(f"`{version}` is no version")
    return version.replace("-", "~", 1)


def build(root: Path, binary: Binary, documents: dict[str, bytes], epoch: int, out: Path) -> Path:
    """Writes the package, and says where."""
    version = debian_version(binary.version)
    installed = entries(root, binary, documents)
    size = sum(-(-len(it.data) // 1024) for it in installed)
    target = out / f"callgate_{version}_{binary.debian}.deb"
    with tempfile.TemporaryDirectory(dir=out) as work:
        stage = Path(work) / "callgate"
        write(stage, installed, epoch)
        scripts = {"postinst": POSTINST, "prerm": PRERM, "postrm": POSTRM}
        meta = [file(f"DEBIAN/{name}", text, 0o755) for name, text in scripts.items()]
        meta.append(file("DEBIAN/control", control(binary, version, size)))
        meta.append(file("DEBIAN/conffiles", "".join(f"/{it}\n" for it in CONFFILES)))
        sums = md5sums(installed)
        meta.append(file("DEBIAN/md5sums", sums))
        write(stage, files.with_parents(meta), epoch)
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(stage), str(target)]
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return target


def md5sums(installed: list[Entry]) -> str:
    import hashlib

    regular = [it for it in installed if not it.is_directory and it.link is None and it.path not in CONFFILES]
    return "".join(f"{hashlib.md5(it.data, usedforsecurity=False).hexdigest()}  {it.path}\n" for it in regular)


def write(stage: Path, entries: list[Entry], epoch: int) -> None:
    """Puts entries on disk, directories with their times last."""
    stage.mkdir(exist_ok=True)
    stage.chmod(0o755)
    for entry in entries:
        path = stage / entry.path
        if entry.is_directory:
            path.mkdir(exist_ok=True)
        elif entry.link is not None:
            path.symlink_to(entry.link)
        else:
            path.write_bytes(entry.data)
        if entry.link is None:
            path.chmod(entry.mode)
    for path in [*stage.rglob("*"), stage]:
        os.utime(path, (epoch, epoch), follow_symlinks=False)
