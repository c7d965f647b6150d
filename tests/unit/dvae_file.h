/* dvae_file.h — files with the weights of a discrete VAE's encoder, as tests want them: small, drawn from a
 * seed. */
#ifndef SM_TEST_DVAE_FILE_H
#define SM_TEST_DVAE_FILE_H

#include "framework/formats/formats.h"
#include "framework/nn/nn.h"

#include "plugins/dvae_net.h"
#include "row_rig.h"

#include "test.h"

/* A set that holds one half with drawn weights and biases; sm_set_free. */
static inline sm_set *dvae_drawn(const dvae_shape *s, dvae_half half, sm_dtype real, uint64_t seed) {
  sm_error err = {0};
  sm_set *set = sm_set_new("dvae", real, false, &err);
  assert_non_null(set);
  if (half == DVAE_ENCODER) dvae_declare_encoder(&(sm_params){set, ""}, s);
  else dvae_declare_decoder(&(sm_params){set, ""}, s);
  assert_int_equal(sm_set_seal(set, SM_MOMENTS_NONE, &err), SM_OK);
  assert_int_equal(sm_set_allocate(set, seed, &err), SM_OK);
  for (int r = 0; r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    for (int64_t i = 0; row->ndim == 1 && i < row->size; i++) {
      int drawn = (int)((i * 7 + r) % 11 - 5);
      row_put(set, r, SM_VALUES, i, real == SM_F32 ? (double)(0.1f * (float)drawn) : 0.1 * drawn);
    }
  }
  return set;
}

/* The tensors of a set in a file, `prefix` in front of their names; that called `without` is left out (NULL:
 * none). */
static inline void set_add(sm_st_writer *w, sm_set *set, const char *prefix, const char *without,
                           bool values) {
  char name[256];
  for (int r = 0; r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    if (without && !strcmp(row->name, without)) continue;
    snprintf(name, sizeof name, "%s%s", prefix, row->name);
    if (values) sm_st_write(w, name, sm_set_lend(set, r, SM_VALUES, NULL), (size_t)row->size * sizeof(float));
    else sm_st_declare(w, name, "F32", row->ndim, row->dim);
  }
}
static inline void set_write(const char *path, sm_set *set, const char *prefix, const char *without) {
  sm_error err = {0};
  sm_st_writer *w = sm_st_create(path, SM_ST_AS_DECLARED, &err);
  set_add(w, set, prefix, without, false);
  set_add(w, set, prefix, without, true);
  assert_int_equal(sm_st_finish(w, &err), SM_OK);
}
static inline void dvae_write(const char *path, const dvae_shape *s, uint64_t seed) {
  sm_set *set = dvae_drawn(s, DVAE_ENCODER, SM_F32, seed);
  set_write(path, set, "", NULL);
  sm_set_free(set);
}

#endif
