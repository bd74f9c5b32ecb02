# Everything that is built goes to build/; reports go to reports/. Nothing is installed on the machine.
SHELL := /bin/sh
export PATH := $(CURDIR)/build/bin:$(PATH)

# Only the driver that we use is linked into goose's command line.
GOOSE_TAGS := no_clickhouse no_libsql no_mssql no_mysql no_sqlite3 no_vertica no_ydb no_spanner no_duckdb no_turso

ENV ?= process
SEED ?= 0
PARALLEL ?= $(shell nproc)
TAGS ?= @gate

.PHONY: help images images-kubernetes sources-kubernetes programs-kubernetes container-runtime huge-pages tools-kubernetes tools-argocd tools-infrastructure drill drill-containers drill-alone controls show-1 show-2 show-4 show-5-table show-5-faults show-6-table show-6-gap show-7-viewers show-8-breaker show-8-lock show-8-resume show-8-overhead show-8-restore drill-kind drill-infrastructure fuzz test test-kind bench bench-containers bench-kind lint runbooks build tools doctor clean sample sample-history
help:              ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

build/bin/backout: FORCE
	@go build -o $@ ./harness/cmd/backout
FORCE:

build/bin/goose: go.mod go.sum
	@echo "building goose's command line (once)"
	@go build -tags '$(GOOSE_TAGS)' -o $@ github.com/pressly/goose/v3/cmd/goose

build: build/bin/backout ## build backout
tools: build/bin/goose   ## build the command lines that the sample's plans run

build/bin/images: FORCE
	@go build -o $@ ./fixtures/images

images: build/bin/images ## make the images for drills in containers, where no registry answers; none that is unchanged
	@images

images-kubernetes: build/bin/images ## make the images for drills on clusters: at first Kubernetes and Argo CD are built from source, which takes minutes
	@images kubernetes

PROGRAMS = kubernetes etcd coredns pause local-path-provisioner containerd ctr containerd-shim-runc-v2 bridge loopback host-local portmap argocd
sources-kubernetes: ## fetch what those images and helm are built from, and build nothing
	@fixtures/images/program --fetch $(PROGRAMS)
	@go list -C fixtures/tools/helm -deps helm.sh/helm/v3/cmd/helm >/dev/null
programs-kubernetes: ## build what those images are made of, and no image: the part that takes minutes
	@fixtures/images/program $(PROGRAMS) >/dev/null

# Changes the configuration of Docker, so it never runs by itself.
container-runtime: ## let privileged containers start where root lacks CAP_SYS_RESOURCE (changes /etc/docker/daemon.json)
	@fixtures/container-runtime/install

# Changes a setting of the machine until it is started anew, so it never runs by itself.
huge-pages: ## give programs huge pages unasked, which lets them compile faster on some virtual machines (changes /sys/kernel/mm/transparent_hugepage/enabled)
	@cd /sys/kernel/mm/transparent_hugepage && if [ -w enabled ]; then echo always >enabled; else echo always | sudo tee enabled >/dev/null; fi

# What is on PATH already is taken; build/bin itself does not count, or a new version would never be built.
ELSEWHERE = $(filter-out $(CURDIR)/build/bin,$(subst :, ,$(PATH)))
absent = $(if $(wildcard $(addsuffix /$(1),$(ELSEWHERE))),,build/bin/$(1))

tools-kubernetes: $(call absent,kubectl) $(call absent,helm) ## build kubectl and helm, where they are not on PATH
tools-argocd: $(call absent,argocd) ## build Argo CD's command line, where it is not on PATH

tools-infrastructure: $(call absent,tofu) ## build OpenTofu's command line, where it is not on PATH: takes minutes

# Kubernetes as it was built for the node image is kubectl too, where it is called so.
build/bin/kubectl: fixtures/tools/kubectl/go.mod fixtures/images/versions
	@mkdir -p build/bin && rm -f $@
	@if kubernetes=$$(fixtures/images/program --kept kubernetes 2>/dev/null); then cp "$$kubernetes" $@; else \
		echo "building kubectl (once)" && . ./fixtures/images/versions && go build -C fixtures/tools/kubectl -trimpath -buildvcs=false \
			-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$KUBERNETES" -o $(CURDIR)/$@ .; fi

