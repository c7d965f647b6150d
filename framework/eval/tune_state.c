/* tune_state.c — see tune_state.h. One safetensors file: values and moments of every row that trains,
 * running states, step counts, and what was measured so far. It is written whole or not at all. */
#include "tune_state.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "framework/base/io.h"
#include "framework/formats/formats.h"

#define FORMAT "4"

/* ---- its name ------------------------------------------------------------------------------------------ */

static uint64_t tune_state_hash_of(const sm_tune_net *t, uint64_t data, int64_t batch) {
  const sm_finetune_config *c = t->c;
  const sm_network_spec *about = sm_network_describe(t->x->network);
  sm_text s = {0};
  sm_text_add(&s, "%s %d %d %d %" PRId64 " %" PRId64 " %" PRId64, sm_graph_isa(t->graph), t->bf16,
              t->x->height, t->x->width, c->epochs, batch, c->group);
  const double number[] = {c->hold_out,    c->warmup, c->weight_decay, c->layer_decay,       c->drop_path,
                           c->smoothing,   c->mixup,  c->cutmix,       c->erasing,           c->least_area,
                           (double)c->flip, c->pool,   c->initial,      (double)c->head_layers,
                           c->randaugment, c->randaugment_std,   c->least_rate};
  sm_text_bytes(&s, number, sizeof number);
  sm_text_bytes(&s, c->rate, (size_t)c->rates * sizeof *c->rate);
  sm_text_bytes(&s, &c->seed, sizeof c->seed);
  if (c->pieces > 1) sm_text_add(&s, "%d", c->pieces);
  sm_text_bytes(&s, about->mean, sizeof about->mean);
  sm_text_bytes(&s, about->std, sizeof about->std);
  uint64_t hash = sm_hash64(s.s, s.len, data);
  sm_text_free(&s);
  for (int r = 0; r < sm_set_rows(t->set); r++) { /* the weights it begins with */
    const sm_row *row = sm_set_row(t->set, r);
    if (row->alias_of >= 0) continue;
    size_t bytes;
    void *values = sm_set_lend(t->set, r, SM_VALUES, &bytes);
    uint32_t sum = sm_crc32c(0, values, bytes);
    sm_set_give_back(t->set, r, SM_VALUES, values, false);
    hash = sm_hash64(&sum, sizeof sum, hash);
    hash = sm_hash64(row->name, strlen(row->name), hash);
  }
  return hash;
}

void sm_tune_state_place(sm_tune_state *s, const sm_tune_net *t, uint64_t data, int64_t batch) {
  const char *folder = t->x->folder;
  s->path[0] = 0;
  if (!folder) return;
  sm_path_put(s->path, "%s/finetune-%016" PRIx64 ".safetensors", folder, tune_state_hash_of(t, data, batch));
}

void sm_tune_state_remove(const sm_tune_state *s) {
  if (s->path[0]) unlink(s->path); /* one that stays is only lost space */
}

/* ---- its tensors --------------------------------------------------------------------------------------- */

typedef sm_status (*tensor_fn)(void *file, const char *name, const sm_row *, void *data, sm_error *);

static sm_status tune_state_each_tensor(const sm_tune_net *t, tensor_fn fn, bool changes, void *file,
                                        sm_error *err) {
  static const char *const prefix[] = {
      [SM_VALUES] = "value.", [SM_MOMENT1] = "m.", [SM_MOMENT2] = "v."};
  sm_status status = SM_OK;
  for (int r = 0; r < sm_set_rows(t->set); r++) {
    const sm_row *row = sm_set_row(t->set, r);
    for (int b = SM_VALUES; !status && b <= SM_MOMENT2; b++) {
      const bool moves = b == SM_VALUES && row->flags & SM_ROW_RUNNING; /* frozen, but not fixed */
      if (b == SM_GRADIENTS || row->alias_of >= 0 || (row->flags & SM_ROW_FROZEN && !moves)) continue;
      char name[320];
      snprintf(name, sizeof name, "%s%s", prefix[b], row->name);
      void *data = sm_set_lend(t->set, r, (sm_buffer)b, NULL);
      status = fn(file, name, row, data, err);
      sm_set_give_back(t->set, r, (sm_buffer)b, data, changes);
    }
  }
  return status;
}

static sm_status tune_state_declare_one(void *file, const char *name, const sm_row *row, void *data,
                                        sm_error *err) {
  (void)data, (void)err;
  return sm_st_declare(file, name, "F32", row->ndim, row->dim);
}
static sm_status tune_state_write_one(void *file, const char *name, const sm_row *row, void *data,
                                      sm_error *err) {
  (void)err;
  return sm_st_write(file, name, data, (size_t)row->size * sizeof(float));
}
static sm_status tune_state_read_one(void *file, const char *name, const sm_row *row, void *data,
                                     sm_error *err) {
  if (!sm_st_expect(file, name, "F32", row->ndim, row->dim, err)) return err ? err->code : SM_EFORMAT;
  return sm_st_read(file, name, data, (size_t)row->size * sizeof(float), err);
}

/* Everything that is no weight: one row of numbers, then nine of each rate. */
enum { HEAD = 3, EACH = 9 };
static int64_t tune_state_numbers(const sm_tune_net *t) { return HEAD + EACH * (int64_t)t->c->rates; }

