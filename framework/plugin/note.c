/* note.c — the ELF note reader.
 *
 * It tells, without mapping or running anything of it, whether a file is a shared object for this machine and
 * which version of the plugin interface it was built for: the dynamic linker would refuse a newer plugin only
 * by the first symbol it does not find. Every segment must lie inside the file, since mapping a truncated one
 * ends in SIGBUS; every offset is checked before it is read. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "note.h"

#define NOTE_NAME "smalti"
#define NOTE_SEGMENT_LIMIT 65536 /* notes are tens of bytes; a longer segment is not walked to its end */

typedef struct elf_file {
  int fd;
  int code; /* errno of the read that failed, 0: none did */
  uint64_t size;
  ElfW(Ehdr) head;
} elf_file;

static bool note_inside(const elf_file *f, uint64_t offset, uint64_t bytes) {
  return offset <= f->size && bytes <= f->size - offset;
}

/* All of [offset, offset + bytes) or false: beyond the end, or unreadable. */
static bool note_read_at(elf_file *f, uint64_t offset, void *to, size_t bytes) {
  if (!note_inside(f, offset, bytes)) return false;
  for (size_t done = 0; done < bytes;) {
    ssize_t got = pread(f->fd, (char *)to + done, bytes - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) f->code = errno;
    if (got <= 0) return false;
    done += (size_t)got;
  }
  return true;
}

static sm_status note_truncated(const char *what, sm_error *err) {
  sm_fail(err, SM_EFORMAT, "the file is damaged: %s beyond its end", what);
  return sm_hint(err, "build or copy the plugin again");
}

/* ---- the header: a shared object for this machine? ------------------------------------------------- */

/* This program's own header says which class, byte order and machine a plugin must have. */
static sm_status note_check_machine(const ElfW(Ehdr) *theirs, sm_error *err) {
  Dl_info info;
  ElfW(Ehdr) ours;
  if (!dladdr(&sm_core_identity, &info) || !info.dli_fbase) return SM_OK; /* left to the dynamic linker */
  memcpy(&ours, info.dli_fbase, sizeof ours);
  bool same = memcmp(&theirs->e_ident[EI_CLASS], &ours.e_ident[EI_CLASS], 2) == 0;
  if (same && theirs->e_machine == ours.e_machine) return SM_OK;
  if (same)
    sm_fail(err, SM_EUNSUPPORTED,
            "the plugin is built for another machine: ELF machine %d, and this smalti for %d",
            theirs->e_machine, ours.e_machine);
  else
    sm_fail(err, SM_EUNSUPPORTED,
            "the plugin is built for another machine: it differs in word size or byte order");
  return sm_hint(err, "build the plugin on this machine");
}

static sm_status note_read_header(elf_file *f, sm_error *err) {
  struct stat st;
  if (fstat(f->fd, &st) != 0) return sm_fail(err, SM_EIO, "cannot look at the file: %s", strerror(errno));
  f->size = (uint64_t)st.st_size;
  if (f->size == 0) return sm_fail(err, SM_EFORMAT, "the file is empty");
  size_t bytes = f->size < sizeof f->head ? (size_t)f->size : sizeof f->head;
  if (!note_read_at(f, 0, &f->head, bytes)) return sm_fail(err, SM_EIO, "cannot read the file");
  if (memcmp(f->head.e_ident, ELFMAG, SELFMAG) != 0) {
    sm_fail(err, SM_EFORMAT, "not a shared object (no ELF header)");
    return sm_hint(err, "a plugin is the .so file that the compiler makes of its source");
  }
  if (bytes < sizeof f->head) return note_truncated("the ELF header ends", err);
  sm_status status = note_check_machine(&f->head, err);
  if (status || f->head.e_type == ET_DYN) return status;
  sm_fail(err, SM_EFORMAT, "an ELF file, but not a shared object");
  return sm_hint(err, "link it with -shared");
}

/* ---- notes ----------------------------------------------------------------------------------------- */

static uint64_t note_padded(uint64_t n) { return (n + 3) & ~(uint64_t)3; }

