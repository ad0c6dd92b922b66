# One-line calls; each is what README and CI run.
PYTHON := .venv/bin/python
PYTHON3 := python3
CURATE := target/debug/curate
DIR := fixtures/gold
RUN := runs/quickstart

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: .venv/done ## a Python with DuckDB and a validator of JSON Schema, for tests and for looking at runs
.venv/done: tests/requirements.txt
	python3 -m venv .venv && $(PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt && touch $@

build:           ## the program, in the one profile that tests and runs share
	cargo build --workspace --bins

check:           ## format, lints, docs
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --all-targets --features curate/faults -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --no-deps --document-private-items --quiet

MDBOOK := 0.5.4
docs: target/tools/bin/mdbook ## the pages as a site, in target/book; not in CI
	$< build docs
target/tools/bin/mdbook:
	cargo install mdbook --version $(MDBOOK) --locked --no-default-features --features search --root target/tools --target-dir target/tools/build

test: setup      ## every test
	cargo test --workspace

cases: setup     ## troubles from the field, one file each in tests/cases/
	cargo test -p curate --test it cases::

faults: setup    ## every durable step of a run fails in every way: a build of its own
	cargo test --workspace --features curate/faults --test it faults

fuzz:            ## mutated files for every reader, ten times as many as in the tests: make fuzz [CASES=30000] [SEED=1]
	CURATE_FUZZ_CASES=$(CASES) CURATE_FUZZ_SEED=$(SEED) cargo test --workspace --bins --lib fuzz -- --show-output

torture: setup   ## kills, faults, bombs and fuzzing at length, under two hours; the output ends in runs/torture.log
	mkdir -p runs
	CURATE_KILLS=400 CURATE_FAULTS=all CURATE_TORTURE=1 CURATE_FUZZ_CASES=$(CASES) \
	  cargo test --workspace --features curate/faults -- --show-output faults resume hostile disk_full fuzz determinism > runs/torture.log 2>&1
	grep '^figure: ' runs/torture.log

testing: setup   ## docs/TESTING.md out of what the tests print; `make torture` before it for the right column
	mkdir -p runs
	cargo test --workspace --features curate/faults -- --show-output > runs/tests.log 2>&1
	$(PYTHON) tests/figures.py runs/tests.log $(wildcard runs/torture.log) > runs/TESTING.md && mv runs/TESTING.md docs/TESTING.md

run: build       ## the quickstart manifest on the sample corpus
	$(CURATE) run manifests/quickstart.toml

drift: run       ## the quickstart's scores and verdicts against the baseline in fixtures/
	$(CURATE) drift runs/quickstart --baseline fixtures/baseline.json

baseline: run    ## a new baseline for `make drift`, after a change that was meant
	$(CURATE) baseline runs/quickstart -o fixtures/baseline.json

look: setup      ## the funnel of a run, in DuckDB: make look [RUN=runs/quickstart]
	cd $(RUN) && $(abspath $(PYTHON)) -c "import duckdb; c = duckdb.connect(); c.execute(open('views.sql').read()); c.sql('FROM funnel').show(max_rows=1000)"

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

bench-dedup-scripts: setup ## recall and precision of near-duplicates in eleven scripts, on pairs of 400 characters
	cargo test -p curate --test it cases::dedup_scripts::recall_and_precision -- --nocapture

CASES := 30000
SEED := 1

SIZES := 10000 100000 1000000 5000000
bench-dedup-sizes: build .venv/bench $(SIZES:%=runs/synthetic/%) ## cost by size up to five million documents, and the same result with 16 GiB
	.venv/bench/bin/python tests/bench/dedup.py $(CURATE) none --peers "" --sizes $(SIZES:%=runs/synthetic/%) --memory 16GiB

runs/synthetic/%:
	cargo bench --profile dev --workspace --bench synthetic -- $* $(abspath $@).part && mv $@.part $@

bench-report: build runs/synthetic/1000000 ## time, memory and size of report.html over a million documents
	$(CURATE) run manifests/measure.toml --run-dir runs/bench-report --set 'source.corpus.path="$(abspath runs/synthetic/1000000)"' \
	  --set 'language.engine="whichlang"' --set filter.gopher_quality.min_words=45 --set filter.gopher_repetition.max_top_2_gram=0.2 2> /dev/null > /dev/null
	python3 -c 'import resource, subprocess, sys, time; t = time.time(); subprocess.run(sys.argv[1:], check=True); print(f"{time.time() - t:.1f} s, {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3:.0f} MB")' \
	  $(CURATE) report runs/bench-report
	ls -l runs/bench-report/report.html

.venv/formats: tests/bench/requirements-formats.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements-formats.txt && touch $@

check-formats: run .venv/formats ## exports of the quickstart's mixture, read by datasets, huggingface_hub and, where installed, megatron-core
	rm -rf runs/export && mkdir -p runs/export && .venv/formats/bin/python tests/it/check_formats.py runs/export/tokenizer --make-tokenizer
	$(CURATE) export runs/quickstart general -o runs/export/embedded --format parquet,jsonl,megatron --end '<|endoftext|>'
	.venv/formats/bin/python tests/it/check_formats.py runs/export/embedded --tokenizer scorers/data/embedded_tokenizer.json
	$(CURATE) export runs/quickstart general -o runs/export/foreign --format parquet,megatron --end '</s>' --tokenizer runs/export/tokenizer/tokenizer.json
	.venv/formats/bin/python tests/it/check_formats.py runs/export/foreign --tokenizer runs/export/tokenizer/tokenizer.json
	$(CURATE) export runs/quickstart general -o runs/export/no-end --format parquet,megatron --no-end
	.venv/formats/bin/python tests/it/check_formats.py runs/export/no-end --tokenizer scorers/data/embedded_tokenizer.json

bench-mix:       ## mixing ten million documents again, up to the export
	cargo bench --profile dev --workspace --bench mix

REMIX := 10000000
bench-remix: build setup runs/short/$(REMIX) ## a whole run over ten million short documents, then mixed again with another budget: make bench-remix [REMIX=5000000]
	$(PYTHON) tests/bench/remix.py $(CURATE) runs/short/$(REMIX)

runs/short/%:
	cargo bench --profile dev --workspace --bench synthetic -- --short $* $(abspath $@).part && mv $@.part $@

bench-rules: .venv/bench ## the rules' speed, and datatrove's on the same texts: make bench-rules CORPUS=…
	cargo bench --profile dev --workspace --bench rules -- $(abspath $(CORPUS))
	.venv/bench/bin/python tests/bench/datatrove_rules.py $(abspath $(CORPUS))

bench-instructions: ## instructions of the hot kernels by callgrind, which needs valgrind, beside the table of docs/measurements.md
	python3 tests/bench/instructions.py "$$(cargo bench --profile dev --workspace --bench instructions --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\/instructions-[^"]*\)".*/\1/p')" $(WRITE)