build/bin/helm: fixtures/tools/helm/go.mod
	@echo "building helm (once)"
	@go build -C fixtures/tools/helm -trimpath -buildvcs=false \
		-ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$$(go list -C fixtures/tools/helm -m -f '{{.Version}}' helm.sh/helm/v3)" -o $(CURDIR)/$@ helm.sh/helm/v3/cmd/helm

build/bin/argocd: fixtures/images/versions
	@argocd=$$(fixtures/images/program argocd) && mkdir -p build/bin && cp "$$argocd" $@

build/bin/tofu: fixtures/tools/tofu/go.mod
	@echo "building OpenTofu's command line (once, takes minutes)"
	@go build -C fixtures/tools/tofu -trimpath -buildvcs=false -ldflags "-s -w -X github.com/opentofu/opentofu/version.dev=no" \
		-o $(CURDIR)/$@ github.com/opentofu/opentofu/cmd/tofu

doctor: build tools ## what this machine can run, and what is missing
	@backout doctor

drill: build tools ## run the drills of the gate and write their report
	@backout run features --tags '$(TAGS)' --env $(ENV) --parallel $(PARALLEL) --seed $(SEED)

# One drill in containers for each mechanism, fault and kind of trap. All of them are `make drill ENV=containers`.
CONTAINERS = $(addprefix features/,containers/redeploys-by-tag.feature containers/compose-up.feature containers/blue-green.feature \
	containers/one-shot-job.feature controls/job-of-the-old-image.feature faults/a-replica-is-cut-off.feature faults/the-registry-is-down.feature \
	faults/an-instance-is-late.feature:12 faults/a-node-is-away.feature:22 faults/connections.feature faults/replication-lags.feature:7 \
	faults/a-long-reader.feature faults/the-primary-fails-over.feature:13 faults/two-operators.feature faults/the-machine-dies.feature faults/clients-come-back.feature \
	database/drops-a-column.feature database/moves-refunds.feature services/changes-tokens.feature services/poisons-cache.feature)

drill-containers: build tools ## run one drill in containers for each mechanism, fault and kind of trap
	@backout run $(CONTAINERS) --tags @gate --env containers --parallel $(PARALLEL) --seed $(SEED)

# One drill on kind for each mechanism, fault and kind of trap. All of them are `make drill ENV=kind`.
KIND = $(addprefix features/,kubernetes/rollout-undo.feature kubernetes/undo-to-a-revision.feature kubernetes/canary.feature kubernetes/configmap.feature \
	kubernetes/secret.feature kubernetes/flag-off.feature kubernetes/daemonset.feature kubernetes/statefulset-partition.feature \
	kubernetes/readiness-probe.feature kubernetes/re-apply-proof.feature kubernetes/volume.feature kubernetes/overwritten-tag.feature \
	kubernetes/definition.feature controls/version-that-has-gone.feature kubernetes/two-operators.feature controls/takes-the-holder-off.feature \
	kubernetes/the-ceiling.feature:11 controls/renews-pods-that-were-good.feature \
	controls/undoes-the-deployment.feature controls/undoes-twice.feature controls/forgets-the-worker.feature controls/leaves-the-last-applied.feature controls/undoes-the-tag.feature \
	kubernetes/gitops-revert.feature kubernetes/gitops-argocd-rollback.feature kubernetes/gitops-sync-fail.feature \
	kubernetes/gitops-applicationset.feature controls/undoes-the-deployment-under-gitops.feature kubernetes/helm-rollback.feature \
	kubernetes/helm-hook.feature controls/revision-that-failed.feature database/drops-a-column.feature faults/a-pod-is-killed.feature \
	faults/the-worker-is-drained.feature faults/the-kubelet-stops.feature faults/the-image-is-gone.feature faults/the-api-server-is-silent.feature \
	faults/the-quota-is-used-up.feature faults/a-budget-forbids-evictions.feature)

