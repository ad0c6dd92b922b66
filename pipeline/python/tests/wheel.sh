#!/usr/bin/env bash
# Tries a wheel as a new user would: wheel.sh WHEEL [PYTHON]. First in an environment that has nothing else, then with the tests.
set -euo pipefail
wheel=$1 python=${2:-python3}
tests=$(cd "$(dirname "$0")" && pwd) place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
unset CURATE_BIN PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1

"$python" -m venv "$place/bare"
"$place/bare/bin/pip" install --quiet --no-index "$wheel"
cp -r "$tests/../../../fixtures/docs" "$place/texts"
cat > "$place/mine.toml" <<'TOML'
[run]
name = "mine"
[[source]]
name = "web"
path = "texts/web-*.jsonl.zst"
text = "text"
[filter.gopher_quality]
[dedup.near]
TOML
cd "$place"
bare/bin/curate --version
bare/bin/python - <<'PY'
import sys
import curate

print(sys.version.split()[0], curate.binary())
run = curate.run("mine.toml", quiet=True)
print(run.funnel())
try:
    run.table("filter").to_pandas()
except ModuleNotFoundError as error:
    print(error)
else:
    sys.exit("pandas is not there")
PY

"$python" -m venv "$place/full"
# Without pins: what a user of this Python gets today.
"$place/full/bin/pip" install --quiet "$wheel" pyarrow pandas polars duckdb datasets pytest
"$place/full/bin/python" -c 'import curate; print(curate.Run("runs/mine").table("filter").to_pandas().tail(3))'
# The tests see the installed package, not its source.
cd "$tests" && "$place/full/bin/python" -m pytest -p no:cacheprovider -c "$tests/../pyproject.toml" --rootdir "$tests" "$tests"
