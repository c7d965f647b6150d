/* fuzz.h — what the fuzz targets share. A target is one file, fuzz_NAME.c, that defines
 * LLVMFuzzerTestOneInput; libFuzzer calls it (`make fuzz`), or replay.c does with each file of corpus/NAME
 * (`make check`).
 *
 * A target keeps nothing between inputs. Files go to a folder of the process, which stays until the process
 * ends. */
#ifndef SM_FUZZ_H
#define SM_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "framework/plugin/registry.h"

/* libFuzzer's names */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* The folder, made at the first call and removed with all in it when the process ends; and a path in it,
 * good until seven more were asked for. */
const char *fuzz_folder(void);
const char *fuzz_path(const char *name);
/* A file in it, without waiting for the disk; an older one is replaced. */
const char *fuzz_file(const char *name, const void *data, size_t size);
/* One input as several files: a line "=== NAME" begins the next, and what stands before the first such line
 * is name[0]. Files that the input lacks are removed; names that are not in the list (NULL-terminated) begin
 * nothing. */
void fuzz_files(const uint8_t *data, size_t size, const char *const *name);

/* The plugins of the build ($SMALTI_PLUGIN_PATH), loaded once. */
sm_registry *fuzz_registry(void);

/* Reads every byte, so that a sanitizer sees one that is not there. */
void fuzz_touch(const void *data, size_t bytes);

/* A rule that holds for every input: what breaks it is printed, and the process aborts. */
#define FUZZ_MUST(rule) ((rule) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #rule))
_Noreturn void fuzz_broken(const char *file, int line, const char *rule);

#endif
