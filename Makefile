# rehearse: rehearse a Kubernetes upgrade before production does it.
# `make help` lists the targets.

SHELL := /bin/bash
BIN   := $(CURDIR)/bin
OUT   ?= runs

GOLANGCI_LINT_VERSION := v2.15.0
GOTESTSUM_VERSION     := v1.13.0
ACTIONLINT_VERSION    := v1.7.12

# Of the targets monthly and gate, which pipelines call: see docs/guides/pipelines.md.
REHEARSE ?= $(BIN)/rehearse
MAX_AGE  ?= 168h

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -X github.com/kube-rehearse/rehearse/cmd/internal/cli.version=$(VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-zA-Z0-9_-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/rehearse, and bin/canary beside it
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/rehearse ./cmd/rehearse
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(BIN)/canary ./cmd/canary

.PHONY: rehearsal
rehearsal: build ## Rehearse an upgrade on the embedded (simulated) cluster; needs nothing but Go
	$(BIN)/rehearse run -f scenarios.yaml --scenario quickstart --out $(OUT)

.PHONY: rehearsal-kind
rehearsal-kind: build docker ## Rehearse a real upgrade on this machine with kind and kubeadm
	@hack/tools.sh images
	$(BIN)/rehearse run -f scenarios.yaml --scenario kind --out $(OUT)

# Values come from the environment and reach the shell as such: nothing in them is
# read as make's or the shell's syntax but MONTHLY_FLAGS, GATE_FLAGS and PROVE_FLAGS,
# which are lists of arguments.
.PHONY: monthly
monthly: ## Rehearse the upgrade to a new version of Kubernetes, if there is one
	@set -- --out "$${OUT:-runs}" --take "$${TAKE:-newest}" --versions "$${VERSIONS:?name a file or URL that lists versions}"; \
	if [ -n "$$FROM" ]; then set -- "$$@" --from "$$FROM"; \
	else set -- "$$@" --kubeconfig "$${KUBECONFIG_PRODUCTION:?name the kubeconfig of production, or give its version as FROM}"; fi; \
	if [ -n "$$SCENARIOS" ]; then set -- "$$@" -f "$$SCENARIOS"; fi; \
	if [ -n "$$SCENARIO" ]; then set -- "$$@" --scenario "$$SCENARIO"; fi; \
	if [ -n "$$NOTIFY_LINK" ]; then set -- "$$@" --notify-link "$$NOTIFY_LINK"; fi; \
	$(REHEARSE) monthly "$$@" $$MONTHLY_FLAGS

.PHONY: gate
gate: ## Let a release pass, or not, by the newest rehearsal in OUT; also written as OUT/gate.xml
	@out=$${OUT:-runs}; run=$$(ls -td "$$out"/*/run.json 2>/dev/null | grep -v /traffic- | head -1); \
	if [ -z "$$run" ]; then echo "Nothing was rehearsed: there is nothing to gate."; exit 0; fi; \
	set -- "$$(dirname "$$run")" --max-age "$(MAX_AGE)"; \
	REHEARSE_NOTIFY_URL= $(REHEARSE) gate "$$@" -o junit $$GATE_FLAGS > "$$out/gate.xml" || true; \
	if [ -n "$$NOTIFY_LINK" ]; then set -- "$$@" --notify-link "$$NOTIFY_LINK"; fi; \
	$(REHEARSE) gate "$$@" $$GATE_FLAGS

.PHONY: prove
prove: build ## Plant known faults and show that the gate finds each (about 7 minutes)
	$(BIN)/rehearse prove $$PROVE_FLAGS

.PHONY: prove-kind
prove-kind: build docker ## Plant faults in a real cluster on kind and show that the gate finds each (about 15 minutes)
	@hack/tools.sh images
	$(BIN)/rehearse prove --driver kind

.PHONY: test
test: $(BIN)/gotestsum ## Run all tests that need no cluster
	$(BIN)/gotestsum --format pkgname-and-test-fails -- -race -shuffle=on -timeout 20m ./...
	$(BIN)/gotestsum --format standard-verbose -- -count=1 -run '^(TestProof|TestCalibrationHolds)' ./harness/judge

.PHONY: e2e
e2e: build docker ## Run what CI runs on the embedded and on real clusters: GO, planted faults, each strategy, an interrupt, workers that come and go (about 30 minutes)
	go test -tags e2e -count=1 -parallel 3 -timeout 80m -v -skip '^TestFull/^kind$$' ./test/e2e/...

.PHONY: e2e-full
e2e-full: build docker ## Run the long cases on real clusters: three control planes, each strategy, load agents, an existing cluster, a rollback, a resume, a blocked drain, the forecast, every fault (about 95 minutes)
	@hack/tools.sh images
	go test -tags e2e -count=1 -timeout 150m -v -run '^TestFull/^kind$$' ./test/e2e/...

.PHONY: e2e-kops
e2e-kops: build ## Run the kops driver with the real kops against a simulated AWS and a real API server (about 20 minutes; builds kops first, half an hour)
	hack/e2e-kops.sh

.PHONY: verify
verify: $(BIN)/golangci-lint $(BIN)/actionlint ## Check formatting, lint, module files, shell scripts and pipelines
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted, run gofmt -w on:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go mod tidy -diff
	$(BIN)/golangci-lint run ./...
	hack/lint-pipelines.sh $(BIN)/actionlint
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run hack/*.sh; else echo "shellcheck is not installed: 'make tools' installs it" >&2; exit 1; fi

.PHONY: bench
bench: ## Run the benchmarks side by side with their references and write docs/benchmarks.md
	hack/bench.sh

.PHONY: fuzz
fuzz: ## Run every fuzz test, FUZZTIME (1m) each
	hack/fuzz.sh

.PHONY: docker
docker: ## Make a usable Docker engine where there is none (Debian, Ubuntu)
	@hack/docker-up.sh

.PHONY: images
images: build docker ## Build the node images of the shipped scenarios
	@hack/tools.sh images
	$(BIN)/rehearse images build --kubernetes v1.34.4 --kubernetes v1.35.4

.PHONY: tools
tools: $(BIN)/golangci-lint $(BIN)/gotestsum $(BIN)/actionlint ## Install what verify and test need
	hack/tools.sh

$(BIN)/golangci-lint:
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(BIN)/actionlint:
	GOBIN=$(BIN) go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

$(BIN)/gotestsum:
	GOBIN=$(BIN) go install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)

.PHONY: clean
clean: ## Remove what the build made (not the image cache)
	rm -rf $(BIN) $(OUT)
