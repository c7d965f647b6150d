# tests/e2e: check_SCRIPTS += tests/e2e/NAME.sh, run by bash with the environment of ./run-uninstalled
check_SCRIPTS += tests/e2e/plugins.sh \
  tests/e2e/wrong_plugins.sh tests/e2e/plugin_files.sh tests/e2e/plugin_guide.sh
check_SCRIPTS += tests/e2e/cli.sh tests/e2e/recipes.sh
check_SCRIPTS += tests/e2e/data_faults.sh tests/e2e/data_large.sh tests/e2e/data_lists.sh tests/e2e/data_pack.sh tests/e2e/hostile_data.sh tests/e2e/headers.sh

# training from the command line
EXTRA_DIST += tests/e2e/common.sh tests/e2e/launchers.sh
check_SCRIPTS += tests/e2e/left_behind.sh
check_SCRIPTS += tests/e2e/conv.sh
check_SCRIPTS += tests/e2e/swin.sh
check_SCRIPTS += tests/e2e/mae.sh
check_SCRIPTS += tests/e2e/pth.sh tests/e2e/score.sh
check_SCRIPTS += tests/e2e/boxes.sh
check_SCRIPTS += tests/e2e/measure.sh
check_SCRIPTS += tests/e2e/robust.sh tests/e2e/occlude.sh tests/e2e/elsewhere.sh
check_SCRIPTS += tests/e2e/correspond.sh
check_SCRIPTS += tests/e2e/video.sh
check_SCRIPTS += tests/e2e/segment.sh
check_SCRIPTS += tests/e2e/retrieval.sh tests/e2e/copies.sh tests/e2e/landmarks.sh
check_SCRIPTS += tests/e2e/objective.sh
check_SCRIPTS += tests/e2e/outside.sh
check_SCRIPTS += tests/e2e/train_damage.sh
check_SCRIPTS += tests/e2e/train_dvae.sh
check_SCRIPTS += tests/e2e/train_folder.sh
check_SCRIPTS += tests/e2e/train_frozen.sh
check_SCRIPTS += tests/e2e/train_resume.sh
check_SCRIPTS += tests/e2e/train_ends.sh
check_SCRIPTS += tests/e2e/train_records.sh
check_SCRIPTS += tests/e2e/train_signals.sh
check_SCRIPTS += tests/e2e/isa.sh
check_SCRIPTS += tests/e2e/train_threads.sh
check_SCRIPTS += tests/e2e/ranks.sh tests/e2e/ranks_bench.sh
check_SCRIPTS += tests/e2e/train_watch.sh
check_SCRIPTS += tests/e2e/eval.sh
check_SCRIPTS += tests/e2e/resnet.sh
check_SCRIPTS += tests/e2e/show.sh tests/e2e/card.sh
check_SCRIPTS += tests/e2e/table.sh

# what is written, and how it is built
check_SCRIPTS += tests/e2e/output.sh tests/e2e/locale.sh tests/e2e/hardening.sh
check_SCRIPTS += tests/e2e/tokenizers.sh tests/e2e/targets.sh

# README and docs/
check_SCRIPTS += tests/e2e/docs.sh tests/e2e/house.sh

# libtool links plugins anew to install them and moves those of the build aside meanwhile: nothing else may run then
tests/e2e/outside.log: $(filter-out tests/e2e/outside.log,$(TEST_LOGS))
