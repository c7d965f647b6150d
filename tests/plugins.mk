# tests/plugins: shared objects that only tests load, most of them wrong in one way
noinst_HEADERS += tests/plugins/masker.h
check_LTLIBRARIES += \
  tests/plugins/bad_create.la \
  tests/plugins/bad_options.la \
  tests/plugins/bn_head.la \
  tests/plugins/conv.la \
  tests/plugins/fine.la \
  tests/plugins/evaluations/nearest_mean.la \
  tests/plugins/tokenizers/frozen_file.la \
  tests/plugins/misbehaves.la \
  tests/plugins/missing_callback.la \
  tests/plugins/missing_symbol.la \
  tests/plugins/newer_abi.la \
  tests/plugins/no_entry.la \
  tests/plugins/no_note.la \
  tests/plugins/null_fields.la \
  tests/plugins/null_module.la \
  tests/plugins/older_abi.la \
  tests/plugins/second_core.la \
  tests/plugins/twice_a.la \
  tests/plugins/twice_b.la \
  tests/plugins/harm/private.la \
  tests/plugins/wrong_backbones.la \
  tests/plugins/harm/wrong_gifts.la \
  tests/plugins/wrong_head.la \
  tests/plugins/wrong_loss.la

tests_plugins_bad_create_la_SOURCES = tests/plugins/bad_create.c
tests_plugins_bad_create_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_bad_create_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_bad_options_la_SOURCES = tests/plugins/bad_options.c
tests_plugins_bad_options_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_bad_options_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_bn_head_la_SOURCES = tests/plugins/bn_head.c
tests_plugins_bn_head_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_bn_head_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_conv_la_SOURCES = tests/plugins/conv.c
tests_plugins_conv_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_conv_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_harm_private_la_SOURCES = tests/plugins/harm/private.c
tests_plugins_harm_private_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_harm_private_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_harm_wrong_gifts_la_SOURCES = tests/plugins/harm/wrong_gifts.c
tests_plugins_harm_wrong_gifts_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_harm_wrong_gifts_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_wrong_backbones_la_SOURCES = tests/plugins/wrong_backbones.c
tests_plugins_wrong_backbones_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_wrong_backbones_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_wrong_head_la_SOURCES = tests/plugins/wrong_head.c
tests_plugins_wrong_head_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_wrong_head_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_wrong_loss_la_SOURCES = tests/plugins/wrong_loss.c
tests_plugins_wrong_loss_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_wrong_loss_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_fine_la_SOURCES = tests/plugins/fine.c
tests_plugins_fine_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_fine_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_evaluations_nearest_mean_la_SOURCES = tests/plugins/evaluations/nearest_mean.c
tests_plugins_evaluations_nearest_mean_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_evaluations_nearest_mean_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_tokenizers_frozen_file_la_SOURCES = tests/plugins/tokenizers/frozen_file.c
tests_plugins_tokenizers_frozen_file_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_tokenizers_frozen_file_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_misbehaves_la_SOURCES = tests/plugins/misbehaves.c
tests_plugins_misbehaves_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_misbehaves_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_missing_callback_la_SOURCES = tests/plugins/missing_callback.c
tests_plugins_missing_callback_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_missing_callback_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_null_fields_la_SOURCES = tests/plugins/null_fields.c
tests_plugins_null_fields_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_null_fields_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_null_module_la_SOURCES = tests/plugins/null_module.c
tests_plugins_null_module_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_null_module_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_second_core_la_SOURCES = tests/plugins/second_core.c
tests_plugins_second_core_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_second_core_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_older_abi_la_SOURCES = tests/plugins/older_abi.c
tests_plugins_older_abi_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_older_abi_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_twice_a_la_SOURCES = tests/plugins/twice.c
tests_plugins_twice_a_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_twice_a_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_twice_b_la_SOURCES = tests/plugins/twice.c
tests_plugins_twice_b_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
tests_plugins_twice_b_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_no_entry_la_SOURCES = tests/plugins/no_entry.c
tests_plugins_no_entry_la_LDFLAGS = $(BARE_LDFLAGS)
tests_plugins_no_entry_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_no_note_la_SOURCES = tests/plugins/no_note.c
tests_plugins_no_note_la_LDFLAGS = $(BARE_LDFLAGS)
tests_plugins_no_note_la_LIBADD = $(PLUGIN_LIBADD)

# No entry function to export, or a function that no library has: nothing may insist on either.
BARE_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
tests_plugins_missing_symbol_la_SOURCES = tests/plugins/missing_symbol.c
tests_plugins_missing_symbol_la_LDFLAGS = $(BARE_LDFLAGS)
tests_plugins_missing_symbol_la_LIBADD = $(PLUGIN_LIBADD)
tests_plugins_newer_abi_la_SOURCES = tests/plugins/newer_abi.c
tests_plugins_newer_abi_la_LDFLAGS = $(BARE_LDFLAGS)
tests_plugins_newer_abi_la_LIBADD = $(PLUGIN_LIBADD)

check_PROGRAMS += tests/unit/test_plugin_loader tests/unit/test_plugin_descriptor
tests_unit_test_plugin_loader_LDADD = $(LDADD)
EXTRA_tests_unit_test_plugin_loader_DEPENDENCIES = $(check_LTLIBRARIES)
