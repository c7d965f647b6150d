# plugins: one file a plugin, public headers only. The build folder plugins/.libs and the installed $(pkglibdir) hold
# all of them side by side, so the name of the .la says the kind too where two kinds share a name (head_linear).
# A plugin KIND/NAME is these lines:
#
#   pkglib_LTLIBRARIES += plugins/NAME.la
#   plugins_NAME_la_SOURCES = plugins/KIND/NAME.c
#   plugins_NAME_la_LDFLAGS = $(PLUGIN_LDFLAGS)
#   plugins_NAME_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/folder.la
plugins_folder_la_SOURCES = plugins/datasets/folder.c
plugins_folder_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_folder_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/shapes.la
plugins_shapes_la_SOURCES = plugins/datasets/shapes.c
plugins_shapes_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_shapes_la_LIBADD = $(PLUGIN_LIBADD)
