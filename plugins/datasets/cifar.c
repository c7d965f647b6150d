/* cifar.c — dataset `cifar`: CIFAR-10 and CIFAR-100 as their authors give them, in the binary version.
 *
 * CIFAR-10: data_batch_1.bin … data_batch_5.bin and test_batch.bin, records of a label and 3072 bytes; CIFAR-100:
 * train.bin and test.bin, records of a coarse label, a fine label and 3072 bytes. The bytes are 1024 of red, 1024 of
 * green, 1024 of blue, each 32 rows of 32. Names of classes are in text files beside them. Files stay open and are read
 * picture by picture; all of their bytes are in the hash. */
#include <smalti/plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  SIDE = 32,
  PIXELS = SIDE * SIDE,
  BYTES = 3 * PIXELS,
  FILES = 5,
  CLASSES = 100,
  NAME_BYTES = 64,
  TOGETHER = 100
};
enum { TRAIN, TEST };
enum { FINE, COARSE, NONE };
static const char *const splits[] = {"train", "test", NULL};
static const char *const labels[] = {"fine", "coarse", "none", NULL};
static const char remedy[] =
    "get the binary version, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, and unpack it whole";

typedef struct cifar {
  const char *path;
  int split, labels;
  int64_t limit;

  bool hundred; /* CIFAR-100 */
  sm_arena *arena;
  int files, fd[FILES];
  const char *file[FILES];
  int64_t first[FILES + 1]; /* record of each file, counted through */
  int64_t count, *record;   /* chosen ones */
  uint8_t *label;           /* of each chosen one */
  const char **name;        /* "data_batch_1.bin#0" */
  int classes;
  char class_name[CLASSES][NAME_BYTES];
  uint64_t hash;
} cifar;

static int cifar_head(const cifar *set) { return set->hundred ? 2 : 1; } /* bytes before the pixels */
static int64_t cifar_record_bytes(const cifar *set) { return cifar_head(set) + BYTES; }
static int cifar_all_classes(const cifar *set) {
  return !set->hundred ? 10 : set->labels == COARSE ? 20 : 100;
}

/* ---- which files --------------------------------------------------------------------------------------- */

static bool cifar_there(const char *folder, const char *name) {
  sm_text path = {0};
  struct stat st;
  sm_text_add(&path, "%s/%s", folder, name);
  const bool there = !path.failed && stat(path.s, &st) == 0;
  sm_text_free(&path);
  return there;
}

/* The folder itself, or the one that the archive makes in it. */
static const char *cifar_folder(cifar *set, sm_error *err) {
  static const char *const in[] = {"", "/cifar-10-batches-bin", "/cifar-100-binary"};
  bool pickles = cifar_there(set->path, "data_batch_1") || cifar_there(set->path, "meta");
  const char *found = NULL;
  for (int i = 0; i < 3; i++) {
    const char *folder = sm_arena_printf(set->arena, "%s%s", set->path, in[i]);
    if (!folder) return NULL;
    const bool ten = cifar_there(folder, "test_batch.bin") || cifar_there(folder, "data_batch_1.bin"),
               hundred = cifar_there(folder, "test.bin") || cifar_there(folder, "train.bin");
    if (!ten && !hundred) continue;
    if (found || (ten && hundred)) {
      sm_fail(err, SM_EINVAL, "both CIFAR-10 and CIFAR-100 are in %s", set->path);
      sm_hint(err, "name the folder of one of them, such as cifar-10-batches-bin");
      return NULL;
    }
    found = folder, set->hundred = hundred;
  }
  if (found) return found;
  sm_fail(err, SM_ENOTFOUND, "no file of CIFAR's binary version in %s%s", set->path,
          pickles ? ", but Python's pickles" : "");
  sm_hint(err, "%s", remedy);
  return NULL;
}

/* ---- records ------------------------------------------------------------------------------------------- */

