# tests/fuzz: one program per target, fuzz_NAME, from tests/fuzz/fuzz_NAME.c. By itself it replays corpus/NAME, as `make check`
# does; configured with --enable-fuzzer it is a libFuzzer program, as `make fuzz` builds it in a folder of its own.
EXTRA_DIST += tests/fuzz/README.md tests/fuzz/fuzz.sh tests/fuzz/corpus tests/fuzz/cli.dict tests/fuzz/pth.dict tests/fuzz/recipe.dict \
  tests/fuzz/report.dict tests/fuzz/safetensors.dict tests/fuzz/table.dict tests/fuzz/weights.dict
noinst_HEADERS += tests/fuzz/fuzz.h
fuzz_targets = tests/fuzz/fuzz_recipe \
  tests/fuzz/fuzz_table \
  tests/fuzz/fuzz_safetensors \
  tests/fuzz/fuzz_pth \
  tests/fuzz/fuzz_weights \
  tests/fuzz/fuzz_picture \
  tests/fuzz/fuzz_packed \
  tests/fuzz/fuzz_listing \
  tests/fuzz/fuzz_report \
  tests/fuzz/fuzz_note \
  tests/fuzz/fuzz_cli
fuzz_rig = tests/fuzz/rig.c
if FUZZER
fuzz_link = -fsanitize=fuzzer
EXTRA_PROGRAMS += $(fuzz_targets)
else
fuzz_link =
fuzz_rig += tests/fuzz/replay.c
check_PROGRAMS += $(fuzz_targets)
endif

tests_fuzz_fuzz_recipe_SOURCES = tests/fuzz/fuzz_recipe.c $(fuzz_rig)
tests_fuzz_fuzz_recipe_LDADD = libsmalti.la
tests_fuzz_fuzz_recipe_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_table_SOURCES = tests/fuzz/fuzz_table.c $(fuzz_rig)
tests_fuzz_fuzz_table_LDADD = libsmalti.la
tests_fuzz_fuzz_table_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_safetensors_SOURCES = tests/fuzz/fuzz_safetensors.c $(fuzz_rig)
tests_fuzz_fuzz_safetensors_LDADD = libsmalti.la
tests_fuzz_fuzz_safetensors_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_pth_SOURCES = tests/fuzz/fuzz_pth.c $(fuzz_rig)
tests_fuzz_fuzz_pth_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_fuzz_fuzz_pth_LDADD = libsmalti.la
tests_fuzz_fuzz_pth_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_weights_SOURCES = tests/fuzz/fuzz_weights.c $(fuzz_rig)
tests_fuzz_fuzz_weights_LDADD = libsmalti.la
tests_fuzz_fuzz_weights_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_picture_SOURCES = tests/fuzz/fuzz_picture.c $(fuzz_rig)
tests_fuzz_fuzz_picture_LDADD = libsmalti.la
tests_fuzz_fuzz_picture_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_packed_SOURCES = tests/fuzz/fuzz_packed.c $(fuzz_rig)
tests_fuzz_fuzz_packed_LDADD = libsmalti.la
tests_fuzz_fuzz_packed_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_listing_SOURCES = tests/fuzz/fuzz_listing.c $(fuzz_rig)
tests_fuzz_fuzz_listing_LDADD = libsmalti.la
tests_fuzz_fuzz_listing_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_report_SOURCES = tests/fuzz/fuzz_report.c $(fuzz_rig)
tests_fuzz_fuzz_report_LDADD = libsmalti.la
tests_fuzz_fuzz_report_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_note_SOURCES = tests/fuzz/fuzz_note.c $(fuzz_rig)
tests_fuzz_fuzz_note_LDADD = libsmalti.la
tests_fuzz_fuzz_note_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)
tests_fuzz_fuzz_cli_SOURCES = tests/fuzz/fuzz_cli.c $(fuzz_rig) $(cli_sources)
tests_fuzz_fuzz_cli_LDADD = libsmalti.la
tests_fuzz_fuzz_cli_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link)

# make fuzz: libsmalti, its plugins and the targets by clang with sanitizers, in fuzz/ of the build folder; then each target of
# FUZZ_TARGETS runs until FUZZ_RUNS inputs or FUZZ_SECONDS, whichever comes first (0: no limit), and what it found new stays in
# fuzz/corpus/NAME.
FUZZ_RUNS = 10000000
FUZZ_SECONDS = 60
FUZZ_TARGETS = $(fuzz_targets)
fuzz:
	@test -n "$(FUZZ_CC)" || { echo "make fuzz: no clang with libFuzzer was found; install clang (Debian: apt-get install clang libclang-rt-dev), or say which: configure FUZZ_CC=…" >&2; exit 1; }
	@$(MKDIR_P) fuzz && test -f fuzz/Makefile || { cd fuzz && '$(abs_srcdir)/configure' --enable-fuzzer --enable-asan --without-tests CC='$(FUZZ_CC)' CFLAGS= >configure.log || { cat configure.log; rm -f Makefile; exit 1; }; }
	+@cd fuzz && $(MAKE) all && $(MAKE) $(fuzz_targets)
	@cd fuzz && SMALTI_SRCDIR='$(abs_srcdir)' FUZZ_RUNS='$(FUZZ_RUNS)' FUZZ_SECONDS='$(FUZZ_SECONDS)' bash '$(abs_srcdir)/tests/fuzz/fuzz.sh' $(FUZZ_TARGETS)
clean-local: fuzz-clean
fuzz-clean:
	rm -rf fuzz
.PHONY: fuzz fuzz-clean
