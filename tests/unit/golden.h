/* golden.h — reads the safetensors files of tests/golden for the unit tests: tensors by name, metadata as
 * text or JSON. Every mistake in a file fails the running test. */
#ifndef SM_TEST_GOLDEN_H
#define SM_TEST_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOLDEN_MAX_RANK 8

typedef struct golden_tensor {
  char dtype[8]; /* as written in the file: "F32", "F64", "I64", "I32", "U8", "BOOL" */
  int rank;
  int64_t shape[GOLDEN_MAX_RANK];
  int64_t count; /* elements */
  const void
      *data; /* belongs to the golden; 8-byte aligned only if the file has it so: use the readers below */
  size_t bytes;
} golden_tensor;

typedef struct golden golden;
struct cJSON;

/* The folder: $SMALTI_GOLDEN, or the tree's own tests/golden. A file that is missing from the tree's own
 * folder fails the test; one that is missing from another folder is told, and the test is skipped. */
const char *golden_folder(void);
bool golden_is_own(void);
golden *golden_open(const char *name); /* never NULL */

/* Names of the folder's .safetensors files that begin with `prefix`, sorted; at least one. Each belongs to
 * the caller. */
int golden_names(const char *prefix, char **names, int most);

const char *golden_path(const golden *); /* the file that was found */
void golden_close(golden *);

bool golden_has(const golden *, const char *tensor);
golden_tensor golden_get(const golden *, const char *tensor); /* fails the test if missing    */
golden_tensor golden_getf(const golden *, const char *format, ...) __attribute__((format(printf, 2, 3)));
int golden_tensor_count(const golden *);
const char *golden_tensor_name(const golden *, int index); /* in file order                */

/* One element as a number, whatever the type; a copy of all of them as floats or doubles (free with free). */
double golden_value(const golden_tensor *, int64_t index);
float *golden_floats(const golden_tensor *);
double *golden_doubles(const golden_tensor *);

/* The metadata value as text (NULL if absent), and parsed as JSON (owned by the golden, fails the test if not
 * JSON). */
const char *golden_text(const golden *, const char *key);
const struct cJSON *golden_json(golden *, const char *key);
double golden_number(const struct cJSON *object, const char *key); /* fails the test if it is not a number */

#endif
