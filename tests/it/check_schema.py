"""Holds `curate schema manifest --json` to the manifests and messages of this repository:

    python3 tests/it/check_schema.py SCHEMA.json

Every file in `manifests/` is valid. Every mistake in `every_message.txt`, which has a line for each
wrong type, range and name of a key, is found; those that a JSON Schema cannot express are counted.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

from jsonschema import Draft7Validator

ROOT = Path(__file__).parents[2]
MESSAGES = ROOT / "pipeline/src/manifest/tests/every_message.txt"


# Values that another key rules out: a least value above the greatest, and a negative
# weight unless `combine` is logistic.
OF_SEVERAL_KEYS = {
    ("filter.gopher_quality", "min_avg_word_len = 1e300"),
    ("quality.term", "weight = -1e300"),
}


def table(schema, path):
    """The schema of a table, and how many `[[` are on the way."""
    for name in path.split("."):
        schema = schema.get("items", schema)["properties"][name]
    return schema


def with_required(schema, but):
    """A table with an example of each required key but one."""
    keys = schema.get("items", schema)
    wanted = [name for name in keys["required"] if name != but]
    return {
        name: keys["properties"][name]["examples"][0]
        for name in wanted
        if "examples" in keys["properties"][name]
    }


def manifest(schema, path, line):
    """A manifest that is right but for a line of one table."""
    (key, value), = tomllib.loads(line).items()
    whole = {}
    for each in dict.fromkeys(["run", "source", path]):
        of = table(schema, each)
        keys = with_required(of, key if each == path else None)
        if each == path:
            keys[key] = value
        place = whole
        *parents, name = each.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            # A table inside a list of tables belongs to the last item of the list.
            place = place[-1] if isinstance(place, list) else place
        place[name] = [keys] if of.get("type") == "array" else keys
    return whole


def is_beyond(value):
    """True if no JSON Schema can refuse the value: sizes in texts, globs, numbers that are none."""
    is_size = isinstance(value, str) and re.fullmatch(r"[0-9]+(B|GiB)", value)
    return is_size or value == "[" or value != value


def main():
    schema = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)

    files = sorted((ROOT / "manifests").glob("*.toml"))
    for path in files:
        problems = list(validator.iter_errors(tomllib.loads(path.read_text("utf-8"))))
        assert not problems, f"{path.name}: {problems[0].json_path}: {problems[0].message}"

    found = beyond = 0
    for text in MESSAGES.read_text("utf-8").splitlines():
        case = re.fullmatch(r"\[+([a-z0-9_.]+)\]+ (\w+ = .*)", text)
        if not case:
            continue
        path, line = case.groups()
        if validator.is_valid(manifest(schema, path, line)):
            (value,) = tomllib.loads(line).values()
            is_pair = (path, line) in OF_SEVERAL_KEYS
            assert is_pair or is_beyond(value), f"[{path}] {line}: the schema lets it through"
            beyond += 1
        else:
            found += 1
    assert found > 400, f"only {found} mistakes were looked at"
    print(f"manifests {len(files)} mistakes found {found} beyond a schema {beyond}")


main()
