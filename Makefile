# `make demo` shows the system working; `make test` checks everything. Both set up what they need first.
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/contracts/node_modules/.bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help demo test check unit soak bench contracts vectors fuzz deb lock clean

help:      ## this list
	@sed -n 's/^\([a-z]*\):  *## /make \1\t/p' Makefile

demo:      ## the whole system on this machine: broker, chain, gateway, two devices (RPC=URL ACCOUNT_KEY=FILE uses that chain)
	@scripts/setup run && edgeseal demo $(if $(RPC),--rpc $(RPC) --account-key $(ACCOUNT_KEY))

test:      ## everything but the soak tests
	@scripts/setup dev && scripts/check && pytest -n 2 --ignore=tests/unit --ignore=tests/property

check:     ## imports, types, style and the tests that need nothing but Python: seconds
	@scripts/setup dev && scripts/check

unit:      ## unit and property tests, without a network where the kernel lets us
	@scripts/setup dev && scripts/unit

soak:      ## the full counts of the crash and load tests: long
	@scripts/setup dev && pytest -m soak

fuzz:      ## the decoders against random and mutated bytes
	@scripts/setup dev && pytest tests/fuzz

bench:     ## the table of measured ratios
	@scripts/setup bench && python -m benchmarks

contracts: ## build, test and export the contracts: ABI, bytecode, gas
	@scripts/setup dev && contracts/script/build.py

vectors:   ## write tests/vectors anew (a released version's never change)
	@scripts/setup dev && python -m tests.vectors.generate

deb:       ## dist/edgeseal-agent_*.deb for Debian 12 (ARCH=arm64: assembled, not run)
	@scripts/setup dev && scripts/deb $(ARCH)

lock:      ## write requirements/*.lock anew from pyproject.toml (UPGRADE=1 takes newer releases)
	@scripts/setup dev && scripts/lock $(if $(UPGRADE),--upgrade)

clean:     ## remove what set-up, builds and demos left (what git ignores)
	@git clean -Xdf
