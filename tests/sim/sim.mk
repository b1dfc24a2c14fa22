# SPDX-License-Identifier: Apache-2.0
# The simulator: whole nodes, one thread, one seed. `make sim`, `make sim SEED=7`, `make sim SEEDS=1-1000`,
# `make sim-mutants`. It takes the rooms base, raft, kv, store and node as they are, and brings its own
# runner in place of src/actor.

SIM_O    := $(patsubst tests/%.c,$(OUT)/tests/%.o,$(wildcard tests/sim/*.c))

# Tests of the simulator's own parts.
$(OUT)/tests/unit/sim/test_disk: $(OUT)/tests/unit/sim/test_disk.o $(OUT)/tests/sim/disk.o \
		$(OUT)/tests/sim/disk_vfs.o $(OUT)/libbase.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcunit

$(OUT)/tests/unit/sim/test_linearizable: $(OUT)/tests/unit/sim/test_linearizable.o \
		$(OUT)/tests/sim/linearizable.o $(OUT)/libbase.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcunit

# ---- the simulator ---------------------------------------------------------------------------------
SIM_LIBS := $(foreach r,node net kv store raft base,$(OUT)/lib$(r).a)
SIM      := $(OUT)/tests/sim/sim
SIM_COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null)$(shell git diff --quiet HEAD -- src include tests/sim 2>/dev/null || echo +changes)

# The checks that are too dear for production are on here (CHECK_SLOW), in the rooms too: the simulator
# has objects of its own for them.
$(SIM): $(SIM_O) $(SIM_LIBS)
	$(CC) $(LDFLAGS_ALL) -o $@ $(SIM_O) -Wl,--start-group $(SIM_LIBS) -Wl,--end-group $(PKG_LIBS)

$(OUT)/tests/sim/sim.o: CPPFLAGS_ALL += -DSIM_COMMIT='"$(SIM_COMMIT)"'

SEEDS  ?=
SEED   ?=
LENGTH ?= 60
JOBS   ?= 1

.PHONY: sim
sim: $(SIM)
ifneq ($(SEED),)
	$(SIM) --seed $(SEED) --length $(LENGTH) --twice $(if $(V),-v)
else ifneq ($(SEEDS),)
	$(SIM) --seeds $(SEEDS) --length $(LENGTH) --jobs $(JOBS) --keep-going
else
	$(SIM) --seeds 1-5 --length $(LENGTH) --jobs $(JOBS) --twice
	$(SIM) --seeds 1-200 --length $(LENGTH) --jobs $(JOBS)
	$(SIM) --fresh 10 --length $(LENGTH) --jobs $(JOBS)
endif