MODEL := embedded
TOKENS := 256
DOCS := 64
bench-score:     ## tokens per CPU second of the model scorer, one thread: make bench-score [MODEL=0.5b | MODEL=/path/to/model DOCS=16]
	RAYON_NUM_THREADS=1 cargo bench --profile dev --workspace --bench lm -- $(MODEL) $(TOKENS) $(DOCS)

bench-score-peers: bench-score .venv/lm ## the same, and transformers and llama.cpp one document at a time in the same run
	.venv/lm/bin/python tests/bench/lm_peers.py $(MODEL) --tokens $(TOKENS) --documents $(DOCS)

gate: build setup ## what a model is worth as a gate against bad text: make gate CORPUS="/a.jsonl.zst /b.jsonl.zst"
	mkdir -p runs && $(PYTHON) tests/bench/gate.py make $(CORPUS) runs/gate.jsonl
	$(CURATE) run tests/bench/gate.toml --until score > /dev/null && $(PYTHON) tests/bench/gate.py report runs/gate

.venv/lm: tests/bench/requirements-lm.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements-lm.txt && touch $@

# Builds KenLM from source: needs CMake and a C++ compiler.
.venv/kenlm: tests/bench/requirements-kenlm.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements-kenlm.txt && touch $@

ngram-kenlm: build .venv/kenlm ## the n-gram model beside KenLM's reader: make ngram-kenlm CORPUS=/path/to.jsonl.zst
	mkdir -p runs && rm -rf runs/ngram && $(CURATE) run manifests/measure.toml --run-dir runs/ngram --until documents \
	  --set 'source.corpus.path="$(abspath $(CORPUS))"' > /dev/null
	$(CURATE) train ngram runs/ngram -o runs/ngram.ngram --arpa runs/ngram.arpa
	cargo bench --profile dev --workspace --bench ngram -- $(abspath runs/ngram.ngram) $(abspath $(CORPUS)) $(abspath runs/ngram.txt runs/ngram.tsv)
	.venv/kenlm/bin/python tests/bench/ngram_kenlm.py runs/ngram.arpa runs/ngram.txt runs/ngram.tsv

