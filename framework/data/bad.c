/* bad.c — see bad.h. `at[i]` is 0 for a picture not known as bad, else 1 + its place among those met. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "bad.h"

enum { NAMED = 3 }; /* pictures that the error names */

typedef struct met {
  sm_bad bad;
  bool listed;
} met;

struct sm_bad_book {
  sm_dataset dataset;
  int64_t count;
  _Atomic int32_t *at;

  pthread_mutex_t lock; /* for met */
  met *met;
  int64_t n_met, met_cap;

  sm_bad *list; /* the owner's */
  int64_t n_list, list_cap;
};

static bool bad_grow(void **items, int64_t *cap, int64_t n, size_t size) {
  if (n < *cap) return true;
  int64_t more = *cap ? *cap * 2 : 16;
  void *bigger = sm_realloc(*items, (size_t)more * size);
  if (!bigger) return false;
  *items = bigger;
  *cap = more;
  return true;
}

sm_bad_book *sm_bad_book_new(const sm_dataset *dataset, int64_t count, int64_t n_known, const int64_t *known,
                             sm_error *err) {
  sm_bad_book *book = sm_calloc(1, sizeof *book);
  if (!book) goto no_memory;
  pthread_mutex_init(&book->lock, NULL);
  book->dataset = *dataset;
  book->count = count;
  book->at = sm_calloc((size_t)count, sizeof *book->at);
  if (!book->at) goto no_memory;
  sm_error why;
  sm_fail(&why, SM_EFORMAT, "found bad in an earlier session");
  for (int64_t i = 0; i < n_known; i++) {
    if (known[i] < 0 || known[i] >= count) {
      sm_fail(err, SM_EINVAL, "picture %lld is known as bad, but the dataset holds %lld pictures",
              (long long)known[i], (long long)count);
      sm_hint(err, "the list belongs to another dataset");
      sm_bad_book_free(book);
      return NULL;
    }
    if (!sm_bad_met(book, known[i], &why) || !sm_bad_list(book, known[i])) goto no_memory;
  }
  return book;

no_memory:
  sm_bad_book_free(book);
  sm_fail(err, SM_ENOMEM, "out of memory for a dataset of %lld pictures", (long long)count);
  return NULL;
}

void sm_bad_book_free(sm_bad_book *book) {
  if (!book) return;
  pthread_mutex_destroy(&book->lock);
  sm_free((void *)book->at);
  sm_free(book->met);
  sm_free(book->list);
  sm_free(book);
}

bool sm_bad_is(const sm_bad_book *book, int64_t index) { return atomic_load(&book->at[index]) != 0; }

/* The reason as one short line: the message without the place, which the name says already. */
static void bad_fill(const sm_bad_book *book, sm_bad *bad, int64_t index, const sm_error *why) {
  *bad =
      (sm_bad){.index = index, .name = book->dataset.ops->name(book->dataset.self, index), .code = why->code};
  snprintf(bad->reason, sizeof bad->reason, "%.*s", (int)sizeof bad->reason - 1, why->message);
}

bool sm_bad_met(sm_bad_book *book, int64_t index, const sm_error *why) {
  bool done = true;
  pthread_mutex_lock(&book->lock);
  if (!atomic_load(&book->at[index])) {
    done = bad_grow((void **)&book->met, &book->met_cap, book->n_met, sizeof *book->met);
    if (done) {
      met *m = &book->met[book->n_met++];
      m->listed = false;
      bad_fill(book, &m->bad, index, why);
      atomic_store(&book->at[index], (int32_t)book->n_met);
    }
  }
  pthread_mutex_unlock(&book->lock);
  return done;
}

bool sm_bad_list(sm_bad_book *book, int64_t index) {
  bool done = true;
  pthread_mutex_lock(&book->lock);
  met *m = &book->met[atomic_load(&book->at[index]) - 1];
  if (!m->listed) {
    done = bad_grow((void **)&book->list, &book->list_cap, book->n_list, sizeof *book->list);
    if (done) {
      book->list[book->n_list++] = m->bad;
      m->listed = true;
    }
  }
  pthread_mutex_unlock(&book->lock);
  return done;
}

bool sm_bad_is_listed(sm_bad_book *book, int64_t index) {
  pthread_mutex_lock(&book->lock);
  const bool listed = book->met[atomic_load(&book->at[index]) - 1].listed;
  pthread_mutex_unlock(&book->lock);
  return listed;
}

sm_bad sm_bad_of(sm_bad_book *book, int64_t index) {
  pthread_mutex_lock(&book->lock);
  const sm_bad bad = book->met[atomic_load(&book->at[index]) - 1].bad;
  pthread_mutex_unlock(&book->lock);
  return bad;
}

sm_status sm_bad_gather(sm_bad_book *book, sm_ranks *ranks, const int64_t *mine, int n, sm_bad **all, int64_t *n_all,
                        sm_error *err) {
  void *gathered = NULL;
  size_t bytes = 0;
  sm_bad *own = sm_calloc((size_t)n + 1, sizeof *own);
  sm_status status = own ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory for the list of bad pictures");
  for (int i = 0; !status && i < n; i++) own[i] = sm_bad_of(book, mine[i]);
  status = sm_ranks_agree(ranks, status, err);
  if (!status) status = sm_ranks_gather(ranks, own, (size_t)n * sizeof *own, &gathered, &bytes, err);
  sm_free(own);
  *all = gathered;
  *n_all = (int64_t)(bytes / sizeof **all);
  for (int64_t i = 0; !status && i < *n_all; i++) { /* a name is where its rank has it */
    sm_error why = {.code = (*all)[i].code};
    snprintf(why.message, sizeof why.message, "%s", (*all)[i].reason);
    if (!sm_bad_met(book, (*all)[i].index, &why))
      status = sm_fail(err, SM_ENOMEM, "out of memory for the list of bad pictures");
  }
  return status;
}

const sm_bad *sm_bad_listed(const sm_bad_book *book, int64_t *n) {
  *n = book->n_list;
  return book->list;
}

sm_status sm_bad_check(const sm_bad_book *book, int64_t read, double max_bad, sm_error *err) {
  int64_t count = book->count, bad = book->n_list, grace = count < SM_LOADER_GRACE ? count : SM_LOADER_GRACE;
  if (read > count) read = count;
  if ((double)bad <= max_bad * (double)(read > grace ? read : grace)) return SM_OK;
  sm_text first = {0};
  char share[32], most[32];
  for (int64_t i = 0; i < bad && i < NAMED; i++)
    sm_text_add(&first, "%s%s (%s)", i ? ", " : "", book->list[i].name, book->list[i].reason);
  if (bad > NAMED) sm_text_add(&first, ", …");
  sm_fail(err, SM_EFORMAT,
          "%lld of the first %lld pictures (%s) cannot be used, more than max_bad allows (%s): %s",
          (long long)bad, (long long)read, sm_share_text((double)bad, (double)read, share, sizeof share),
          sm_share_text(max_bad, 1, most, sizeof most), first.s ? first.s : "");
  sm_text_free(&first);
  return sm_hint(err, "repair or remove them, or raise data.max_bad (of eval and data pack: --max-bad)");
}