drill-kind: PARALLEL = 3
drill-kind: build tools tools-kubernetes tools-argocd ## run one drill on kind for each mechanism, fault and kind of trap
	@backout run $(KIND) --tags @gate --env kind --parallel $(PARALLEL) --seed $(SEED)

# Not among those of the gate, nor in .ci/run, and so tagged @opentofu: it must be built first, which takes minutes.
drill-infrastructure: build tools tools-infrastructure ## run the drills of infrastructure and their controls, with a real OpenTofu and its state
	@backout controls features/controls --tags '@opentofu' --parallel $(PARALLEL) --seed $(SEED)

# The data directories are in memory where there is room: other people's disks make latencies jump.
drill-alone: export TMPDIR := $(or $(wildcard /dev/shm),/tmp)
drill-alone: build tools ## run the drills that judge latency; they want a quiet machine, and say so when it is none
	@backout run features --tags '@alone' --env $(ENV) --seed $(SEED)

MUTANTS ?= 0
controls: build tools tools-infrastructure ## run every control beside its right drill and print the kill table; MUTANTS=60 SEED=7 changes right rollbacks by rule too
	@backout controls --env $(ENV) --parallel $(PARALLEL) --seed $(SEED) --mutants $(MUTANTS)

TWELVE = $(addprefix features/,database/adds-a-column.feature database/drops-a-column.feature database/renames-a-column.feature \
	database/corrupts-totals.feature database/moves-refunds.feature services/fails-checkouts.feature services/changes-tokens.feature \
	services/changes-job-payloads.feature controls/empty-down.feature controls/forgets-an-instance.feature \
	controls/drops-a-column-without-data.feature controls/behind-the-deployers-back.feature)

show-1: ## the kill table with 60 mutants
	$(MAKE) controls MUTANTS=60 SEED=7

show-2: build tools ## every drill three times and twelve of them twenty times, by other seeds: the same verdicts?
	@for seed in 1 2 3; do backout run features --tags @gate --env $(ENV) --parallel $(PARALLEL) --seed $$seed --name thrice-$$seed || exit $$?; done
	@for seed in $$(seq 1 20); do backout run $(TWELVE) --tags @gate --env $(ENV) --parallel $(PARALLEL) --seed $$seed --name twelve-$$seed || exit $$?; done

show-4: ## the lines of the engine and the vocabulary that name the sample
	go test -count 1 -run TheEngineKnowsNoSample -v ./harness

show-5-table: build tools ## every feature in both environments, with verdicts and times; those that do not apply with the reason
	-@backout run features --tags @gate --env process --parallel 3 --seed $(SEED) --name table-process
	-@backout run features --tags @gate --env containers --parallel 3 --seed $(SEED) --name table-containers

show-5-faults: ## each fault 20 times: injected, observed, lifted, observed, with the times that takes
	@mkdir -p build && CYCLES=20 go test -count 1 -timeout 60m -run TestFaultCycles -v ./harness/drill >build/faults.log; \
		ended=$$?; grep -v '^=== RUN' build/faults.log; exit $$ended

show-6-table: build tools tools-kubernetes tools-argocd ## every feature on kind, with verdicts and times; those that do not apply with the reason
	-@backout run features --tags @gate --env kind --parallel 2 --seed $(SEED) --name table-kind

