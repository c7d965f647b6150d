/* results.h — private to this folder: what the runs of a table gave. */
#ifndef SM_TABLE_RESULTS_H
#define SM_TABLE_RESULTS_H

#include "framework/report/report.h"

#include "table.h"

typedef struct sm_table_value {
  double mean, deviation; /* over seeds; deviation NaN for fewer than two; mean NaN: not measured */
  double low, high;       /* 95 % interval over the test pictures where there is one seed, else NaN */
  int n;                  /* seeds it is known for */
} sm_table_value;

typedef struct sm_table_result { /* of one row or dependency */
  const sm_table_run *run;
  int jobs, done; /* seeds wanted, seeds with all evaluations */
  sm_table_value value[SM_TABLE_FIGURES];
  const char *protocol[SM_TABLE_FIGURES]; /* of the first seed, or NULL */
  /* 1: the best of the column, 2: the next; rows share a place whose figures print alike, to a tenth. 0:
   * neither, or no row of the column can be told from the best, since they differ by less than their
   * deviation. */
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
/* What bold and underlined figures are, in words. */
#define SM_TABLE_MARKS "The best figure of a column is bold, the second underlined."
#define SM_TABLE_LEVEL "Where all differ by less than their deviation, none is marked."
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

/* ---- tabular.c ---- */

/* The table itself: label, marks, figures with the published ones, costs. Freed by the caller. */
sm_tabular *sm_table_tabular(const sm_table_results *, bool caption);

/* ---- page.c ---- */

sm_status sm_table_page(const sm_table_results *, const char *path, sm_error *);

#endif
