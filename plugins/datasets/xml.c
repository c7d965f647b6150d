/* xml.c — see xml.h. */
#include "xml.h"

#include <string.h>

sm_status xml_fail(const xml *x, sm_error *err, const char *fmt, ...) {
  char what[400];
  va_list list;
  va_start(list, fmt);
  vsnprintf(what, sizeof what, fmt, list);
  va_end(list);
  sm_fail(err, SM_EFORMAT, "%s", what);
  sm_fail_at(err, x->file, x->line, 0);
  return SM_EFORMAT;
}

/* ---- characters ---------------------------------------------------------------------------------------- */

static bool xml_is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool xml_is_name(char c, bool first) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || (c & 0x80);
  return letter || (!first && ((c >= '0' && c <= '9') || c == '-' || c == '.'));
}

static void xml_step(xml *x) { x->line += *x->at++ == '\n'; }

static void xml_blanks(xml *x) {
  while (xml_is_blank(*x->at)) xml_step(x);
}

/* Passes over everything up to and with `end`; a copy of what is passed goes to the text where `keep` is set. */
static sm_status xml_pass(xml *x, const char *what, const char *end, bool keep, sm_error *err) {
  const char *found = strstr(x->at, end);
  if (!found) return xml_fail(x, err, "%s does not end", what);
  while (x->at < found) {
    if (keep) *x->text_end++ = *x->at;
    xml_step(x);
  }
  x->at += strlen(end);
  return SM_OK;
}

static sm_status xml_name(xml *x, const char *of, char name[XML_NAME], sm_error *err) {
  size_t n = 0;
  while (xml_is_name(x->at[n], n == 0)) n++;
  if (!n) return xml_fail(x, err, "%s has no name", of);
  if (n >= XML_NAME) return xml_fail(x, err, "%s has a name of %zu bytes; %d are read", of, n, XML_NAME - 1);
  memcpy(name, x->at, n);
  name[n] = 0;
  x->at += n;
  return SM_OK;
}

/* ---- entities ------------------------------------------------------------------------------------------ */

static void xml_put(xml *x, uint32_t c) {
  char *to = x->text_end;
  if (c < 0x80) *to++ = (char)c;
  else if (c < 0x800) *to++ = (char)(0xc0 | c >> 6);
  else if (c < 0x10000) *to++ = (char)(0xe0 | c >> 12);
  else *to++ = (char)(0xf0 | c >> 18), *to++ = (char)(0x80 | (c >> 12 & 63));
  if (c >= 0x800) *to++ = (char)(0x80 | (c >> 6 & 63));
  if (c >= 0x80) *to++ = (char)(0x80 | (c & 63));
  x->text_end = to;
}

/* "&#38;", "&#x26;": at most seven digits; the shortest way to write a character is never shorter than its UTF-8. */
static bool xml_number(const char *s, size_t n, uint32_t *c) {
  const bool hex = n > 1 && s[1] == 'x';
  const size_t first = hex ? 2 : 1;
  *c = 0;
  if (n <= first || n - first > 7) return false;
  for (size_t i = first; i < n; i++) {
    const char d = s[i];
    const int value = d >= '0' && d <= '9'          ? d - '0'
                      : hex && d >= 'a' && d <= 'f' ? d - 'a' + 10
                      : hex && d >= 'A' && d <= 'F' ? d - 'A' + 10
                                                    : -1;
    if (value < 0) return false;
    *c = *c * (hex ? 16 : 10) + (uint32_t)value;
  }
  return *c > 0 && *c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff);
}

static sm_status xml_entity(xml *x, sm_error *err) {
  static const char *const names[] = {"lt", "gt", "amp", "quot", "apos"};
  static const char values[] = "<>&\"'";
  const char *s = x->at + 1;
  const size_t n = strcspn(s, ";<& \t\r\n");
  uint32_t c = 0;
  bool known = s[n] == ';' && s[0] == '#' && xml_number(s, n, &c);
  for (size_t i = 0; i < 5 && !known; i++)
    if (s[n] == ';' && strlen(names[i]) == n && !strncmp(s, names[i], n)) known = true, c = (uint32_t)values[i];
  if (!known) {
    xml_fail(x, err, "'&%.*s' is none of XML's own entities", (int)(n < 40 ? n + (s[n] == ';') : 40), s);
    return sm_hint(err, "&lt; &gt; &amp; &quot; &apos; and characters by number are read; write & as &amp;");
  }
  xml_put(x, c);
  x->at += n + 2;
  return SM_OK;
}

/* ---- tags ---------------------------------------------------------------------------------------------- */

static sm_status xml_attributes(xml *x, const char *name, sm_error *err) {
  char attribute[XML_NAME];
  for (;;) {
    const bool apart = xml_is_blank(*x->at);
    xml_blanks(x);
    if (*x->at == '>' || *x->at == '/' || !*x->at) return SM_OK;
    if (!apart) return xml_fail(x, err, "the tag <%s holds '%c', which is no part of a tag", name, *x->at);
    sm_status status = xml_name(x, "an attribute", attribute, err);
    if (status) return status;
    xml_blanks(x);
    if (*x->at != '=') return xml_fail(x, err, "attribute '%s' of <%s> has no value", attribute, name);
    x->at++;
    xml_blanks(x);
    const char quote = *x->at;
    if (quote != '"' && quote != '\'')
      return xml_fail(x, err, "the value of attribute '%s' of <%s> is not in quotes", attribute, name);
    for (x->at++; *x->at && *x->at != quote && *x->at != '<';) xml_step(x);
    if (*x->at != quote) return xml_fail(x, err, "the value of attribute '%s' of <%s> does not end", attribute, name);
    x->at++;
  }
}

