"""The container image, as an OCI image layout in one tar. No daemon and no root are needed to make it.

In it: the binary, the libraries that it needs, the certificate authorities of the building system, and a user. There is no
shell and no package manager.

The authorities are in the image because Callgate also opens connections: to a collector, to PostgreSQL, and on the command
line to another server. Without them each of those would need a mounted file. They say nothing about who may ask: that is
`tls.client_ca` alone. Mount other authorities and name them with SSL_CERT_FILE to trust fewer.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from . import files
from .binary import Binary, UnfitBinary, run
from .files import Entry, directory, file

USER = 65532
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
POLICIES = "/etc/callgate/policies"
#: Where the server runs: without `[state]` in callgate.toml the store is `callgate.db` there.
STATE = "/var/lib/callgate"
#: What asks the server in the same container whether it serves: on the loopback as by default, or where CALLGATE_ENDPOINT says.
HEALTH = ["/usr/bin/callgate", "health"]
#: What `docker run` serves without arguments. Where it listens is `[listen]`'s to say.
SERVE = ["serve", POLICIES, "--log-format", "json"]

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def libraries(binary: Binary) -> list[tuple[str, Path]]:
    """Each library under the path at which the loader looks for it, and the file on this system."""
    if binary.is_static:
        return []
    listed = run("ldd", binary.path)
    found: list[tuple[str, Path]] = []
    for line in listed.splitlines():
        match = re.match(r"\s*(?:(\S+) => )?(/\S+) \(0x", line)
        if match:
            path = Path(match.group(2))
            found.append((str(path), path.resolve()))
    names = {Path(path).name for path, _ in found}
    missing = [it for it in binary.libraries if it not in names]
    if missing:
        raise UnfitBinary(f"{', '.join(missing)} is not on this system, so it cannot be put into the image")
    return found


def system_components(binary: Binary) -> list[dict]:
    """For the SBOM: the Debian packages that the image's files are from."""
    sources = {path for _, path in libraries(binary)} | {AUTHORITIES}
    if shutil.which("dpkg-query") is None:
        return []
    packages = set()
    for path in sources:
        # Where /lib is a link to /usr/lib, packages name the file by either.
        for name in (str(path), str(path).removeprefix("/usr")):
            done = subprocess.run(["dpkg-query", "--search", name], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                packages.add(done.stdout.split(":")[0].split(",")[0].strip())
                break
    packages.add("ca-certificates")
    system = re.search(r"^ID=(.+)$", Path("/etc/os-release").read_text(), re.M)
    vendor = system.group(1).strip('"') if system else "debian"
    components = []
    for name in sorted(packages):
        shown = run("dpkg-query", "--show", "--showformat", "${Version} ${Architecture}\n", name)
        version, architecture = shown.splitlines()[0].split()
        purl = f"pkg:deb/{vendor}/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}"
        components.append(
            {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "scope": "required"}
        )
    return components


def system_licences() -> list[Entry]:
    """What Debian says of the licences of the libraries."""
    entries = []
    for name in ("libc6", "libgcc-s1", "ca-certificates"):
        path = Path("/usr/share/doc") / name / "copyright"
        if path.is_file():
            entries.append(file(f"usr/share/doc/{name}/copyright", path.resolve()))
    return entries


def base(binary: Binary) -> list[Entry]:
    """What changes seldom: libraries, authorities, user, folders."""
    if not AUTHORITIES.is_file():
        raise UnfitBinary(f"there is no `{AUTHORITIES}`: install ca-certificates")
    entries = [file(path.lstrip("/"), source, 0o755) for path, source in libraries(binary)]
    entries += [
        file(str(AUTHORITIES).lstrip("/"), AUTHORITIES),
        file("etc/passwd", f"root:x:0:0:root:/:/sbin/nologin\ncallgate:x:{USER}:{USER}::/var/lib/callgate:/sbin/nologin\n"),
        file("etc/group", f"root:x:0:\ncallgate:x:{USER}:\n"),
        file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        directory("etc/callgate"),
        directory("etc/callgate/policies"),
        directory("tmp", 0o1777),
        directory("var/lib/callgate", 0o700, USER, USER),
        directory("run/callgate", 0o700, USER, USER),
    ]
    return files.with_parents(entries + ([] if binary.is_static else system_licences()))


def program(root: Path, binary: Binary, documents: dict[str, bytes]) -> list[Entry]:
    """What changes with each release."""
    share = "usr/share/doc/callgate"
    entries = [file("usr/bin/callgate", binary.path, 0o755), file(f"{share}/LICENSE", root / "LICENSE")]
    entries += [file(f"{share}/{name}", data) for name, data in documents.items()]
    return files.with_parents(entries)


def config(binary: Binary, layers: list[bytes], epoch: int, revision: str) -> dict:
    """The image's configuration. `Healthcheck` is Docker's; what follows the OCI specification alone does not read it."""
    created = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {
        "org.opencontainers.image.title": "callgate",
        "org.opencontainers.image.description": "Policy decision point for the tool calls of AI agents",
        "org.opencontainers.image.version": binary.version,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.source": "https://github.com/callgate/callgate",
        "org.opencontainers.image.created": created,
    }
    if revision:
        labels["org.opencontainers.image.revision"] = revision
    return {
        "created": created,
        "architecture": binary.oci,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Env": ["PATH=/usr/bin", f"SSL_CERT_FILE={AUTHORITIES}"],
            "Entrypoint": ["/usr/bin/callgate"],
            "Cmd": SERVE,
            "WorkingDir": STATE,
            "ExposedPorts": {"50051/tcp": {}, "8180/tcp": {}},
            "Volumes": {STATE: {}},
            "StopSignal": "SIGTERM",
            "Labels": labels,
            "Healthcheck": {
                "Test": ["CMD", *HEALTH],
                "Interval": 10_000_000_000,
                "Timeout": 5_000_000_000,
                "StartPeriod": 60_000_000_000,
                "Retries": 3,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{files.sha256(layer)}" for layer in layers]},
        "history": [
            {"created": created, "created_by": "libraries, certificate authorities, user"},
            {"created": created, "created_by": "callgate"},
        ],
    }


def build(root: Path, binary: Binary, documents: dict[str, bytes], epoch: int, revision: str, out: Path) -> Path:
    """Writes the image, and says where."""
    layers = [files.tar(base(binary), epoch), files.tar(program(root, binary, documents), epoch)]
    blobs: dict[str, bytes] = {}

    def blob(kind: str, data: bytes, **more: object) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}

    def encoded(value: dict) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    described = blob(CONFIG, encoded(config(binary, layers, epoch, revision)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described,
        "layers": [blob(LAYER, files.gz(layer)) for layer in layers],
    }
    platform = {"architecture": binary.oci, "os": "linux"}
    names = {
        "org.opencontainers.image.ref.name": binary.version,
        # What `docker load` and `ctr images import` call it.
        "io.containerd.image.name": f"docker.io/callgate/callgate:{binary.version}",
    }
    entry = blob(MANIFEST, encoded(manifest), platform=platform, annotations=names)
    entries = [
        file("oci-layout", encoded({"imageLayoutVersion": "1.0.0"})),
        file("index.json", encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})),
        *(file(path, data) for path, data in blobs.items()),
    ]
    target = out / f"callgate-{binary.version}-linux-{binary.oci}.oci.tar"
    target.write_bytes(files.tar(files.with_parents(entries), epoch))
    return target
