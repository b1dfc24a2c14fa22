# SPDX-License-Identifier: Apache-2.0
# The simulator: whole nodes, one thread, one seed. `make sim`, `make sim SEED=7`, `make sim SEEDS=1-1000`,
# `make sim-mutants`. It takes the rooms base, raft, kv, store and node as they are, and brings its own
# runner in place of src/actor.

SIM_O    := $(patsubst tests/%.c,$(OUT)/tests/%.o,$(wildcard tests/sim/*.c))
SIM_LIBS := $(foreach r,node kv store raft base,$(OUT)/lib$(r).a)
SIM_PKGS := $(shell pkg-config --libs sqlite3 libxxhash 2>/dev/null)

# Tests of the simulator's own parts.
$(OUT)/tests/unit/sim/test_disk: $(OUT)/tests/unit/sim/test_disk.o $(OUT)/tests/sim/disk.o \
		$(OUT)/tests/sim/disk_vfs.o $(OUT)/libbase.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcunit

$(OUT)/tests/unit/sim/test_linearizable: $(OUT)/tests/unit/sim/test_linearizable.o \
		$(OUT)/tests/sim/linearizable.o $(OUT)/libbase.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lcunit
