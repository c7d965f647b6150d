# tests/unit: check_PROGRAMS += tests/unit/test_NAME (source tests/unit/test_NAME.c unless _SOURCES says otherwise).
# A plugin that only tests load lands in tests/plugins/.libs:
#
#   check_LTLIBRARIES += tests/plugins/NAME.la
#   tests_plugins_NAME_la_SOURCES = tests/plugins/NAME.c
#   tests_plugins_NAME_la_LDFLAGS = $(TEST_PLUGIN_LDFLAGS)
#   tests_plugins_NAME_la_LIBADD = $(PLUGIN_LIBADD)

EXTRA_DIST += tests/unit/test.h tests/unit/dataset_fixture.h

# framework/formats, framework/report
check_PROGRAMS += tests/unit/test_formats_safetensors tests/unit/test_formats_logs tests/unit/test_formats_packed \
  tests/unit/test_report tests/unit/test_report_parts tests/unit/test_card
tests_unit_test_report_SOURCES = tests/unit/test_report.c tests/unit/markup.h
tests_unit_test_report_parts_SOURCES = tests/unit/test_report_parts.c tests/unit/markup.h
tests_unit_test_formats_logs_LDADD = $(LDADD) $(CJSON_LIBS)

# framework/score
check_PROGRAMS += tests/unit/test_coco
tests_unit_test_coco_SOURCES = tests/unit/test_coco.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_coco_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_coco_LDADD = $(LDADD) $(CJSON_LIBS)
EXTRA_DIST += tests/golden/coco_rle.safetensors tests/golden/coco_ap.safetensors

# datasets of objects
check_PROGRAMS += tests/unit/test_annotations
tests_unit_test_annotations_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

# framework/tensor
check_PROGRAMS += tests/unit/test_exec tests/unit/test_tensor_values tests/unit/test_kernels tests/unit/test_kernels_plain tests/unit/test_gradients
tests_unit_test_kernels_SOURCES = tests/unit/test_kernels.c tests/unit/kernel_check.h tests/unit/kernel_rig.h
check_PROGRAMS += tests/unit/test_kernels_losses
tests_unit_test_kernels_losses_SOURCES = tests/unit/test_kernels_losses.c tests/unit/kernel_check.h tests/unit/kernel_rig.h
check_PROGRAMS += tests/unit/test_kernels_bf16
tests_unit_test_kernels_bf16_SOURCES = tests/unit/test_kernels_bf16.c tests/unit/kernel_check.h tests/unit/kernel_rig.h
EXTRA_DIST += tests/cross/aarch64.sh
check_PROGRAMS += tests/unit/test_onednn
tests_unit_test_onednn_SOURCES = tests/unit/test_onednn.c tests/unit/kernel_check.h tests/unit/kernel_rig.h
check_PROGRAMS += tests/unit/test_kernels_pictures
tests_unit_test_kernels_pictures_SOURCES = tests/unit/test_kernels_pictures.c tests/unit/kernel_check.h tests/unit/kernel_rig.h
check_PROGRAMS += tests/unit/test_kernels_windows
tests_unit_test_kernels_windows_SOURCES = tests/unit/test_kernels_windows.c tests/unit/kernel_check.h tests/unit/kernel_rig.h
tests_unit_test_kernels_plain_SOURCES = tests/unit/test_kernels_plain.c tests/unit/kernel_rig.h
tests_unit_test_gradients_SOURCES = tests/unit/test_gradients.c tests/unit/gradient_rig.h
tests_unit_test_gradients_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
check_PROGRAMS += tests/unit/test_gradients_losses
tests_unit_test_gradients_losses_SOURCES = tests/unit/test_gradients_losses.c tests/unit/gradient_rig.h
tests_unit_test_gradients_losses_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

# framework/recipe
check_PROGRAMS += tests/unit/test_recipe tests/unit/test_recipe_written tests/unit/test_recipe_bad
tests_unit_test_recipe_SOURCES = tests/unit/test_recipe.c tests/unit/recipe_fixture.c tests/unit/recipe_fixture.h
tests_unit_test_recipe_written_SOURCES = tests/unit/test_recipe_written.c tests/unit/recipe_fixture.c tests/unit/recipe_fixture.h
tests_unit_test_recipe_bad_SOURCES = tests/unit/test_recipe_bad.c tests/unit/recipe_fixture.c tests/unit/recipe_fixture.h

# framework/models (test_weights is in golden.mk)
check_PROGRAMS += tests/unit/test_network
tests_unit_test_network_SOURCES = tests/unit/test_network.c tests/unit/ssl_rig.c tests/unit/ssl_rig.h
tests_unit_test_network_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

# framework/show
check_PROGRAMS += tests/unit/test_show
tests_unit_test_show_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

# framework/train
check_PROGRAMS += tests/unit/test_train_monitor
tests_unit_test_train_monitor_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

# framework/eval (test_knn is in golden.mk)
check_PROGRAMS += tests/unit/test_probe tests/unit/test_logistic tests/unit/test_cluster
tests_unit_test_probe_SOURCES = tests/unit/test_probe.c tests/unit/eval_rig.c tests/unit/eval_rig.h tests/unit/pools.h
tests_unit_test_cluster_SOURCES = tests/unit/test_cluster.c tests/unit/eval_rig.c tests/unit/eval_rig.h tests/unit/pools.h
tests_unit_test_logistic_SOURCES = tests/unit/test_logistic.c tests/unit/eval_rig.c tests/unit/eval_rig.h tests/unit/pools.h