static sm_status xml_open(xml *x, sm_error *err) {
  char name[XML_NAME];
  if (x->ended) return xml_fail(x, err, "a second element stands behind the first");
  if (x->depth == XML_DEPTH) return xml_fail(x, err, "elements stand more than %d deep in each other", XML_DEPTH);
  x->opened[x->depth + 1] = x->line;
  x->at++;
  sm_status status = xml_name(x, "a tag", name, err);
  if (!status) status = xml_attributes(x, name, err);
  if (status) return status;
  if (*x->at == '/') x->empty = true, x->at++;
  if (*x->at != '>') return xml_fail(x, err, "the tag <%s does not end", name);
  x->at++;
  const size_t n = x->length[x->depth++];
  x->length[x->depth] = n + (size_t)snprintf(x->path + n, sizeof x->path - n, "%s%s", n ? "/" : "", name);
  x->text = x->text_end = x->at;
  return SM_OK;
}

/* Blanks around the text go; the zero behind it lies at or before the tag that ended it, which is read by now. */
static void xml_trim(xml *x) {
  while (x->text < x->text_end && xml_is_blank(*x->text)) x->text++;
  while (x->text < x->text_end && xml_is_blank(x->text_end[-1])) x->text_end--;
  *x->text_end = 0;
  x->closed = true;
  x->ended = x->depth == 1;
}

static sm_status xml_close(xml *x, sm_error *err) {
  char name[XML_NAME];
  x->at += 2;
  sm_status status = xml_name(x, "a closing tag", name, err);
  if (status) return status;
  const size_t before = x->depth ? x->length[x->depth - 1] : 0;
  const char *open = x->path + before + (before > 0);
  if (!x->depth) return xml_fail(x, err, "</%s> closes nothing", name);
  if (strcmp(open, name) != 0)
    return xml_fail(x, err, "</%s> stands where <%s> of line %d should be closed", name, open, x->opened[x->depth]);
  xml_blanks(x);
  if (*x->at != '>') return xml_fail(x, err, "the tag </%s does not end", name);
  x->at++;
  xml_trim(x);
  return SM_OK;
}

/* ---- all ----------------------------------------------------------------------------------------------- */

/* What begins with "<!" or "<?". */
static sm_status xml_aside(xml *x, sm_error *err) {
  static const char comment[] = "<!--", data[] = "<![CDATA[";
  if (x->at[1] == '?') return xml_pass(x, "an instruction (<?)", "?>", false, err);
  if (!strncmp(x->at, comment, sizeof comment - 1)) {
    x->at += sizeof comment - 1;
    return xml_pass(x, "a comment (<!--)", "-->", false, err);
  }
  if (x->depth && !strncmp(x->at, data, sizeof data - 1)) {
    x->at += sizeof data - 1;
    return xml_pass(x, "a text in <![CDATA[", "]]>", true, err);
  }
  xml_fail(x, err, "'%.*s' is not read", (int)strcspn(x->at, " [>\r\n\t") < 20 ? (int)strcspn(x->at, " [>\r\n\t") : 20,
           x->at);
  return sm_hint(err, "annotations need no document type; take the line out");
}

/* One character of text. */
static sm_status xml_character(xml *x, sm_error *err) {
  if (!x->depth && !xml_is_blank(*x->at))
    return xml_fail(x, err, "'%.20s' stands %s", x->at, x->ended ? "behind the last tag" : "before the first tag");
  if (x->depth && *x->at == '&') return xml_entity(x, err);
  if (x->depth) *x->text_end++ = *x->at;
  xml_step(x);
  return SM_OK;
}

static sm_status xml_finish(const xml *x, xml_event *event, sm_error *err) {
  *event = XML_END;
  if (x->depth) return xml_fail(x, err, "the file ends before <%s> of line %d is closed",
                                x->path + x->length[x->depth - 1] + (x->depth > 1), x->opened[x->depth]);
  return x->ended ? SM_OK : xml_fail(x, err, "the file holds no element");
}

sm_status xml_next(xml *x, xml_event *event, sm_error *err) {
  sm_status status = SM_OK;
  if (x->closed) {
    x->path[x->length[--x->depth]] = 0;
    x->text = x->text_end = x->at;
    x->closed = false;
  }
  if (x->empty) {
    x->empty = false;
    x->text = x->text_end = x->at - 1; /* its '>' has been read */
    xml_trim(x);
    *event = XML_CLOSE;
    return SM_OK;
  }
  while (!status && *x->at) {
    if (*x->at != '<') status = xml_character(x, err);
    else if (x->at[1] == '!' || x->at[1] == '?') status = xml_aside(x, err);
    else if (x->at[1] == '/') return *event = XML_CLOSE, xml_close(x, err);
    else return *event = XML_OPEN, xml_open(x, err);
  }
  return status ? status : xml_finish(x, event, err);
}
