/* version.c — the version that configure was given. */
#include <config.h>

#include <smalti/base.h>

const char *sm_version(void) { return PACKAGE_VERSION; }