check_PROGRAMS += tests/unit/test_evaluation
tests_unit_test_evaluation_SOURCES = tests/unit/test_evaluation.c tests/unit/eval_bench.c tests/unit/eval_bench.h tests/unit/pools.h
EXTRA_tests_unit_test_evaluation_DEPENDENCIES = tests/plugins/evaluations/nearest_mean.la

check_PROGRAMS += tests/unit/test_share tests/unit/test_share_rows tests/unit/test_share_tuning tests/unit/test_forecast
tests_unit_test_forecast_SOURCES = tests/unit/test_forecast.c
tests_unit_test_share_SOURCES = tests/unit/test_share.c tests/unit/hub.h tests/unit/eval_bench.c tests/unit/eval_bench.h
tests_unit_test_share_rows_SOURCES = tests/unit/test_share_rows.c tests/unit/hub.h tests/unit/eval_bench.c tests/unit/eval_bench.h
tests_unit_test_share_tuning_SOURCES = tests/unit/test_share_tuning.c tests/unit/hub.h tests/unit/eval_bench.c tests/unit/eval_bench.h

check_PROGRAMS += tests/unit/test_measures
tests_unit_test_measures_SOURCES = tests/unit/test_measures.c tests/unit/eval_bench.c tests/unit/eval_bench.h \
  tests/unit/golden.c tests/unit/golden.h
tests_unit_test_measures_LDADD = $(LDADD) $(CJSON_LIBS)
EXTRA_DIST += tests/golden/rankme.safetensors

check_PROGRAMS += tests/unit/test_discovered
tests_unit_test_discovered_SOURCES = tests/unit/test_discovered.c tests/unit/eval_bench.c tests/unit/eval_bench.h tests/unit/pools.h
tests_unit_test_discovered_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

check_PROGRAMS += tests/unit/test_partwise tests/unit/test_correspondence
tests_unit_test_partwise_SOURCES = tests/unit/test_partwise.c tests/unit/eval_bench.c tests/unit/eval_bench.h tests/unit/pools.h
tests_unit_test_partwise_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_correspondence_SOURCES = tests/unit/test_correspondence.c tests/unit/eval_bench.c \
  tests/unit/eval_bench.h tests/unit/pools.h
tests_unit_test_correspondence_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

# framework/table
check_PROGRAMS += tests/unit/test_table
tests_unit_test_table_SOURCES = tests/unit/test_table.c tests/unit/plugin_fixture.h
tests_unit_test_table_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

# tokenizers, losses and maskers together
check_PROGRAMS += tests/unit/test_pairings tests/unit/test_plugins_tokenizers
tests_unit_test_pairings_SOURCES = tests/unit/test_pairings.c tests/unit/dvae_file.h tests/unit/row_rig.h tests/unit/plugin_fixture.h
tests_unit_test_pairings_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

check_PROGRAMS += tests/unit/test_finetune
tests_unit_test_finetune_SOURCES = tests/unit/test_finetune.c tests/unit/eval_bench.c tests/unit/eval_bench.h tests/unit/pools.h
tests_unit_test_finetune_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

# objectives
check_PROGRAMS += tests/unit/test_objective
tests_unit_test_objective_SOURCES = tests/unit/test_objective.c tests/unit/plugin_fixture.h
tests_unit_test_objective_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

check_PROGRAMS += tests/unit/test_segmentation
tests_unit_test_segmentation_SOURCES = tests/unit/test_segmentation.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_segmentation_LDADD = $(LDADD) $(CJSON_LIBS)
EXTRA_DIST += tests/golden/segmentation_metric.safetensors

# evaluations of robustness: the files that their plugins share, and the plugins
check_PROGRAMS += tests/unit/test_robust
tests_unit_test_robust_SOURCES = tests/unit/test_robust.c tests/unit/eval_bench.c tests/unit/eval_bench.h \
  plugins/evaluations/ask.c plugins/evaluations/calibration.c plugins/evaluations/cells.c plugins/evaluations/curve.c
tests_unit_test_robust_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

check_PROGRAMS += tests/unit/test_segment
tests_unit_test_segment_SOURCES = tests/unit/test_segment.c tests/unit/eval_bench.c tests/unit/eval_bench.h tests/unit/pools.h \
  plugins/evaluations/segment_distort.c plugins/evaluations/segment_distort.h
tests_unit_test_segment_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
check_PROGRAMS += tests/unit/test_segment_head
tests_unit_test_segment_head_SOURCES = tests/unit/test_segment_head.c tests/unit/golden.c tests/unit/golden.h tests/unit/pools.h
tests_unit_test_segment_head_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_segment_head_LDADD = $(LDADD) $(CJSON_LIBS)
EXTRA_DIST += tests/golden/linear_seg.safetensors
check_PROGRAMS += tests/unit/test_upernet
tests_unit_test_upernet_SOURCES = tests/unit/test_upernet.c tests/unit/eval_bench.c tests/unit/eval_bench.h tests/unit/pools.h
tests_unit_test_upernet_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

check_PROGRAMS += tests/unit/test_copies
tests_unit_test_copies_SOURCES = tests/unit/test_copies.c plugins/evaluations/copies.h \
  plugins/evaluations/copies_edits.c plugins/evaluations/copies_figures.c plugins/evaluations/copies_folder.c \
  plugins/evaluations/looks.c plugins/evaluations/looks.h plugins/evaluations/outside.c plugins/evaluations/outside.h
tests_unit_test_copies_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