/* Walk the notes in [offset, offset + bytes): is one called like ours among them, whole and of our length? */
static bool note_walk(elf_file *f, uint64_t offset, uint64_t bytes, sm_abi_note *note) {
  const uint32_t head = 3 * sizeof(uint32_t);
  if (bytes > NOTE_SEGMENT_LIMIT) bytes = NOTE_SEGMENT_LIMIT;
  while (bytes >= head && note_read_at(f, offset, note, head)) {
    uint64_t whole = head + note_padded(note->name_size) + note_padded(note->desc_size);
    if (whole > bytes) return false;
    bool readable = whole == sizeof *note && note->name_size <= sizeof note->name;
    if (readable && note_read_at(f, offset, note, sizeof *note) &&
        memcmp(note->name, NOTE_NAME, sizeof NOTE_NAME) == 0)
      return true;
    offset += whole;
    bytes -= whole;
  }
  return false;
}

static sm_status note_read_segments(elf_file *f, bool *found, sm_abi_note *note, sm_error *err) {
  const ElfW(Ehdr) *h = &f->head;
  ElfW(Phdr) p;
  if (h->e_phnum == 0 || h->e_phentsize != sizeof p)
    return sm_fail(err, SM_EFORMAT, "the file is damaged: it has no program headers that can be read");
  for (unsigned k = 0; k < h->e_phnum; k++) {
    if (!note_inside(f, h->e_phoff, (uint64_t)h->e_phnum * sizeof p) ||
        !note_read_at(f, h->e_phoff + (uint64_t)k * sizeof p, &p, sizeof p))
      return note_truncated("its program headers lie", err);
    if (p.p_type == PT_LOAD && !note_inside(f, p.p_offset, p.p_filesz))
      return note_truncated("a segment lies", err);
    if (p.p_type == PT_NOTE && !*found && note_inside(f, p.p_offset, p.p_filesz))
      *found = note_walk(f, p.p_offset, p.p_filesz, note);
  }
  return SM_OK;
}

sm_status sm_note_read(int fd, sm_abi_note *note, sm_error *err) {
  elf_file f = {.fd = fd};
  bool found = false;
  sm_status status = note_read_header(&f, err);
  if (!status) status = note_read_segments(&f, &found, note, err);
  if (f.code) {
    if (err) sm_error_clear(err);
    return sm_fail(err, SM_EIO, "cannot read the plugin: %s", strerror(f.code));
  }
  if (status || found) return status;
  sm_fail(err, SM_EFORMAT,
          "a shared object, but not a smalti plugin: it has no version note (section .note.smalti)");
  return sm_hint(err,
                 "a plugin's source ends with SM_MODULE(&PLUGIN), which writes the note; build it again");
}

/* ---- comparing ------------------------------------------------------------------------------------- */

static sm_status note_compare(const sm_abi_note *note, sm_error *err) {
  if (note->major == SM_ABI_MAJOR && note->minor == SM_ABI_MINOR) return SM_OK;
  bool newer = note->major > SM_ABI_MAJOR || (note->major == SM_ABI_MAJOR && note->minor > SM_ABI_MINOR);
  sm_fail(err, SM_EUNSUPPORTED, "the plugin is built for plugin interface %u.%u, this smalti (%s) has %d.%d",
          note->major, note->minor, sm_version(), SM_ABI_MAJOR, SM_ABI_MINOR);
  return newer ? sm_hint(err, "this smalti is the older one: update it, or build the plugin against it")
               : sm_hint(err, "the plugin is the older one: build it again against this smalti");
}

sm_status sm_note_check(const char *file, sm_error *err) {
  sm_abi_note note;
  struct stat st;
  sm_status status;
  int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not make us wait */
  if (fd < 0) {
    int code = errno;
    status =
        sm_fail(err, code == ENOENT ? SM_ENOTFOUND : SM_EIO, "cannot open the plugin: %s", strerror(code));
  } else if (fstat(fd, &st) != 0) {
    status = sm_fail(err, SM_EIO, "cannot look at the plugin: %s", strerror(errno));
  } else if (!S_ISREG(st.st_mode)) {
    status = sm_fail(err, SM_EINVAL, "not a regular file");
    sm_hint(err, "give the .so file of a plugin");
  } else {
    status = sm_note_read(fd, &note, err);
    if (!status) status = note_compare(&note, err);
  }
  if (fd >= 0) close(fd);
  if (status) sm_fail_at(err, file, 0, 0);
  return status;
}
