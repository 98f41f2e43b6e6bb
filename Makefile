# resnetd: build, run, test, install. `make help` is the manual.
#
#   V=1                      show the commands
#   SAN=address|undefined|thread   build with that sanitizer, in a folder of its own
#   JPEG=turbo|stb           who decodes JPEG; turbo where libjpeg-turbo is found
#   CC, CFLAGS, PREFIX, DESTDIR    as everywhere

CC      ?= cc
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
VERSION := 0.1.0
# Of an archive, what git wrote into .commit; else what the clone is at.
COMMIT  ?= $(shell grep -oE '^[0-9a-f]{12}' .commit 2>/dev/null || \
	git describe --always --abbrev=12 --dirty --exclude '*' 2>/dev/null || echo unknown)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' '$(1)' '$(2)')

JOBS ?= $(shell nproc)
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

# ---- what is built, and where ----------------------------------------------------------------

B := build$(if $(SAN),/$(SAN))$(if $(COVERAGE),/coverage)$(if $(filter stb,$(JPEG)),/jpeg-stb)$(if $(WERROR),/werror)

PKGS := libmicrohttpd gnutls jansson libuv nettle

# Only the libjpeg API is used, but it must be libjpeg-turbo's.
ifndef JPEG
JPEG := $(shell $(CC) $$(pkg-config --cflags libjpeg 2>/dev/null) -E -dM -include stdio.h \
	-include jpeglib.h -x c /dev/null 2>/dev/null | grep -q LIBJPEG_TURBO_VERSION && \
	echo turbo || echo stb)
endif
JPEG_LIB := $(if $(filter turbo,$(JPEG)),libjpeg)

ENGINE_SRC := $(filter-out engine/kernel/isa_%,$(wildcard engine/*.c engine/*/*.c))
SERVER_SRC := $(wildcard server/*.c server/cmd/*.c config/*.c)
TEST_SRC   := $(filter-out tests/fuzz/% tests/plain/% tests/load/% tests/faults/%,\
	$(wildcard tests/*.c tests/*/*.c tests/*/*/*.c))
ifneq ($(JPEG),turbo)
ENGINE_SRC := $(filter-out engine/image/decode_turbo.c,$(ENGINE_SRC))
endif

# The kernel tables of this architecture, from isa.def.
ARCH := $(shell $(CC) -dumpmachine 2>/dev/null | \
	sed 's/^x86_64.*/x86/; s/^aarch64.*/arm64/; s/^\(x86\|arm64\)$$/\1/; t; s/.*/other/')
ISAS := $(shell sed -n 's/^ISA.\(any\|$(ARCH)\), *\([a-z0-9]*\),.*/\2/p' engine/kernel/isa.def)
isa_flags = $(shell sed -n 's/^ISA.[a-z0-9]*, *$(1),[^,]*, *\(.*\).$$/\1/p' engine/kernel/isa.def)
ENGINE_SRC += $(ISAS:%=engine/kernel/isa_%.c)

