/* golden.c — see golden.h. The file is read whole; the header is JSON of the form
 * {"__metadata__": {KEY: TEXT}, NAME: {"dtype": D, "shape": [...], "data_offsets": [begin, end]}}. */
#include <dirent.h>
#include <sys/stat.h>
#include <cJSON.h>

#include "golden.h"
#include "test.h"

#define MAX_JSON 64

struct golden {
  char path[2048];
  uint8_t *bytes;
  size_t size, data; /* data: where the tensors begin */
  cJSON *header;
  cJSON *parsed[MAX_JSON]; /* what golden_json gave out */
  int parsed_count;
};

static const struct {
  const char *name;
  size_t size;
} dtypes[] = {{"F64", 8}, {"I64", 8}, {"F32", 4}, {"I32", 4}, {"I16", 2}, {"U8", 1}, {"I8", 1}, {"BOOL", 1}};

static size_t dtype_size(const char *name) {
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
    if (!strcmp(dtypes[i].name, name)) return dtypes[i].size;
  fail_msg("unknown dtype %s", name);
  return 0;
}

const char *golden_path(const golden *g) { return g->path; }

/* ---- the folder ---------------------------------------------------------------------------------------- */

static const char *golden_own_folder(void) {
  static char path[1024];
  const char *source = getenv("SMALTI_SRCDIR");
  snprintf(path, sizeof path, "%s/tests/golden", source ? source : ".");
  return path;
}

const char *golden_folder(void) {
  const char *named = getenv("SMALTI_GOLDEN");
  return named && *named ? named : golden_own_folder();
}

bool golden_is_own(void) {
  struct stat used, own;
  return !strcmp(golden_folder(), golden_own_folder()) ||
         (!stat(golden_folder(), &used) && !stat(golden_own_folder(), &own) && used.st_dev == own.st_dev &&
          used.st_ino == own.st_ino);
}

static void golden_missing(const char *name) {
  if (golden_is_own()) fail_msg("%s/%s is missing", golden_folder(), name);
  print_message("%s is not in %s: not tested\n", name, golden_folder());
  skip();
}

static int golden_by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

int golden_names(const char *prefix, char **names, int most) {
  static const char ending[] = ".safetensors";
  int n = 0;
  DIR *dir = opendir(golden_folder());
  if (!dir) fail_msg("%s: no such folder", golden_folder());
  for (struct dirent *e; (e = readdir(dir));) {
    size_t length = strlen(e->d_name), end = sizeof ending - 1;
    if (strncmp(e->d_name, prefix, strlen(prefix)) != 0) continue;
    if (length < end || strcmp(e->d_name + length - end, ending) != 0) continue;
    if (n == most) fail_msg("%s holds more than %d files %s*%s", golden_folder(), most, prefix, ending);
    names[n++] = strdup(e->d_name);
  }
  closedir(dir);
  if (!n) golden_missing(prefix);
  qsort(names, (size_t)n, sizeof *names, golden_by_name);
  return n;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

golden *golden_open(const char *name) {
  golden *g = calloc(1, sizeof *g);
  assert_non_null(g);
  snprintf(g->path, sizeof g->path, "%s/%s", golden_folder(), name);
  FILE *file = fopen(g->path, "rb");
  if (!file) {
    free(g);
    golden_missing(name);
    return NULL;
  }
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  if (size < 8) fail_msg("%s is too short", g->path);
  g->size = (size_t)size;
  g->bytes = malloc(g->size);
  assert_non_null(g->bytes);
  if (fread(g->bytes, 1, g->size, file) != g->size) fail_msg("%s could not be read", g->path);
  fclose(file);
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) length = length << 8 | g->bytes[i];
  if (length > g->size - 8) fail_msg("%s: its header is longer than the file", g->path);
  g->data = 8 + (size_t)length;
  g->header = cJSON_ParseWithLength((const char *)g->bytes + 8, (size_t)length);
  if (!g->header) fail_msg("%s: its header is not JSON", g->path);
  return g;
}

void golden_close(golden *g) {
  if (!g) return;
  for (int i = 0; i < g->parsed_count; i++) cJSON_Delete(g->parsed[i]);
  cJSON_Delete(g->header);
  free(g->bytes);
  free(g);
}

bool golden_has(const golden *g, const char *tensor) {
  return strcmp(tensor, "__metadata__") != 0 && cJSON_GetObjectItemCaseSensitive(g->header, tensor) != NULL;
}

