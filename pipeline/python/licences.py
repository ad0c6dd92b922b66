"""Write the licences of the crates in the program. Call: licences.py TARGET FILE.

Their authors ask for it of everyone who passes a binary on. For each crate that is compiled in for TARGET,
the file has name, version, licence, and the licence texts of its package. Equal texts are written once. Crates whose
package has no text are printed.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|UNLICENSE|COPYRIGHT)", re.IGNORECASE)


def linked(metadata: dict) -> set:
    """Ids of the packages that the program links, its own crates left out."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (program,) = (package["id"] for package in metadata["packages"] if package["name"] == "curate")
    found, todo = set(), [program]
    while todo:
        at = todo.pop()
        if at in found:
            continue
        found.add(at)
        todo += [dep["pkg"] for dep in nodes[at]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    return found - set(metadata["workspace_members"])


def texts(package: dict) -> list:
    """The licence texts in the folder of a package, by name."""
    folder = Path(package["manifest_path"]).parent
    paths = {path for path in folder.iterdir() if path.is_file() and TEXT.match(path.name)}
    if package["license_file"]:
        paths.add(folder / package["license_file"])
    return [path.read_text("utf-8", "replace").strip() for path in sorted(paths)]


def main(target: str, out: str) -> None:
    """Ask cargo, and write the file."""
    command = [
        "cargo",
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        target,
    ]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}

    crates, holders = [], defaultdict(list)
    for package in sorted((packages[at] for at in linked(metadata)), key=lambda it: (it["name"], it["version"])):
        name = f"{package['name']} {package['version']}"
        found = texts(package)
        crates.append(f"{name}: {package['license'] or 'see below'}{'' if found else ' (no text in its package)'}")
        for text in found:
            holders[text].append(name)

    parts = ["The program curate contains these crates:\n\n" + "\n".join(crates)]
    parts += [f"{', '.join(names)}:\n\n{text}" for text, names in holders.items()]
    rule = "\n\n" + "-" * 80 + "\n\n"
    Path(out).write_text(rule.join(parts) + "\n", "utf-8")
    without = [line for line in crates if line.endswith("package)")]
    print(f"{len(crates)} crates, {len(holders)} texts; no text: {', '.join(without) or 'none'}")


main(*sys.argv[1:])
