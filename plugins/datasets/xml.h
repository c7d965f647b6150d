/* xml.h — for the dataset `voc`: tags and texts of a small XML file, one by one.
 *
 * What annotations need and no more: elements, attributes (checked and passed over), comments, CDATA, the five entities of
 * XML itself and characters by number. A document type is refused, and with it entities that a file defines, which
 * could name other files or grow without end. Texts are put together in the file's own memory, which the caller owns. */
#ifndef SMALTI_PLUGIN_XML_H
#define SMALTI_PLUGIN_XML_H

#include <smalti/base.h>

enum { XML_DEPTH = 32, XML_NAME = 64 }; /* levels; bytes of a name, with the zero */

typedef enum { XML_OPEN, XML_CLOSE, XML_END } xml_event;

/* Set `file`, `at` and `line` 1 before the first call; all else is zero. */
typedef struct xml {
  const char *file; /* for messages */
  char *at;         /* what is not read yet, ended by a zero */
  int line;         /* of `at` */
  int depth;
  int opened[XML_DEPTH + 1];                /* line of each open element's tag */
  size_t length[XML_DEPTH + 1];             /* of the path down to it */
  char path[XML_DEPTH * (XML_NAME + 1) + 1]; /* names of what is open, "annotation/object/name" */
  char *text;     /* at XML_CLOSE: what stands before the tag since the last one, without blanks around it */
  char *text_end;
  bool empty, closed, ended; /* <a/>: its close is next; the path's last name goes; the root is closed */
} xml;

/* The next opening tag, closing tag, or the end. At XML_CLOSE `path` still names what is closed. SM_EFORMAT, with the
 * line. */
sm_status xml_next(xml *, xml_event *, sm_error *);
/* Says what is wrong in the line that is being read. */
sm_status xml_fail(const xml *, sm_error *, const char *fmt, ...) SM_PRINTF(3, 4);

#endif