static sm_status cifar_system(const char *verb, const char *file, sm_error *err) {
  const bool missing = errno == ENOENT || errno == ENOTDIR;
  sm_fail(err, missing ? SM_ENOTFOUND : SM_EIO, "cannot %s %s: %s", verb, file, strerror(errno));
  if (missing) sm_hint(err, "%s", remedy);
  return missing ? SM_ENOTFOUND : SM_EIO;
}

/* All of `count` bytes; fewer are a fault of the system, since the length was asked before. */
static sm_status cifar_get(int fd, const char *file, void *to, int64_t count, int64_t at, sm_error *err) {
  for (int64_t got = 0; got < count;) {
    const ssize_t n = pread(fd, (char *)to + got, (size_t)(count - got), (off_t)(at + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return cifar_system("read", file, err);
    if (n == 0) return sm_fail(err, SM_EIO, "%s has become shorter since it was opened", file);
    got += n;
  }
  return SM_OK;
}

static sm_status cifar_open_file(cifar *set, const char *folder, const char *name, sm_error *err) {
  struct stat st;
  const int64_t bytes = cifar_record_bytes(set);
  const int i = set->files;
  set->file[i] = sm_arena_printf(set->arena, "%s/%s", folder, name);
  if (!set->file[i]) return sm_fail(err, SM_ENOMEM, "out of memory while opening %s", set->path);
  set->fd[i] = open(set->file[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (set->fd[i] < 0) return cifar_system("open", set->file[i], err);
  set->files++;
  if (fstat(set->fd[i], &st)) return cifar_system("examine", set->file[i], err);
  if (!S_ISREG(st.st_mode)) return sm_fail(err, SM_EINVAL, "%s is not a regular file", set->file[i]);
  if (st.st_size == 0 || st.st_size % bytes) {
    sm_fail(err, SM_EFORMAT, "%s has %lld bytes, no whole number of records of %lld bytes", set->file[i],
            (long long)st.st_size, (long long)bytes);
    return sm_hint(err, "it is cut short, or no file of CIFAR-%s: %s", set->hundred ? "100" : "10", remedy);
  }
  set->first[i + 1] = set->first[i] + (int64_t)st.st_size / bytes;
  return SM_OK;
}

static sm_status cifar_open_files(cifar *set, const char *folder, sm_error *err) {
  char name[32];
  if (set->hundred) return cifar_open_file(set, folder, set->split == TEST ? "test.bin" : "train.bin", err);
  if (set->split == TEST) return cifar_open_file(set, folder, "test_batch.bin", err);
  sm_status status = SM_OK;
  for (int i = 1; !status && i <= FILES; i++) {
    snprintf(name, sizeof name, "data_batch_%d.bin", i);
    status = cifar_open_file(set, folder, name, err);
  }
  return status;
}

static sm_status cifar_bad_label(const cifar *set, int file, int64_t record, int place, int most, int label,
                                 sm_error *err) {
  sm_fail(err, SM_EFORMAT, "%s: record %lld, byte %lld is label %d, not 0 to %d", set->file[file],
          (long long)record, (long long)(record * cifar_record_bytes(set) + place), label, most - 1);
  return sm_hint(err, "the file is damaged, or no file of CIFAR-%s: %s", set->hundred ? "100" : "10", remedy);
}

/* Labels are what is said to be chosen from: the first `limit` of each class. */
static sm_status cifar_take(cifar *set, int file, int64_t record, const uint8_t *bytes, int64_t *taken,
                            sm_error *err) {
  const int coarse = set->hundred ? bytes[0] : 0, fine = bytes[cifar_head(set) - 1];
  if (set->hundred && coarse >= 20) return cifar_bad_label(set, file, record, 0, 20, coarse, err);
  if (fine >= (set->hundred ? 100 : 10))
    return cifar_bad_label(set, file, record, cifar_head(set) - 1, set->hundred ? 100 : 10, fine, err);
  const int label = set->hundred && set->labels == COARSE ? coarse : fine;
  if (set->limit && taken[set->labels == NONE ? 0 : label]++ >= set->limit) return SM_OK;
  set->record[set->count] = set->first[file] + record;
  set->label[set->count] = (uint8_t)label;
  set->name[set->count] =
      sm_arena_printf(set->arena, "%s#%lld", strrchr(set->file[file], '/') + 1, (long long)record);
  if (!set->name[set->count]) return sm_fail(err, SM_ENOMEM, "no memory for a list of pictures");
  set->count++;
  return SM_OK;
}

static sm_status cifar_list(cifar *set, sm_error *err) {
  const int64_t bytes = cifar_record_bytes(set), all = set->first[set->files];
  int64_t taken[CLASSES] = {0};
  uint8_t *some = sm_malloc((size_t)(TOGETHER * bytes));
  set->record = sm_malloc((size_t)all * sizeof *set->record);
  set->label = sm_malloc((size_t)all);
  set->name = sm_malloc((size_t)all * sizeof *set->name);
  sm_status status = some && set->record && set->label && set->name
                         ? SM_OK
                         : sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)all);
  set->hash = sm_hash64(&set->limit, sizeof set->limit, (uint64_t)set->labels);
  for (int f = 0; !status && f < set->files; f++) {
    const int64_t records = set->first[f + 1] - set->first[f];
    for (int64_t r = 0; !status && r < records; r += TOGETHER) {
      const int64_t n = records - r < TOGETHER ? records - r : TOGETHER;
      status = cifar_get(set->fd[f], set->file[f], some, n * bytes, r * bytes, err);
      if (!status) set->hash = sm_hash64(some, (size_t)(n * bytes), set->hash);
      for (int64_t i = 0; !status && i < n; i++)
        status = cifar_take(set, f, r + i, some + i * bytes, taken, err);
    }
  }
  sm_free(some);
  return status;
}

/* ---- names of classes ---------------------------------------------------------------------------------- */

/* The next line that is not empty, ended by a zero in place; NULL: there is none. */
static char *cifar_line(char **at) {
  char *line = *at;
  while (*line == '\n' || *line == '\r' || *line == ' ') line++;
  if (!*line) return NULL;
  char *end = line + strcspn(line, "\r\n");
  *at = *end ? end + 1 : end;
  while (end > line && (end[-1] == ' ' || end[-1] == '\t')) end--;
  *end = 0;
  return line;
}

static sm_status cifar_read_names(cifar *set, const char *file, char *text, sm_error *err) {
  int n = 0;
  for (char *line; (line = cifar_line(&text)); n++) {
    if (n == set->classes || strlen(line) >= NAME_BYTES) {
      sm_fail(err, SM_EFORMAT,
              n == set->classes ? "more names than classes" : "a name of a class that is too long");
      sm_hint(err, "%s", remedy);
      return sm_fail_at(err, file, n + 1, 0);
    }
    snprintf(set->class_name[n], NAME_BYTES, "%s", line);
    for (int i = 0; i < n; i++)
      if (!strcmp(set->class_name[i], line)) {
        sm_fail(err, SM_EFORMAT, "two classes are called '%s'", line);
        return sm_fail_at(err, file, n + 1, 0);
      }
  }
  if (n == set->classes) return SM_OK;
  sm_fail(err, SM_EFORMAT, "%d names for %d classes", n, set->classes);
  sm_hint(err, "%s", remedy);
  return sm_fail_at(err, file, 0, 0);
}

static sm_status cifar_name_classes(cifar *set, const char *folder, sm_error *err) {
  char *text;
  size_t bytes;
  set->classes = set->labels == NONE ? 0 : cifar_all_classes(set);
  if (!set->classes) return SM_OK;
  const char *file = sm_arena_printf(set->arena, "%s/%s", folder,
                                     !set->hundred           ? "batches.meta.txt"
                                     : set->labels == COARSE ? "coarse_label_names.txt"
                                                             : "fine_label_names.txt");
  if (!file) return sm_fail(err, SM_ENOMEM, "out of memory while opening %s", set->path);
  sm_status status = sm_file_get(file, 1 << 16, &text, &bytes, err);
  if (status == SM_ENOTFOUND) sm_hint(err, "%s", remedy);
  if (status) return status;
  status = strlen(text) == bytes ? cifar_read_names(set, file, text, err)
                                 : sm_fail(err, SM_EFORMAT, "%s is not a text file", file);
  sm_free(text);
  return status;
}

/* ---- the plugin ---------------------------------------------------------------------------------------- */

static sm_status cifar_open(void *self, sm_error *err) {
  cifar *set = self;
  sm_error why = {0};
  sm_status status = SM_OK;
  const char *folder = NULL;
  if (!(set->arena = sm_arena_new("cifar")))
    return sm_fail(err, SM_ENOMEM, "out of memory while opening %s", set->path);
  if (!(folder = cifar_folder(set, &why)))
    status = why.code ? why.code : sm_fail(&why, SM_ENOMEM, "out of memory while opening %s", set->path);
  if (!status && !set->hundred && set->labels == COARSE) {
    status = sm_fail(&why, SM_EINVAL, "CIFAR-10 has no coarse labels");
    sm_hint(&why, "say labels: fine");
  }
  if (!status) status = cifar_open_files(set, folder, &why);
  if (!status) status = cifar_name_classes(set, folder, &why);
  if (!status) status = cifar_list(set, &why);
  if (status && err) *err = why;
  return status;
}

static void cifar_destroy(void *self) {
  cifar *set = self;
  for (int i = 0; i < set->files; i++) close(set->fd[i]);
  sm_arena_free(set->arena);
  sm_free(set->record);
  sm_free(set->label);
  sm_free(set->name);
}

static int64_t cifar_count(const void *self) { return ((const cifar *)self)->count; }
static int cifar_label(const void *self, int64_t index) {
  const cifar *set = self;
  return set->labels == NONE ? -1 : set->label[index];
}
static const char *cifar_name(const void *self, int64_t index) { return ((const cifar *)self)->name[index]; }
static int cifar_classes(const void *self) { return ((const cifar *)self)->classes; }
static const char *cifar_class_name(const void *self, int c) { return ((const cifar *)self)->class_name[c]; }
static uint64_t cifar_hash(const void *self) { return ((const cifar *)self)->hash; }

static sm_status cifar_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                            sm_error *err) {
  const cifar *set = self;
  uint8_t planes[BYTES];
  int f = 0;
  if (limits && limits->max_pixels > 0 && limits->max_pixels < PIXELS)
    return sm_fail(err, SM_EINVAL, "a picture of 32 x 32 pixels is over the limit of %lld pixels",
                   (long long)limits->max_pixels);
  while (set->record[index] >= set->first[f + 1]) f++;
  const int64_t at = (set->record[index] - set->first[f]) * cifar_record_bytes(set) + cifar_head(set);
  sm_status status = cifar_get(set->fd[f], set->file[f], planes, BYTES, at, err);
  if (!status) status = sm_image_reshape(out, SIDE, SIDE, err);
  for (int i = 0; !status && i < PIXELS; i++)
    for (int c = 0; c < 3; c++) out->rgb[3 * i + c] = planes[c * PIXELS + i];
  return status;
}

static const sm_option options[] = {
    SM_PATH(
        cifar, path, "path", NULL,
        "folder with the binary version of CIFAR-10 (data_batch_1.bin …) or CIFAR-100 (train.bin, test.bin)"),
    SM_CHOICE(cifar, split, "split", "train", splits, "which pictures"),
    SM_CHOICE(cifar, labels, "labels", "fine", labels,
              "fine: 10 or 100 classes; coarse: the 20 of CIFAR-100; none: no labels"),
    SM_INT(cifar, limit, "limit", "0", 0, 1e9, "pictures",
           "take only the first ones of each class; 0 takes all"),
};

static const sm_dataset_ops ops = {
    .open = cifar_open,
    .count = cifar_count,
    .label = cifar_label,
    .name = cifar_name,
    .classes = cifar_classes,
    .class_name = cifar_class_name,
    .read = cifar_read,
    .hash = cifar_hash,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "cifar",
    .summary = "CIFAR-10 or CIFAR-100 in the binary version that their authors give",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(cifar),
    .destroy = cifar_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)
