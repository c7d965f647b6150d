# framework/cli: the program smalti
smalti_SOURCES += framework/cli/main.c
