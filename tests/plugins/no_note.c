/* no_note.c — a shared object without smalti's note. */
int answer(void);
int answer(void) { return 42; }
