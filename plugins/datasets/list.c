/* list.c — dataset `list`: the pictures that a text or CSV file names, with their labels.
 *
 * One row per picture: a path, and a label, which is a name or a number. Without a list of class names the classes are
 * the different labels, numbers in their order and names in that of their bytes; with one, they are its lines. A list of
 * labels alone, as that of ImageNet's validation pictures, takes the paths from a pattern and the number of the row. All
 * files are looked for when the list is opened, so that a wrong path is told with its line. */
#include "csv.h"

#include <smalti/plugin.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { HEADER_AUTO, HEADER_YES, HEADER_NO };
enum { REFUSE, SKIP };
static const char *const headers[] = {"auto", "yes", "no", NULL};
static const char *const delimiters[] = {"auto", "comma", "semicolon", "tab", "blank", NULL};
static const char *const missings[] = {"refuse", "skip", NULL};
static const size_t most_bytes = (size_t)1 << 30;
enum { PATH_BYTES = 4096, MOST_CLASSES = 1 << 20 };

typedef struct picture {
  size_t name;      /* offset into names */
  const char *text; /* its label as written, NULL: none */
  int64_t bytes;
  int line, label;
} picture;

typedef struct list {
  const char *path, *root, *pattern, *path_column, *label_column, *class_names;
  int64_t first, limit;
  int header, delimiter, missing;
  sm_ints grey16;

  char *text, *class_text; /* the files, cut into fields */
  sm_text names;           /* paths, each terminated */
  sm_text own_root;        /* the list's folder, where no other is given */
  picture *pictures;
  int64_t count, cap;
  const char **class_name;
  int classes;
  uint64_t hash;
} list;

typedef struct reading {
  list *set;
  csv csv;
  int columns, path, label; /* numbers from 0; -1: there is none */
  int64_t rows, gone;       /* pictures so far; files that are not there */
  int first_gone;           /* line of the first */
  char gone_name[512];      /* and its path, as far as it goes */
  sm_error *err;
} reading;

static sm_status list_at(const reading *r, int line) { return sm_fail_at(r->err, r->set->path, line, 0); }
static sm_status list_no_memory(const reading *r) {
  return sm_fail(r->err, SM_ENOMEM, "out of memory while reading %s", r->set->path);
}

/* ---- columns ------------------------------------------------------------------------------------------- */

/* The file's delimiter: by its name, else the first that its first line holds. */
static char list_delimiter(const list *set, const char *text) {
  static const char known[] = {0, ',', ';', '\t', ' '};
  const char *dot = strrchr(set->path, '.');
  if (set->delimiter) return known[set->delimiter];
  if (dot && !strcmp(dot, ".csv"))
    return memchr(text, ',', strcspn(text, "\r\n"))   ? ','
           : memchr(text, ';', strcspn(text, "\r\n")) ? ';'
                                                      : ',';
  if (dot && !strcmp(dot, ".tsv")) return '\t';
  for (const char *c = "\t,;"; *c; c++)
    if (memchr(text, *c, strcspn(text, "\r\n"))) return *c;
  return ' ';
}

/* Whether a column is said by its number, from 1. */
static bool list_is_number(const char *text, int64_t *number) {
  return text && sm_parse_int(text, number) && *number >= 1 && *number <= CSV_COLUMNS;
}

static bool list_has_header(const list *set) {
  int64_t number;
  if (set->header != HEADER_AUTO) return set->header == HEADER_YES;
  return (set->path_column && !list_is_number(set->path_column, &number)) ||
         (set->label_column && strcmp(set->label_column, "none") &&
          !list_is_number(set->label_column, &number));
}

