# framework/data: datasets into batches of views and masks
pkginclude_HEADERS += framework/include/smalti/data.h
