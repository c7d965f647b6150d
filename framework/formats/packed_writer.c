/* packed_writer.c — writes packed files: pixels as they come, then the index and the names, which wait in
 * memory, and the header last, in its place at the front.
 *
 * sm_file owns the temporary name, the syncs and the rename; a full disk is found out by the write
 * that meets it. */
#include <config.h>

#include <string.h>

#include "bytes.h"
#include "packed_format.h"

struct sm_packed_writer {
  char *path;
  sm_file *file;
  packed_header header;
  packed_entry *index;
  size_t room;
  sm_text classes, names;
  uint64_t at;    /* bytes written */
  sm_error first; /* code SM_OK while there is none */
};

static sm_status packed_writer_no_memory(sm_packed_writer *w) {
  return sm_fail(&w->first, SM_ENOMEM, "no memory for the index of %llu pictures",
                 (unsigned long long)w->header.pictures);
}

sm_packed_writer *sm_packed_create(const char *path, sm_error *err) {
  sm_packed_writer *w = sm_calloc(1, sizeof *w);
  if (!w || !(w->path = sm_strdup(path))) {
    sm_free(w);
    sm_fail(err, SM_ENOMEM, "no memory to write %s", path);
    return NULL;
  }
  if (!(w->file = sm_file_create(path, err))) {
    sm_packed_abort(w);
    return NULL;
  }
  w->at = sizeof w->header;
  sm_file_write(w->file, &w->header, sizeof w->header); /* keeps the place */
  return w;
}

static void packed_writer_release(sm_packed_writer *w) {
  sm_free(w->path);
  sm_free(w->index);
  sm_text_free(&w->classes);
  sm_text_free(&w->names);
  sm_free(w);
}

void sm_packed_abort(sm_packed_writer *w) {
  if (!w) return;
  sm_file_abort(w->file);
  packed_writer_release(w);
}

/* A failed write is remembered by the file; finish lets it speak. */
static sm_status packed_writer_put(sm_packed_writer *w, const void *data, size_t bytes) {
  w->at += bytes;
  return sm_file_write(w->file, data, bytes);
}

static sm_status packed_writer_pad(sm_packed_writer *w) {
  static const char zeros[SM_PACKED_ALIGN];
  return packed_writer_put(w, zeros, (size_t)(-w->at % SM_PACKED_ALIGN));
}

sm_status sm_packed_class(sm_packed_writer *w, const char *name) {
  if (!w) return SM_EINVAL;
  if (w->first.code) return w->first.code;
  w->header.classes++;
  sm_text_bytes(&w->classes, name, strlen(name) + 1);
  return w->classes.failed ? packed_writer_no_memory(w) : SM_OK;
}

static bool packed_writer_reserve(sm_packed_writer *w) {
  if (w->header.pictures < w->room) return true;
  size_t room = w->room ? 2 * w->room : 1024;
  packed_entry *more = sm_realloc(w->index, room * sizeof *more);
  if (!more) return false;
  w->index = more;
  w->room = room;
  return true;
}

sm_status sm_packed_add(sm_packed_writer *w, const sm_packed_picture *p) {
  if (!w) return SM_EINVAL;
  if (w->first.code) return w->first.code;
  if (p->width < 1 || p->height < 1 || p->width > PACKED_MOST_SIDE || p->height > PACKED_MOST_SIDE)
    return sm_fail(&w->first, SM_EINVAL, "a picture of %d x %d cannot be packed (sides are 1 to %d): %s",
                   p->width, p->height, PACKED_MOST_SIDE, p->name);
  if (p->label < -1 || p->label >= (int64_t)w->header.classes)
    return sm_fail(&w->first, SM_EINVAL, "class %d of %s is not one of the %u", (int)p->label, p->name,
                   w->header.classes);
  if (w->header.pictures == INT32_MAX)
    return sm_fail(&w->first, SM_EUNSUPPORTED, "a packed file holds at most %d pictures", INT32_MAX);
  if (!packed_writer_reserve(w)) return packed_writer_no_memory(w);
  const size_t bytes = 3 * (size_t)p->width * (size_t)p->height;
  if (packed_writer_pad(w) != SM_OK) return SM_EIO;
  w->index[w->header.pictures++] = (packed_entry){.pixels_at = w->at,
                                                  .name_at = w->names.len,
                                                  .width = (uint32_t)p->width,
                                                  .height = (uint32_t)p->height,
                                                  .label = p->label,
                                                  .crc = sm_crc32c(0, p->rgb, bytes)};
  sm_text_bytes(&w->names, p->name, strlen(p->name) + 1);
  if (w->names.failed) return packed_writer_no_memory(w);
  return packed_writer_put(w, p->rgb, bytes);
}

/* Index and names behind the pixels, then the header before them. */
static sm_status packed_writer_write_tables(sm_packed_writer *w) {
  packed_header *h = &w->header;
  const size_t index_bytes = (size_t)h->pictures * sizeof *w->index;
  packed_writer_pad(w);
  for (uint64_t i = 0; i < h->pictures; i++) w->index[i].name_at += w->classes.len;
  memcpy(h->magic, PACKED_MAGIC, PACKED_MAGIC_BYTES);
  h->version = SM_PACKED_VERSION;
  h->index_at = w->at;
  h->names_bytes = w->classes.len + w->names.len;
  h->file_bytes = w->at + index_bytes + h->names_bytes;
  h->crc = sm_crc32c(0, h, sizeof *h);
  h->crc = sm_crc32c(h->crc, w->index, index_bytes);
  h->crc = sm_crc32c(h->crc, w->classes.s, w->classes.len);
  h->crc = sm_crc32c(h->crc, w->names.s, w->names.len);
  packed_writer_put(w, w->index, index_bytes);
  packed_writer_put(w, w->classes.s, w->classes.len);
  if (packed_writer_put(w, w->names.s, w->names.len) != SM_OK) return SM_EIO;
  sm_write_at(sm_file_fd(w->file), h, sizeof *h, 0, &w->first);
  return sm_fail_at(&w->first, w->path, 0, 0);
}

sm_status sm_packed_finish(sm_packed_writer *w, uint64_t *bytes, sm_error *err) {
  if (!w) return err && err->code ? err->code : SM_EINVAL;
  if (!w->first.code && w->header.pictures == 0)
    sm_fail(&w->first, SM_EINVAL, "a packed file needs at least one picture");
  if (!w->first.code) packed_writer_write_tables(w);
  sm_status status = w->first.code;
  if (status) {
    if (err) *err = w->first;
    sm_packed_abort(w);
    return status;
  }
  if (bytes) *bytes = w->header.file_bytes;
  status = sm_file_commit(w->file, err); /* tells a write that failed */
  packed_writer_release(w);
  return status;
}