static void tune_state_pack(const sm_tune_state *s, const sm_tune_net *t, double *to) {
  *to++ = s->rate, *to++ = (double)s->step, *to++ = s->loss;
  for (int i = 0; i < t->c->rates; i++) {
    const sm_tune_hits *h = &s->hits[i];
    *to++ = (double)h->held, *to++ = (double)h->top1, *to++ = (double)h->top5;
    *to++ = h->first_loss, *to++ = h->last_loss;
    *to++ = h->balanced.mean, *to++ = h->balanced.interval.low, *to++ = h->balanced.interval.high;
    *to++ = h->balanced.classes;
  }
}

static void tune_state_unpack(sm_tune_state *s, const sm_tune_net *t, const double *from) {
  s->rate = (int)*from++, s->step = (int64_t)*from++, s->loss = *from++;
  for (int i = 0; i < t->c->rates; i++) {
    sm_tune_hits *h = &s->hits[i];
    h->held = (int64_t)*from++, h->top1 = (int64_t)*from++, h->top5 = (int64_t)*from++;
    h->first_loss = *from++, h->last_loss = *from++;
    h->balanced.mean = *from++, h->balanced.interval.low = *from++, h->balanced.interval.high = *from++;
    h->balanced.classes = (int)*from++;
  }
}

/* ---- writing and reading ------------------------------------------------------------------------------- */

sm_status sm_tune_state_save(const sm_tune_state *s, const sm_tune_net *t, sm_error *err) {
  if (!s->path[0]) return SM_OK;
  int64_t n = tune_state_numbers(t), rows = sm_set_rows(t->set);
  double number[HEAD + EACH * SM_TUNE_RATES];
  int64_t *steps = sm_malloc((size_t)rows * sizeof *steps);
  if (!steps) return sm_fail(err, SM_ENOMEM, "no memory to keep how far fine-tuning is");
  for (int64_t r = 0; r < rows; r++) steps[r] = sm_set_row(t->set, (int)r)->steps;
  tune_state_pack(s, t, number);
  sm_st_writer *w = sm_st_create(s->path, SM_ST_AS_DECLARED, err);
  sm_st_metadata(w, "finetune.format", FORMAT);
  sm_st_metadata(w, "producer", sm_version());
  tune_state_each_tensor(t, tune_state_declare_one, false, w, NULL);
  sm_st_declare(w, "steps", "I64", 1, &rows);
  sm_st_declare(w, "state", "F64", 1, &n);
  tune_state_each_tensor(t, tune_state_write_one, false, w, NULL);
  sm_st_write(w, "steps", steps, (size_t)rows * sizeof *steps);
  sm_st_write(w, "state", number, (size_t)n * sizeof *number);
  sm_status status = w ? sm_st_finish(w, err) : SM_EIO;
  sm_free(steps);
  return status;
}

static sm_status tune_state_check_format(const sm_st_reader *file, sm_error *err) {
  const char *format = sm_st_get(file, "finetune.format");
  if (format && !strcmp(format, FORMAT)) return SM_OK;
  sm_fail(err, SM_EFORMAT, "its format is %.40s, this smalti reads format " FORMAT,
          format ? format : "(none)");
  return sm_fail_at(err, sm_st_path(file), 0, 0);
}

static sm_status tune_state_read_file(sm_st_reader *file, sm_tune_state *s, sm_tune_net *t, sm_error *err) {
  int64_t n = tune_state_numbers(t), rows = sm_set_rows(t->set);
  double number[HEAD + EACH * SM_TUNE_RATES];
  int64_t *steps = sm_malloc((size_t)rows * sizeof *steps);
  sm_status status = steps ? sm_st_verify(file, err) : sm_fail(err, SM_ENOMEM, "no memory to go on");
  if (!status) status = tune_state_check_format(file, err);
  if (!status && (!sm_st_expect(file, "steps", "I64", 1, &rows, err) ||
                  !sm_st_expect(file, "state", "F64", 1, &n, err)))
    status = SM_EFORMAT;
  if (!status) status = sm_st_read(file, "steps", steps, (size_t)rows * sizeof *steps, err);
  if (!status) status = sm_st_read(file, "state", number, (size_t)n * sizeof *number, err);
  if (!status) status = tune_state_each_tensor(t, tune_state_read_one, true, file, err);
  for (int64_t r = 0; !status && r < rows; r++) sm_set_row(t->set, (int)r)->steps = steps[r];
  if (!status) tune_state_unpack(s, t, number);
  sm_free(steps);
  return status;
}

sm_status sm_tune_state_load(sm_tune_state *s, sm_tune_net *t, bool *found, sm_error *err) {
  *found = false;
  if (!s->path[0] || !sm_path_there(s->path, NULL)) return SM_OK;
  sm_error why = {0};
  char text[2048];
  sm_st_reader *file = sm_st_open(s->path, &why);
  sm_status status = file ? tune_state_read_file(file, s, t, &why) : why.code;
  sm_st_close(file);
  *found = !status;
  if (!status || status == SM_ENOMEM || status == SM_EIO) { /* it may be good the next time */
    if (status && err) *err = why;
    return status;
  }
  sm_log(SM_LOG_WARNING, "fine-tuning begins anew: %s", sm_error_text(&why, text, sizeof text));
  return SM_OK;
}
