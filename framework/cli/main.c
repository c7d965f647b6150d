/* main.c — the entry point of the program. */
#include <stdio.h>
#include <string.h>

#include <smalti/base.h>

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("smalti %s\n", sm_version());
    return 0;
  }
  fputs("usage: smalti --version\n", stderr);
  return 2;
}
