/* eval_features.c — see eval_features.h. features.json comes last: where it stands, the others are whole. */
#include "eval_features.h"

#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "framework/base/path.h"
#include "framework/formats/formats.h"

const char *const sm_features_files[] = {"features.npy", "labels.npy",    "names.txt",
                                         "classes.txt",  "features.json", NULL};
static const char *const pool_names[] = {"cls", "mean", "both"};

static sm_status eval_features_put_text(const char *folder, const char *name, const sm_text *text,
                                        sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_path_put(path, "%s/%s", folder, name);
  if (text->failed) return sm_fail(err, SM_ENOMEM, "no memory for %s", name);
  return sm_file_put(path, text->s ? text->s : "", text->len, err);
}

static void eval_features_add_line(sm_text *text, const char *line) {
  for (; line && *line; line++) {
    if (*line == '\\') sm_text_add(text, "\\\\");
    else if (*line == '\n') sm_text_add(text, "\\n");
    else sm_text_bytes(text, line, 1);
  }
  sm_text_add(text, "\n");
}

static sm_status eval_features_put_names(const char *folder, const sm_dataset *d, const int64_t *sample,
                                         int64_t n, sm_error *err) {
  sm_text text = {0};
  for (int64_t i = 0; i < n; i++) eval_features_add_line(&text, d->ops->name(d->self, sample[i]));
  sm_status status = eval_features_put_text(folder, "names.txt", &text, err);
  sm_text_free(&text);
  return status;
}

static void eval_features_take_class(void *text, const char *name) { eval_features_add_line(text, name); }

static sm_status eval_features_put_classes(sm_evaluator *e, const char *split, const char *folder,
                                           sm_error *err) {
  sm_text text = {0};
  sm_status status = sm_evaluator_class_names(e, split, eval_features_take_class, &text, err);
  if (!status) status = eval_features_put_text(folder, "classes.txt", &text, err);
  sm_text_free(&text);
  return status;
}

static sm_status eval_features_put_array(const char *folder, const char *name, const char *dtype, int ndim,
                           const int64_t *shape, const void *data, sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_path_put(path, "%s/%s", folder, name);
  return sm_npy_write(path, dtype, ndim, shape, data, err);
}

static void eval_features_add_floats(sm_json *j, const char *key, const float v[3]) {
  sm_json_array(j, key);
  for (int i = 0; i < 3; i++) sm_json_double(j, NULL, (double)v[i]);
  sm_json_close(j);
}

static sm_status eval_features_put_protocol(const char *folder, const sm_network *net, int height, int width,
                                            const char *split, int precision, sm_pool_mode pool,
                                            const sm_features_report *r, sm_error *err) {
  sm_json j = {0};
  char hash[24];
  const sm_weights_about *a = sm_network_about(net);
  const bool pixels = sm_network_net(net) == SM_NET_PIXELS;
  snprintf(hash, sizeof hash, "%016" PRIx64, a->recipe_hash);
  sm_json_begin(&j);
  sm_json_string(&j, "producer", "smalti");
  sm_json_string(&j, "version", sm_version());
  sm_json_string(&j, "net", sm_net_names[sm_network_net(net)]);
  sm_json_string(&j, "run", sm_network_run(net));
  sm_json_string(&j, "weights", sm_network_report(net)->taken ? sm_network_describe(net)->file : NULL);
  sm_json_string(&j, "backbone", a->backbone);
  sm_json_int(&j, "step", a->step);
  sm_json_string(&j, "recipe_hash", a->recipe_hash ? hash : NULL);
  sm_json_string(&j, "split", split);
  sm_json_string(&j, "pool", pixels ? "pixels" : pool_names[pool]);
  sm_json_bool(&j, "normalised", false);
  sm_json_int(&j, "pictures", r->pictures);
  sm_json_int(&j, "bad", r->bad);
  sm_json_int(&j, "dim", r->dim);
  sm_cli_json_size(&j, height, width);
  sm_json_string(&j, "precision", pixels ? NULL : sm_precision_names[precision]);
  sm_json_string(&j, "interpolation", sm_filter_names[a->filter]);
  eval_features_add_floats(&j, "mean", a->mean);
  eval_features_add_floats(&j, "std", a->std);
  const char *text = sm_json_finish(&j);
  sm_text line = {0};
  if (text) sm_text_add(&line, "%s\n", text);
  else line.failed = true;
  sm_status status = eval_features_put_text(folder, "features.json", &line, err);
  sm_text_free(&line);
  sm_json_free(&j);
  return status;
}

sm_status sm_features_write(sm_evaluator *e, const sm_network *net, int height, int width, int precision,
                            const char *split, sm_pool_mode pool, const char *folder, sm_features_report *r,
                            sm_error *err) {
  sm_features f;
  bool test = !strcmp(split, "test");
  const sm_dataset pictures = sm_network_pictures(net, test);
  sm_feature_spec spec = {.blocks = 1, .pool = pool};
  sm_status status = sm_evaluator_features(e, split, &spec, &f, err);
  if (!status) status = sm_mkdirs(folder, err);
  if (status) return status;
  *r = (sm_features_report){.dim = f.dim};
  sm_evaluator_counts(e, split, &r->pictures, &r->bad);
  status = eval_features_put_array(folder, "features.npy", "F32", 2, (int64_t[]){f.n, f.dim}, f.x, err);
  if (!status) status = eval_features_put_array(folder, "labels.npy", "I32", 1, &f.n, f.label, err);
  if (!status) status = eval_features_put_names(folder, &pictures, f.index, f.n, err);
  if (!status) status = eval_features_put_classes(e, split, folder, err);
  return status ? status
                : eval_features_put_protocol(folder, net, height, width, split, precision, pool, r, err);
}
