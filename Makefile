# SPDX-License-Identifier: Apache-2.0
# holdfast: `make demo` shows a cluster at work, `make test` builds and runs every test.
# Variables: CC=gcc|clang  MODE=release|debug|asan|tsan|fuzz  PREFIX=/usr  DESTDIR=  BUILD=build

MODE    ?= release
BUILD   ?= build
OUT     := $(BUILD)/$(MODE)
PREFIX  ?= /usr
VERSION := $(shell sed -n '1p' VERSION 2>/dev/null || echo 0.0.0)

PKGS := sqlite3 libconfig libnghttp2 libprotobuf-c jansson libcares libsystemd libxxhash libcrypto
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lhttp_parser

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wredundant-decls -Wvla -Wcast-qual -Wformat=2 -Wundef -Wwrite-strings \
	-Wimplicit-fallthrough -Werror

MODE_release := -O2 -g -fno-omit-frame-pointer -D_FORTIFY_SOURCE=2 -fstack-protector-strong
MODE_debug   := -O1 -g -DHOLDFAST_CHECK_SLOW
MODE_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DHOLDFAST_CHECK_SLOW
MODE_fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
MODE_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -DHOLDFAST_CHECK_SLOW

CPPFLAGS_ALL := -D_GNU_SOURCE -Iinclude -Isrc -I$(OUT)/gen -DHOLDFAST_VERSION='"$(VERSION)"' $(PKG_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL   := -std=c11 $(WARNINGS) $(MODE_$(MODE)) -pthread $(CFLAGS)
LDFLAGS_ALL  := $(MODE_$(MODE)) -pthread $(LDFLAGS)

ROOMS := base actor raft store kv net api pilot node
# link order: right needs nothing of left
ROOM_LIBS := $(foreach r,node pilot api net kv store raft actor base,$(OUT)/lib$(r).a)

PROTOS    := $(wildcard src/api/proto/*.proto)
PROTO_C   := $(patsubst src/api/proto/%.proto,$(OUT)/gen/%.pb-c.c,$(PROTOS))
PROTO_O   := $(PROTO_C:.c=.o)
PROTO_H   := $(PROTO_C:.c=.h)

room_objects = $(patsubst src/%.c,$(OUT)/src/%.o,$(wildcard src/$(1)/*.c))

# The programs that scripts under tests/ run.
export HOLDFAST_BIN ?= $(abspath $(OUT))

# V=1 shows the commands
Q := $(if $(V),,@)
say = @printf '  %-4s %s\n' $(1) $(2)

.PHONY: all clean
all: $(OUT)/holdfastd $(OUT)/holdfastctl

define room_rule
$(OUT)/lib$(1).a: $(call room_objects,$(1)) $(if $(filter api,$(1)),$(PROTO_O))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call say,AR,$$@)
	$$(Q)$$(AR) rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

$(OUT)/holdfastd: $(OUT)/src/main.o $(ROOM_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(PKG_LIBS)

CTL_LIBS := $(foreach r,api net store raft actor base,$(OUT)/lib$(r).a)
$(OUT)/holdfastctl: $(call room_objects,cli) $(CTL_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(call room_objects,cli) -Wl,--start-group $(CTL_LIBS) -Wl,--end-group $(PKG_LIBS)

$(OUT)/gen/%.pb-c.c $(OUT)/gen/%.pb-c.h: src/api/proto/%.proto
	@mkdir -p $(OUT)/gen
	$(call say,GEN,$<)
	$(Q)protoc-c --proto_path=src/api/proto --c_out=$(OUT)/gen $<

$(OUT)/gen/%.pb-c.o: $(OUT)/gen/%.pb-c.c $(PROTO_H)
	$(call say,CC,$<)
	$(Q)$(CC) -std=c11 $(MODE_$(MODE)) $(CPPFLAGS_ALL) -c -o $@ $<

$(OUT)/src/%.o: src/%.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# ---- tests: one program per file ------------------------------------------------------------------
$(OUT)/tests/%.o: tests/%.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests/lib -Isrc $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

TEST_LIB_O := $(patsubst tests/%.c,$(OUT)/tests/%.o,$(wildcard tests/lib/*.c))
UNIT_TESTS := $(patsubst tests/%.c,$(OUT)/tests/%,$(wildcard tests/unit/*/test_*.c tests/paper/test_*.c))

