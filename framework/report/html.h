/* html.h — private to this folder: escaping, pieces of a page. */
#ifndef SMALTI_REPORT_HTML_H
#define SMALTI_REPORT_HTML_H

#include <smalti/base.h>

/* Text with & < > " ' replaced; fit for elements and for quoted attributes, in HTML and in SVG. Control
 * characters that XML does not allow are left out. */
void sm_html_text(sm_text *, const char *);
void sm_html_base64(sm_text *, const void *, size_t);

/* Everything up to and including the page's heading: style, title, mark. */
void sm_html_begin(sm_text *, const char *title, const char *kicker, const char *subtitle);
void sm_html_end(sm_text *);
/* The style of charts alone: what a page has anyway and an SVG file of its own carries with it. */
extern const char sm_chart_style[];

/* A number as people write it: 4 significant digits, "3.2×10⁻⁵", "12 345", "–" for what is not finite. */
char *sm_number_text(double, char *buf, size_t size);

#endif
