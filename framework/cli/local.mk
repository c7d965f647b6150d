# framework/cli: the program smalti; one file per subcommand, one line of commands.def each
smalti_SOURCES += framework/cli/main.c $(cli_sources)
cli_sources = \
  framework/cli/bench_model.c framework/cli/bench_model.h \
  framework/cli/bench_network.c framework/cli/bench_network.h \
  framework/cli/bench_recipe.c framework/cli/bench_recipe.h \
  framework/cli/by_ranks.c framework/cli/by_ranks.h \
  framework/cli/cli.h \
  framework/cli/card.h framework/cli/card_facts.c framework/cli/card_measure.c framework/cli/card_show.c \
  framework/cli/cmd_bench_eval.c \
  framework/cli/cmd_bench_loader.c \
  framework/cli/cmd_bench_tune.c \
  framework/cli/cmd_bench_ranks.c \
  framework/cli/cmd_card.c \
  framework/cli/cmd_complete.c \
  framework/cli/complete.c framework/cli/complete.h \
  framework/cli/cmd_data.c \
  framework/cli/cmd_data_index.c \
  framework/cli/cmd_data_pack.c \
  framework/cli/cmd_eval.c \
  framework/cli/cmd_export.c \
  framework/cli/cmd_help.c \
  framework/cli/cmd_plugins.c framework/cli/cmd_plugins.h \
  framework/cli/cmd_plugins_check.c \
  framework/cli/cmd_plugins_new.c \
  framework/cli/cmd_preview.c \
  framework/cli/cmd_recipe.c \
  framework/cli/cmd_bench.c \
  framework/cli/cmd_plan.c \
  framework/cli/cmd_report.c \
  framework/cli/cmd_show.c \
  framework/cli/cmd_score_coco.c \
  framework/cli/cmd_score_davis.c \
  framework/cli/cmd_score_segmentation.c \
  framework/cli/cmd_table.c \
  framework/cli/cmd_train.c \
  framework/cli/cmd_weights.c \
  framework/cli/cmd_weights_diff.c \
  framework/cli/data_labels.c framework/cli/data_labels.h \
  framework/cli/eval_features.c framework/cli/eval_features.h \
  framework/cli/eval_options.c framework/cli/eval_options.h \
  framework/cli/eval_outcome.c framework/cli/eval_outcome.h \
  framework/cli/isa.c \
  framework/cli/network.c framework/cli/network.h \
  framework/cli/output.c \
  framework/cli/progress.c \
  framework/cli/progress.h \
  framework/cli/command.c \
  framework/cli/commands.def \
  framework/cli/manual.c \
  framework/cli/recipe_data.c framework/cli/recipe_data.h \
  framework/cli/report_figures.c framework/cli/report_figures.h \
  framework/cli/reference.c \
  framework/cli/session.c \
  framework/cli/show_figures.c \
  framework/cli/show_pictures.c framework/cli/show.h \
  framework/cli/usage.c

bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = framework/cli/completion/smalti

# The templates of `smalti plugins new`, as C.
SKELETONS = \
  framework/cli/skeletons/backbone.c.in \
  framework/cli/skeletons/dataset.c.in \
  framework/cli/skeletons/evaluation.c.in \
  framework/cli/skeletons/head.c.in \
  framework/cli/skeletons/loss.c.in \
  framework/cli/skeletons/makefile.in \
  framework/cli/skeletons/masker.c.in \
  framework/cli/skeletons/objective.c.in \
  framework/cli/skeletons/tokenizer.c.in
EXTRA_DIST += $(SKELETONS) framework/cli/skeletons.awk
BUILT_SOURCES += skeletons.inc
CLEANFILES += skeletons.inc
skeletons.inc: $(SKELETONS) framework/cli/skeletons.awk
	$(AM_V_GEN)(cd $(srcdir) && $(AWK) -f framework/cli/skeletons.awk $(SKELETONS)) >$@.tmp && mv $@.tmp $@