golden_tensor golden_get(const golden *g, const char *tensor) {
  golden_tensor t = {.count = 1};
  const cJSON *entry = cJSON_GetObjectItemCaseSensitive(g->header, tensor);
  if (!entry) fail_msg("%s has no tensor %s", g->path, tensor);
  const char *dtype = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "dtype"));
  const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
  const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
  if (!dtype || !cJSON_IsArray(shape) || cJSON_GetArraySize(shape) > GOLDEN_MAX_RANK ||
      cJSON_GetArraySize(offsets) != 2)
    fail_msg("%s: the entry of %s is malformed", g->path, tensor);
  snprintf(t.dtype, sizeof t.dtype, "%s", dtype);
  t.rank = cJSON_GetArraySize(shape);
  for (int i = 0; i < t.rank; i++) {
    t.shape[i] = (int64_t)cJSON_GetNumberValue(cJSON_GetArrayItem(shape, i));
    t.count *= t.shape[i];
  }
  double begin = cJSON_GetNumberValue(cJSON_GetArrayItem(offsets, 0));
  double end = cJSON_GetNumberValue(cJSON_GetArrayItem(offsets, 1));
  if (!(begin >= 0 && end >= begin && end <= (double)(g->size - g->data)) ||
      (double)t.count * (double)dtype_size(t.dtype) != end - begin)
    fail_msg("%s: the bytes of %s do not fit its shape", g->path, tensor);
  t.data = g->bytes + g->data + (size_t)begin;
  t.bytes = (size_t)(end - begin);
  return t;
}

golden_tensor golden_getf(const golden *g, const char *format, ...) {
  char name[256];
  va_list args;
  va_start(args, format);
  vsnprintf(name, sizeof name, format, args);
  va_end(args);
  return golden_get(g, name);
}

int golden_tensor_count(const golden *g) {
  return cJSON_GetArraySize(g->header) -
         (cJSON_GetObjectItemCaseSensitive(g->header, "__metadata__") ? 1 : 0);
}

const char *golden_tensor_name(const golden *g, int index) {
  const cJSON *entry;
  cJSON_ArrayForEach(entry, g->header) {
    if (strcmp(entry->string, "__metadata__") != 0 && index-- == 0) return entry->string;
  }
  return NULL;
}

double golden_value(const golden_tensor *t, int64_t index) {
  const char *at = (const char *)t->data + (size_t)index * dtype_size(t->dtype);
  if (index < 0 || index >= t->count) fail_msg("element %lld of %lld", (long long)index, (long long)t->count);
#define READ(name, type)         \
  if (!strcmp(t->dtype, name)) { \
    type v;                      \
    memcpy(&v, at, sizeof v);    \
    return (double)v;            \
  }
  // clang-format off
  READ("F32", float) READ("F64", double) READ("I64", int64_t) READ("I32", int32_t)
  READ("I16", int16_t) READ("U8", uint8_t) READ("I8", int8_t) READ("BOOL", uint8_t)
  // clang-format on
#undef READ
  return 0;
}

float *golden_floats(const golden_tensor *t) {
  float *out = malloc((size_t)(t->count > 0 ? t->count : 1) * sizeof *out);
  assert_non_null(out);
  for (int64_t i = 0; i < t->count; i++) out[i] = (float)golden_value(t, i);
  return out;
}

double *golden_doubles(const golden_tensor *t) {
  double *out = malloc((size_t)(t->count > 0 ? t->count : 1) * sizeof *out);
  assert_non_null(out);
  for (int64_t i = 0; i < t->count; i++) out[i] = golden_value(t, i);
  return out;
}

const char *golden_text(const golden *g, const char *key) {
  const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(g->header, "__metadata__");
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, key));
}

const cJSON *golden_json(golden *g, const char *key) {
  const char *text = golden_text(g, key);
  if (!text) fail_msg("%s has no metadata %s", g->path, key);
  if (g->parsed_count == MAX_JSON) fail_msg("golden_json was called more than %d times", MAX_JSON);
  cJSON *json = cJSON_Parse(text);
  if (!json) fail_msg("%s: metadata %s is not JSON", g->path, key);
  return g->parsed[g->parsed_count++] = json;
}

double golden_number(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  if (!cJSON_IsNumber(item)) fail_msg("no number %s", key);
  return item->valuedouble;
}
