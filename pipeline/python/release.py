"""Make the files of a release out of a wheel. Call: release.py TARGET WHEELS OUT.

OUT gets the wheel, an archive of the program, its bill of materials (CycloneDX 1.5, checked against the schema), and
SHA256SUMS over every file there. Equal wheels give equal files. The script prints the sizes and the newest version of
glibc that the program asks for, which must not be above 2.17.
"""

import gzip
import hashlib
import io
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

NEWEST_GLIBC = (2, 17)


def only(names: list, pattern: str) -> str:
    """The one name that matches."""
    (name,) = (name for name in names if re.fullmatch(pattern, name))
    return name


def glibc_of(program: bytes) -> tuple:
    """The newest version of glibc's symbols that a program names."""
    return max(tuple(map(int, found.split(b"."))) for found in re.findall(rb"\0GLIBC_([0-9.]+)(?=\0)", program))


def archive(folder: str, files: dict) -> bytes:
    """A .tar.gz of files, without times and owners."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode = len(data), 0o755 if name == "curate" else 0o644
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(tarred.getvalue(), mtime=0)


def main(target: str, wheels: str, out: str) -> None:
    """Read the newest wheel for the target, and write the files."""
    machine = target.partition("-")[0]
    wheel = max(Path(wheels).glob(f"curate_data-*_{machine}.whl"), key=lambda path: path.stat().st_mtime)
    with zipfile.ZipFile(wheel) as zipped:
        names = zipped.namelist()
        program = zipped.read(only(names, r"[^/]+\.data/scripts/curate"))
        sbom = zipped.read(only(names, r"[^/]+\.dist-info/sboms/curate\.cyclonedx\.json"))
        licences = {
            Path(name).name: zipped.read(name) for name in names if re.fullmatch(r"[^/]+\.dist-info/licenses/.+", name)
        }

    invalid = JsonStrictValidator(SchemaVersion.V1_5).validate_str(sbom.decode())
    if invalid:
        sys.exit(f"the bill of materials is not CycloneDX 1.5: {invalid}")
    glibc = glibc_of(program)
    if glibc > NEWEST_GLIBC:
        sys.exit(f"the program needs glibc {glibc}, a wheel of manylinux_2_17 may need {NEWEST_GLIBC} at most")

    name = f"curate-{wheel.name.split('-')[1]}-{target}"
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    packed = archive(name, {"curate": program, **licences})
    (folder / f"{name}.tar.gz").write_bytes(packed)
    (folder / f"{name}.cdx.json").write_bytes(sbom)
    shutil.copy(wheel, folder / wheel.name)
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    sums = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (folder / "SHA256SUMS").write_text("".join(sums))

    sizes = {"program": len(program), "wheel": wheel.stat().st_size, "archive": len(packed)}
    print(", ".join(f"{what} {size / 1e6:.1f} MB" for what, size in sizes.items()))
    print(f"glibc {'.'.join(map(str, glibc))} or newer; {sbom.count(b'bom-ref') - 1} components; in {folder}")


main(*sys.argv[1:])
