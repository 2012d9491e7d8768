# One word per habit. `make run` needs python3 and make, nothing else; `make help` lists the words.
#
# Variables: PYTHON, the interpreter for .venv (default: the newest of 3.11 and later on PATH);
# VENV, where it goes; WORKERS, how many processes run the tests; ARGS, more arguments for pytest;
# TEST_SEED, an order of the tests (`random`: any, and it is printed); TARGETS, what `make fuzz` runs, and
# SECONDS, how long each of these (600: a night's work on one core).

VENV ?= .venv
WORKERS ?= 2
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
RUN_STAMP := $(VENV)/.stamp-run
DEV_STAMP := $(VENV)/.stamp-dev

help:
	@echo "make run      load a sample module, each step shown (installs into $(VENV) first)"
	@echo "make test     install what the tests need, and run them"
	@echo "make coverage the tests of module, abi and machine, and how much of these they reach"
	@echo "make check    lint, format and types"
	@echo "make conform  our loader beside that of a kernel in /boot, with everything that was recorded"
	@echo "make bench    measure; ratios against bare Unicorn in the same run"
	@echo "make fuzz     atheris on everything that reads strangers' bytes"
	@echo "make soak     100,000 insmods and a million system calls: nothing may grow"
	@echo "make samples  rebuild the shipped sample modules with kbuild"
	@echo "make stubs    rebuild the base kernel image"
	@echo "make lock     resolve the locked development tools anew (requirements-dev.in)"
	@echo "make wheel    the package and all it needs as wheels, in dist, to install without a network"
	@echo "make docs     the documentation as a site, in build/docs"
	@echo "make clean    remove what the other words left, but not $(VENV)"

run: $(RUN_STAMP)
	@$(BIN)/kmod-emu run hello

# A system without compiler or kernel headers cannot rebuild the shipped binaries: the tests that
# compare them with their sources are then left out, with a line that says so.
test: $(DEV_STAMP) deps other-kernel
	@ignored=; \
	for tests in $$($(MISSING_TESTS)); do \
		echo "left out, see above: $$tests"; \
		ignored="$$ignored --ignore=$$tests"; \
	done; \
	$(BIN)/python -m pytest -n $(WORKERS) $$ignored $(ARGS)

# These rooms' own tests alone: measuring makes them half as slow again.
ROOMS := module abi machine

coverage: export COVERAGE_FILE = build/.coverage
coverage: $(DEV_STAMP) deps
	@mkdir -p build
	@$(BIN)/python -m pytest -n $(WORKERS) $(ROOMS:%=--cov=kmod_emu/%) --cov-branch --cov-report= \
		$(ROOMS:%=tests/%) $(ROOMS:%=kmod_emu/%) $(ARGS)
	@$(BIN)/python -m coverage json --quiet -o build/coverage.json
	@$(BIN)/python -m scripts.coverage_gate build/coverage.json $(ROOMS)

check: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Our loader beside the kernel's own, with everything that was recorded.
conform: $(RUN_STAMP)
	@$(BIN)/python -m scripts.conform_recordings $(ARGS)

bench: $(DEV_STAMP)
	$(BIN)/python -m benchmarks

SECONDS ?= 600
TARGETS ?=

fuzz: $(DEV_STAMP)
	@$(PIP) install 'atheris>=3'
	$(BIN)/python -m fuzz --seconds $(SECONDS) $(TARGETS)

soak: $(DEV_STAMP)
	$(BIN)/python -m benchmarks.soak $(ARGS)

samples:
	$(MAKE) -C samples
	$(MAKE) -C samples/classic

stubs: $(DEV_STAMP)
	$(MAKE) -C guest_kernel_stubs install
	$(BIN)/python scripts/build_traps.py kmod_emu/data/base_kernel/traps.bin

