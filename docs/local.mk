# docs: nobase_dist_doc_DATA += docs/NAME.md (installed in $(docdir)/docs), dist_man_MANS += docs/NAME.1
nobase_dist_doc_DATA += docs/design.md docs/guide.md docs/cluster.md docs/recipes.md docs/plugins.md docs/performance.md docs/results/clients.md docs/results/cifar10.md \
  docs/results/cifar10.png docs/results/caltech.md docs/results/reading.md docs/results/cost.svg docs/results/race.md docs/results/race.svg \
  docs/results/table9-cifar10/README.md docs/results/table9-cifar10/table.md docs/results/table9-cifar10/codes.md docs/results/table9-cifar10/table.tex \
  docs/results/table9-cifar10/table.csv docs/results/table9-cifar10/report.html
nobase_dist_doc_DATA += docs/pictures/preview.png docs/pictures/attention.png docs/pictures/pca.png docs/pictures/patterns.png \
  docs/pictures/matches.png docs/pictures/neighbours.png docs/pictures/knn.svg docs/pictures/loss.svg docs/pictures/views.yaml
EXTRA_DIST += docs/pictures/update.sh
dist_man_MANS += docs/smalti.1

# What the program's tables say, into the source tree. tests/e2e/cli.sh fails when these files are behind the tables.
update-docs: all
	SMALTI_PLUGIN_PATH='$(abs_top_builddir)/plugins/.libs' ./smalti help --man >docs-new && mv docs-new $(srcdir)/docs/smalti.1
	SMALTI_PLUGIN_PATH='$(abs_top_builddir)/plugins/.libs' ./smalti help --reference >docs-new && mv docs-new $(srcdir)/docs/recipes.md
.PHONY: update-docs

# The pictures of README.md and the guide, into the source tree; the run that they are of stays in the build tree. Some minutes.
update-pictures: all
	./run-uninstalled bash '$(abs_top_srcdir)/docs/pictures/update.sh' '$(abs_top_builddir)/pictures'
.PHONY: update-pictures