# Seconds: how long the command took, and after it until the last answer of the bad release, and until service was restored.
show-6-gap: build tools tools-kubernetes ## 20 rollbacks by kubectl: status says complete, and users still get the bad release
	@rm -rf build/gap && for seed in $$(seq 1 20); do backout run features/kubernetes/rollout-undo.feature --env kind --seed $$seed --reports build/gap --name $$seed >/dev/null || exit $$?; done
	@jq -r '.clocks | [.command_returned - .started, (if .last_bad_response then .last_bad_response - .command_returned else "never seen" end), .restored - .command_returned] | map(if type == "number" then . * 10 | round / 10 else . end) | @tsv' build/gap/*/verdict.json

show-7-viewers: ## how late journeys begin while ten people look at the live page, against nobody, and nobody against nobody
	go test -run '^$$' -bench 'TenViewers' -benchtime 1x -timeout 30m -v ./harness/live

show-8-breaker: ## how soon the breaker trips at five times the usual failures, 20 times, and whether it does in 15 minutes of healthy noise
	go test -run '^$$' -bench 'Breaker' -benchtime 1x -timeout 30m -v ./harness/drill

show-8-lock: build tools tools-kubernetes ## 200 races of processes for the lease on rollbacks, and 50 holders killed at random moments; 50 and 10 for a Lease of Kubernetes, on kind
	ROUNDS=200 go test -count 1 -run SeveralMachinesOneHoldsTheLease -v ./harness/rollback
	ROUNDS=50 go test -count 1 -timeout 30m -run AHolderIsKilled -v ./harness/rollback
	@backout run features/kubernetes/rollout-undo.feature --env kind --reports build/lock >/dev/null # which makes the cluster, where there is none
	BACKOUT_KIND=1 ROUNDS=50 go test -count 1 -timeout 30m -run OneHoldsTheLeaseOfACluster -v ./harness/rollback
	BACKOUT_KIND=1 ROUNDS=10 go test -count 1 -timeout 30m -run AHolderOfTheLeaseOfAClusterIsKilled -v ./harness/rollback

show-8-resume: ## a plan's runner killed in the midst of each step and after each, and the plan resumed
	go test -count 1 -timeout 20m -run RunnerIsKilled -v ./harness/cmd/backout

show-8-overhead: ## what a step costs with guardrails, against the same step in a shell script, in rounds that take turns
	ROUNDS=100 go test -count 1 -timeout 20m -run WhatAStepCosts -v ./harness/rollback

show-8-restore: export TMPDIR := $(or $(wildcard /dev/shm),/tmp)
show-8-restore: tools ## the way back from a rewritten table by its Down, a copy, a dump and a base backup, at three volumes
	@mkdir -p build && rm -f build/measured.ndjson
	BACKOUT_RESTORE="100000 1000000 3000000" BACKOUT_REPEATS=3 BACKOUT_MEASURED=$(CURDIR)/build/measured.ndjson go test -count 1 -timeout 120m -run RestoreBesideDDL -v ./fixtures/services
	@echo "build/measured.ndjson is what fixtures/services/shop/releases/v2-whole-amounts/measured.ndjson is: copy it there to have reports say it"

# Tests of the command line whose drills wait and hardly load a machine: they have a small service and no replicas. Six of them at
# once take half a processor. What is not named here runs with the drills of the sample.
LIGHT = ^Test(InitWrites|ControlsThatProveNothing|WhatMisbehaves|TwoRunsAtOnce|AFullDisk|ADrillIs|TwoPeople|PeopleAreTold|ADrillPages|NoSecret|JudgeTells|ServicesThatAreNotOurs|RollbackInEarnest|TheRunnerIsKilled|CommandLine|Templates)

test: doctor ## the tests
	go vet ./... # all that go test would look for, and more; so it need not look again
	go test -vet=off -p 1 -timeout 20m $$(go list ./... | grep -v cmd/backout) # one package at a time: real servers disturb each other
	go test -vet=off -parallel 6 -timeout 40m -run '$(LIGHT)' ./harness/cmd/backout
	go test -vet=off -parallel 2 -timeout 40m -skip '$(LIGHT)' ./harness/cmd/backout # real drills of the sample
	BACKOUT_LAST=1 go test -vet=off -count 1 -run NothingRemains ./harness/cmd/backout
	$(call fuzz,FuzzRead:./harness/service:20000x FuzzRead:./harness/evidence:20000x FuzzDecodeLine:./harness/evidence:200000x)

# Nothing panics, whatever is read. A fuzzer compiles all that its package stands on anew.
define fuzz
@for target in $(1); do where="$${target#*:}"; \
	go test -vet=off -run '^$$' -fuzz "^$${target%%:*}$$" -fuzztime "$${target##*:}" "$${where%:*}" || exit $$?; done
endef

fuzz: build tools ## change features at random for longer than the tests do; for that all that drills stand on is compiled anew
	$(call fuzz,FuzzFeature:./scenarios:2000x)

test-kind: doctor tools-kubernetes tools-argocd ## the tests that need a cluster of kind
	BACKOUT_KIND=1 go test -p 1 -count 1 -timeout 30m -run 'Kind|Cluster|DeadRun' ./harness/cmd/backout ./harness/environment/kubernetes ./harness/rollback # the first makes the cluster
	BACKOUT_LAST=1 go test -vet=off -count 1 -run NothingRemains ./harness/cmd/backout

ROWS ?= 10000000
BENCH = BACKOUT=$(CURDIR)/build/bin/backout BACKOUT_ROWS=$(ROWS) go test -run '^$$' -benchtime 1x -timeout 60m -v

bench: build tools ## measure what the README claims, each beside its alternative in the same run; ROWS=1000000 is quicker
	$(BENCH) -bench 'ProvisionFixtures' -count 5 ./harness/environment/process
	$(BENCH) -bench 'HarnessTime' ./harness/drill
	$(BENCH) -bench 'Fingerprint' ./harness/postgres
	$(BENCH) -bench 'Traffic' ./harness/traffic
	$(BENCH) -bench 'JudgeAnHour' ./harness/verdict
	$(BENCH) -bench 'ReportOfAnHour' ./harness/report
	$(BENCH) -bench 'ProbeCost' ./harness/drill
	$(BENCH) -bench 'HistoryPage' -count 3 ./harness/history
	$(BENCH) -bench 'TenViewers' ./harness/live

bench-containers: build tools images ## measure containers beside scripts that do the same by docker run
	$(BENCH) -bench 'BesideDockerRun' -count 3 ./harness/environment/containers
	$(BENCH) -bench 'BesideTheBareScript/containers' ./harness/drill

bench-kind: build tools tools-kubernetes ## measure kubectl rollout undo by Backout beside the bare commands
	$(BENCH) -bench 'BesideTheBareScript/kind' ./harness/drill

runbooks: build ## write the runbooks of the sample's plans anew, each beside its plan
	@backout runbook --write fixtures/services/*/releases/*/rollback*.yaml

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l harness scenarios fixtures)" || { gofmt -l harness scenarios fixtures; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

sample: build tools ## make reports/sample anew from real runs: a control, and beside it the right drill
	@rm -rf build/sample && backout run features/controls/drops-a-column-without-data.feature --reports build/sample --name fail --seed 7
	@backout run features/database/drops-a-column.feature --reports build/sample --name pass --seed 7
	@$(MAKE) --no-print-directory sample-pages

# The inconclusive one is the run that passes, with its log cut off as if the machine had died while service was watched.
sample-pages: build ## render the runs of `make sample` again, with pictures of a fail, a pass and an inconclusive by Chromium
	@cd build/sample && rm -rf fail pass inconclusive && cp -R *-fail fail && cp -R *-pass pass && mkdir inconclusive && \
		head -c $$(($$(wc -c <pass/evidence.ndjson.zst) * 8 / 10)) pass/evidence.ndjson.zst >inconclusive/evidence.ndjson.zst
	@for name in fail pass inconclusive; do backout report build/sample/$$name >/dev/null && chromium --headless=new --no-sandbox \
		--hide-scrollbars --force-device-scale-factor=0.8 --window-size=1180,840 --screenshot=reports/sample/$$name.png "file://$(CURDIR)/build/sample/$$name/report.html" 2>/dev/null || exit $$?; done
	@cp build/sample/fail/* reports/sample/
	BACKOUT_PICTURES=$(CURDIR)/reports/sample go test -count 1 -run 'InABrowser/approved' ./harness/live

sample-history: build ## make the picture of the history's page anew, from a year of invented runs
	@rm -rf build/history && backout history generate --history build/history --now 2026-11-26T12:00:00Z
	@backout history --history build/history --now 2026-11-26T12:00:00Z --format html >build/history.html
	chromium --headless=new --no-sandbox --hide-scrollbars --force-device-scale-factor=0.8 --window-size=1000,1190 \
		--screenshot=reports/sample/history.png "file://$(CURDIR)/build/history.html"

clean: build ## remove what a crashed run left behind, and build/
	@backout clean
	@rm -rf build
