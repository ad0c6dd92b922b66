# One-line calls; each is what README and CI run.
PYTHON := .venv/bin/python
CURATE := target/debug/curate
DIR := fixtures/gold

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: .venv/done ## a Python with DuckDB, for tests and for looking at runs
.venv/done: tests/requirements.txt
	python3 -m venv .venv && $(PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt && touch $@

build:           ## the program, in the one profile that tests and runs share
	cargo build --workspace --bins

check:           ## format, lints, docs
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

test: setup      ## every test
	cargo test --workspace

run: build       ## the quickstart manifest on the sample corpus
	$(CURATE) run manifests/quickstart.toml

look: setup      ## the quickstart's funnel, in DuckDB
	cd runs/quickstart && ../../$(PYTHON) -c "import duckdb; c = duckdb.connect(); c.execute(open('views.sql').read()); print(c.sql('FROM funnel'))"

measure: build   ## speed by stage and peak memory: make measure CORPUS=/path/to/docs.jsonl.zst
	rm -rf runs/measure && $(CURATE) run manifests/measure.toml --set 'source.corpus.path="$(abspath $(CORPUS))"' 2>&1 | grep -v ' part-'

gold: build      ## the rules against datatrove's labels: make gold DIR=/path/to/labels; its table goes into docs/rules.md
	GOLD_DIR="$(abspath $(DIR))" GOLD_TABLE="$(abspath docs/rules.md)" cargo test -p curate --test it gold -- --nocapture

gold-dedup: build setup ## removals against the exact similarity of all pairs: make gold-dedup DOCS=/path/to.jsonl.zst PAIRS=/path/to.parquet
	rm -rf runs/gold-dedup && $(CURATE) run manifests/measure.toml --run-dir runs/gold-dedup --until near_dedup \
	  --set 'source.corpus.path="$(abspath $(DOCS))"' > /dev/null
	$(PYTHON) tests/bench/gold_dedup.py runs/gold-dedup $(abspath $(PAIRS))

gold-clusters: build setup ## components against datatrove's clusters: make gold-clusters DOCS=/path/to.jsonl.zst CLUSTERS=/path/to.parquet
	rm -rf runs/gold-clusters && $(CURATE) run manifests/parity.toml --until near_dedup \
	  --set 'source.corpus.path="$(abspath $(DOCS))"' > /dev/null
	$(PYTHON) tests/bench/gold_clusters.py runs/gold-clusters $(abspath $(CLUSTERS))

gold-signatures: build setup ## MinHash values against datatrove's: make gold-signatures DOCS=/path/to.jsonl.zst LABELS=/path/to.parquet
	rm -rf runs/gold-signatures && $(CURATE) run manifests/parity.toml --run-dir runs/gold-signatures --until signatures \
	  --set dedup.near.keep_signatures=true --set 'source.corpus.path="$(abspath $(DOCS))"' > /dev/null
	$(PYTHON) tests/bench/gold_signatures.py runs/gold-signatures $(abspath $(LABELS))

bench-dedup: build .venv/bench ## speed and memory beside datatrove and rensa: make bench-dedup CORPUS=/path/to/docs.jsonl.zst
	.venv/bench/bin/python tests/bench/dedup.py $(CURATE) $(abspath $(CORPUS))

SIZES := 10000 100000 1000000 5000000
bench-dedup-sizes: build .venv/bench $(SIZES:%=runs/synthetic/%) ## cost by size up to five million documents, and the same result with 16 GiB
	.venv/bench/bin/python tests/bench/dedup.py $(CURATE) none --peers "" --sizes $(SIZES:%=runs/synthetic/%) --memory 16GiB

runs/synthetic/%:
	cargo bench --profile dev --workspace --bench synthetic -- $* $(abspath $@).part && mv $@.part $@

bench-rules: .venv/bench ## the rules' speed, datatrove's on the same texts, and an instruction count: make bench-rules CORPUS=…
	cargo bench --profile dev --workspace --bench rules -- $(abspath $(CORPUS))
	.venv/bench/bin/python tests/bench/datatrove_rules.py $(abspath $(CORPUS))
	sh tests/bench/count_instructions.sh

MODEL := embedded
bench-score:     ## tokens per CPU second of the model scorer, one thread: make bench-score [MODEL=0.5b | MODEL=/path/to/model]
	RAYON_NUM_THREADS=1 cargo bench --profile dev --workspace --bench lm -- $(MODEL)

gold-score:      ## a model against reference scores: make gold-score MODEL=/path/to/model REFERENCE=/path/to.jsonl NAME=part-of-its-name
	cargo bench --profile dev --workspace --bench nll_reference -- $(abspath $(MODEL)) $(abspath $(REFERENCE)) $(NAME)

check-gpu:       ## parity, out of memory and speed of the model scorer on a GPU; see docs/gpu.md for what the build needs
	cargo bench --profile dev --workspace --features curate/cuda,curate-scorers/cuda --bench gpu -- cuda:0

bench-language:  ## accuracy and speed of language identification: make bench-language CORPUS=/path/to/labelled.jsonl.zst
	cargo bench --profile dev --workspace --bench language -- $(abspath $(CORPUS))

.venv/bench: tests/bench/requirements.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt && touch $@

clean:           ## what builds and runs left
	rm -rf target runs .venv

.PHONY: help setup build check test run look measure gold gold-dedup gold-clusters gold-signatures bench-dedup bench-dedup-sizes bench-rules bench-score gold-score check-gpu bench-language clean
