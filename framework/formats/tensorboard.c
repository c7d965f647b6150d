/* tensorboard.c — event files for TensorBoard, without protobuf.
 *
 * A file is a list of records: length (u64), masked CRC-32C of the length, payload, masked CRC-32C of the
 * payload (tensorflow/core/lib/io/record_writer). A payload is one Event (tensorflow/core/util/event.proto);
 * the few fields needed here are written by hand. A killed run leaves at most one short record, at which
 * readers stop. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "framework/formats/formats.h"

/* Field numbers of the messages. */
enum {
  EVENT_WALL_TIME = 1,
  EVENT_STEP = 2,
  EVENT_FILE_VERSION = 3,
  EVENT_SUMMARY = 5,
  EVENT_SESSION_LOG = 7
};
enum { SESSION_STATUS = 1, SESSION_START = 1, SESSION_MESSAGE = 3 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLOURS = 3, IMAGE_BYTES = 4 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct sm_tb {
  sm_tail tail;
  sm_text event, part, value; /* scratch for one record, from the outside in */
  char *path;
  double wall_time; /* negative: the clock's */
};

/* ---- protobuf ---- */

static void tensorboard_varint(sm_text *t, uint64_t v) {
  unsigned char bytes[10];
  size_t n = 0;
  for (; v >= 128; v >>= 7) bytes[n++] = (unsigned char)(v | 128);
  bytes[n++] = (unsigned char)v;
  sm_text_bytes(t, bytes, n);
}
static void tensorboard_field(sm_text *t, int number, int wire) {
  tensorboard_varint(t, (uint64_t)number << 3 | (unsigned)wire);
}
static void tensorboard_field_int(sm_text *t, int number, int64_t v) {
  tensorboard_field(t, number, WIRE_VARINT);
  tensorboard_varint(t, (uint64_t)v);
}
static void tensorboard_field_bytes(sm_text *t, int number, const void *data, size_t bytes) {
  tensorboard_field(t, number, WIRE_BYTES);
  tensorboard_varint(t, bytes);
  sm_text_bytes(t, data, bytes);
}
static void tensorboard_field_double(sm_text *t, int number, double v) {
  tensorboard_field(t, number, WIRE_64);
  sm_text_bytes(t, &v, sizeof v);
}
static void tensorboard_field_float(sm_text *t, int number, float v) {
  tensorboard_field(t, number, WIRE_32);
  sm_text_bytes(t, &v, sizeof v);
}

/* ---- records ---- */

static uint32_t tensorboard_masked(const void *data, size_t bytes) {
  uint32_t crc = sm_crc32c(0, data, bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void tensorboard_begin(sm_tb *tb, int64_t step) {
  struct timespec now;
  double seconds = tb->wall_time;
  if (seconds < 0) {
    clock_gettime(CLOCK_REALTIME, &now);
    seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
  }
  tb->event.len = tb->part.len = tb->value.len = 0;
  tensorboard_field_double(&tb->event, EVENT_WALL_TIME, seconds);
  if (step)
    tensorboard_field_int(&tb->event, EVENT_STEP,
                          step); /* 0 is the default and is left out, as protobuf does */
}

static void tensorboard_end(sm_tb *tb) {
  uint64_t length = tb->event.len;
  uint32_t crc = tensorboard_masked(&length, sizeof length);
  sm_text *t = &tb->tail.waiting;
  if (tb->event.failed || tb->part.failed || tb->value.failed) t->failed = true;
  sm_text_bytes(t, &length, sizeof length);
  sm_text_bytes(t, &crc, sizeof crc);
  sm_text_bytes(t, tb->event.s, tb->event.len);
  crc = tensorboard_masked(tb->event.s, tb->event.len);
  sm_text_bytes(t, &crc, sizeof crc);
}

static void tensorboard_end_summary(sm_tb *tb) {
  tb->part.len = 0;
  tensorboard_field_bytes(&tb->part, SUMMARY_VALUE, tb->value.s, tb->value.len);
  tensorboard_field_bytes(&tb->event, EVENT_SUMMARY, tb->part.s, tb->part.len);
  tensorboard_end(tb);
}

static void tensorboard_first_records(sm_tb *tb, int64_t first_step) {
  static const char FORMAT[] = "brain.Event:2", MESSAGE[] = "resumed";
  tensorboard_begin(tb, 0);
  tensorboard_field_bytes(&tb->event, EVENT_FILE_VERSION, FORMAT, strlen(FORMAT));
  tensorboard_end(tb);
  if (first_step < 0) return;
  tensorboard_begin(tb, first_step);
  tensorboard_field_int(&tb->part, SESSION_STATUS, SESSION_START);
  tensorboard_field_bytes(&tb->part, SESSION_MESSAGE, MESSAGE, strlen(MESSAGE));
  tensorboard_field_bytes(&tb->event, EVENT_SESSION_LOG, tb->part.s, tb->part.len);
  tensorboard_end(tb);
}

/* ---- the file ---- */

/* Two starts within one second must not share a file; TensorBoard reads a folder's files in order of name, so
 * the later one takes a suffix that sorts behind. */
static sm_status tensorboard_create(sm_tb *tb, const char *folder, sm_error *err) {
  char host[256] = "localhost", suffix[16] = "";
  if (gethostname(host, sizeof host - 1) || !*host) strcpy(host, "localhost");
  for (char *c = host; *c; c++)
    if (*c == '/') *c = '-';
  for (int i = 0; i < 1000; i++) {
    sm_text name = {0};
    if (i) snprintf(suffix, sizeof suffix, ".%03d", i);
    sm_text_add(&name, "%s/events.out.tfevents.%010" PRId64 ".%s%s", folder, (int64_t)time(NULL), host,
                suffix);
    if (name.failed) return sm_text_free(&name), sm_fail(err, SM_ENOMEM, "no memory for a TensorBoard file");
    sm_free(tb->path);
    tb->path = name.s;
    tb->tail.fd = open(tb->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (tb->tail.fd >= 0) return SM_OK;
    if (errno != EEXIST) break;
  }
  sm_fail(err, SM_EIO, "cannot create a TensorBoard file: %s", strerror(errno));
  return sm_fail_at(err, tb->path, 0, 0), SM_EIO;
}

static void tensorboard_release(sm_tb *tb) {
  if (tb->tail.fd >= 0) close(tb->tail.fd);
  sm_text_free(&tb->tail.waiting);
  sm_text_free(&tb->event);
  sm_text_free(&tb->part);
  sm_text_free(&tb->value);
  sm_free(tb->path);
  sm_free(tb);
}

sm_tb *sm_tb_open(const char *folder, int64_t first_step, sm_error *err) {
  if (sm_mkdirs(folder, err)) return NULL;
  sm_tb *tb = sm_calloc(1, sizeof *tb);
  if (!tb) return sm_fail(err, SM_ENOMEM, "no memory for a TensorBoard file"), NULL;
  tb->tail.fd = -1;
  tb->wall_time = -1;
  if (tensorboard_create(tb, folder, err)) return tensorboard_release(tb), NULL;
  tensorboard_first_records(tb, first_step);
  if (sm_tb_flush(tb, err)) return tensorboard_release(tb), NULL;
  return tb;
}

void sm_tb_at(sm_tb *tb, double wall_time) {
  if (tb) tb->wall_time = wall_time;
}
const char *sm_tb_path(const sm_tb *tb) { return tb ? tb->path : NULL; }

void sm_tb_scalar(sm_tb *tb, const char *tag, int64_t step, double value) {
  if (!tb) return;
  tensorboard_begin(tb, step);
  tensorboard_field_bytes(&tb->value, VALUE_TAG, tag, strlen(tag));
  tensorboard_field_float(&tb->value, VALUE_SIMPLE, (float)value);
  tensorboard_end_summary(tb);
}

void sm_tb_image(sm_tb *tb, const char *tag, int64_t step, int width, int height, const void *png,
                 size_t bytes) {
  if (!tb) return;
  tensorboard_begin(tb, step);
  tensorboard_field_int(&tb->part, IMAGE_HEIGHT, height);
  tensorboard_field_int(&tb->part, IMAGE_WIDTH, width);
  tensorboard_field_int(&tb->part, IMAGE_COLOURS, 3);
  tensorboard_field_bytes(&tb->part, IMAGE_BYTES, png, bytes);
  tensorboard_field_bytes(&tb->value, VALUE_TAG, tag, strlen(tag));
  tensorboard_field_bytes(&tb->value, VALUE_IMAGE, tb->part.s, tb->part.len);
  tensorboard_end_summary(tb);
}

sm_status sm_tb_flush(sm_tb *tb, sm_error *err) {
  if (!tb) return SM_OK;
  sm_status status = sm_tail_flush(&tb->tail, err);
  if (status) sm_fail_at(err, tb->path, 0, 0);
  return status;
}

sm_status sm_tb_close(sm_tb *tb, sm_error *err) {
  if (!tb) return SM_OK;
  sm_status status = sm_tb_flush(tb, err);
  if (close(tb->tail.fd) && !status) {
    status = sm_fail(err, SM_EIO, "closing failed: %s", strerror(errno));
    sm_fail_at(err, tb->path, 0, 0);
  }
  tb->tail.fd = -1;
  tensorboard_release(tb);
  return status;
}
