/* listing.c — what lies in a folder, in the order in which people count. */
#include <config.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"

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

static sm_status listing_look(sm_arena *arena, const char *folder, const char *name, bool folders, bool *wanted,
                              sm_error *err) {
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