gold-score:      ## a model against reference scores: make gold-score MODEL=/path/to/model REFERENCE=/path/to.jsonl NAME=part-of-its-name
	cargo bench --profile dev --workspace --bench nll_reference -- $(abspath $(MODEL)) $(abspath $(REFERENCE)) $(NAME)

STUDY :=
calibrate-study: build setup .venv/calibrate ## calibrate a corpus on parts of itself, beside LightGBM: make calibrate-study DIR=/path/to/folder [STUDY="--unit host --source lang"]
	$(PYTHON) tests/bench/calibrate_study.py $(CURATE) $(abspath $(DIR)) runs/study $(STUDY)
	for file in runs/study/calibration-*.json; do .venv/calibrate/bin/python tests/bench/lightgbm_peer.py $$file.losses.jsonl $$file; done

default-q: build setup ## the uncalibrated q beside a fitted one, by parts of a corpus: make default-q DIR=/path/to/folder
	rm -rf runs/default-q && $(PYTHON) tests/bench/default_q.py $(CURATE) $(abspath $(DIR)) runs/default-q $(STUDY)

order-carries: setup ## the order of mixtures by a calibration beside losses of other models: make order-carries CALIBRATION=a.json OTHER=b.json.losses.jsonl
	$(PYTHON) tests/bench/order_carries.py $(CALIBRATION) $(CALIBRATION).losses.jsonl $(OTHER)

.venv/calibrate: tests/bench/requirements-calibrate.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements-calibrate.txt && touch $@

check-gpu:       ## parity, out of memory and speed of the model scorer on a GPU; see docs/gpu.md for what the build needs
	cargo bench --profile dev --workspace --features curate/cuda,curate-scorers/cuda --bench gpu -- cuda:0

bench-language:  ## accuracy, steadiness and speed of language identification: make bench-language CORPUS=/path/to/labelled.jsonl.zst [MODEL=/path/to/lid.176.ftz]
	cargo bench --profile dev --workspace --bench language -- $(abspath $(CORPUS)) $(abspath $(filter-out embedded,$(MODEL)))

.venv/fasttext: tests/bench/requirements-fasttext.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements-fasttext.txt && touch $@

bench-fasttext: .venv/fasttext ## a fastText model beside the package: labels, probabilities, speed: make bench-fasttext MODEL=/path/to/lid.176.ftz CORPUS=/path/to/text.jsonl.zst
	mkdir -p runs && cargo bench --profile dev --workspace --bench fasttext -- $(abspath $(MODEL)) $(abspath $(CORPUS)) $(abspath runs/fasttext.tsv)
	.venv/fasttext/bin/python tests/bench/fasttext_peer.py $(abspath $(MODEL)) $(abspath $(CORPUS)) runs/fasttext.tsv

.venv/web: tests/bench/requirements-web.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements-web.txt && touch $@

test-web: .venv/web ## texts of web pages beside resiliparse's, their F1, and the speed of each step: make test-web DIR=/path/with/html
	mkdir -p runs && cargo bench --profile dev --workspace --bench web -- $(abspath runs/web-pages.jsonl) $(foreach set,scrapinghub trafilatura wcxb,$(set)=$(abspath $(DIR))/html/$(set)/pages.warc.gz)
	.venv/web/bin/python tests/bench/web.py runs/web-pages.jsonl $(abspath $(DIR))/html