/* The column that `said` names, by its number or by the header's text. */
static sm_status list_column(const reading *r, const char *key, const char *said, const csv_row *header,
                             int *column) {
  int64_t number;
  for (int i = 0; header && i < header->n; i++)
    if (!strcmp(header->field[i], said)) return *column = i, SM_OK;
  if (list_is_number(said, &number) && number <= r->columns) return *column = (int)number - 1, SM_OK;
  sm_text there = {0};
  for (int i = 0; header && i < header->n; i++) sm_text_add(&there, "%s%s", i ? ", " : "", header->field[i]);
  sm_fail(r->err, SM_EINVAL, "there is no column '%s' for %s", said ? said : "", key);
  if (header) sm_hint(r->err, "the header has %s", there.s ? there.s : "none");
  else
    sm_hint(r->err, "the first line has %d %s; columns have names where there is a header", r->columns,
            sm_plural(r->columns, "column", "columns"));
  sm_text_free(&there);
  return list_at(r, header ? header->line : 1);
}

static sm_status list_columns(reading *r, const csv_row *first) {
  const list *set = r->set;
  const csv_row *header = list_has_header(set) ? first : NULL;
  const bool labelled = !set->label_column || strcmp(set->label_column, "none");
  sm_status status = SM_OK;
  r->columns = first->n;
  r->path = set->pattern ? -1 : 0;
  r->label = !labelled ? -1 : set->pattern ? 0 : r->columns > 1 ? 1 : -1;
  if (set->path_column) status = list_column(r, "path_column", set->path_column, header, &r->path);
  if (!status && set->label_column && labelled)
    status = list_column(r, "label_column", set->label_column, header, &r->label);
  if (status || r->path != r->label || r->path < 0) return status;
  sm_fail(r->err, SM_EINVAL, "paths and labels are the same column");
  return sm_hint(r->err, "say which is which with path_column and label_column");
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* The path of a row relative to the root: the field, or the pattern with the number of the row. */
static sm_status list_row_name(const reading *r, const csv_row *row, char name[PATH_BYTES]) {
  const list *set = r->set;
  const char *field = r->path >= 0 ? row->field[r->path] : NULL,
             *percent = set->pattern ? strchr(set->pattern, '%') : NULL;
  int n = 0;
  if (field) n = snprintf(name, PATH_BYTES, "%s", field);
  else {
    const int digits = (int)strtol(percent + 1, NULL, 10);
    n = snprintf(name, PATH_BYTES, "%.*s%0*lld%s", (int)(percent - set->pattern), set->pattern,
                 digits > 0 ? digits : 1, (long long)r->rows + 1, strchr(percent, 'd') + 1);
  }
  if (n >= PATH_BYTES) {
    sm_fail(r->err, SM_EFORMAT, "a path of %d bytes; the system takes %d", n, PATH_BYTES - 1);
    return list_at(r, row->line);
  }
  if (n > 0 && !strstr(name, "://")) return SM_OK;
  sm_fail(r->err, SM_EFORMAT, n ? "a network address in place of a path" : "a row without a path");
  sm_hint(r->err,
          n ? "fetch the pictures first" : "fill it in, or say which column has the paths: path_column");
  return list_at(r, row->line);
}

/* Looks for the file; *there false: it is not. */
static sm_status list_find(reading *r, const char *path, int line, int64_t *bytes, bool *there) {
  struct stat st;
  *there = stat(path, &st) == 0 && S_ISREG(st.st_mode);
  *bytes = *there ? (int64_t)st.st_size : -1;
  if (*there || errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG) {
    if (!*there && !r->gone++) {
      r->first_gone = line;
      snprintf(r->gone_name, sizeof r->gone_name, "%s", path);
    }
    return SM_OK;
  }
  sm_fail(r->err, SM_EIO, "cannot examine %s: %s", path, strerror(errno));
  return list_at(r, line);
}

static sm_status list_reserve(list *set) {
  if (set->count < set->cap) return SM_OK;
  const int64_t cap = set->cap ? 2 * set->cap : 1024;
  picture *more = sm_realloc(set->pictures, (size_t)cap * sizeof *more);
  if (!more) return SM_ENOMEM;
  set->pictures = more;
  set->cap = cap;
  return SM_OK;
}

static sm_status list_take(reading *r, const csv_row *row) {
  list *set = r->set;
  char name[PATH_BYTES];
  const size_t at = set->names.len;
  bool there;
  if (row->n != r->columns) {
    sm_fail(r->err, SM_EFORMAT, "%d %s, but the first line has %d", row->n,
            sm_plural(row->n, "column", "columns"), r->columns);
    sm_hint(r->err, "quote what holds the delimiter, or say which it is: delimiter");
    return list_at(r, row->line);
  }
  sm_status status = list_row_name(r, row, name);
  if (status) return status;
  r->rows++;
  if (list_reserve(set)) return list_no_memory(r);
  picture *p = &set->pictures[set->count];
  *p = (picture){.name = at, .line = row->line, .label = -1};
  if (r->label >= 0 && row->field[r->label][0]) p->text = row->field[r->label];
  if (name[0] != '/') sm_text_add(&set->names, "%s/", set->root);
  sm_text_bytes(&set->names, name, strlen(name) + 1);
  if (set->names.failed) return list_no_memory(r);
  status = list_find(r, set->names.s + at, row->line, &p->bytes, &there);
  if (status) return status;
  if (there) set->count++;
  else set->names.len = at;
  return SM_OK;
}

/* ---- classes ------------------------------------------------------------------------------------------- */

static int list_by_bytes(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}
static int list_by_number(const void *a, const void *b) {
  int64_t x = 0, y = 0;
  sm_parse_int(*(char *const *)a, &x);
  sm_parse_int(*(char *const *)b, &y);
  return x != y ? (x > y) - (x < y) : 0;
}

/* The different labels become the classes; numbers are the same whatever zeros stand before them. */
static sm_status list_gather_classes(reading *r) {
  list *set = r->set;
  int64_t n = 0, number;
  bool numbers = true;
  const char **label = sm_malloc((size_t)(set->count ? set->count : 1) * sizeof *label);
  if (!label) return list_no_memory(r);
  for (int64_t i = 0; i < set->count; i++)
    if (set->pictures[i].text) {
      label[n++] = set->pictures[i].text;
      numbers = numbers && sm_parse_int(set->pictures[i].text, &number);
    }
  int (*order)(const void *, const void *) = numbers ? list_by_number : list_by_bytes;
  if (n) qsort(label, (size_t)n, sizeof *label, order);
  int64_t classes = 0;
  for (int64_t i = 0; i < n; i++)
    if (!i || order(&label[i], &label[classes - 1])) label[classes++] = label[i];
  set->class_name = label;
  set->classes = (int)(classes < MOST_CLASSES ? classes : MOST_CLASSES);
  if (classes > MOST_CLASSES)
    return sm_fail(r->err, SM_EINVAL, "%s has %lld different labels, more than %d classes", set->path,
                   (long long)classes, MOST_CLASSES);
  for (int64_t i = 0; i < set->count; i++) {
    const char **found = set->pictures[i].text && classes
                             ? bsearch(&set->pictures[i].text, label, (size_t)classes, sizeof *label, order)
                             : NULL;
    if (found) set->pictures[i].label = (int)(found - label);
  }
  return SM_OK;
}

/* ILSVRC 2012 numbers its classes in an order of its own, in which 1 is n02119789; lists of all synsets are mostly sorted. */
static bool list_sorted_synsets(const list *set) {
  bool sorted = set->classes == 1000 && set->pattern && set->first == 1;
  for (int i = 0; sorted && i < set->classes; i++)
    sorted = set->class_name[i][0] == 'n' && (!i || strcmp(set->class_name[i - 1], set->class_name[i]) < 0);
  return sorted;
}

static sm_status list_read_classes(reading *r) {
  list *set = r->set;
  size_t bytes;
  sm_status status = sm_file_get(set->class_names, most_bytes, &set->class_text, &bytes, r->err);
  if (status) return status;
  if (strlen(set->class_text) != bytes)
    return sm_fail(r->err, SM_EFORMAT, "%s is not a text file", set->class_names);
  size_t lines = 1;
  for (const char *c = set->class_text; *c; c++) lines += *c == '\n';
  if (lines > MOST_CLASSES)
    return sm_fail(r->err, SM_EINVAL, "%s names more than %d classes", set->class_names, MOST_CLASSES);
  if (!(set->class_name = sm_malloc(lines * sizeof *set->class_name))) return list_no_memory(r);
  for (char *at = set->class_text; *at;) {
    char *line = at, *end = at + strcspn(at, "\r\n");
    at = end + (*end == '\r') + (*end == '\r' ? end[1] == '\n' : *end == '\n');
    *end = 0;
    if (*line) set->class_name[set->classes++] = line;
  }
  if (!set->classes) return sm_fail(r->err, SM_EFORMAT, "%s names no class", set->class_names);
  if (!list_sorted_synsets(set)) return SM_OK;
  sm_fail(
      r->err, SM_EINVAL,
      "%s lists the synsets sorted, but ILSVRC 2012's numbers 1 to 1000 have an order of their own, in which 1 is n02119789",
      set->class_names);
  return sm_hint(r->err, "list the synsets in the order of ILSVRC2012_ID in the devkit's data/meta.mat");
}

/* A class by its name, found in a sorted copy of pointers into class_name. */
static int list_by_pointed(const void *a, const void *b) {
  return strcmp(**(const char **const *)a, **(const char **const *)b);
}

static sm_status list_label_of(const reading *r, const picture *p, const char ***sorted, int *label) {
  const list *set = r->set;
  const char *const *key = &p->text;
  int64_t number;
  const char ***found = bsearch(&key, sorted, (size_t)set->classes, sizeof *sorted, list_by_pointed);
  if (found) return *label = (int)(*found - set->class_name), SM_OK;
  if (!sm_parse_int(p->text, &number)) {
    sm_fail(r->err, SM_EFORMAT, "label '%s' is not in %s", p->text, set->class_names);
    return list_at(r, p->line);
  }
  if (number >= set->first && number < set->first + set->classes)
    return *label = (int)(number - set->first), SM_OK;
  sm_fail(r->err, SM_EFORMAT, "label %s is not %lld to %lld, of the %d classes of %s", p->text,
          (long long)set->first, (long long)(set->first + set->classes - 1), set->classes, set->class_names);
  sm_hint(r->err, "say which number the first class has: first");
  return list_at(r, p->line);
}

static sm_status list_apply_classes(reading *r) {
  list *set = r->set;
  const char ***sorted = sm_malloc((size_t)set->classes * sizeof *sorted);
  sm_status status = sorted ? SM_OK : list_no_memory(r);
  for (int i = 0; !status && i < set->classes; i++) sorted[i] = &set->class_name[i];
  if (!status) qsort(sorted, (size_t)set->classes, sizeof *sorted, list_by_pointed);
  for (int i = 1; !status && i < set->classes; i++)
    if (!strcmp(*sorted[i - 1], *sorted[i]))
      status = sm_fail(r->err, SM_EFORMAT, "%s names '%s' twice", set->class_names, *sorted[i]);
  for (int64_t i = 0; !status && i < set->count; i++)
    if (set->pictures[i].text) status = list_label_of(r, &set->pictures[i], sorted, &set->pictures[i].label);
  sm_free(sorted);
  return status;
}

/* ---- all ----------------------------------------------------------------------------------------------- */

/* The first `limit` of each class, and what the list is known by. */
static sm_status list_finish(reading *r) {
  list *set = r->set;
  int64_t kept = 0, *taken = sm_calloc((size_t)set->classes + 1, sizeof *taken);
  if (!taken) return list_no_memory(r);
  for (int64_t i = 0; i < set->count; i++) {
    const picture p = set->pictures[i];
    if (set->limit && taken[p.label + 1]++ >= set->limit) continue;
    const char *name = set->names.s + p.name;
    const size_t root = strlen(set->root);
    if (!strncmp(name, set->root, root))
      name += root; /* another place of the same pictures is the same list */
    const int64_t numbers[] = {p.bytes, p.label};
    set->hash = sm_hash64(name, strlen(name) + 1, set->hash);
    set->hash = sm_hash64(numbers, sizeof numbers, set->hash);
    set->pictures[kept++] = p;
  }
  sm_free(taken);
  set->count = kept;
  for (int c = 0; c < set->classes; c++)
    set->hash = sm_hash64(set->class_name[c], strlen(set->class_name[c]) + 1, set->hash);
  return SM_OK;
}

static sm_status list_check_gone(const reading *r) {
  const list *set = r->set;
  if (r->gone && set->missing == REFUSE) {
    sm_fail(r->err, SM_ENOTFOUND, "there is no file %s", r->gone_name);
    if (r->gone > 1)
      sm_fail(r->err, SM_ENOTFOUND, "there is no file %s, and %lld more are missing", r->gone_name,
              (long long)r->gone - 1);
    sm_hint(r->err, "relative paths start at %s: say another root, or missing: skip", set->root);
    return list_at(r, r->first_gone);
  }
  if (r->gone)
    sm_log(SM_LOG_WARNING, "list %s: %lld of %lld pictures are not there and left out, the first in line %d",
           set->path, (long long)r->gone, (long long)r->rows, r->first_gone);
  if (set->count) return SM_OK;
  sm_fail(r->err, SM_ENOTFOUND, "%s names no picture%s", set->path, r->gone ? " that is there" : "");
  return sm_hint(r->err, "it wants one row per picture: a path, and a label");
}

static sm_status list_read_rows(reading *r) {
  csv_row row;
  sm_status status = csv_next(&r->csv, &row, r->err);
  if (!status && row.n) status = list_columns(r, &row);
  if (!status && row.n && list_has_header(r->set)) status = csv_next(&r->csv, &row, r->err);
  while (!status && row.n) {
    status = list_take(r, &row);
    if (!status) status = csv_next(&r->csv, &row, r->err);
  }
  return status;
}

static sm_status list_read_file(reading *r) {
  list *set = r->set;
  sm_status status = csv_open(&r->csv, set->path, most_bytes, &set->text, r->err);
  if (status) return status;
  r->csv.delimiter = list_delimiter(set, r->csv.at);
  status = list_read_rows(r);
  if (!status) status = list_check_gone(r);
  if (!status && set->class_names) status = list_read_classes(r);
  if (!status) status = set->class_names ? list_apply_classes(r) : list_gather_classes(r);
  return status ? status : list_finish(r);
}

static sm_status list_open(void *self, sm_error *err) {
  list *set = self;
  sm_error why = {0};
  reading r = {.set = set, .err = &why};
  if (!set->root) {
    const char *base = sm_path_base(set->path);
    sm_text_add(&set->own_root, "%.*s",
                base > set->path + 1 ? (int)(base - set->path - 1)
                : base > set->path   ? 1
                                     : 0,
                set->path);
    if (base == set->path) sm_text_add(&set->own_root, ".");
    if (set->own_root.failed) return list_no_memory(&(reading){.set = set, .err = err});
    set->root = set->own_root.s;
  }
  sm_status status = list_read_file(&r);
  if (status && err) *err = why;
  return status;
}

static sm_status list_create(void *self, sm_error *err) {
  list *set = self;
  const char *percent = set->pattern ? strchr(set->pattern, '%') : NULL;
  if (set->grey16.n && (set->grey16.n != 2 || set->grey16.v[0] >= set->grey16.v[1])) {
    sm_fail(err, SM_EINVAL, "grey16 wants two values, the smaller one first");
    return sm_hint(err, "for 12 bits say grey16: [0, 4095]");
  }
  if (!set->pattern) return SM_OK;
  const size_t digits = percent ? strspn(percent + 1, "0123456789") : 0;
  if (percent && digits < 3 && percent[1 + digits] == 'd' && !strchr(percent + 1, '%')) return SM_OK;
  sm_fail(err, SM_EINVAL, "pattern '%s' has no place, or several, for the number of the row", set->pattern);
  return sm_hint(err, "write it as %%d, or %%08d for eight digits: ILSVRC2012_val_%%08d.JPEG");
}

static void list_destroy(void *self) {
  list *set = self;
  sm_free(set->text);
  sm_free(set->class_text);
  sm_text_free(&set->names);
  sm_text_free(&set->own_root);
  sm_free(set->pictures);
  sm_free((void *)set->class_name);
}

static int64_t list_count(const void *self) { return ((const list *)self)->count; }
static int list_label(const void *self, int64_t index) { return ((const list *)self)->pictures[index].label; }
static const char *list_name(const void *self, int64_t index) {
  const list *set = self;
  return set->names.s + set->pictures[index].name;
}
static int list_classes(const void *self) { return ((const list *)self)->classes; }
static const char *list_class_name(const void *self, int c) { return ((const list *)self)->class_name[c]; }
static uint64_t list_hash(const void *self) { return ((const list *)self)->hash; }

static sm_status list_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                           sm_error *err) {
  const list *set = self;
  sm_image_limits all = limits ? *limits : (sm_image_limits){0};
  if (set->grey16.n == 2) all.grey16_from = (int)set->grey16.v[0], all.grey16_to = (int)set->grey16.v[1];
  return sm_image_read(list_name(self, index), &all, NULL, out, err);
}

