"""Fetch what Live runs in the browser from the npm registry, exactly as `live/runtime/origin.json` names it.

`python -m cifar_model.app.browser.vendor` (or `make vendor`) needs npm. Each package must have the integrity, and each
file the SHA-256, that stand there; nothing is replaced before all of them do.
"""

import base64
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

RUNTIME = Path(__file__).parent / "live" / "runtime"


def fetch(name: str, version: str, integrity: str, folder: Path) -> Path:
    """A package's archive, fetched by npm into `folder`; SystemExit where it is not the one that was vendored."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not installed. It comes with Node.js: https://nodejs.org.")
    done = subprocess.run(
        [npm, "pack", "--json", f"--pack-destination={folder}", f"{name}@{version}"], stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"npm could not fetch {name} {version}: it says why above.")
    archive = folder / json.loads(done.stdout)[0]["filename"].replace("@", "").replace("/", "-")
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        raise SystemExit(f"{name} {version} is not what was vendored: integrity {found}, expected {integrity}.")
    return archive


def read(archive: Path, member: str) -> bytes:
    """One file of a package."""
    with tarfile.open(archive) as packed:
        return packed.extractfile(f"package/{member}").read()


def check(name: str, content: bytes, sha256: str) -> None:
    """SystemExit where a file's content is another than the one that was vendored."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SystemExit(f"{name} is not what was vendored: SHA-256 {found}, expected {sha256}.")


def vendor(runtime: Path = RUNTIME) -> None:
    """Write all files that `runtime`/origin.json names into `runtime`, whole or not at all."""
    origin = json.loads((runtime / "origin.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        archives = {
            name: fetch(name, package["version"], package["integrity"], Path(temporary))
            for name, package in origin["packages"].items()
        }
        contents = {}
        for name, file in origin["files"].items():
            content = read(archives[file["package"]], file["path"])
            check(f"{file['package']}/{file['path']}", content, file["sha256"])
            for before, after in file.get("replaced", {}).items():
                content = content.replace(before.encode(), after.encode())
            # No time stamp in the archive: the same content gives the same bytes.
            contents[name] = gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content
    for name, content in contents.items():
        part = runtime / f".{name}.tmp"
        part.write_bytes(content)
        os.replace(part, runtime / name)
        print(f"{name}: {len(content):,} bytes")


if __name__ == "__main__":
    sys.exit(vendor())
