# framework/data: datasets into batches of views and masks
pkginclude_HEADERS += framework/include/smalti/listing.h
libsmalti_la_SOURCES += \
  framework/data/annotations.c framework/data/bad.c framework/data/bad.h framework/data/batch.c \
  framework/data/batch.h framework/data/data.h \
  framework/data/bench.c \
  framework/data/eval_loader.c \
  framework/data/guard.c framework/data/guard.h \
  framework/data/listing.c framework/data/listing.h framework/data/listing_entries.c \
  framework/data/listing_file.c framework/data/listing_format.h framework/data/listing_names.c \
  framework/data/listing_tar.c framework/data/listing_walk.c \
  framework/data/loader.c framework/data/order.c framework/data/order.h \
  framework/data/pack.c framework/data/pack_tar.c \
  framework/data/preview.c \
  framework/data/ring.c framework/data/ring.h \
  framework/data/source.c framework/data/source.h \
  framework/data/views.c framework/data/views.h

check_PROGRAMS += tests/unit/test_data_loader tests/unit/test_data_bad
tests_unit_test_data_bad_SOURCES = tests/unit/test_data_bad.c tests/unit/fake_data.c tests/unit/fake_data.h
tests_unit_test_data_loader_SOURCES = tests/unit/test_data_loader.c tests/unit/fake_data.c tests/unit/fake_data.h
check_PROGRAMS += tests/unit/test_data_lists tests/unit/test_data_sets tests/unit/test_data_pack tests/unit/test_data_listing tests/unit/test_data_tar
check_PROGRAMS += tests/unit/test_data_eval
tests_unit_test_data_eval_SOURCES = tests/unit/test_data_eval.c tests/unit/fake_data.c tests/unit/fake_data.h
check_PROGRAMS += tests/unit/test_data_source
tests_unit_test_data_source_SOURCES = tests/unit/test_data_source.c tests/unit/fake_data.c tests/unit/fake_data.h
check_PROGRAMS += tests/unit/test_data_owns
tests_unit_test_data_owns_SOURCES = tests/unit/test_data_owns.c tests/unit/fake_data.c tests/unit/fake_data.h
