"""A software bill of materials in CycloneDX 1.6, from `cargo metadata` and Cargo.lock."""

from __future__ import annotations

import json
import subprocess
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

from .binary import Binary, UnfitBinary

#: For serial numbers that depend on the binary alone.
NAMESPACE = uuid.UUID("7d7c9ea6-6f43-5d8b-9b7e-3c1f0c4e8a52")

#: Files of a crate that hold its licence or what its licence demands to be passed on.
LICENCE_FILES = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def metadata(root: Path, triple: str, features: str) -> dict:
    """What cargo resolves for one target. Crates that a build has fetched are read from where it keeps them; if one is not
    there, because somebody else built the binary, cargo fetches it."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", triple, "--features", features]
    done = subprocess.run([*command, "--offline"], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnfitBinary(f"`cargo metadata` failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def tree(root: Path, triple: str, features: str) -> list[tuple[int, str]]:
    """What is linked in, with its depth below the binary. `cargo metadata` alone would tell of more: it adds up the features
    that tests ask for. A procedural macro is listed, since what it writes is in the binary; what runs at build time is not."""
    command = ["cargo", "tree", "--locked", "--package", "callgate", "--target", triple, "--features", features]
    command += ["--edges", "normal", "--prefix", "depth", "--format", " {p}"]
    done = subprocess.run([*command, "--offline"], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnfitBinary(f"`cargo tree` failed: {done.stderr.strip()}")
    lines = (line.split(" ", 1) for line in done.stdout.splitlines() if line)
    # `name v1.2.3 (proc-macro) (*)`; the star marks what was told before, with all below it.
    return [(int(depth), "@".join(package.split()[:2]).replace("@v", "@", 1)) for depth, package in lines]


def resolve(root: Path, triple: str, features: str) -> dict:
    """What is linked in, and what each part of it depends on."""
    known = {f"{it['name']}@{it['version']}": it for it in metadata(root, triple, features)["packages"]}
    depends: dict[str, set[str]] = {}
    above: list[str] = []
    for depth, name in tree(root, triple, features):
        if name not in known:
            raise UnfitBinary(f"cargo tells nothing of `{name}`")
        depends.setdefault(name, set())
        del above[depth:]
        if above:
            depends[above[-1]].add(name)
        above.append(name)
    own = next(it for it in depends if it.startswith("callgate@"))
    return {"packages": {it: known[it] for it in sorted(depends)}, "depends": depends, "own": own}


def purl(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums(root: Path) -> dict[tuple[str, str], str]:
    """The SHA-256 of each crate from a registry, as Cargo.lock has it."""
    lock = tomllib.loads((root / "Cargo.lock").read_text())
    return {(it["name"], it["version"]): it["checksum"] for it in lock["package"] if "checksum" in it}


def component(package: dict, known: dict[tuple[str, str], str]) -> dict:
    one = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        "scope": "required",
    }
    if package.get("license"):
        # Crates of old write `/` for OR.
        one["licenses"] = [{"expression": package["license"].replace("/", " OR ").replace("  ", " ")}]
    checksum = known.get((package["name"], package["version"]))
    if checksum:
        one["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        one["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return one


def bill(root: Path, binary: Binary, digest: str, resolved: dict, epoch: int, system: list[dict] | None = None) -> dict:
    """The bill for a binary. `system` are components that come beside the crates, such as an image's libraries."""
    packages, depends, own = resolved["packages"], resolved["depends"], resolved["own"]
    known = checksums(root)
    main = component(packages[own], known) | {
        "type": "application",
        "description": packages[own]["description"],
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    others = [it for name, it in packages.items() if name != own]
    system = system or []
    dependencies = [
        {"ref": purl(packages[name]), "dependsOn": sorted(purl(packages[it]) for it in depends[name])}
        for name in sorted(depends)
    ]
    for entry in dependencies:
        if entry["ref"] == purl(packages[own]):
            entry["dependsOn"] += [it["bom-ref"] for it in system]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest + json.dumps(system, sort_keys=True))}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycles": [{"phase": "build"}],
            "component": main,
            "properties": [{"name": "callgate:target", "value": binary.target}],
        },
        "components": [component(it, known) for it in others] + system,
        "dependencies": dependencies,
    }


def licences(resolved: dict) -> str:
    """The texts of all licences of what is linked in, each text once, with the crates that it is of."""
    texts: dict[str, list[str]] = {}
    without = []
    for package in resolved["packages"].values():
        # Without a source it is Callgate's own.
        if package.get("source") is None:
            continue
        name = f"{package['name']} {package['version']} ({package.get('license') or 'see its licence file'})"
        folder = Path(package["manifest_path"]).parent
        # What wraps a library in C has its source, and licence, further down.
        paths = folder.rglob("*") if package["name"].endswith("-sys") else folder.iterdir()
        found = sorted(it for it in paths if it.name.lower().startswith(LICENCE_FILES) and it.is_file())
        if not found:
            without.append(name)
        for path in found:
            text = path.read_text(errors="replace").replace("\r\n", "\n").strip()
            texts.setdefault(text, []).append(name)
    parts = ["Callgate contains the following packages of others, under their licences.\n"]
    for text, names in texts.items():
        parts.append("-" * 78 + "\n" + "\n".join(sorted(set(names))) + "\n\n" + text + "\n")
    if without:
        parts.append("-" * 78 + "\nThese name their licence and bring no text of it:\n\n" + "\n".join(without) + "\n")
    return "\n".join(parts)
