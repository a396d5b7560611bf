# One command per act. Each target makes .venv on first use; PYTHON=python3.12 picks another interpreter.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

DATA ?= data
OUT ?= runs/results

.PHONY: demo talk serve test coverage browser check docs format results wavesurfer pipeline

demo: $(STAMP)
	$(BIN)/osum label samples/

# A clip is answered aloud (apt install espeak-ng): what was recognised, what is said and how long it took are printed.
CLIP ?= samples/en_child_girl.flac
ANSWER ?= runs/answer.wav
talk: $(STAMP)
	mkdir -p $(dir $(ANSWER))
	$(BIN)/osum talk $(CLIP) -o $(ANSWER) --show-thought

serve: $(STAMP)
	$(BIN)/osum studio

# A process for each core, of one thread: most tests are too small to share.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

# The folders that need no model, branches counted: 98 % when measured, so less than 97 % is a test that is missing.
PURE := tasks scoring results text files records utterance errors
coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto $(addprefix --cov=osum.,$(PURE)) --cov-branch --cov-fail-under=97 \
		--cov-report=term-missing:skip-covered \
		tests/tasks tests/scoring tests/results $(patsubst %,tests/test_%.py,text files records utterance)

# The studio in a real chromium; its tests skip where there is none.
browser: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m browser -rs tests/server

check: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

# The docs as a site in runs/site; a link or an anchor that does not hold is an error.
docs: $(STAMP)
	$(BIN)/python docs/site.py runs/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f docs/mkdocs.yml

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Every test set of nano and the models next to it; DATA/nano is what `recipes.nano.build` wrote. Resumes where it stopped.
# The others' answers do not depend on nano: benchmarks/README.md says what to do after a new checkpoint.
EVALUATE := $(BIN)/osum evaluate --suite nano --data $(DATA) -o $(OUT) --resume
COMMA := ,
RAVDESS := $(if $(wildcard $(DATA)/ravdess),--benchmark ravdess-gender$(COMMA)ravdess-emotion)
results: $(STAMP)
	$(EVALUATE) $(RAVDESS) --model nano --batch-size 32
	$(EVALUATE) --model pocketsphinx
	$(EVALUATE) $(RAVDESS) --model classical --model majority --model source --set train=$(DATA)/nano/train.jsonl \
		--set classical.valid=$(DATA)/nano/valid.jsonl --set classical.cache=$(OUT)
	$(BIN)/osum report $(OUT) -o $(OUT)/report --keep docs/results/nano.json \
		$(addprefix --readme ,$(wildcard README*.md))

# Fetch the one library of the studio's page anew; nothing else of this project needs npm.
WAVESURFER := wavesurfer.js@8.0.1
wavesurfer:
	npm pack --silent --pack-destination $(or $(TMPDIR),/tmp) $(WAVESURFER)
	tar -xzf $(or $(TMPDIR),/tmp)/$(subst @,-,$(WAVESURFER)).tgz -C $(or $(TMPDIR),/tmp)
	cp $(or $(TMPDIR),/tmp)/package/dist/wavesurfer.esm.js src/osum/server/static/vendor/wavesurfer.js
	cp $(or $(TMPDIR),/tmp)/package/LICENSE src/osum/server/static/vendor/wavesurfer.LICENSE

# Sample clips and sentences that espeak-ng speaks (apt install espeak-ng) to a small labelled corpus with a card: in a
# loop, and on a Ray of this machine; then the two are compared, byte for byte.
CORPUS ?= runs/pipeline
PIPELINE := RAY_worker_niceness=0 $(BIN)/osum pipeline run pipelines/demo.yaml --data samples/manifest.jsonl pipelines/demo.jsonl
pipeline: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,ray]'
	$(PIPELINE) --out $(CORPUS)/loop
	$(PIPELINE) --out $(CORPUS)/ray --ray local
	for part in corpus steps README.md; do diff -r $(CORPUS)/loop/$$part $(CORPUS)/ray/$$part || exit 1; done
	@echo "loop and Ray are equal: $(CORPUS)/loop/README.md, $(CORPUS)/loop/report.html"

# torch first and by its exact pin: without one pip may pull the CUDA build, gigabytes that no test needs.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