# The wheel, with man pages, completions and a bill of materials in it; and what it needs, in dist/cache.
wheel: $(DEV_STAMP)
	@$(BIN)/python -m scripts.sbom build/sbom.cdx.json
	@rm -rf build/lib build/bdist.* && $(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	@$(PIP) download --require-hashes -r requirements.txt --dest dist/cache
	@ls dist/*.whl

# XDG_DATA_HOME: kernel profiles that whoever builds has made are not in it.
docs: $(DEV_STAMP)
	@NO_MKDOCS_2_WARNING=1 XDG_DATA_HOME=/dev/null $(BIN)/python -m mkdocs build --quiet --strict
	@echo "build/docs/index.html"

clean:
	rm -rf build dist kmod_emu.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	find samples \( -name '*.ko' -o -name '*.o' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' \
		-o -name 'Module.symvers' -o -name 'modules.order' \) -type f -exec rm -f {} +

# Tools for rebuilding the shipped binaries; never fatal, because the program needs none of them.
HAVE_GCC = command -v gcc >/dev/null 2>&1
HAVE_HEADERS = $(MAKE) -s --no-print-directory -C samples kdir >/dev/null 2>&1
GCC_TESTS := tests/guest_kernel_stubs/test_image.py tests/classic/test_rebuild.py
HEADERS_TESTS := tests/samples/test_rebuild.py tests/kbuild/test_templates.py tests/labs/test_labs.py
MISSING_TESTS = $(HAVE_GCC) || echo $(GCC_TESTS) $(HEADERS_TESTS); $(HAVE_HEADERS) || echo $(HEADERS_TESTS)

# Debian's own module tools and a kernel's modules: ours are run beside them. Without them those tests are skipped.
HAVE_KMOD = PATH="$$PATH:/usr/sbin:/sbin" command -v modprobe >/dev/null 2>&1
HAVE_KERNEL = ls -d /lib/modules/6.1.0-*-amd64/kernel >/dev/null 2>&1
# A static one: the machine's shell.
HAVE_BUSYBOX = test -x /bin/busybox
HAVE_GDB = command -v gdb >/dev/null 2>&1
HAVE_CHROMIUM = command -v chromium >/dev/null 2>&1
HAVE_GROFF = command -v groff >/dev/null 2>&1
HAVE_MKFS = PATH="$$PATH:/usr/sbin:/sbin" && command -v mkfs.ext4 >/dev/null 2>&1 && command -v mkfs.xfs >/dev/null 2>&1
HAVE_ALL = $(HAVE_GROFF) && $(HAVE_GCC) && $(HAVE_HEADERS) && $(HAVE_KMOD) && $(HAVE_KERNEL) && $(HAVE_BUSYBOX) && $(HAVE_GDB) && $(HAVE_CHROMIUM) && $(HAVE_MKFS)

deps:
	@if $(HAVE_ALL); then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
		echo "installing by apt-get, for the tests: $(DEBIAN_PACKAGES)"; \
		$(call APT_INSTALL,$(DEBIAN_PACKAGES)) || echo "apt-get failed"; \
	fi; \
	$(HAVE_GCC) || echo "missing: gcc"; \
	$(HAVE_HEADERS) || echo "missing: kernel headers (Debian's package linux-headers-amd64)"; \
	$(HAVE_KMOD) || echo "missing: kmod; the tests that run it beside ours are skipped"; \
	$(HAVE_KERNEL) || echo "missing: a Debian kernel's modules (linux-image-amd64); the tests that read them are skipped"; \
	$(HAVE_BUSYBOX) || echo "missing: busybox-static; the tests that run a shell on the machine are skipped"; \
	$(HAVE_GDB) || echo "missing: gdb; the tests in which it debugs a module are skipped"; \
	$(HAVE_GROFF) || echo "missing: groff-base; the test that formats the man pages is skipped"; \
	$(HAVE_MKFS) || echo "missing: e2fsprogs or xfsprogs; the tests that mount a disk on a distribution's kernel are skipped"; \
	$(HAVE_CHROMIUM) || echo "missing: chromium; the tests that look at a report in a browser are skipped"

DEBIAN_PACKAGES = groff-base linux-headers-amd64 gcc make kmod linux-image-amd64 busybox-static gdb chromium e2fsprogs xfsprogs
APT_INSTALL = { apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(1) >/dev/null; }

# A kernel of another series, which is unpacked and not installed: tests boot it beside 6.1, from build/kernels.
OTHER_KERNEL := linux-image-6.12-cloud-amd64
HAVE_OTHER = ls build/kernels/boot/vmlinuz-* >/dev/null 2>&1

other-kernel:
	@if ! $(HAVE_OTHER) && [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
		echo "downloading by apt-get, for the tests: $(OTHER_KERNEL)"; \
		rm -rf build/kernels && mkdir -p build/kernels && cd build/kernels && \
		apt-get -qq download "$$(apt-cache depends $(OTHER_KERNEL) | sed -n 's/.*Depends: //p')" 2>/dev/null && \
		for package in *.deb; do dpkg-deb -x "$$package" . && rm "$$package"; done; \
	fi; \
	cd $(CURDIR) && $(HAVE_OTHER) || echo "missing: $(OTHER_KERNEL); the tests that boot a kernel besides 6.1 are skipped"

# The lock: exact versions and hashes, and no place where they were found.
lock: $(RUN_STAMP)
	@$(PIP) install pip-tools
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(COMPILE) --output-file requirements-dev.txt requirements-dev.in

COMPILE = $(BIN)/python -m piptools compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

# The first Python that is new enough, and a way to make an environment with it: venv, or virtualenv,
# or venv once Debian's split-off package is there.
FIND_PYTHON = for p in $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3); do \
		if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$p; break; fi; \
	done

$(BIN)/python:
	@python=; $(FIND_PYTHON); \
	if [ -z "$$python" ]; then \
		echo "kmod-emu needs Python 3.11 or later; $(or $(PYTHON),python3) here is: $$($(or $(PYTHON),python3) --version 2>&1)"; \
		echo "install a newer one, or name it: make PYTHON=/path/to/python3.11"; exit 1; \
	fi; \
	try() { rm -rf "$(VENV)"; "$$python" -m "$$1" "$(VENV)" >/dev/null 2>&1; }; \
	try venv && exit 0; \
	try virtualenv && exit 0; \
	rm -rf "$(VENV)"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "this Python lacks venv: installing Debian's package python3-venv by apt-get"; \
		$(call APT_INSTALL,python3-venv) && { try venv || { python=/usr/bin/python3; try venv; }; } && exit 0; \
		rm -rf "$(VENV)"; \
	fi; \
	echo "cannot make $(VENV): $$python has neither venv nor virtualenv; install python3-venv"; exit 1

$(RUN_STAMP): pyproject.toml | $(BIN)/python
	@echo "installing kmod-emu into $(VENV)"
	@$(PIP) install -e . --config-settings editable_mode=compat
	@$(BIN)/python -m compileall -q kmod_emu
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(RUN_STAMP)
	@echo "installing the locked development tools into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

.PHONY: help run test coverage check conform bench fuzz soak samples stubs wheel docs clean deps lock other-kernel