# holdfastctl's files are no room of the daemon: its tests link them but for main.c
CLI_TEST_O := $(filter-out %/main.o,$(call room_objects,cli))
$(OUT)/tests/unit/cli/%: $(OUT)/tests/unit/cli/%.o $(TEST_LIB_O) $(CLI_TEST_O) $(ROOM_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(TEST_LIB_O) $(CLI_TEST_O) -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(PKG_LIBS) -lcunit

$(OUT)/tests/%: $(OUT)/tests/%.o $(TEST_LIB_O) $(ROOM_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< $(TEST_LIB_O) -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(PKG_LIBS) -lcunit

-include tests/sim/sim.mk

UNIT_SOURCES   := $(patsubst tests/%.c,%,$(wildcard tests/unit/*/test_*.c tests/paper/test_*.c))
STRESS_SOURCES := $(patsubst tests/%.c,%,$(wildcard tests/stress/test_*.c))
# tests of rooms with threads in them, which ThreadSanitizer must see
TSAN_SOURCES   := $(STRESS_SOURCES) $(patsubst tests/%.c,%,$(wildcard tests/unit/actor/test_*.c tests/unit/node/test_*.c))
E2E_SCRIPTS    := $(wildcard tests/e2e/test_*.py tests/diff/test_*.py)

.PHONY: unit-programs stress-programs fuzz-programs deps demo test check asan tsan e2e fuzz lint format bench \
	install uninstall
unit-programs: $(addprefix $(OUT)/tests/,$(UNIT_SOURCES))
stress-programs: $(addprefix $(OUT)/tests/,$(TSAN_SOURCES))

deps:
	@.ci/deps build demo test lint bench

# The two commands of the README: they install what is missing and say so.
demo:
	@.ci/deps demo
	@$(MAKE) --no-print-directory -j2 all
	@tests/e2e/demo

test:
	@.ci/deps build test
	@$(MAKE) --no-print-directory check

SIM_ITEM := $(if $(wildcard tests/sim/sim.c),"sim/fixed-and-fresh-seeds=$(MAKE) --no-print-directory sim")
check:
	$(MAKE) --no-print-directory -j2 all
	$(MAKE) --no-print-directory -j2 MODE=asan unit-programs
	$(MAKE) --no-print-directory -j2 MODE=tsan stress-programs
	@tests/run $(foreach t,$(UNIT_SOURCES),"asan/$(t)=$(BUILD)/asan/tests/$(t)") \
	    $(foreach t,$(TSAN_SOURCES),"tsan/$(t)=$(BUILD)/tsan/tests/$(t)") \
	    $(SIM_ITEM) \
	    $(foreach t,$(E2E_SCRIPTS),"$(patsubst tests/%.py,%,$(t))=/usr/bin/python3 $(t)")

asan:
	$(MAKE) --no-print-directory -j2 MODE=asan unit-programs
	@tests/run $(foreach t,$(UNIT_SOURCES),"asan/$(t)=$(BUILD)/asan/tests/$(t)")

tsan:
	$(MAKE) --no-print-directory -j2 MODE=tsan stress-programs
	@tests/run $(foreach t,$(TSAN_SOURCES),"tsan/$(t)=$(BUILD)/tsan/tests/$(t)")

e2e: all
	@tests/run $(foreach t,$(E2E_SCRIPTS),"$(patsubst tests/%.py,%,$(t))=/usr/bin/python3 $(t)")

# Hostile octets through the decoders (libFuzzer, so clang). A count of inputs and a fixed seed, not a time:
# the same run everywhere, begun with what was found before (tests/fuzz/corpus). A longer one: make fuzz FUZZ_INPUTS=50000000 FUZZ_SEED=2
FUZZ_SOURCES := $(patsubst tests/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_INPUTS  ?= 200000
FUZZ_SEED    ?= 1
$(OUT)/tests/fuzz/%: $(OUT)/tests/fuzz/%.o $(ROOM_LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(PKG_LIBS)

fuzz-programs: $(addprefix $(OUT)/tests/,$(FUZZ_SOURCES))

fuzz:
	$(MAKE) --no-print-directory -j2 CC=clang MODE=fuzz fuzz-programs
	@rm -rf $(BUILD)/fuzz/corpus
	@mkdir -p $(patsubst fuzz/%,$(BUILD)/fuzz/corpus/%,$(FUZZ_SOURCES))
	@tests/run $(foreach t,$(FUZZ_SOURCES),"$(t)=$(BUILD)/fuzz/tests/$(t) -runs=$(FUZZ_INPUTS) -seed=$(FUZZ_SEED) -timeout=60 \
	    -artifact_prefix=$(BUILD)/fuzz/ $(patsubst fuzz/%,$(BUILD)/fuzz/corpus/%,$(t)) $(wildcard $(patsubst fuzz/%,tests/fuzz/corpus/%,$(t)))")

# The same random operations to holdfast and to etcd (tests/diff/diff.py). SEED=n OPS=m runs what was reported,
# FAMILIES=kv,txn only those operations, SHRINK=1 leaves out what a difference does not need, PAUSES=1 stops nodes.
.PHONY: diff diff-docs
OPS ?= 100000
diff:
	@.ci/deps build test
	@$(MAKE) --no-print-directory -j2 all
	@BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/diff/diff.py --ops $(OPS) $(if $(SEED),--seed $(SEED)) \
	    $(if $(FAMILIES),--families $(FAMILIES)) $(if $(SHRINK),--shrink) $(if $(PAUSES),--pauses) $(if $(AGAINST),--against $(AGAINST))

diff-docs:
	@/usr/bin/python3 tests/diff/diff.py --docs
	@/usr/bin/python3 tests/e2e/client_table.py

lint: all
	@.ci/lint

format:
	clang-format -i $$(git ls-files 'src/*.[ch]' 'include/*.h' 'tests/*.[ch]')

bench:
	@.ci/deps bench
	@$(MAKE) --no-print-directory -j2 all
	@/usr/bin/python3 tests/bench/bench.py

.PHONY: bench-scale
bench-scale:
	@.ci/deps bench
	@$(MAKE) --no-print-directory -j2 all
	@/usr/bin/python3 tests/bench/scale.py --write

.PHONY: bench-snapshot bench-reads
bench-snapshot:
	@.ci/deps bench
	@$(MAKE) --no-print-directory -j2 all
	@/usr/bin/python3 tests/bench/snapshot.py --write

bench-reads:
	@.ci/deps bench
	@$(MAKE) --no-print-directory -j2 all
	@/usr/bin/python3 tests/bench/reads.py --write

.PHONY: prove-five
prove-five:
	@.ci/deps test
	@$(MAKE) --no-print-directory -j2 all
	@/usr/bin/python3 tests/e2e/five.py --write

install: all
	install -D -m 0755 $(OUT)/holdfastd $(DESTDIR)$(PREFIX)/bin/holdfastd
	install -D -m 0755 $(OUT)/holdfastctl $(DESTDIR)$(PREFIX)/bin/holdfastctl
	install -D -m 0644 systemd/holdfastd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/holdfastd.service
	install -D -m 0644 systemd/holdfastd@.service $(DESTDIR)$(PREFIX)/lib/systemd/system/holdfastd@.service
	install -D -m 0644 systemd/holdfast.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/holdfast.conf
	install -D -m 0644 etc/holdfast.conf $(DESTDIR)$(PREFIX)/share/doc/holdfast/holdfast.conf

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/holdfastd $(DESTDIR)$(PREFIX)/bin/holdfastctl \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/holdfastd.service \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/holdfastd@.service \
	    $(DESTDIR)$(PREFIX)/lib/sysusers.d/holdfast.conf \
	    $(DESTDIR)$(PREFIX)/share/doc/holdfast/holdfast.conf

clean:
	rm -rf $(BUILD)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
.SECONDARY:
