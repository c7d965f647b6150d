/* csv.h — rows of a text or CSV file, after RFC 4180: fields in double quotes may hold delimiters, line ends, and
 * quotes written twice. Fields are ended by a zero in the text itself, which the caller owns. */
#ifndef SMALTI_PLUGIN_CSV_H
#define SMALTI_PLUGIN_CSV_H

#include <smalti/base.h>

#include <string.h>

enum { CSV_COLUMNS = 256 };

typedef struct csv {
  const char *file; /* for messages */
  char *at;         /* what is not read yet, ended by a zero */
  int line;         /* of `at`, from 1 */
  char delimiter;   /* ' ' stands for any run of blanks and tabs */
} csv;

typedef struct csv_row {
  int line, n; /* n 0: there are no more */
  char *field[CSV_COLUMNS];
} csv_row;

static inline sm_status csv_fail(const csv *c, int line, sm_error *err, const char *what,
                                 const char *remedy) {
  sm_fail(err, SM_EFORMAT, "%s", what);
  sm_hint(err, "%s", remedy);
  return sm_fail_at(err, c->file, line, 0);
}

/* A whole text file of at most so many bytes, behind its byte order mark if it has one. *text is the caller's, to
 * be freed with sm_free in any case. */
static inline sm_status csv_open(csv *c, const char *file, size_t most, char **text, sm_error *err) {
  size_t bytes;
  sm_status status = sm_file_get(file, most, text, &bytes, err);
  if (status) return status;
  if (strlen(*text) != bytes) {
    sm_fail(err, SM_EFORMAT, "%s is not a text file: it holds a zero byte", file);
    return sm_hint(err, "save it as UTF-8 text");
  }
  *c = (csv){.file = file, .at = *text + (strncmp(*text, "\xef\xbb\xbf", 3) ? 0 : 3), .line = 1};
  return SM_OK;
}

static inline bool csv_is_blank(char c) { return c == ' ' || c == '\t'; }

static inline bool csv_ends_field(const csv *c, char at) {
  return !at || at == '\n' || at == '\r' || (c->delimiter == ' ' ? csv_is_blank(at) : at == c->delimiter);
}

static inline void csv_skip_blanks(csv *c) {
  while (c->delimiter == ' ' && csv_is_blank(*c->at)) c->at++;
}

/* The field that begins at c->at; afterwards c->at is at what ended it. */
static inline sm_status csv_field(csv *c, char **field, char **end, sm_error *err) {
  const int line = c->line;
  char *to = *field = c->at;
  if (*c->at != '"') {
    while (!csv_ends_field(c, *c->at)) c->at++;
    *end = c->at;
    return SM_OK;
  }
  for (c->at++; *c->at != '"' || c->at[1] == '"'; *to++ = *c->at++) {
    if (!*c->at)
      return csv_fail(c, line, err, "a quote is not closed", "close it, or write a quote in a field twice");
    if (*c->at == '\n') c->line++;
    if (*c->at == '"') c->at++;
  }
  c->at++;
  *end = to;
  if (csv_ends_field(c, *c->at)) return SM_OK;
  return csv_fail(c, c->line, err, "something stands behind a closing quote",
                  "quote the whole field, and write a quote in it twice");
}

/* Passes over a line end; false: there is none. */
static inline bool csv_line_end(csv *c) {
  if (*c->at != '\n' && *c->at != '\r') return false;
  if (c->at[0] == '\r' && c->at[1] == '\n') c->at++;
  c->at++;
  c->line++;
  return true;
}

/* The next row that is not empty. */
static inline sm_status csv_next(csv *c, csv_row *row, sm_error *err) {
  row->n = 0;
  do csv_skip_blanks(c);
  while (csv_line_end(c));
  row->line = c->line;
  while (*c->at) {
    char *end = NULL, ended;
    if (row->n == CSV_COLUMNS)
      return csv_fail(c, row->line, err, "more than 256 columns", "say which delimiter the file has");
    sm_status status = csv_field(c, &row->field[row->n++], &end, err);
    if (status) return status;
    csv_skip_blanks(c);
    ended = *c->at;
    const bool last = csv_line_end(c) || !ended;
    if (!last && c->delimiter != ' ') c->at++;
    *end = 0;
    if (last) break;
    if (!*c->at && row->n < CSV_COLUMNS) row->field[row->n++] = c->at; /* an empty last field */
  }
  return SM_OK;
}

#endif
