/* copies_folder.c — copies that lie in folders, as Copydays' (Douze et al., CIVR 2009): `original`, and for
 * each kind of edit a folder of pictures, or of folders of pictures. A copy belongs to the original whose
 * file name has the same first four letters. */
#include <stdlib.h>
#include <string.h>

#include "copies.h"

enum { OWNER_LETTERS = 4 };

/* ---- folders ------------------------------------------------------------------------------------------- */

/* Names of folders become names of figures. */
static sm_status folder_name(const char *root, const char *name, char *to, sm_error *err) {
  const size_t length = strlen(name);
  bool fits = length < COPIES_NAME;
  for (size_t i = 0; i < length; i++)
    fits &= (name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'z') ||
            (name[i] >= 'A' && name[i] <= 'Z') || strchr("-_.", name[i]) != NULL;
  if (fits) {
    memcpy(to, name, length + 1);
    return SM_OK;
  }
  sm_fail(err, SM_EINVAL, "'%s/%s' cannot be the name of a figure", root, name);
  return sm_hint(err, "call the folder by at most %d letters, digits, '-', '_' and '.'", COPIES_NAME - 1);
}

/* The files of ROOT/NAME behind those that are there. */
static sm_status folder_files(const char *root, const char *name, outside *to, int64_t *n, sm_error *err) {
  outside_names files = {0};
  sm_text path = {0};
  sm_text_add(&path, "%s/%s", root, name);
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for a path")
                                 : outside_names_get(path.s, 'f', &files, err);
  *n = files.n;
  for (int i = 0; !status && i < files.n; i++) {
    sm_text file = {0};
    sm_text_add(&file, "%s/%s", path.s, files.v[i]);
    if (file.failed || !outside_names_add(&to->path, file.s))
      status = sm_fail(err, SM_ENOMEM, "no memory for the pictures of '%s'", path.s);
    else to->n++;
    sm_text_free(&file);
  }
  outside_names_free(&files);
  sm_text_free(&path);
  return status;
}

static sm_status folder_edit(const char *root, const char *name, const char *level, copies_list *l,
                             sm_error *err) {
  copies_edit *e = &l->edit[l->edits];
  if (l->edits == COPIES_EDITS_MOST)
    return sm_fail(err, SM_EINVAL, "'%s' has more than %d folders of copies", root, COPIES_EDITS_MOST);
  *e = (copies_edit){.group = l->groups, .first = l->files.n};
  sm_status status = folder_name(root, level, e->level, err);
  if (!status) status = folder_files(root, name, &l->files, &e->n, err);
  l->edits += !status && e->n > 0;
  return status;
}

/* One folder beside `original`: a group. */
static sm_status folder_group(const char *root, const char *name, copies_list *l, sm_error *err) {
  const int before = l->edits;
  outside_names levels = {0};
  sm_text path = {0};
  sm_text_add(&path, "%s/%s", root, name);
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for a path") : SM_OK;
  if (!status) status = folder_name(root, name, l->group[l->groups], err);
  if (!status) status = folder_edit(root, name, "", l, err);
  if (!status) status = outside_names_get(path.s, 'd', &levels, err);
  for (int i = 0; !status && i < levels.n; i++) {
    sm_text both = {0};
    sm_text_add(&both, "%s/%s", name, levels.v[i]);
    status = both.failed ? sm_fail(err, SM_ENOMEM, "no memory for a path")
                         : folder_edit(root, both.s, levels.v[i], l, err);
    sm_text_free(&both);
  }
  if (!status && l->edits == before) status = sm_fail(err, SM_EINVAL, "'%s' holds no pictures", path.s);
  l->groups += !status;
  outside_names_free(&levels);
  sm_text_free(&path);
  return status;
}

sm_status copies_folder_list(const char *folder, copies_list *l, sm_error *err) {
  outside_names names = {0};
  *l = (copies_list){0};
  sm_status status = outside_names_get(folder, 'd', &names, err);
  bool originals = false;
  for (int i = 0; !status && i < names.n; i++) originals |= !strcmp(names.v[i], "original");
  if (!status && originals) status = folder_files(folder, "original", &l->files, &l->originals, err);
  for (int i = 0; !status && i < names.n; i++)
    if (strcmp(names.v[i], "original") != 0) status = folder_group(folder, names.v[i], l, err);
  if (!status && (!l->originals || !l->edits)) {
    sm_fail(err, SM_EINVAL, "'%s' holds %s", folder, l->originals ? "no copies" : "no originals");
    status =
        sm_hint(err,
                "as Copydays, it must hold a folder `original`, and a folder for each kind of edit, such as "
                "`strong` or `crops/50`");
  }
  if (!status && 3 + l->groups + l->edits > SM_FIGURES_MAX)
    status = sm_fail(err, SM_EINVAL, "'%s' has more kinds of copies than there is room for figures", folder);
  outside_names_free(&names);
  if (status) outside_free(&l->files);
  return status;
}

/* ---- owners -------------------------------------------------------------------------------------------- */

typedef struct folder_key {
  char letters[OWNER_LETTERS + 1];
  int32_t owner;
} folder_key;

static int folder_by_letters(const void *a, const void *b) {
  return strcmp(((const folder_key *)a)->letters, ((const folder_key *)b)->letters);
}

static sm_status folder_letters(const char *path, folder_key *to, sm_error *err) {
  const char *name = sm_path_base(path);
  if (strlen(name) < OWNER_LETTERS) {
    sm_fail(err, SM_EINVAL, "the name of '%s' is too short", path);
    return sm_hint(err, "its first %d letters must say which original it is, or is made of", OWNER_LETTERS);
  }
  *to = (folder_key){.owner = -1};
  memcpy(to->letters, name, OWNER_LETTERS);
  return SM_OK;
}

sm_status copies_folder_owners(const copies_list *l, int32_t *owner, int32_t *owners, sm_error *err) {
  const size_t n = (size_t)l->originals;
  folder_key *keys = sm_malloc(n * sizeof *keys);
  sm_status status = keys ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for %zu names", n);
  for (size_t i = 0; !status && i < n; i++) status = folder_letters(l->files.path.v[i], &keys[i], err);
  if (!status) qsort(keys, n, sizeof *keys, folder_by_letters);
  *owners = 0;
  for (size_t i = 0; !status && i < n; i++)
    keys[i].owner = i && !strcmp(keys[i].letters, keys[i - 1].letters) ? keys[i - 1].owner : (*owners)++;
  for (int64_t i = 0; !status && i < l->files.n; i++) {
    folder_key key;
    if ((status = folder_letters(l->files.path.v[i], &key, err))) break;
    const folder_key *found = bsearch(&key, keys, n, sizeof *keys, folder_by_letters);
    if (found) owner[i] = found->owner;
    else {
      sm_fail(err, SM_EINVAL, "'%s' is a copy of no original: none has a name that begins with '%s'",
              l->files.path.v[i], key.letters);
      status = sm_hint(err, "the first %d letters of both names must be the same", OWNER_LETTERS);
    }
  }
  sm_free(keys);
  return status;
}
