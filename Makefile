# `make demo` and `make test` do all the set-up that they need: Python 3.11 or newer, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet

# Compiled modules are kept: a cycle or a test starts many processes of ours.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fleet check reference pictures docs docs-links chaos fuzz oldest neighbours node run deb wheels install can-install lock clean

demo: $(VENV)/.run ## a whole cycle on this machine; ARGS="--hold" keeps its page until Ctrl-C
	@$(BIN)/hyperdrift demo --until swap $(ARGS)

neighbours: requirements-neighbours.txt requirements-lean.txt $(VENV)/.dev ## the client beside freqtrade, and without scikit-learn
	@for name in neighbours lean; do \
		$(PYTHON) -m venv $(VENV)/$$name && \
		$(VENV)/$$name/bin/pip --disable-pip-version-check install --quiet --require-hashes -r requirements-$$name.txt && \
		$(VENV)/$$name/bin/pip --disable-pip-version-check install --quiet --no-deps ./client || exit; done
	@HYPERDRIFT_NEIGHBOURS=$(VENV)/neighbours/bin/python HYPERDRIFT_LEAN=$(VENV)/lean/bin/python \
		$(BIN)/pytest -q tests/system/test_bot_environment.py

freqtrade: $(VENV)/neighbours/.freqtrade $(VENV)/.dev ## a real freqtrade's backtests, offline, with examples/freqtrade
	@HYPERDRIFT_NEIGHBOURS=$(VENV)/neighbours/bin/python $(BIN)/pytest -q tests/system/test_freqtrade.py

$(VENV)/neighbours/.freqtrade: requirements-neighbours.txt $(wildcard client/hyperdrift/*.py client/hyperdrift/*/*.py) | $(BIN)/python
	@$(PYTHON) -m venv $(VENV)/neighbours
	@$(VENV)/neighbours/bin/pip --disable-pip-version-check install --quiet --require-hashes -r $<
	@$(VENV)/neighbours/bin/pip --disable-pip-version-check install --quiet --no-deps --force-reinstall ./client
	@touch $@

node: examples/node/node_modules/.made $(VENV)/.dev ## the bot in TypeScript against real brokers; needs Node.js 18 and npm
	@cd examples/node && npm run --silent build
	@$(BIN)/pytest -q tests/system/test_node_bot.py

examples/node/node_modules/.made: examples/node/package-lock.json
	@cd examples/node && npm ci --silent
	@touch $@

run: $(VENV)/.run ## the daemon in the foreground
	@$(BIN)/hyperdrift run

test: $(VENV)/.dev ## every test, two at a time
	@$(BIN)/pytest -q -n 2 --dist loadscope --no-loadscope-reorder -m "not fleet"

fleet: $(VENV)/between/.bot $(VENV)/.dev ## many slots, and clusters in network namespaces: a quarter of an hour
	@$(BIN)/pytest -q -m fleet tests/system

check: $(VENV)/.dev ## format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

reference: $(VENV)/.dev ## docs/reference/ and the picture of the rooms, from the code
	@$(BIN)/python -m docs.generate

docs: $(VENV)/.dev ## these pages as a site in build/docs; a warning is an error
	@rm -rf build/docs build/doctrees
	@$(BIN)/sphinx-build -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

docs-links: $(VENV)/.dev ## asks every address outside that a page names; needs the network
	@$(BIN)/sphinx-build -q -b linkcheck -d build/doctrees docs build/docs-links

pictures: $(VENV)/.dev ## docs/pictures/, from a demo in a real browser
	@$(BIN)/python -m tests.system.pictures docs/pictures

chaos: $(VENV)/.dev ## fifteen bad minutes and a second pass; or CHAOS="--minutes 5 --seed 7"
	@$(BIN)/python -m benchmarks.chaos $(CHAOS)

fuzz: $(VENV)/.dev ## mutated real texts for every reader; or FUZZ="--tries 1000000 --seed 7"
	@$(BIN)/python -m benchmarks.fuzz $(FUZZ)

oldest: $(VENV)/oldest/.bot $(VENV)/between/.bot $(VENV)/.dev ## whole cycles with trainers and bots of old scikit-learns
	@HYPERDRIFT_TRAINERS=$(VENV)/oldest/bin/python:$(VENV)/between/bin/python:$(BIN)/python \
		$(BIN)/pytest -q tests/system/test_trainers.py