OBJ      := $(ENGINE_SRC:%.c=$(B)/%.o) $(SERVER_SRC:%.c=$(B)/%.o)
PULL_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard server/pull/*.c))
LIB_OBJ  := $(filter-out $(B)/server/main.o,$(OBJ))
TEST_OBJ := $(TEST_SRC:%.c=$(B)/%.o)
FUZZERS  := $(patsubst tests/fuzz/%.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
ISA_OBJ  := $(ISAS:%=$(B)/engine/kernel/isa_%.o)

# ---- flags -------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wconversion -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes \
        -Wformat=2 -Wdouble-promotion -Wwrite-strings -Wpointer-arith $(if $(WERROR),-Werror)
DEFS := -D_GNU_SOURCE -DRESNETD_VERSION='"$(VERSION)"' $(if $(JPEG_LIB),-DHAVE_TURBOJPEG) $(if $(SAN),-DSANITIZED)
HARD := -fstack-protector-strong $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2) -fPIE
SANF_address   := -fsanitize=address,undefined -fno-sanitize-recover=all
SANF_undefined := -fsanitize=undefined -fno-sanitize-recover=all
SANF_thread    := -fsanitize=thread
SANF_fuzzer    := $(SANF_address) -fsanitize=fuzzer-no-link
SANF := $(SANF_$(SAN)) $(if $(COVERAGE),--coverage -fprofile-update=single)
ALL_CFLAGS := -std=c17 $(CFLAGS) -fno-omit-frame-pointer -I. $(DEFS) $(WARN) $(HARD) $(SANF) \
              $(shell pkg-config --cflags $(PKGS) $(JPEG_LIB) 2>/dev/null)
LDFLAGS += -pie -Wl,-z,relro,-z,now $(SANF)
LDLIBS  := $(shell pkg-config --libs $(PKGS) $(JPEG_LIB) 2>/dev/null) -lm -lpthread

# A sanitizer takes minutes over unrolled loops that have been optimized; a fuzzer learns nothing
# from branches in kernels.
KERNEL_FLAGS := $(if $(SAN),-O1,-O3) -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi
ifeq ($(SAN),fuzzer)
KERNEL_FLAGS += -fno-sanitize=all -fno-sanitize-coverage=inline-8bit-counters,indirect-calls,trace-cmp,pc-table
endif

# ---- everyday targets --------------------------------------------------------------------------

.PHONY: all help $(FUZZERS:%=%.run) run deps test-deps test run-tests openapi test-pull protocol race run-race emulate fuzz run-fuzz grow run-grow torture run-torture faults promises coverage test-web image monitor lint check load simulate soak throughput \
	bench bench-decode format install clean libs
all: $(B)/resnetd $(B)/resnetd-pull
	@echo "built $(B)/resnetd; 'make help' says what else there is"

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

## make            build build/resnetd (the libraries must be there, see deps)
## make run        install what is missing, build, serve the embedded model on 127.0.0.1:8080
run: deps
	$(Q)$(MAKE) --no-print-directory $(B)/resnetd
	$(Q)exec $(B)/resnetd serve

## make deps       install the missing Debian packages for building (root or sudo)
deps:
	$(Q)tests/deps.sh build
test-deps:
	$(Q)tests/deps.sh test

## make test       install what is missing, build and run all tests; T=batcher runs one suite
test: test-deps
	$(Q)$(MAKE) --no-print-directory run-tests
# Twice as many tests at a time as there are cores: many of them wait for a server.
run-tests: $(B)/run_tests $(B)/resnetd $(B)/resnetd-pull
	$(Q)rm -f $(B)/exchanges.jsonl
	$(Q)RESNETD_BINARY=$(B)/resnetd E2E_EXCHANGES=$(B)/exchanges.jsonl $(B)/run_tests -j$$((2 * $(JOBS))) $(if $(T),--filter '$(T)/*') $(TEST_ARGS)

## make test-web   the page in a real browser; installs chromium, and two npm packages into build/web
test-web: $(B)/resnetd
	$(Q)tests/deps.sh web
	$(Q)RESNETD_BINARY=$(B)/resnetd node --test --test-concurrency=1 --test-reporter=spec tests/web/
## make test-pull  resnetd pull against a hub on this machine that breaks off, redirects and lies
test-pull: $(B)/resnetd $(B)/resnetd-pull
	$(Q)tests/pull.py $(B)/resnetd
## make openapi    server/openapi.json linted, and held against every answer that the last run-tests saw
openapi:
	$(Q)tests/openapi.sh $(B)/exchanges.jsonl
## make protocol   v2 by the specification (OIP_SPEC=its OpenAPI file) and Triton's client (TRITON_CLIENT=folder)
protocol: $(B)/resnetd
	$(Q)tests/protocol.py $(B)/resnetd
## make race       threads under ThreadSanitizer: the engine, and the real server under load
race:
	$(Q)$(MAKE) --no-print-directory SAN=thread run-race
run-race: $(B)/engine_race $(B)/resnetd
	$(Q)$(B)/engine_race
	$(Q)tests/race.sh $(B)/resnetd
## make emulate    the NEON kernels, and the program on a CPU without AVX, under qemu
emulate: $(B)/resnetd
	$(Q)tests/emulate.sh $(B)/resnetd
## make arm64      cross-compiles for arm64 and runs the tests under qemu; ARM64="SUITE/*"
.PHONY: arm64
arm64:
	+$(Q)tests/arm64.sh $(if $(ARM64),'$(ARM64)')
## make avx512     the tests of the kernels on an emulated machine with AVX-512; AVX512="SUITE/*"
.PHONY: avx512
avx512: $(B)/run_tests
	$(Q)tests/avx512.sh $< $(if $(AVX512),'$(AVX512)')
## make amx        the tests of the engine with AMX, its instructions in C; AMX="SUITE/*"
.PHONY: amx
amx: $(B)/run_tests_amx
	$(Q)$< -j$(JOBS) --filter '$(or $(AMX),@(kernels/*|conv/*|maps/*|engine/*|golden/every*))'
## make fuzz       each libFuzzer target for FUZZ_SECONDS (60), two at a time; needs clang
fuzz:
	$(Q)$(MAKE) --no-print-directory SAN=fuzzer CC=clang run-fuzz
## make grow       keeps what make fuzz has found to go on from, in tests/fuzz/grown.tar.gz
grow:
	$(Q)$(MAKE) --no-print-directory SAN=fuzzer CC=clang run-grow
run-grow: $(FUZZERS) $(B)/seeds
	$(Q)tests/fuzz/grow.sh $(B)
# Inputs that are real files; the others start from what make_seeds.sh writes and what was kept.
SEEDS_fuzz_image := tests/golden/images
SEEDS_fuzz_scan_jpeg := tests/golden/images
SEEDS_fuzz_scan_png := tests/golden/images
SEEDS_fuzz_model := config/models
run-fuzz: $(FUZZERS:%=%.run)
$(FUZZERS:%=%.run): $(B)/seeds
$(B)/seeds: tests/fuzz/make_seeds.sh tests/fuzz/grown.tar.gz
	$(Q)$< $@
$(FUZZERS:%=%.run): %.run: %
	$(Q)mkdir -p $<.corpus
	$(Q)$< -max_total_time=$(or $(FUZZ_SECONDS),60) -timeout=10 -rss_limit_mb=1024 -verbosity=0 \
		-print_final_stats=1 -artifact_prefix=$<- $<.corpus $(SEEDS_$(notdir $<)) \
		$(wildcard $(B)/seeds/$(patsubst fuzz_%,%,$(notdir $<))) >$<.log 2>&1 || \
		{ tail -n 40 $<.log; exit 1; }
	$(Q)awk '/number_of_executed_units/ { n = $$2 } /peak_rss/ { m = $$2 } \
		END { printf "%s: %d inputs, nothing found, %d MB\n", "$(notdir $<)", n, m }' $<.log

## make promises   the promises of SECURITY.md measured: row, promise, number, kept or broken; PROMISES="11 14";
##                 SUITES=dir and CORPUS=dir hold suites and images of others, see tests/promises_*.py
promises: $(B)/resnetd $(B)/fail.so $(B)/decode_ppm $(B)/open_loop
	$(Q)$(MAKE) --no-print-directory JPEG=stb build/jpeg-stb/decode_ppm
	$(Q)tests/promises.py $(B)/resnetd $(B)/fail.so $(PROMISES)
## make coverage   lines of our own code that the tests and failing calls reach; the worst files
# Threads may leave the count of a branch negative; such a line of gcov's is passed over.
coverage:
	$(Q)tests/deps.sh ci
	$(Q)find build/coverage -name '*.gcda' -delete 2>/dev/null || true
	$(Q)$(MAKE) --no-print-directory COVERAGE=1 run-tests
	$(Q)$(MAKE) --no-print-directory COVERAGE=1 test-pull
	$(Q)$(MAKE) --no-print-directory COVERAGE=1 FAULT_STEP=$(or $(FAULT_STEP),13) faults
	$(Q)gcovr -r . --object-directory build/coverage -f 'server/' -f 'engine/' -f 'config/' \
		--exclude-unreachable-branches --gcov-ignore-parse-errors --json-summary build/coverage/summary.json \
		>build/coverage/gcovr.log 2>&1 || { tail -n 40 build/coverage/gcovr.log; exit 1; }
	$(Q)tests/coverage.sh build/coverage/summary.json
## make torture    posts every file of CORPUS to a server with AddressSanitizer and UBSan
torture:
	$(Q)$(MAKE) --no-print-directory SAN=address run-torture
run-torture: $(B)/resnetd
	$(Q)tests/torture.sh $(B)/resnetd $(or $(CORPUS),tests/golden/images)
## make faults     lets the k-th allocation, read, write, accept, map, thread fail; FAULT_STEP=1 for every k;
##                 then some per cent of each under load, FAULT_SECONDS (10) each
faults: $(B)/resnetd $(B)/fail.so
	$(Q)for kind in read write accept mmap thread; do \
		tests/faults/sweep.sh $(B)/resnetd $(B)/fail.so $$kind || exit 1; done
	$(Q)tests/faults/sweep.sh $(B)/resnetd $(B)/fail.so malloc $(or $(FAULT_STEP),7)
	$(Q)for plan in 'malloc 1' 'read 1' 'write 1' 'accept 1' 'thread 30'; do \
		tests/faults/chance.sh $(B)/resnetd $(B)/fail.so $$plan $(or $(FAULT_SECONDS),10) || exit 1; done

## make image      what a container of it is and does, without an engine; IMAGE=--build: Dockerfile by buildah
image: $(B)/resnetd $(B)/resnetd-pull
	$(Q)tests/image.sh $(or $(IMAGE),$(B)/resnetd)
## make test-deb   make deb, installed, serving, purged in a Debian booted in a container
.PHONY: test-deb
test-deb: deb
	$(Q)tests/deb.sh build/resnetd_$(VERSION)-1_$$(dpkg --print-architecture).deb
## make monitor    the service of docker/compose.yaml: HAProxy, Prometheus, alerts, dashboard
monitor: $(B)/resnetd
	$(Q)tests/monitor.sh $(B)/resnetd

## make lint       layering, exported names, headers alone, formatting, file sizes
lint: $(ISA_OBJ)
	$(Q)tests/lint.sh $(ISA_OBJ)
## make check      lint, a build with -Werror, all tests
check: lint
	$(Q)$(MAKE) --no-print-directory WERROR=1 run-tests
## make load       capacity, then goodput at a deadline under up to 3 x that; LOAD_ARGS="IMAGES", MODEL, PEER
load: $(B)/resnetd $(B)/open_loop $(B)/fail.so
	$(Q)tests/load/goodput.sh $(B)/resnetd $(B)/open_loop $(LOAD_ARGS)
	$(Q)tests/promises.py $(B)/resnetd $(B)/fail.so 1 4 6 7 9 23
	$(Q)REQUESTS=40000 tests/load/soak.sh $(B)/resnetd
## make reload     what clients notice of models being loaded, MODEL=PATH (the embedded file); LOAD_ARGS="IMAGES";
##                 AS_UNIT=1: where priorities cannot be changed, as under systemd
.PHONY: reload
reload: $(B)/resnetd $(B)/open_loop $(B)/fail.so
	$(Q)$(if $(AS_UNIT),FAIL_LIBRARY=$(B)/fail.so )tests/load/reload.sh $(B)/resnetd $(B)/open_loop $(if $(MODEL),$(MODEL),config/models/cifar10-resnet20.safetensors) $(LOAD_ARGS)
## make simulate   overload in simulated time: docs/overload.svg, uploads.svg (slow ones), replay.svg
##                 (recorded, TRACE=tests/load/resnet18.trace; by tests/load/record.sh)
simulate: $(B)/simulate
	$(Q)mkdir -p build/load/fast build/load/slow build/load/replay
	$(Q)$(B)/simulate build/load/fast 0
	$(Q)$(B)/simulate build/load/slow 0.2
	$(Q)$(B)/simulate build/load/replay $(or $(TRACE),tests/load/resnet18.trace)
	$(Q)cd build/load/fast && awk -F'\t' -v title="Simulated: answers within 200 ms a second, by offered load" \
		-f ../../../tests/load/plot.awk *.tsv > ../../../docs/overload.svg
	$(Q)cd build/load/slow && awk -F'\t' -v title="The same when a fifth of the uploads take 0.5 to 1.2 deadlines" \
		-f ../../../tests/load/plot.awk *.tsv > ../../../docs/uploads.svg
	$(Q)cd build/load/replay && awk -F'\t' -v title="Replayed: a recorded run, slow uploads included, answers within 500 ms" \
		-v arrivals="as recorded, faster or slower" \
		-f ../../../tests/load/plot.awk *.tsv > ../../../docs/replay.svg
## make soak       memory over REQUESTS (200000) good, bad and broken-off requests; LIMIT_MIB (1)
soak: $(B)/resnetd
	$(Q)tests/load/soak.sh $(B)/resnetd $(LOAD_ARGS)
## make throughput 16 clients posting images: throughput, latency, batch sizes; LOAD_ARGS="URL IMAGES"
throughput: $(B)/resnetd
	$(Q)BINARY=$(B)/resnetd tests/load/run.sh $(LOAD_ARGS)
## make bench      ResNet-18, -34, -50 beside ONNX Runtime; BENCH_ARGS="resnet18", ROUNDS, BATCHES; decoding
bench: bench-decode $(B)/resnetd
	$(Q)tests/bench/run.sh $(B)/resnetd $(BENCH_ARGS)
## make bench-decode  decoding in threads and in processes, by each decoder; IMAGES="files"
bench-decode: $(B)/resnetd $(B)/decode_bench
	$(Q)$(MAKE) --no-print-directory JPEG=stb build/jpeg-stb/resnetd build/jpeg-stb/decode_bench
	$(Q)tests/bench/decode.sh $(B) build/jpeg-stb $(IMAGES)
## make format     clang-format over all sources
format:
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i
.PHONY: systemd balance manifests
## make systemd    the units' exposure, and what they do in a systemd booted in a container (root)
systemd: $(B)/resnetd $(B)/fail.so
	$(Q)tests/systemd.sh $(B)/resnetd $(B)/fail.so
## make balance    one, two, four unequal nodes behind HAProxy and nginx: shares, restarts, a death (root)
balance: $(B)/resnetd $(B)/open_loop
	$(Q)tests/balance.py $(B)/resnetd $(B)/open_loop $(LOAD_ARGS)
## make manifests  the files of docs/deploy against haproxy, nginx, published schemas; KSERVE_CRDS, ENVOY_API
manifests: $(B)/resnetd
	$(Q)tests/manifests.sh $(B)/resnetd
## make man        build/resnetd.1; of a cross-build: MAN_OF=PROGRAM that runs here
.PHONY: man dist deb
man: $(B)/resnetd.1
## make install    binary, manual, units and documents under DESTDIR/PREFIX (/usr/local)
install: $(B)/resnetd $(B)/resnetd-pull $(B)/resnetd.1
	install -D -m 755 $(B)/resnetd $(DESTDIR)$(PREFIX)/bin/resnetd
	install -D -m 755 $(B)/resnetd-pull $(DESTDIR)$(PREFIX)/bin/resnetd-pull
	install -D -m 644 $(B)/resnetd.1 $(DESTDIR)$(PREFIX)/share/man/man1/resnetd.1
	ln -sf resnetd.1 $(DESTDIR)$(PREFIX)/share/man/man1/resnetd-pull.1
	install -d $(DESTDIR)$(PREFIX)/share/doc/resnetd $(DESTDIR)$(UNITDIR)
	install -m 644 README.md NEWS.md SECURITY.md LICENSE docs/*.md docs/*.svg config/resnetd.json \
		docker/alerts.yaml $(DESTDIR)$(PREFIX)/share/doc/resnetd
	install -m 644 docker/grafana/resnetd.json $(DESTDIR)$(PREFIX)/share/doc/resnetd/dashboard.json
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/resnetd/deploy docs/deploy/*
	for unit in systemd/*.service systemd/*.socket; do sed 's|/usr/local/|$(PREFIX)/|g' $$unit \
		> $(DESTDIR)$(UNITDIR)/$${unit#systemd/} || exit 1; done
## make dist       build/resnetd-VERSION.tar.gz, the sources of HEAD, to be built outside of git
DIST := build/resnetd-$(VERSION).tar.gz
dist:
	$(Q)mkdir -p build
	$(Q)git archive --format=tar.gz --prefix=resnetd-$(VERSION)/ -o $(DIST) HEAD
	@echo "made $(DIST)"
## make deb        build/resnetd_VERSION-1_ARCH.deb of HEAD, for this Debian; needs debhelper
deb: dist
	$(Q)systemd/debian/build.sh $(DIST) build
## make clean      remove build/
clean:
	rm -rf build
##
## V=1 shows commands; SAN=address|undefined|thread builds with a sanitizer (make test SAN=address);
## JPEG=stb builds without libjpeg-turbo; RESNETD_LISTEN=:9090 make run serves elsewhere.

# ---- rules -------------------------------------------------------------------------------------

$(B)/resnetd: $(OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The libraries' objects as an archive, so that only what is needed is taken.
$(B)/resnetd-pull: $(PULL_OBJ) $(B)/libresnetd.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -Wl,--as-needed -o $@ $^ $(LDLIBS) $(shell pkg-config --libs libcurl)
$(B)/libresnetd.a: $(LIB_OBJ)
	$(Q)rm -f $@ && ar rcsT $@ $^

$(B)/resnetd.1: docs/resnetd.1 docs/manual.sh $(or $(MAN_OF),$(B)/resnetd $(B)/resnetd-pull)
	$(call say,MAN,$@)
	$(Q)docs/manual.sh $(or $(MAN_OF),$(B)/resnetd) docs/resnetd.1 > $@.new
	$(Q)mv $@.new $@

# For SAN=thread, which Criterion does not go with: a plain program, and the real server.
$(B)/engine_race: $(filter-out $(B)/server/%,$(LIB_OBJ)) $(B)/tests/plain/engine_race.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/decode_ppm: $(filter $(B)/engine/image/% $(B)/engine/base/%,$(LIB_OBJ)) $(B)/tests/plain/decode_ppm.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Preloaded into the daemon, hence not ours in flags and not a sanitizer's.
$(B)/fail.so: tests/faults/fail.c
	$(call say,LINK,$@)
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE -O2 -g $(WARN) -fPIC -shared -o $@ $< -ldl

# A client, which shares no code with the server.
$(B)/open_loop: $(B)/tests/load/open_loop.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -luv -lm

$(B)/decode_bench: $(LIB_OBJ) $(B)/tests/plain/decode_bench.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/simulate: $(LIB_OBJ) $(B)/tests/support_simulation.o $(B)/tests/support_trace.o $(B)/tests/load/simulate.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# tests/support_alloc.c counts what our own objects allocate.
WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc
$(B)/run_tests: $(LIB_OBJ) $(TEST_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(WRAP) -lcriterion -lcurl

# The kernels of two tables are exchanged for those in C, and the CPU is said to have both.
$(B)/run_tests_amx: $(filter-out %/isa_avx512.o %/isa_amx.o,$(LIB_OBJ)) $(TEST_OBJ) $(B)/tests/plain/amx_in_c.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(WRAP),--wrap=cpu_flags -lcriterion -lcurl
$(B)/tests/plain/amx_in_c.o: EXTRA = $(KERNEL_FLAGS) $(call isa_flags,avx2)

$(B)/fuzz_%: $(LIB_OBJ) $(B)/tests/fuzz/fuzz_%.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)
.SECONDARY: $(FUZZERS:$(B)/%=$(B)/tests/fuzz/%.o)

# Says what to do before a compiler says what it did not find.
libs:
	@for tool in $(firstword $(CC)) pkg-config; do command -v $$tool >/dev/null || \
		{ echo "$$tool is missing; run 'make deps'" >&2; exit 1; }; done
	@for lib in $(PKGS) libcurl stb; do pkg-config --exists $$lib || \
		{ echo "the library $$lib is missing; run 'make deps'" >&2; exit 1; }; done

$(B)/%.o: %.c Makefile | libs
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(EXTRA) -MMD -MP -c -o $@ $<

$(B)/engine/kernel/%.o: EXTRA = $(KERNEL_FLAGS) $(call isa_flags,$(patsubst isa_%,%,$(notdir $*)))
# stb is not ours: its warnings are not either, and what it overflows or shifts too far is garbage
# pixels of a damaged file, not undefined.
$(B)/engine/image/decode_stb.o $(B)/server/png.o: EXTRA = -fwrapv -fno-sanitize=shift -Wno-all -Wno-extra -Wno-shadow \
	-Wno-conversion -Wno-sign-conversion -Wno-double-promotion -Wno-unused-function -Wno-undef
$(B)/config/embedded.o: config/models/cifar10-resnet20.safetensors
$(B)/server/api_openapi.o: server/openapi.json
$(B)/server/web.o: $(wildcard server/web/*)
$(B)/server/cmd/serve.o $(B)/server/main.o: EXTRA = -DRESNETD_COMMIT='"$(COMMIT)"'
$(B)/server/cmd/serve.o $(B)/server/main.o: $(B)/commit
# Touched only when it is another one.
$(B)/commit: always
	@mkdir -p $(@D)
	@echo "$(COMMIT)" | cmp -s - $@ || echo "$(COMMIT)" > $@
.PHONY: always

-include $(OBJ:.o=.d) $(TEST_OBJ:.o=.d) $(PULL_OBJ:.o=.d) $(wildcard $(B)/tests/fuzz/*.d $(B)/tests/plain/*.d $(B)/tests/load/*.d)
