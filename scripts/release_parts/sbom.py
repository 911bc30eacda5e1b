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


def linked(resolved: dict) -> tuple[dict[str, dict], dict[str, list[str]], str]:
    """The packages that end up in the binary, what each depends on, and which is the binary's own."""
    packages = {it["id"]: it for it in resolved["packages"]}
    nodes = {it["id"]: it for it in resolved["resolve"]["nodes"]}
    # The root is named: a workspace has several members.
    root = next(id for id in resolved["workspace_members"] if packages[id]["name"] == "callgate")
    depends: dict[str, list[str]] = {}
    open_ids = [root]
    while open_ids:
        id = open_ids.pop()
        if id in depends:
            continue
        # What runs at build time or in tests is in no binary. A procedural macro runs at build time too, but is an
        # ordinary dependency, and is listed: what it writes is in the binary.
        normal = [it["pkg"] for it in nodes[id]["deps"] if any(kind["kind"] is None for kind in it["dep_kinds"])]
        depends[id] = sorted(set(normal))
        open_ids.extend(depends[id])
    return {id: packages[id] for id in depends}, depends, root


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
    packages, depends, own = linked(resolved)
    known = checksums(root)
    main = component(packages[own], known) | {
        "type": "application",
        "description": packages[own]["description"],
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    others = sorted((it for id, it in packages.items() if id != own), key=lambda it: (it["name"], it["version"]))
    system = system or []
    dependencies = [
        {"ref": purl(packages[id]), "dependsOn": sorted(purl(packages[it]) for it in depends[id])}
        for id in sorted(depends, key=lambda id: purl(packages[id]))
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
    packages, _, own = linked(resolved)
    texts: dict[str, list[str]] = {}
    without = []
    for id, package in sorted(packages.items(), key=lambda it: (it[1]["name"], it[1]["version"])):
        name = f"{package['name']} {package['version']} ({package.get('license') or 'see its licence file'})"
        folder = Path(package["manifest_path"]).parent
        found = sorted(
            it for it in folder.iterdir() if it.is_file() and it.name.lower().startswith(LICENCE_FILES)
        ) if folder.is_dir() else []
        if id == own or package.get("source") is None:
            continue
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
