"""The Helm chart as `helm package` names and packs it."""

from __future__ import annotations

import re
from pathlib import Path

from . import files


def build(root: Path, version: str, epoch: int, out: Path) -> Path:
    """Writes the chart, and says where. Its version and the version that it installs have to be this one."""
    source = root / "deploy/helm/callgate"
    head = (source / "Chart.yaml").read_text()
    for field in ("version", "appVersion"):
        found = re.search(rf'^{field}: "?([^"\n]+)"?$', head, re.M)
        if found is None or found.group(1) != version:
            raise ValueError(f"`{field}` in deploy/helm/callgate/Chart.yaml is not {version}")
    target = out / f"callgate-chart-{version}.tgz"
    # Helm looks for Chart.yaml first.
    entries = sorted(files.tree(source, "callgate", ignore=("ci/",)), key=lambda it: (it.path != "callgate/Chart.yaml", it.path))
    target.write_bytes(files.gz(files.tar(entries, epoch)))
    return target
