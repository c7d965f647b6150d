/* results.h — private to this folder: what the runs of a table gave. */
#ifndef SM_TABLE_RESULTS_H
#define SM_TABLE_RESULTS_H

#include "framework/eval/eval.h"
#include "framework/report/report.h"

#include "table.h"

/* A figure as its runs gave it: what gaps are held against. */
typedef struct sm_table_sample {
  int n; /* seeds */
  int64_t seed[SM_TABLE_SEEDS + 1];
  double value[SM_TABLE_SEEDS + 1];
  double low[SM_TABLE_SEEDS + 1], high[SM_TABLE_SEEDS + 1]; /* 95 % interval over the test pictures, or NaN */
  sm_hits hits[SM_TABLE_SEEDS + 1];                         /* which pictures; hit NULL: not told */
} sm_table_sample;

typedef struct sm_table_value {
  /* over seeds, the deviation that of a sample (n - 1), NaN for fewer than two; mean NaN: not measured */
  double mean, deviation;
  double low, high;       /* 95 % interval over the test pictures where there is one seed, else NaN */
  int n;                  /* seeds it is known for */
} sm_table_value;

typedef struct sm_table_result { /* of one row or dependency */
  const sm_table_run *run;
  int jobs, done; /* seeds wanted, seeds with all evaluations */
  sm_table_value value[SM_TABLE_FIGURES];
  sm_table_sample sample[SM_TABLE_FIGURES];
  const char *protocol[SM_TABLE_FIGURES]; /* of the first seed, or NULL */
  /* 1: the best of the column, 2: the next, each only if the gap to the row that follows is larger than the
   * noise, and the second only behind a best one. 0: neither. */
  int place[SM_TABLE_FIGURES];
  double images_per_s, hours;             /* means over seeds */
  double peak_bytes;                      /* the largest */
} sm_table_result;

typedef struct sm_table_results {
  const sm_table_jobs *jobs;
  sm_arena *arena;
  sm_table_result *row, *dependency;
  int rows, dependencies;
  const char *instead[SM_TABLE_FIGURES]; /* where an evaluation is there without the figure: what it gives,
                                            else NULL */
} sm_table_results;

/* Reads what is there; what is not is NaN. Look at the jobs first. SM_EINVAL, with the place in the table's
 * recipe: a figure that evaluations were to give and that no row has. */
sm_status sm_table_results_read(const sm_table_jobs *, sm_table_results *, sm_error *);
/* Sets the places of a column's rows. Called by sm_table_results_read. */
void sm_table_rank(sm_table_results *, int figure);
/* What ± and bold and underlined figures are, in words. */
void sm_table_say_figures(const sm_table_results *, sm_text *);
/* Whether any row has a published figure for this column. */
bool sm_table_published(const sm_table_results *, int figure);
void sm_table_results_free(sm_table_results *);

/* ---- compare.c: one figure held against the published one ---- */

typedef struct sm_table_gap { /* between rows that follow each other in the published order */
  int better, worse;          /* rows, by the published figures */
  double published, here;     /* better minus worse */
  bool agrees;                /* same sign */
} sm_table_gap;
enum { SM_TABLE_GAPS = 256 };
typedef struct sm_table_comparison {
  int rows;         /* that have both figures */
  double rank;      /* Spearman's rank correlation; NaN for fewer than three rows or where all are equal */
  int pairs, agree; /* pairs of rows with different published figures; of them in the same order here */
  sm_table_gap gap[SM_TABLE_GAPS];
  int gaps;
} sm_table_comparison;
void sm_table_compare(const sm_table_results *, int figure, sm_table_comparison *);
/* Spearman (1904): the linear correlation of the ranks; NaN for fewer than three rows or where all are equal. */
double sm_table_spearman(const double *x, const double *y, int n);

/* ---- noise.c: which gaps are larger than the noise ---- */

typedef enum {
  SM_NOISE_UNKNOWN, /* one seed, and no interval: the gap alone is known                         */
  SM_NOISE_SEEDS,   /* of seeds alone: the figure has no interval over test pictures             */
  SM_NOISE_APART,   /* of seeds, in pairs, where there are several, and of pictures, not in pairs */
  SM_NOISE_PAIRED   /* of pictures, and seeds where there are several, both in pairs             */
} sm_table_noise_kind;
typedef struct sm_table_gap_noise {
  int better, worse;     /* rows */
  double gap, low, high; /* better minus worse, over the seeds that both have, and its 95 % interval; NaN: none */
  sm_table_noise_kind noise;
  int seeds;             /* that both have */
  int64_t pictures;      /* in pairs; 0: none are */
  bool told;             /* the interval does not hold 0 */
} sm_table_gap_noise;
/* The gap between two figures, and how far it would move with other test pictures and seeds; noise.c says how.
 * Rows are the caller's to fill in. */
void sm_table_noise(const sm_table_sample *better, const sm_table_sample *worse, sm_table_gap_noise *);
/* Rows that follow each other in a column, the best first; returns how many pairs, fewer than SM_TABLE_GAPS. */
int sm_table_neighbours(const sm_table_results *, int figure, sm_table_gap_noise list[]);
/* t with P(|T| < t) = 0.95 of Student's distribution; degrees of freedom need not be whole; below 1: as 1. */
double sm_table_student(double freedom);
/* "3 seeds × 1000 pictures, in pairs": what the noise is of. Returns `to`. */
const char *sm_table_noise_text(const sm_table_gap_noise *, char *to, size_t);
/* How the intervals are made, in words. */
#define SM_TABLE_NOISE_ABOUT                                                                                 \
  "Rows that follow each other in a column, and the 95 % interval of the gap between them, with test "       \
  "pictures and seeds as drawn at random; in pairs: the same pictures and seeds on both sides. An interval " \
  "that holds 0 tells nothing apart, and of twenty intervals one misses."

/* ---- correlate.c: what measures without labels say of the rows ---- */

/* Whether a column is of an evaluation that looks at no label. */
bool sm_table_without_labels(const sm_table_results *, int figure);
/* The column that they are held against: the first of k-NN's top-1; -1: there is none. */
int sm_table_reference(const sm_table_results *);
typedef struct sm_table_correlation {
  int rows;      /* that have both figures */
  double rank;   /* Spearman's, as above */
  double chance; /* the share of all orders of the rows that correlate as strongly, either way; of more than eight rows
                    of 20,000 shuffles, always the same */
} sm_table_correlation;
void sm_table_correlate(const sm_table_results *, int figure, int reference, sm_table_correlation *);
/* What they are good for, in words. */
#define SM_TABLE_NO_LABELS "Measures without labels compare checkpoints of one method; across methods they need not follow accuracy."
#define SM_TABLE_FEW_ROWS "With fewer than five rows no correlation can be told from chance."

/* ---- tabular.c ---- */

/* The table itself: label, marks, figures with the published ones, costs. Freed by the caller. */
sm_tabular *sm_table_tabular(const sm_table_results *, bool caption);

/* ---- page.c ---- */

sm_status sm_table_page(const sm_table_results *, const char *path, sm_error *);

#endif
