# tests/torture: what a failing system call or allocation means to each command: a sample in `make check`, all by `make torture`
EXTRA_DIST += tests/torture/start.sh tests/torture/commands.txt tests/torture/calls.txt tests/torture/expected.txt
check_SCRIPTS += tests/torture/torture.sh

torture: all tests/preload/iofail.la
	@$(AM_TESTS_ENVIRONMENT) TORTURE_SAMPLES="$${TORTURE_SAMPLES-all}" bash '$(srcdir)/tests/torture/torture.sh'
.PHONY: torture
