# Everything that is built goes to build/; reports go to reports/. Nothing is installed on the machine.
SHELL := /bin/sh
export PATH := $(CURDIR)/build/bin:$(PATH)

# Only the driver that we use is linked into goose's command line.
GOOSE_TAGS := no_clickhouse no_libsql no_mssql no_mysql no_sqlite3 no_vertica no_ydb no_spanner no_duckdb no_turso

ENV ?= process
SEED ?= 0
PARALLEL ?= 2
TAGS ?= @gate

.PHONY: help drill drill-alone test bench lint build tools doctor clean sample
help:              ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build/bin/backout: FORCE
	@go build -o $@ ./harness/cmd/backout
FORCE:

build/bin/goose: go.mod go.sum
	@echo "building goose's command line (once)"
	@go build -tags '$(GOOSE_TAGS)' -o $@ github.com/pressly/goose/v3/cmd/goose

build: build/bin/backout ## build backout
tools: build/bin/goose   ## build the command lines that the sample's plans run

doctor: build tools ## what this machine can run, and what is missing
	@backout doctor

drill: build tools ## run the drills of the gate and write their report
	@backout run features --tags '$(TAGS)' --env $(ENV) --parallel $(PARALLEL) --seed $(SEED)

drill-alone: build tools ## run the drill that judges latency; it wants a quiet machine, and says so when it is none
	@backout run features --tags '@alone' --env $(ENV) --seed $(SEED)

test: doctor ## the tests
	go vet ./...
	go test -p 1 ./... # one package at a time: real drills and servers disturb each other

ROWS ?= 10000000
BENCH = BACKOUT=$(CURDIR)/build/bin/backout BACKOUT_ROWS=$(ROWS) go test -run '^$$' -benchtime 1x -timeout 60m -v

bench: build tools ## measure what the README claims, each beside its alternative in the same run; ROWS=1000000 is quicker
	$(BENCH) -bench 'ProvisionFixtures' -count 5 ./harness/environment/process
	$(BENCH) -bench 'HarnessTime' ./harness/drill
	$(BENCH) -bench 'Fingerprint' ./harness/postgres
	$(BENCH) -bench 'Traffic' ./harness/traffic
	$(BENCH) -bench 'JudgeAnHour' ./harness/verdict
	$(BENCH) -bench 'ProbeCost' ./harness/drill

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l harness scenarios fixtures)" || { gofmt -l harness scenarios fixtures; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

sample: build tools ## make reports/sample anew from a real run, and its picture with Chromium
	@rm -rf build/sample && backout run features/controls/drops-a-column-without-data.feature --reports build/sample --seed 7
	@cp build/sample/*/* reports/sample/
	chromium --headless=new --no-sandbox --hide-scrollbars --window-size=1100,1700 \
		--screenshot=reports/sample/report.png "file://$(CURDIR)/reports/sample/report.html"

clean: build ## remove what a crashed run left behind, and build/
	@backout clean
	@rm -rf build
