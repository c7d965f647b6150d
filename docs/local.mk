# docs: EXTRA_DIST += docs/NAME.md, dist_man_MANS += docs/NAME.1
