# SPDX-License-Identifier: Apache-2.0
# The simulator: whole nodes, one thread, one seed. `make sim`, `make sim SEED=7`, `make sim SEEDS=1-1000`,
# `make sim-mutants`. It takes the rooms base, raft, kv, store and node as they are, and brings its own
# runner in place of src/actor.

SIM_O := $(patsubst tests/%.c,$(OUT)/tests/%.o,$(wildcard tests/sim/*.c))

# Tests of the simulator's own parts.
$(OUT)/tests/unit/sim/test_disk: $(OUT)/tests/unit/sim/test_disk.o $(OUT)/tests/sim/disk.o \
		$(OUT)/tests/sim/disk_vfs.o $(OUT)/libbase.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcunit

$(OUT)/tests/unit/sim/test_linearizable: $(OUT)/tests/unit/sim/test_linearizable.o \
		$(OUT)/tests/sim/linearizable.o $(OUT)/libbase.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcunit

$(OUT)/tests/unit/sim/test_model: $(OUT)/tests/unit/sim/test_model.o $(patsubst %,$(OUT)/tests/sim/%.o, \
		model model_store model_txn answer_text map) $(OUT)/libbase.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcunit

$(OUT)/tests/unit/sim/test_runner: $(OUT)/tests/unit/sim/test_runner.o $(OUT)/tests/sim/runner.o \
		$(OUT)/libbase.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcunit

# ---- the simulator ---------------------------------------------------------------------------------
# The rooms are compiled for it once more: with the checks that are too dear for production, and with
# small bounds, so that a minute of a small cluster's life reaches them all.
SIM      := $(OUT)/tests/sim/sim
SIM_CORE := $(wildcard src/base/*.c src/pilot/*.c src/raft/*.c src/kv/*.c src/store/*.c) src/net/peer_handshake.c \
	src/net/peer_wire.c $(foreach f,node message figures bootstrap held requests timer_actor log_actor apply_actor \
	apply_reads lease_expiry auto_compact flush_actor copy_actor copy_incoming raft_actor raft_founding raft_members \
	raft_pilot member_change raft_proposals raft_reads raft_snapshots raft_peers peer_slots stage_times \
	watch_actor watch_streams watch_delivery watch_catch_up \
	watch_ring,src/node/$(f).c)
SIM_CORE_O := $(patsubst src/%.c,$(OUT)/small/%.o,$(SIM_CORE))
SIM_COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null)$(shell git diff --quiet HEAD -- \
	src include tests/sim 2>/dev/null || echo +changes)

$(OUT)/small/%.o: src/%.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) -DHOLDFAST_CHECK_SLOW -DHOLDFAST_SMALL_BOUNDS $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(SIM): $(SIM_O) $(SIM_CORE_O)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

$(OUT)/tests/sim/sim.o: CPPFLAGS_ALL += -DSIM_COMMIT='"$(SIM_COMMIT)"'

# A failure must name the commit it belongs to, so sim.c is compiled anew when that has changed.
.PHONY: sim-commit
$(OUT)/tests/sim/commit: sim-commit
	@mkdir -p $(@D)
	@echo '$(SIM_COMMIT)' | cmp -s - $@ || echo '$(SIM_COMMIT)' >$@
$(OUT)/tests/sim/sim.o: $(OUT)/tests/sim/commit

SEEDS  ?=
SEED   ?=
SCENARIO ?=
LENGTH ?= 60
JOBS   ?= 1

.PHONY: sim
sim: $(SIM)
ifneq ($(SCENARIO),)
	$(SIM) --scenario $(SCENARIO) --twice $(if $(V),-v)
else ifneq ($(SEED),)
	$(SIM) --seed $(SEED) --length $(LENGTH) --twice $(if $(V),-v)
else ifneq ($(SEEDS),)
	$(SIM) --seeds $(SEEDS) --length $(LENGTH) --jobs $(JOBS) --keep-going
else
	$(SIM) --scenario all --jobs $(JOBS)
	$(SIM) --seeds 1-5 --length $(LENGTH) --jobs $(JOBS) --twice
	$(SIM) --seeds 1-200 --length $(LENGTH) --jobs $(JOBS)
	$(SIM) --fresh 10 --length $(LENGTH) --jobs $(JOBS)
endif

# Each guard taken out in turn; see mutants.sh. `make sim-mutants MUTANTS="vote_before_disk ..."` for some.
MUTANT_SEEDS ?= 150
.PHONY: sim-mutants
sim-mutants:
	tests/sim/mutants.sh $(BUILD)/mutants $(MUTANT_SEEDS) $(MUTANTS)
