/* pth_file.h — writes files as torch.save does (zip form, protocol 2), without Python: the tensors of a safetensors
 * file in a layout that people publish. For tests from the command line; `test_pth IN OUT LAYOUT [TENSORS]` calls it.
 *
 *   flat  the state dict alone, as DINO's *_pretrain.pth
 *   dino  a checkpoint of DINO's training: student module.backbone.*, teacher backbone.* and head.*, epoch and the
 *         arguments of the command line, a class of Python. The student's tensors are zeros of one storage.
 *
 * TENSORS: write so many of them only. The tensors are F32. */
#ifndef SM_TEST_PTH_FILE_H
#define SM_TEST_PTH_FILE_H

#include <smalti/safetensors.h>

#include "test.h"

typedef struct pth_file {
  sm_text pickle, archive, directory;
  int members, storages;
} pth_file;

/* ---- numbers and texts --------------------------------------------------------------------------------- */

static inline void pth_bytes(sm_text *t, const void *data, size_t n) { sm_text_bytes(t, data, n); }
#define PTH_PUT(t, text) pth_bytes(t, text, sizeof text - 1)

static inline void pth_number(sm_text *t, uint64_t value, int n) {
  for (int i = 0; i < n; i++) pth_bytes(t, &(char){(char)(value >> 8 * i)}, 1);
}