bench-pii:       ## personal data: precision and recall on labelled sentences, false positives by hand, and speed: make bench-pii DIR=/path/with/pii CORPUS=/path/docs-en.jsonl.zst
	mkdir -p runs && gzip -dc $(abspath $(DIR))/pii/presidio_synth_v2.json.gz > runs/pii-labelled.json
	cargo bench --profile dev --workspace --bench pii -- $(abspath runs/pii-labelled.json) $(abspath $(CORPUS)) $(abspath tests/bench/pii_labels.tsv)

TOKENIZER := embedded

bench-tokens:    ## speed of the tokenizer, and its ids beside those of `tokenizers`: make bench-tokens CORPUS=/path/to/text.jsonl.zst [TOKENIZER=FILE.json or FILE.gguf]
	cargo bench --profile dev --workspace --bench tokens -- $(TOKENIZER) $(abspath $(CORPUS))

.venv/bench: tests/bench/requirements.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt && touch $@

.venv/wheel: pipeline/python/requirements-build.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r $< && touch $@

ARCH := x86_64
wheel: .venv/wheel ## the Python wheel, for Linux with glibc 2.17 and up: make wheel [ARCH=aarch64]; see docs/python.md
	.venv/wheel/bin/python pipeline/python/licences.py $(ARCH)-unknown-linux-gnu pipeline/python/THIRD-PARTY-LICENCES.txt
	cd pipeline/python && PATH="$(abspath .venv/wheel/bin):$$PATH" maturin build --release --zig --compatibility manylinux_2_17 \
	  --target $(ARCH)-unknown-linux-gnu --out $(abspath target/wheels)

release: .venv/wheel ## wheel, archive, SBOM and checksums in target/release-files: make release [ARCH=aarch64]
	$(MAKE) wheel ARCH=$(ARCH)
	.venv/wheel/bin/python pipeline/python/release.py $(ARCH)-unknown-linux-gnu target/wheels target/release-files

.venv/python: pipeline/python/tests/requirements.txt
	python3 -m venv $@ && $@/bin/python -m pip install --quiet --disable-pip-version-check -r $< && touch $@

test-python: build .venv/python ## the Python package with the program in target/debug: types, lints, tests, the code in docs/python.md
	cd pipeline/python && $(abspath .venv/python/bin/ruff) check --no-cache && $(abspath .venv/python/bin/ruff) format --no-cache --check
	cd pipeline/python && $(abspath .venv/python/bin/mypy) --cache-dir $(abspath .venv/mypy) src tests
	cd pipeline/python && CURATE_BIN=$(abspath $(CURATE)) PYTHONPATH=$(abspath pipeline/python/src) $(abspath .venv/python/bin/pytest) -p no:cacheprovider

WHEEL = $(lastword $(sort $(wildcard target/wheels/*_x86_64.whl)))
test-wheel:      ## the wheel in clean environments, one that has nothing else: make test-wheel [WHEEL=FILE] [PYTHON3=python3.13]
	pipeline/python/tests/wheel.sh $(abspath $(WHEEL)) $(PYTHON3)

container:       ## a container image from the archive of `make release`, with buildah: make container [BASE=IMAGE]
	buildah build --file pipeline/deploy/Containerfile --tag curate $(if $(BASE),--build-arg BASE=$(BASE)) target/release-files

house:           ## how readable the code is at 323c7db and now, and the seconds of a clean build
	python3 tests/house.py --time-build

clean:           ## what builds and runs left
	rm -rf target runs .venv

.PHONY: help setup build check docs test faults fuzz torture testing run look measure gold gold-dedup gold-clusters gold-signatures bench-dedup bench-dedup-sizes bench-dedup-scripts bench-rules bench-score bench-score-peers gate ngram-kenlm check-formats bench-mix bench-remix drift baseline gold-score check-gpu bench-language bench-tokens bench-instructions test-web wheel release test-python test-wheel container bench-report bench-pii bench-fasttext house clean