static const sm_option options[] = {
    SM_PATH(list, path, "path", NULL, "text or CSV file with a row per picture: a path, and a label"),
    SM_PATH(list, root, "root", "~", "folder that relative paths start from; left out: that of the list"),
    SM_STRING(list, path_column, "path_column", "~",
              "column of the paths, by its number from 1 or by its name in the header; left out: the first"),
    SM_STRING(
        list, label_column, "label_column", "~",
        "column of the labels, or none; left out: the second, if there is one; empty fields are no label"),
    SM_CHOICE(list, header, "header", "auto", headers,
              "whether the first line names the columns; auto: if one is given by its name"),
    SM_CHOICE(
        list, delimiter, "delimiter", "auto", delimiters,
        "auto: by the name (.csv, .tsv), else the first of tab, comma, semicolon in the first line, else blanks"),
    SM_STRING(list, pattern, "pattern", "~",
              "for a list of labels alone: the path of row N, as ILSVRC2012_val_%08d.JPEG"),
    SM_PATH(
        list, class_names, "class_names", "~",
        "text file with a class per line: their order, and what labels that are numbers stand for; left out: the labels themselves"),
    SM_INT(list, first, "first", "0", 0, 1e6, NULL,
           "number of the first line of class_names, 1 for ImageNet's ground truth"),
    SM_CHOICE(list, missing, "missing", "refuse", missings,
              "files that are not there: refuse the list, or skip them with a warning"),
    SM_INT(list, limit, "limit", "0", 0, 1e9, "pictures",
           "take only the first ones of each class; 0 takes all"),
    SM_INTS(
        list, grey16, "grey16", "~", 0, 65535, NULL,
        "values of 16-bit grey pictures that become black and white, as [0, 4095] for 12 bits; left out: the upper 8 bits are kept"),
};

static const sm_dataset_ops ops = {
    .open = list_open,
    .count = list_count,
    .label = list_label,
    .name = list_name,
    .classes = list_classes,
    .class_name = list_class_name,
    .read = list_read,
    .hash = list_hash,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "list",
    .create = list_create,
    .summary = "the pictures that a text or CSV file names, with their labels",
    .version = "1.0",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(list),
    .destroy = list_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)
