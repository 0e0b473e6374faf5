# Two commands: `make quickstart` shows what kcolor does, `make test` whether it does it right.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BEAM := .venv-beam
RUN := runs/quickstart

.PHONY: quickstart test test-beam bench web lint clean

# Made anew when what is to be installed changes.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kcolor needs Python 3.11 or newer")'
	@echo "Installing TensorFlow and the rest into $(VENV): some minutes, and 2.6 GB of disk."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(VENV)/.installed
	rm -rf $(RUN)
	$(BIN)/kcolor fit recipes/quickstart.toml -o $(RUN)
	$(BIN)/kcolor colorize --model $(RUN) --split test --side-by-side -o $(RUN)/coloured
	$(BIN)/kcolor export $(RUN) --saved-model --tflite -o exports
	@echo
	@echo "What to look at:"
	@echo "  before and after    $$(ls $(RUN)/coloured/*.*g)   (a photo that training did not see)"
	@echo "  while it trained    $$(ls $(RUN)/samples/* | tail -n 1)   (a validation photo: grey | prediction | truth)"
	@echo "  loss curves         $(RUN)/curves.png"
	@echo "  exported models     exports/quickstart/"
	@echo "Three photographs teach nothing about a fourth: its colours show that every part works, and no more."

# The tests of the page are passed over where there is no npm to bring LiteRT.js.
test: $(VENV)/.installed lint $(if $(shell command -v npm),web)
	$(BIN)/python -m pytest --junitxml=.pytest_cache/junit.xml
	$(MAKE) test-beam

# Ratios into benchmarks/results and docs/performance.md: a quarter of an hour on two cores with nothing else running.
# make bench DATA=photos measures with one's own photographs; TORCH=PYTHON, a Python that has PyTorch, beside it.
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks $(addprefix --data ,$(DATA)) $(addprefix --torch ,$(TORCH))

# Apache Beam holds some packages back, and so has an environment of its own, which takes all others from the first one.
$(BEAM)/.installed: $(VENV)/.installed
	rm -rf $(BEAM)
	$(BIN)/python -m venv $(BEAM)
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' \
	    > "$$($(BEAM)/bin/python -c 'import site; print(site.getsitepackages()[0])')/above.pth"
	$(BEAM)/bin/python -m pip install --quiet --editable '.[beam]'
	touch $@

test-beam: $(BEAM)/.installed
	$(BEAM)/bin/python -c 'import apache_beam'
	$(BEAM)/bin/python -m pytest tests/test_beam_*.py

# What runs networks in browsers, for kcolor export --web and kcolor serve; and the check of the page's types.
web: kcolor/web/runtime/VERSION
	npm --prefix web run --silent types

kcolor/web/runtime/VERSION: web/package-lock.json web/build.sh
	npm --prefix web ci --ignore-scripts --silent
	npm --prefix web run --silent build

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(BEAM) .pytest_cache .mypy_cache .ruff_cache web/node_modules kcolor/web/runtime