static inline uint32_t pth_crc(const void *data, size_t n) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < n; i++) {
    crc ^= ((const unsigned char *)data)[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

/* ---- the archive --------------------------------------------------------------------------------------- */

static inline void pth_member(pth_file *f, const char *name, const void *data, size_t n) {
  const size_t at = f->archive.len;
  const uint32_t crc = pth_crc(data, n);
  for (int listed = 0; listed < 2; listed++) {
    sm_text *t = listed ? &f->directory : &f->archive;
    if (listed) PTH_PUT(t, "PK\1\2\0\0\0\0");
    else PTH_PUT(t, "PK\3\4\0\0");
    PTH_PUT(t, "\0\0\0\0\0\0\0\0"); /* flags, method, time, date */
    pth_number(t, crc, 4), pth_number(t, n, 4), pth_number(t, n, 4);
    pth_number(t, strlen(name), 2), pth_number(t, 0, 2);
    if (listed) PTH_PUT(t, "\0\0\0\0\0\0\0\0\0\0"), pth_number(t, at, 4);
    pth_bytes(t, name, strlen(name));
  }
  pth_bytes(&f->archive, data, n);
  f->members++;
}

static inline void pth_end(pth_file *f, const char *path) {
  sm_error err = {0};
  pth_member(f, "archive/version", "3\n", 2);
  const size_t at = f->archive.len;
  pth_bytes(&f->archive, f->directory.s, f->directory.len);
  PTH_PUT(&f->archive, "PK\5\6\0\0\0\0");
  pth_number(&f->archive, (uint64_t)f->members, 2), pth_number(&f->archive, (uint64_t)f->members, 2);
  pth_number(&f->archive, f->directory.len, 4), pth_number(&f->archive, at, 4), pth_number(&f->archive, 0, 2);
  must(sm_file_put(path, f->archive.s, f->archive.len, &err), &err);
}

/* ---- the pickle ---------------------------------------------------------------------------------------- */

static inline void pth_text(pth_file *f, const char *prefix, const char *text) {
  PTH_PUT(&f->pickle, "X");
  pth_number(&f->pickle, strlen(prefix) + strlen(text), 4);
  pth_bytes(&f->pickle, prefix, strlen(prefix));
  pth_bytes(&f->pickle, text, strlen(text));
}

static inline void pth_int(pth_file *f, int64_t value) {
  PTH_PUT(&f->pickle, "J");
  pth_number(&f->pickle, (uint64_t)value, 4);
}

/* A tensor over a storage: by rows, or every element the storage's first. */
static inline void pth_tensor(pth_file *f, const sm_st_tensor *t, int storage, int64_t count, bool rows) {
  char key[16];
  snprintf(key, sizeof key, "%d", storage);
  PTH_PUT(&f->pickle, "ctorch._utils\n_rebuild_tensor_v2\n((");
  pth_text(f, "", "storage");
  PTH_PUT(&f->pickle, "ctorch\nFloatStorage\n");
  pth_text(f, "", key), pth_text(f, "", "cpu"), pth_int(f, count);
  PTH_PUT(&f->pickle, "tQK\0(");
  for (int d = 0; d < t->ndim; d++) pth_int(f, t->shape[d]);
  PTH_PUT(&f->pickle, "t(");
  for (int d = 0; d < t->ndim; d++) {
    int64_t stride = rows;
    for (int k = d + 1; k < t->ndim; k++) stride *= t->shape[k];
    pth_int(f, stride);
  }
  PTH_PUT(&f->pickle, "t\x89" "ccollections\nOrderedDict\n)RtR");
}

static inline int pth_storage(pth_file *f, const void *data, size_t n) {
  char name[40];
  snprintf(name, sizeof name, "archive/data/%d", f->storages);
  pth_member(f, name, data, n);
  return f->storages++;
}

/* The first `most` tensors of a file, as a state dict. */
static inline void pth_state(pth_file *f, const sm_st_reader *r, const char *prefix, int most, bool zeros) {
  static const float zero = 0;
  const sm_st_tensor *t;
  const int shared = zeros ? pth_storage(f, &zero, sizeof zero) : 0;
  PTH_PUT(&f->pickle, "ccollections\nOrderedDict\n)R(");
  for (int i = 0; i < most && (t = sm_st_at(r, (size_t)i)); i++) {
    assert_string_equal(t->dtype, "F32");
    pth_text(f, prefix, t->name);
    if (zeros) pth_tensor(f, t, shared, 1, false);
    else pth_tensor(f, t, pth_storage(f, t->data, (size_t)t->bytes), (int64_t)t->bytes / 4, true);
  }
  PTH_PUT(&f->pickle, "u");
}

static inline void pth_checkpoint(pth_file *f, const sm_st_reader *r, int most) {
  static const float numbers[6] = {1, 2, 3, 4, 5, 6};
  const sm_st_tensor head = {.ndim = 2, .shape = {2, 3}};
  PTH_PUT(&f->pickle, "}(");
  pth_text(f, "", "student"), pth_state(f, r, "module.backbone.", most, true);
  pth_text(f, "", "teacher"), pth_state(f, r, "backbone.", most, false);
  pth_text(f, "", "head.last_layer.weight_v");
  pth_tensor(f, &head, pth_storage(f, numbers, sizeof numbers), 6, true);
  PTH_PUT(&f->pickle, "s");
  pth_text(f, "", "epoch"), pth_int(f, 100);
  pth_text(f, "", "args");
  PTH_PUT(&f->pickle, "cargparse\nNamespace\n)\x81}(");
  pth_text(f, "", "arch"), pth_text(f, "", "vit_small");
  PTH_PUT(&f->pickle, "ubu");
}

static inline int pth_write(int argc, char **argv) {
  sm_error err = {0};
  pth_file f = {0};
  sm_st_reader *r = sm_st_open(argv[1], &err);
  const int most = argc > 4 ? atoi(argv[4]) : 1 << 20;
  if (!r || argc < 4) return 1;
  PTH_PUT(&f.pickle, "\x80\2");
  if (!strcmp(argv[3], "dino")) pth_checkpoint(&f, r, most);
  else pth_state(&f, r, "", most, false);
  PTH_PUT(&f.pickle, ".");
  pth_member(&f, "archive/data.pkl", f.pickle.s, f.pickle.len);
  pth_end(&f, argv[2]);
  sm_st_close(r);
  sm_text_free(&f.pickle);
  sm_text_free(&f.archive);
  sm_text_free(&f.directory);
  return 0;
}

#endif
