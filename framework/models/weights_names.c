/* weights_names.c — see weights_names.h. */
#include "weights_names.h"

#include <string.h>

bool sm_weights_in_timm(const sm_st_reader *file, const char *prefix, sm_set *set, const char *row_prefix) {
  const size_t cut = strlen(row_prefix);
  char name[640];
  int found = 0;
  for (int r = 0; r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    if (!row->timm || strncmp(row->name, row_prefix, cut) != 0) continue;
    snprintf(name, sizeof name, "%s%s", prefix, row->timm);
    if (!sm_st_find(file, name)) return false;
    found++;
  }
  return found > 0;
}

const char *sm_weights_name_of(const sm_row *row, size_t row_cut, bool timm) {
  return timm && row->timm ? row->timm : row->name + row_cut;
}

bool sm_weights_is_buffer(const char *name) {
  static const char *const ends[] = {".relative_position_index", ".attn_mask"}; /* Swin, BEiT */
  const size_t n = strlen(name);
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (n > strlen(ends[i]) && !strcmp(name + n - strlen(ends[i]), ends[i])) return true;
  return false;
}
