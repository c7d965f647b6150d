/* listing.c — names: what lies in a folder, in the order in which people count, and what a file lists. */
#include <config.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"

enum { LISTED_BYTES = 1 << 26 };

/* Digits that stand together are a number: its length without zeros in front, then its digits. */
static int listing_numbers(const char **a, const char **b) {
  while (**a == '0') ++*a;
  while (**b == '0') ++*b;
  const size_t n = strspn(*a, "0123456789"), m = strspn(*b, "0123456789");
  const int order = n != m ? (n > m) - (n < m) : strncmp(*a, *b, n);
  *a += n, *b += m;
  return order;
}

int sm_names_compare(const char *a, const char *b) {
  const char *x = a, *y = b;
  while (*x && *y) {
    int order;
    if (isdigit((unsigned char)*x) && isdigit((unsigned char)*y)) order = listing_numbers(&x, &y);
    else order = (int)(unsigned char)*x++ - (int)(unsigned char)*y++;
    if (order) return order;
  }
  if (*x || *y) return *x ? 1 : -1;
  return strcmp(a, b); /* 7 and 07 are two names */
}

static int listing_visible(const struct dirent *d) { return d->d_name[0] != '.'; }
static int listing_order(const struct dirent **a, const struct dirent **b) {
  return sm_names_compare((*a)->d_name, (*b)->d_name);
}

static sm_status listing_look(sm_arena *arena, const char *folder, const char *name, bool folders,
                              bool *wanted, sm_error *err) {
  const char *path = sm_path_join(arena, folder, name);
  struct stat st;
  if (!path) return sm_fail_errno(err, ENOMEM, "read the folder", folder);
  if (stat(path, &st) != 0) return sm_fail_errno(err, errno, "examine", path);
  *wanted = folders ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode);
  return SM_OK;
}

sm_status sm_folder_names(sm_arena *arena, const char *path, bool folders, const char ***names, int64_t *n,
                          sm_error *err) {
  struct dirent **entries = NULL;
  const int found = scandir(path, &entries, listing_visible, listing_order);
  *n = 0;
  if (found < 0) return sm_fail_errno(err, errno, "read the folder", path);
  *names = sm_arena_alloc(arena, ((size_t)found + 1) * sizeof **names);
  sm_status status = *names ? SM_OK : sm_fail_errno(err, ENOMEM, "read the folder", path);
  for (int i = 0; i < found; i++) {
    bool wanted = false;
    if (!status) status = listing_look(arena, path, entries[i]->d_name, folders, &wanted, err);
    if (!status && wanted && !((*names)[(*n)++] = sm_arena_strdup(arena, entries[i]->d_name)))
      status = sm_fail_errno(err, ENOMEM, "read the folder", path);
    free(entries[i]);
  }
  free(entries);
  return status;
}

/* ---- lists in files ------------------------------------------------------------------------------------ */

typedef struct listed {
  const char *name;
  int line;
} listed;

static int listing_by_name(const void *a, const void *b) {
  const listed *x = a, *y = b;
  const int order = strcmp(x->name, y->name);
  return order ? order : (x->line > y->line) - (x->line < y->line);
}

static sm_status listing_once(const char *path, const char *const *names, const int *line, int64_t n,
                              sm_error *err) {
  listed *all = sm_malloc((size_t)n * sizeof *all);
  if (!all) return sm_fail_errno(err, ENOMEM, "read", path);
  for (int64_t i = 0; i < n; i++) all[i] = (listed){names[i], line[i]};
  qsort(all, (size_t)n, sizeof *all, listing_by_name);
  sm_status status = SM_OK;
  for (int64_t i = 1; !status && i < n; i++) {
    if (strcmp(all[i - 1].name, all[i].name) != 0) continue;
    status = sm_fail(err, SM_EFORMAT, "'%.200s' stands in line %d already", all[i].name, all[i - 1].line);
    sm_fail_at(err, path, all[i].line, 0);
  }
  sm_free(all);
  return status;
}

sm_status sm_file_names(sm_arena *arena, const char *path, const char ***names, int **line, int64_t *n,
                        sm_error *err) {
  char *text;
  size_t bytes, lines = 1;
  int at = 0;
  *n = 0;
  sm_status status = sm_file_get(path, LISTED_BYTES, &text, &bytes, err);
  if (status) return status;
  for (size_t i = 0; i < bytes; i++) lines += text[i] == '\n';
  *names = sm_arena_alloc(arena, lines * sizeof **names);
  *line = sm_arena_alloc(arena, lines * sizeof **line);
  if (strlen(text) != bytes)
    status = sm_fail(err, SM_EFORMAT, "%s is not a text file: it holds a zero byte", path);
  else if (!*names || !*line) status = sm_fail_errno(err, ENOMEM, "read", path);
  for (const char *from = text, *end; !status && *from; from = *end ? end + 1 : end) {
    end = from + strcspn(from, "\n");
    size_t length = (size_t)(end - from);
    while (length && strchr(" \t\r", from[length - 1])) length--;
    (*line)[*n] = ++at;
    if (length && !((*names)[(*n)++] = sm_arena_strndup(arena, from, length)))
      status = sm_fail_errno(err, ENOMEM, "read", path);
  }
  sm_free(text);
  if (!status && !*n) status = sm_fail(err, SM_EFORMAT, "%s lists no name", path);
  return status ? status : listing_once(path, *names, *line, *n, err);
}
