/* listing_names.c — which names are pictures, and what is said of files that are passed over for theirs. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <smalti/image.h>

#include "listing.h"

enum { ENDINGS_TOLD = 3 };

static const char *const extensions[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", NULL};
/* Pictures of formats that cannot be read: to pass them over deserves a warning. */
static const char *const other_pictures[] = {".webp", ".tif", ".tiff", ".gif", ".bmp", ".heic", ".heif",
                                             ".avif", ".jp2", ".jxl",  ".dng", ".ppm", ".pgm",  ".ico",
                                             ".tga",  ".dcm", ".psd",  ".exr", ".svg", ".jxr",  NULL};

/* ---- names --------------------------------------------------------------------------------------------- */

static bool names_has_ending(const char *name, const char *const *endings) {
  const char *dot = strrchr(name, '.');
  for (int i = 0; dot && endings[i]; i++)
    if (strcasecmp(dot, endings[i]) == 0) return true;
  return false;
}

bool sm_listing_is_picture(const char *name) {
  static const char *const webp[] = {".webp", NULL};
  return names_has_ending(name, extensions) || (sm_image_reads_webp() && names_has_ending(name, webp));
}

const char *sm_listing_endings(void) {
  return sm_image_reads_webp() ? ".jpg, .jpeg, .jpe, .jfif, .png and .webp" : ".jpg, .jpeg, .jpe, .jfif and .png";
}

/* ---- files passed over --------------------------------------------------------------------------------- */

static void passed_add(sm_listing_passed *p, const char *lower, int64_t files) {
  int at = p->n ? p->n : (p->n = 1);
  for (at--; at > 0 && strcmp(p->endings[at].name, lower) != 0;) at--;
  if (at == 0 && lower[0] && p->n < SM_LISTING_ENDINGS) strcpy(p->endings[at = p->n++].name, lower);
  p->endings[at].files += files;
  p->files += files;
}

void sm_listing_pass(sm_listing_passed *p, const char *name) {
  const char *dot = strrchr(name, '.');
  char lower[sizeof p->endings->name] = "";
  for (size_t i = 0; dot && strlen(dot) < sizeof lower && dot[i]; i++) {
    lower[i] = dot[i] >= 'A' && dot[i] <= 'Z' ? (char)(dot[i] + 'a' - 'A') : dot[i];
    if (lower[i] <= ' ' || lower[i] > '~') lower[i] = '?';
  }
  passed_add(p, lower, 1);
}

static int passed_by_files(const void *a, const void *b) {
  const sm_listing_ending *x = a, *y = b;
  if (x->files != y->files) return x->files > y->files ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* One line: how many, and the commonest endings. */
void sm_listing_passed_over(sm_listing *l, sm_listing_passed *p, int n) {
  for (int i = 1; i < n; i++)
    for (int k = 0; k < p[i].n; k++) passed_add(p, p[i].endings[k].name, p[i].endings[k].files);
  int64_t left = p->files;
  sm_text text = {0};
  for (int i = 1; i < p->n; i++) l->tell_pictures |= names_has_ending(p->endings[i].name, other_pictures);
  qsort(p->endings, (size_t)p->n, sizeof *p->endings, passed_by_files);
  for (int i = 0; i < ENDINGS_TOLD && i < p->n && p->endings[i].files; i++) {
    sm_text_add(&text, "%s%lld %s", i ? ", " : "", (long long)p->endings[i].files,
                p->endings[i].name[0] ? p->endings[i].name : "other");
    left -= p->endings[i].files;
  }
  l->others = p->files;
  if (p->files)
    sm_text_add(&l->tell_others, "%s %s: %lld file%s passed over, for %s name (%s%s); %s are read",
                sm_listing_kind(l), l->root,
                (long long)p->files, p->files == 1 ? " is" : "s are", p->files == 1 ? "its" : "their",
                text.s ? text.s : "", left ? ", …" : "", sm_listing_endings());
  sm_text_free(&text);
}
