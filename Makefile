PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
GENERATED := clients/python/scrip/v1
PROTO_TOOLS := "grpcio-tools==1.76.*" mypy-protobuf
PINNED_BY := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make pins"

# An environment is good for one directory and one content of the files it was made from; its stamps carry the sum.
sum = $(shell { echo "$(CURDIR)"; cat $(1); } | cksum | cut -d " " -f 1)
PINNED := .venv/pinned-$(call sum,requirements.txt)
INSTALLED := .venv/installed-$(call sum,requirements.txt pyproject.toml clients/python/pyproject.toml)
GENERATOR := .venv-proto/pinned-$(call sum,requirements-proto.txt)

.PHONY: help setup browser serve test lint format proto bench soak pins clean
.DELETE_ON_ERROR:

help: ## list what can be made
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(INSTALLED) ## make .venv, with everything needed to run and develop

browser: ## install chromium, in which the purchase page is tested (Debian, as root; nothing if it is there)
	@command -v chromium >/dev/null || [ "$$SCRIP_TEST_BROWSER" = none ] || \
		{ apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; }

serve: setup ## start the server on 127.0.0.1:50051, books in ./data (flags: ARGS=)
	$(BIN)/scrip serve $(ARGS)

# They start many processes, none of which should have to compile again what all of them load; and where there is room
# for it they write to memory, because a disk has to be waited for at each commit.
test: export PYTHONDONTWRITEBYTECODE :=
test: export TMPDIR := $(or $(TMPDIR),$(shell \
	[ "$$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 4000000 ] 2>/dev/null && echo /dev/shm || echo /tmp))
test: setup ## run the tests on all cores (one file or name: ARGS="tests/test_x.py -k name"; one by one: ARGS="-n 0")
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: setup $(GENERATOR) ## check style, types, the contract, and that generated code is fresh
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/buf lint
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && { $(call generate,"$$fresh"); } && \
		diff -r -x __init__.py -x __pycache__ "$$fresh/scrip/v1" $(GENERATED) || \
		{ echo "$(GENERATED) is not what protos/ says: run make proto" >&2; exit 1; }

format: setup ## repair what ruff can repair
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

proto: $(GENERATOR) ## generate the Python stubs from protos/
	rm -f $(GENERATED)/*_pb2*.py $(GENERATED)/*_pb2*.pyi
	@$(call generate,clients/python)

bench: setup ## measure (QUICK=1: the four ratios only; parts and flags: ARGS=)
	$(BIN)/python -m benchmarks $(ARGS)

soak: setup ## run the tests that take minutes
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

pins: setup ## resolve the newest versions into both requirements files
	$(PINNED_BY) --extra dev --no-emit-package scrip-client -o requirements.txt \
		pyproject.toml clients/python/pyproject.toml
	printf '%s\n' $(PROTO_TOOLS) | $(PINNED_BY) -o requirements-proto.txt -

clean: ## remove environments, caches and build outputs; data/ stays
	rm -rf .venv .venv-proto .mypy_cache .pytest_cache .ruff_cache .hypothesis dist clients/python/dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call generate,directory): messages for every file; stubs and servicers for those that define a service.
PROTOC := .venv-proto/bin/python -m grpc_tools.protoc --proto_path=protos \
	--plugin=.venv-proto/bin/protoc-gen-mypy --plugin=.venv-proto/bin/protoc-gen-mypy_grpc
define generate
$(PROTOC) --python_out=$(1) --mypy_out=quiet:$(1) protos/scrip/v1/*.proto && \
$(PROTOC) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $$(grep -l "^service " protos/scrip/v1/*.proto)
endef

$(PINNED):
	$(PYTHON) -c 'import sys; sys.exit("Scrip needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	@touch $@

$(INSTALLED): $(PINNED)
	@rm -f .venv/installed-*
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . -e clients/python
	@touch $@

$(GENERATOR):
	$(PYTHON) -m venv --clear .venv-proto
	.venv-proto/bin/python -m pip install --quiet --require-hashes -r requirements-proto.txt
	@touch $@
