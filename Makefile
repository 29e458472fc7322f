# The commands of the house. Each one installs what is missing first.
#
#   make run     build with optimisation and open the application (without a display: make demo)
#   make test    every test
#   make demo    a real call on this computer: a server and three participants
#   make lab     calls through routers and narrow links in network namespaces, about twelve minutes
#                (root, or a kernel that gives users namespaces and TUN devices)
#   make bench   the benchmarks, one table each; the lab's part takes an hour, and half as long again
#                for Chromium beside it where that is installed
#   make bench-lab   only the lab's part: RUNS=2 for medians, CASES="--case rfc51" for some
#   make bench-connect   connecting and staying connected, half an hour; CASES="--full" for the whole
#                matrix of routers and an hour's call, three hours
#   make bench-relay   large calls through the relay, and the same streams through Janus: a quarter of an
#                hour; CASES="--case fifty" for some; then calls of the application that outgrow a mesh,
#                a quarter more, with SWITCH="--case switch --runs 10" an hour
#   make lint    formatting and lints, warnings as errors
#   make fuzz    every fuzz target for a minute (needs the nightly toolchain and cargo-fuzz)
#   make devices the device tests against a real V4L2 camera and ALSA card in a small virtual machine
#                (root; builds a kernel once, about ten minutes)
#   make deny    licences, bans and sources of all dependencies (needs cargo-deny)

SHELL := /bin/bash
CARGO ?= cargo
DEMO  ?= --people 3 --for 20s
RUNS  ?= 1
CASES ?=
SWITCH ?=
# Programs that were built elsewhere, for the lab.
export NONSTOP_BIN

.PHONY: run test demo lab bench bench-lab bench-connect bench-relay lint fuzz devices deny setup setup-test setup-lab

setup:
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh build test lab

setup-lab:
	@scripts/setup.sh build lab relay
	@$(CARGO) build --release -p nonstop-wan
	@[ -n "$(NONSTOP_BIN)" ] || $(CARGO) build --release --bins -p nonstop -p nonstop-server

run: setup
	@$(CARGO) build --release --bins
	@if scripts/setup.sh has-display; then \
		$(CARGO) run --release --quiet --bin nonstop; \
	else \
		echo "There is no display here: running 'make demo' in place of the window."; \
		$(MAKE) --no-print-directory demo; \
	fi

demo: setup
	@$(CARGO) build --release --bins
	@$(CARGO) run --release --quiet --bin nonstop -- demo $(DEMO)

test: setup-test
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --workspace; \
	else \
		$(CARGO) test --workspace; \
	fi

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Status 77: this system allows no lab, and it has said why.
lab: setup-lab
	@tests/lab/suite.py || [ $$? = 77 ]

bench: setup
	$(CARGO) bench --workspace
	@$(MAKE) --no-print-directory bench-lab
	@$(MAKE) --no-print-directory bench-connect CASES=
	@$(MAKE) --no-print-directory bench-relay CASES=

# Chromium is measured beside where it is installed.
bench-lab: setup-lab
	@if { command -v chromium && command -v node && command -v npm; } >/dev/null; then npm install --silent --prefix tests/lab/chromium; fi
	@tests/lab/rate.py --runs $(RUNS) --peer chromium $(CASES) || [ $$? = 77 ]

bench-connect: setup-lab
	@if { command -v chromium && command -v node && command -v npm; } >/dev/null; then npm install --silent --prefix tests/lab/chromium; fi
	@tests/lab/connect.py $(CASES) || [ $$? = 77 ]
	@tests/lab/turn_bench.py

# Janus is measured beside, and installed for it.
bench-relay: setup-lab
	@scripts/setup.sh build relay-peer
	@$(CARGO) build --release -p nonstop-load
	@[ -n "$(CASES)" ] || tests/lab/relay_janus.py || [ $$? = 77 ]
	@tests/lab/relay_load.py $(CASES) || [ $$? = 77 ]
	@[ -n "$(CASES)" ] || tests/lab/relay.py $(SWITCH) || [ $$? = 77 ]

fuzz:
	@cd fuzz && for target in $$($(CARGO) +nightly fuzz list); do \
		mkdir -p corpus/$$target seeds/$$target; \
		$(CARGO) +nightly fuzz run $$target corpus/$$target seeds/$$target -- \
			-max_total_time=60 -rss_limit_mb=1024 || exit 1; \
	done

devices: setup-test
	@tests/lab/devices-vm.sh --setup
	@tests/lab/devices.sh

deny:
	$(CARGO) deny check licenses bans sources