$(VENV)/%/.bot: requirements-%.txt client/pyproject.toml | $(BIN)/python
	@$(PYTHON) -m venv $(VENV)/$*
	@$(VENV)/$*/bin/pip --disable-pip-version-check install --quiet --require-hashes -r $<
	@$(VENV)/$*/bin/pip --disable-pip-version-check install --quiet --no-deps -e ./client
	@touch $@

deb: $(BIN)/python ## a Debian package in dist/
	@rm -f dist/hyperdrift_*.deb
	@sh packaging/build.sh $(BIN)/python dist

wheels: $(BIN)/python ## the pinned packages as files in dist/wheels, for a host without a network
	@rm -rf dist/wheels
	@$(BIN)/pip --disable-pip-version-check download --quiet --require-hashes --no-deps -r requirements-fleet.txt -d dist/wheels
	@echo "on the host: HYPERDRIFT_WHEELS=/path/to/wheels apt install ./hyperdrift_<version>_all.deb"

install: can-install deb ## that package, on this machine, by apt, also over one with the same version
	@as=; [ "$$(id -u)" = 0 ] || as="sudo --preserve-env=HYPERDRIFT_WHEELS"; \
		$$as apt-get install --reinstall ./dist/hyperdrift_*_all.deb

can-install:
	@for tool in apt-get dpkg-deb systemctl; do command -v $$tool >/dev/null \
		|| { echo "make install needs $$tool: a Debian 12, or a system like it; else docs/howto/run-as-a-service.md"; exit 2; }; done
	@/usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "make install needs Python 3.11 or newer as /usr/bin/python3, with python3-venv: apt-get install python3-venv"; exit 2; }
	@[ "$$(id -u)" = 0 ] || command -v sudo >/dev/null \
		|| { echo "make install needs root: run it as root (su -), or install sudo"; exit 2; }

lock: ## resolve the pinned requirements again; needs uv
	uv pip compile pyproject.toml --extra files --extra plots --no-emit-package hyperdrift-client --generate-hashes --universal \
		--python-version 3.11 --no-header --quiet --upgrade -o requirements.txt
	uv pip compile pyproject.toml --no-emit-package hyperdrift-client --generate-hashes --universal --python-version 3.11 \
		--no-header --quiet -c requirements.txt -o requirements-service.txt
	uv pip compile pyproject.toml --extra fleet --extra files --extra plots --no-emit-package hyperdrift-client --generate-hashes --universal --python-version 3.11 \
		--no-header --quiet -c requirements.txt -o requirements-fleet.txt
	uv pip compile pyproject.toml --extra dev --extra fleet --extra files --extra plots --no-emit-package hyperdrift-client --generate-hashes --universal --python-version 3.11 \
		--no-header --quiet -c requirements.txt -o requirements-dev.txt
	uv pip compile requirements-oldest.in --generate-hashes --universal --python-version 3.11 \
		--no-header --quiet -o requirements-oldest.txt
	uv pip compile requirements-between.in --generate-hashes --universal --python-version 3.11 \
		--no-header --quiet -o requirements-between.txt
	uv pip compile client/pyproject.toml requirements-neighbours.in --extra joblib --generate-hashes --universal \
		--python-version 3.11 --no-header --quiet -o requirements-neighbours.txt
	uv pip compile client/pyproject.toml --extra onnx --generate-hashes --universal \
		--python-version 3.11 --no-header --quiet -o requirements-lean.txt

clean: ## forget the environment
	rm -rf $(VENV) build dist *.egg-info examples/node/node_modules examples/node/dist

$(BIN)/python:
	@echo "hyperdrift: making an environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "hyperdrift needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt pyproject.toml client/pyproject.toml | $(BIN)/python
	@echo "hyperdrift: installing pinned packages, about a minute the first time"
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps -e ./client -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml client/pyproject.toml | $(BIN)/python
	@echo "hyperdrift: installing pinned packages for tests, about a minute the first time"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@$(PIP) --no-deps -e ./client -e .
	@touch $(VENV)/.run $@
