/* classes.c — see classes.h. */
#include "classes.h"

#include <string.h>

#include "framework/base/spelling.h"

/* ---- classes of a data set ----------------------------------------------------------------------------- */

sm_status sm_classes_number(const sm_dataset *d, sm_class_numbers *to, sm_error *err) {
  const int own = d->ops->classes(d->self);
  const int64_t pictures = d->ops->count(d->self);
  *to = (sm_class_numbers){0};
  if (own < 1) return SM_OK;
  if (!(to->of = sm_malloc((size_t)own * sizeof *to->of)))
    return sm_fail(err, SM_ENOMEM, "no memory for %d classes", own);
  for (int c = 0; c < own; c++) to->of[c] = -1;
  for (int64_t i = 0; i < pictures; i++) {
    const int c = d->ops->label(d->self, i);
    if (c >= 0 && c < own) to->of[c] = 0;
  }
  for (int c = 0; c < own; c++)
    if (!to->of[c]) to->of[c] = to->n++;
  return SM_OK;
}

const char *sm_classes_name(const sm_dataset *d, const sm_class_numbers *numbers, int c) {
  const int own = numbers->of ? d->ops->classes(d->self) : 0;
  for (int i = 0; i < own; i++)
    if (numbers->of[i] == c) return d->ops->class_name(d->self, i);
  return NULL;
}

/* On the screen both names are the same. */
static sm_status classes_hint_spelling(const char *name, const char *other, sm_error *err) {
  sm_text a = {0}, b = {0};
  sm_text_add_spelled(&a, name);
  sm_text_add_spelled(&b, other);
  sm_hint(
      err,
      "training has '%s', this one is '%s': the same letters in other bytes (Unicode NFC and NFD); rename one of the folders",
      b.s ? b.s : "", a.s ? a.s : "");
  sm_text_free(&a);
  sm_text_free(&b);
  return SM_EINVAL;
}

static sm_status classes_unknown(const sm_dataset *train, const sm_class_numbers *numbers, const char *name,
                                 sm_error *err) {
  sm_fail(err, SM_EINVAL, "test pictures have a class '%s' that no training picture has", name);
  for (int c = 0; c < numbers->n; c++)
    if (sm_spelled_apart(name, sm_classes_name(train, numbers, c)))
      return classes_hint_spelling(name, sm_classes_name(train, numbers, c), err);
  return sm_hint(err, "training has %d %s, from '%s' to '%s'", numbers->n,
                 sm_plural(numbers->n, "class", "classes"), sm_classes_name(train, numbers, 0),
                 sm_classes_name(train, numbers, numbers->n - 1));
}

/* The number of the training class that is called so, -1: there is none. Often it stands at the same
 * place. */
static int32_t classes_called(const sm_dataset *train, const sm_class_numbers *numbers, const char *name,
                              int hint) {
  const int own = train->ops->classes(train->self);
  for (int turn = -1; turn < own; turn++) {
    const int k = turn < 0 ? hint : turn;
    if (k < own && numbers->of[k] >= 0 && !strcmp(name, train->ops->class_name(train->self, k)))
      return numbers->of[k];
  }
  return -1;
}

sm_status sm_classes_match(const sm_dataset *train, const sm_class_numbers *numbers, const sm_dataset *test,
                           sm_class_numbers *to, sm_error *err) {
  const int own = to->of ? test->ops->classes(test->self) : 0;
  for (int c = 0; c < own; c++) {
    const char *name = test->ops->class_name(test->self, c);
    if (to->of[c] < 0) continue;
    if ((to->of[c] = classes_called(train, numbers, name, c)) < 0)
      return classes_unknown(train, numbers, name, err);
  }
  to->n = numbers->n;
  return SM_OK;
}

/* ---- what is enough ------------------------------------------------------------------------------------ */

static bool classes_mark(sm_label_list l, int classes, uint8_t *seen, int *n) {
  *n = 0;
  for (int64_t i = 0; i < l.n; i++) {
    const int32_t c = l.label[i];
    if (c < 0) continue;
    if (c >= classes) return false;
    *n += !seen[c];
    seen[c] = 1;
  }
  return true;
}

int sm_classes_seen(const int32_t *label, int64_t n, int classes) {
  uint8_t *seen = sm_calloc((size_t)(classes > 0 ? classes : 1), 1);
  int found;
  if (!seen) return -1;
  classes_mark((sm_label_list){label, n}, classes, seen, &found);
  sm_free(seen);
  return found;
}

sm_status sm_classes_two(const char *split, int n, sm_error *err) {
  if (n >= 2) return SM_OK;
  sm_fail(err, SM_EINVAL, "an evaluation needs pictures of two classes, and the %s pictures have %d", split,
          n);
  return sm_hint(err, "put them into one folder per class");
}

static sm_status classes_no_label(int64_t n, sm_error *err) {
  sm_fail(err, SM_EINVAL, "none of the %lld test pictures has a class", (long long)n);
  return sm_hint(err, "put them into one folder per class");
}

/* A test picture of a class that no training picture has, by its place; -1: there is none. */
static int64_t classes_stray(sm_label_list test, int classes, const uint8_t *known) {
  for (int64_t i = 0; i < test.n; i++)
    if (test.label[i] >= 0 && (test.label[i] >= classes || !known[test.label[i]])) return i;
  return -1;
}

static sm_status classes_check(sm_labels need, sm_label_list train, sm_label_list test, int classes,
                               uint8_t *seen, sm_error *err) {
  const bool both = need == SM_LABELS_BOTH;
  int64_t labelled = 0, stray;
  int n;
  if (!classes_mark(both ? train : test, classes, seen, &n))
    return sm_fail(err, SM_EINVAL, "a picture has a class above the %d that there are", classes);
  for (int64_t i = 0; i < test.n; i++) labelled += test.label[i] >= 0;
  sm_status status = both ? sm_classes_two("training", n, err) : SM_OK;
  if (!status && !labelled) status = classes_no_label(test.n, err);
  if (!status && !both) status = sm_classes_two("test", n, err);
  if (status || !both || (stray = classes_stray(test, classes, seen)) < 0) return status;
  sm_fail(err, SM_EINVAL, "test picture %lld is of class %d, of which there is no training picture",
          (long long)stray, test.label[stray]);
  return sm_hint(err, "of the %d classes %d have training pictures that could be read", classes, n);
}

sm_status sm_classes_check(sm_labels need, sm_label_list train, sm_label_list test, int classes,
                           sm_error *err) {
  if (need == SM_LABELS_ANY || need == SM_LABELS_NONE) return SM_OK;
  uint8_t *seen = sm_calloc((size_t)(classes > 0 ? classes : 1), 1);
  if (!seen) return sm_fail(err, SM_ENOMEM, "no memory for %d classes", classes);
  sm_status status = classes_check(need, train, test, classes, seen, err);
  sm_free(seen);
  return status;
}

sm_status sm_labels_of_test(const int32_t *label, int64_t n, int classes, int *seen, sm_error *err) {
  sm_status status =
      sm_classes_check(SM_LABELS_TEST, (sm_label_list){0}, (sm_label_list){label, n}, classes, err);
  if (!status && (*seen = sm_classes_seen(label, n, classes)) < 0)
    status = sm_fail(err, SM_ENOMEM, "no memory for %d classes", classes);
  return status;
}
