# sydbox: set-up, build, tests, installation. `make demo' and `make check' do everything on a fresh machine that has a Rust toolchain.

PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
DATADIR = $(PREFIX)/share
MANDIR = $(DATADIR)/man
PROFILEDIR = $(DATADIR)/sydbox

CARGO = cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)
ESANDBOX = esandbox/esandbox
# Without shared libraries, where the C library can be linked so: the command then starts in half a millisecond less.
STATIC = $(shell echo 'int main(void) { return 0; }' | cc -static -x c -o /dev/null - 2>/dev/null && \
	echo -C target-feature=+crt-static)
COMMAND = $(CARGO) rustc --release --bin sydbox -- $(STATIC)

SHELL_FILES = $(ESANDBOX) esandbox/test.sh esandbox/completion/esandbox.bash tools/setup tools/bench/configure .ci/run \
	tests/demo/run tests/demo/driver.bash tests/demo/package/configure \
	tests/demo/package/build-aux/manners.sh tests/demo/package/tests/greet.sh

all: build

help:
	@echo 'make demo      build and run the demonstration (tests/demo)'
	@echo 'make check     run all tests and checks'
	@echo 'make fuzz-fs   compare random calls with and without the sandbox (FUZZ_SECONDS, FUZZ_SEED)'
	@echo 'make stress    hostile programs, five times as long'
	@echo 'make bench     measure what the sandbox costs (tools/bench/run; BENCH_QUICK=1: in under two minutes)'
	@echo 'make build     build the release'
	@echo 'make install   install what was built (PREFIX, DESTDIR)'
	@echo 'make setup     install the system packages that "make check" needs'
	@echo 'make clean     remove what was built'

setup:
	tools/setup check

build:
	tools/setup build
	$(COMMAND)

demo:
	tools/setup demo
	$(COMMAND)
	SYDBOX=$(TARGET)/release/sydbox ESANDBOX=$(ESANDBOX) tests/demo/run

# Cheapest first. Each line stands for itself: a failure ends the check there.
check:
	tools/setup check
	$(CARGO) fmt --all --check
	shellcheck $(SHELL_FILES)
	esandbox/test.sh
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --workspace --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps
	$(CARGO) test --workspace --no-run
	SYDBOX=$(TARGET)/debug/sydbox ESANDBOX=$(ESANDBOX) tests/demo/run
	$(CARGO) test --workspace
	if [ "$$(id -u)" -eq 0 ]; then tools/test-as-user --workspace; fi

# Random calls of the file system with and without the sandbox, until FUZZ_SECONDS (60) are over; FUZZ_SEED is random and printed.
fuzz-fs:
	tools/setup check
	$(CARGO) test --test differential -- --ignored --nocapture fuzz
	if [ "$$(id -u)" -eq 0 ]; then tools/test-as-user --test differential -- --ignored --nocapture fuzz; fi

# What the tests do anyway, with more processes that are killed at any point of a call.
stress:
	STRESS_KILLS=10000 $(CARGO) test --test stress
	if [ "$$(id -u)" -eq 0 ]; then STRESS_KILLS=10000 tools/test-as-user --test stress; fi

# Figures only: none of them makes it fail.
bench:
	tools/setup demo
	$(CARGO) bench --no-run --bench startup
	$(COMMAND)
	CARGO='$(CARGO)' tools/bench/run $(TARGET)/release/sydbox $(TARGET)/bench.json

# Builds nothing, so that `sudo make install' leaves no files of root's in the build directory.
install:
	@test -x $(TARGET)/release/sydbox || { echo 'run "make build" first' >&2; exit 1; }
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(PROFILEDIR)' '$(DESTDIR)$(MANDIR)/man1' \
		'$(DESTDIR)$(DATADIR)/bash-completion/completions' '$(DESTDIR)$(DATADIR)/zsh/site-functions' \
		'$(DESTDIR)$(DATADIR)/fish/vendor_completions.d'
	install -m 755 $(TARGET)/release/sydbox $(ESANDBOX) '$(DESTDIR)$(BINDIR)'
	install -m 644 profiles/*.syd-2 '$(DESTDIR)$(PROFILEDIR)'
	$(TARGET)/release/sydbox --man >'$(DESTDIR)$(MANDIR)/man1/sydbox.1'
	$(TARGET)/release/sydbox --completions bash >'$(DESTDIR)$(DATADIR)/bash-completion/completions/sydbox'
	$(TARGET)/release/sydbox --completions zsh >'$(DESTDIR)$(DATADIR)/zsh/site-functions/_sydbox'
	$(TARGET)/release/sydbox --completions fish >'$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/sydbox.fish'
	install -m 644 esandbox/completion/esandbox.bash '$(DESTDIR)$(DATADIR)/bash-completion/completions/esandbox'
	install -m 644 esandbox/completion/_esandbox '$(DESTDIR)$(DATADIR)/zsh/site-functions/_esandbox'

clean:
	$(CARGO) clean

.PHONY: all help setup build demo check stress bench fuzz-fs install clean
