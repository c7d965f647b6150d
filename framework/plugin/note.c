/* note.c — the ELF note reader.
 *
 * It tells, without mapping or running anything of it, whether a file is a shared object for this machine and
 * which version of the plugin interface it was built for: the dynamic linker would refuse a newer plugin only
 * by the first symbol it does not find. The note is found by its section's name, or, where section headers
 * were stripped, by walking the PT_NOTE segments. Segments and sections must lie inside the file, since
 * mapping a truncated one ends in SIGBUS. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "note.h"

#define NOTE_SECTION ".note.smalti"
#define NOTE_NAME "smalti"
#define NOTE_SEGMENT_LIMIT 65536 /* notes are tens of bytes; a longer segment is not walked to its end */

#if UINTPTR_MAX > UINT32_MAX
#define NATIVE_CLASS ELFCLASS64
#else
#define NATIVE_CLASS ELFCLASS32
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE_DATA ELFDATA2LSB
#else
#define NATIVE_DATA ELFDATA2MSB
#endif
#if defined(__x86_64__)
#define NATIVE_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define NATIVE_MACHINE EM_AARCH64
#elif defined(__riscv)
#define NATIVE_MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define NATIVE_MACHINE EM_PPC64
#elif defined(__i386__)
#define NATIVE_MACHINE EM_386
#elif defined(__arm__)
#define NATIVE_MACHINE EM_ARM
#else
#define NATIVE_MACHINE EM_NONE /* not known here: left to the dynamic linker */
#endif

static const struct {
  int machine;
  const char *name;
} machines[] = {
    {EM_X86_64, "x86-64"}, {EM_AARCH64, "AArch64"}, {EM_RISCV, "RISC-V"}, {EM_PPC64, "POWER"},
    {EM_386, "i386"},      {EM_ARM, "ARM"},         {EM_S390, "S/390"},   {EM_MIPS, "MIPS"},
};

typedef struct elf_file {
  int fd;
  uint64_t size;
  ElfW(Ehdr) head;
} elf_file;

static const char *machine_name(int machine, char *buf, size_t size) {
  for (size_t k = 0; k < sizeof machines / sizeof *machines; k++)
    if (machines[k].machine == machine) return machines[k].name;
  snprintf(buf, size, "machine number %d", machine);
  return buf;
}

static bool inside(const elf_file *f, uint64_t offset, uint64_t bytes) {
  return offset <= f->size && bytes <= f->size - offset;
}

/* All of [offset, offset + bytes) or false: beyond the end, or unreadable. */
static bool read_at(const elf_file *f, uint64_t offset, void *to, size_t bytes) {
  if (!inside(f, offset, bytes)) return false;
  for (size_t done = 0; done < bytes;) {
    ssize_t got = pread(f->fd, (char *)to + done, bytes - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += (size_t)got;
  }
  return true;
}

/* ---- the header: a shared object for this machine? ------------------------------------------------- */

static sm_status truncated(const char *what, sm_error *err) {
  sm_fail(err, SM_EFORMAT, "the file is damaged: %s beyond its end", what);
  return sm_hint(err, "build or copy the plugin again");
}

static sm_status check_ident(const unsigned char *id, sm_error *err) {
  if (memcmp(id, ELFMAG, SELFMAG) != 0) {
    sm_fail(err, SM_EFORMAT, "not a shared object (no ELF header)");
    return sm_hint(err, "a plugin is the .so file that the compiler makes of its source");
  }
  if (id[EI_CLASS] != ELFCLASS32 && id[EI_CLASS] != ELFCLASS64)
    return sm_fail(err, SM_EFORMAT, "the file is damaged: ELF class %d", id[EI_CLASS]);
  if (id[EI_CLASS] != NATIVE_CLASS) {
    sm_fail(err, SM_EUNSUPPORTED, "the plugin is built for %d-bit machines, this smalti for %d-bit ones",
            id[EI_CLASS] == ELFCLASS32 ? 32 : 64, NATIVE_CLASS == ELFCLASS32 ? 32 : 64);
    return sm_hint(err, "build the plugin on this machine");
  }
  if (id[EI_DATA] != NATIVE_DATA) {
    sm_fail(err, SM_EUNSUPPORTED, "the plugin is built for the other byte order");
    return sm_hint(err, "build the plugin on this machine");
  }
  return SM_OK;
}

static sm_status read_header(elf_file *f, sm_error *err) {
  unsigned char id[EI_NIDENT] = {0};
  struct stat st;
  if (fstat(f->fd, &st) != 0) return sm_fail(err, SM_EIO, "cannot look at the file: %s", strerror(errno));
  f->size = (uint64_t)st.st_size;
  if (f->size == 0) return sm_fail(err, SM_EFORMAT, "the file is empty");
  if (!read_at(f, 0, id, f->size < sizeof id ? (size_t)f->size : sizeof id))
    return sm_fail(err, SM_EIO, "cannot read the file");
  sm_status status = check_ident(id, err);
  if (status != SM_OK) return status;
  if (!read_at(f, 0, &f->head, sizeof f->head)) return truncated("the ELF header ends", err);
  if (NATIVE_MACHINE != EM_NONE && f->head.e_machine != NATIVE_MACHINE) {
    char theirs[32], ours[32];
    sm_fail(err, SM_EUNSUPPORTED, "the plugin is built for %s, this smalti for %s",
            machine_name(f->head.e_machine, theirs, sizeof theirs),
            machine_name(NATIVE_MACHINE, ours, sizeof ours));
    return sm_hint(err, "build the plugin on this machine");
  }
  if (f->head.e_type != ET_DYN) {
    sm_fail(err, SM_EFORMAT, "an ELF file, but %s and not a shared object",
            f->head.e_type == ET_REL    ? "an object file (.o)"
            : f->head.e_type == ET_EXEC ? "a program"
                                        : "something else");
    return sm_hint(err, "link it with -shared");
  }
  return SM_OK;
}

/* ---- notes ----------------------------------------------------------------------------------------- */

static uint64_t padded(uint64_t n) { return (n + 3) & ~(uint64_t)3; }

/* Walk the notes in [offset, offset + bytes). found: 1 ours, 0 none, -1 ours but too short. */
static int walk_notes(const elf_file *f, uint64_t offset, uint64_t bytes, sm_abi_note *note) {
  if (bytes > NOTE_SEGMENT_LIMIT) bytes = NOTE_SEGMENT_LIMIT;
  while (bytes >= 12) {
    uint32_t head[3]; /* name size, description size, type */
    char name[8] = "";
    if (!read_at(f, offset, head, sizeof head)) return 0;
    uint64_t whole = 12 + padded(head[0]) + padded(head[1]);
    bool ours = (head[0] == sizeof name || head[0] == sizeof NOTE_NAME) && whole <= bytes &&
                read_at(f, offset + 12, name, head[0]) && memcmp(name, NOTE_NAME, sizeof NOTE_NAME) == 0;
    if (ours && head[2] == 1) {
      size_t place = 12 + (size_t)padded(head[0]);
      memset(note, 0, sizeof *note);
      if (head[1] < 16) return -1;
      note->name_size = head[0], note->desc_size = head[1], note->type = head[2];
      memcpy(note->name, NOTE_NAME, sizeof NOTE_NAME);
      return read_at(f, offset + place, &note->magic, 16) ? 1 : -1;
    }
    if (whole > bytes) return 0;
    offset += whole;
    bytes -= whole;
  }
  return 0;
}

/* The section called .note.smalti. 0 also where there are no section headers. */
static int note_by_section(const elf_file *f, sm_abi_note *note) {
  const ElfW(Ehdr) *h = &f->head;
  ElfW(Shdr) s, names;
  char name[sizeof NOTE_SECTION];
  if (h->e_shoff == 0 || h->e_shentsize != sizeof s || h->e_shstrndx >= h->e_shnum) return 0;
  if (!inside(f, h->e_shoff, (uint64_t)h->e_shnum * sizeof s)) return 0;
  if (!read_at(f, h->e_shoff + (uint64_t)h->e_shstrndx * sizeof s, &names, sizeof names)) return 0;
  for (unsigned k = 0; k < h->e_shnum; k++) {
    if (!read_at(f, h->e_shoff + (uint64_t)k * sizeof s, &s, sizeof s)) return 0;
    if (s.sh_name > names.sh_size || names.sh_size - s.sh_name < sizeof name) continue;
    if (!inside(f, names.sh_offset, names.sh_size) ||
        !read_at(f, names.sh_offset + s.sh_name, name, sizeof name))
      continue;
    if (memcmp(name, NOTE_SECTION, sizeof name) != 0 || s.sh_type == SHT_NOBITS) continue;
    int found = inside(f, s.sh_offset, s.sh_size) ? walk_notes(f, s.sh_offset, s.sh_size, note) : -1;
    return found ? found : -1; /* a section of this name without the note is damage */
  }
  return 0;
}

/* Segments inside the file? And the note, where no section gave it. */
static sm_status read_segments(const elf_file *f, int *found, sm_abi_note *note, sm_error *err) {
  const ElfW(Ehdr) *h = &f->head;
  ElfW(Phdr) p;
  if (h->e_phnum == 0 || h->e_phentsize != sizeof p)
    return sm_fail(err, SM_EFORMAT, "the file is damaged: it has no program headers that can be read");
  for (unsigned k = 0; k < h->e_phnum; k++) {
    if (!inside(f, h->e_phoff, (uint64_t)h->e_phnum * sizeof p) ||
        !read_at(f, h->e_phoff + (uint64_t)k * sizeof p, &p, sizeof p))
      return truncated("its program headers lie", err);
    if (p.p_type == PT_LOAD && !inside(f, p.p_offset, p.p_filesz)) return truncated("a segment lies", err);
    if (p.p_type == PT_NOTE && !*found && inside(f, p.p_offset, p.p_filesz))
      *found = walk_notes(f, p.p_offset, p.p_filesz, note);
  }
  return SM_OK;
}

sm_status sm_note_read(int fd, sm_abi_note *note, sm_error *err) {
  elf_file f = {.fd = fd};
  memset(note, 0, sizeof *note);
  sm_status status = read_header(&f, err);
  if (status != SM_OK) return status;
  int found = note_by_section(&f, note);
  status = read_segments(&f, &found, note, err);
  if (status != SM_OK) return status;
  if (found < 0) {
    sm_fail(err, SM_EFORMAT, "the version note (section %s) is damaged", NOTE_SECTION);
    return sm_hint(err, "build the plugin again");
  }
  if (!found) {
    sm_fail(err, SM_EFORMAT, "a shared object, but not a smalti plugin: it has no version note (section %s)",
            NOTE_SECTION);
    return sm_hint(err, "a plugin's source ends with SM_MODULE(&PLUGIN), which writes the note");
  }
  return SM_OK;
}

/* ---- comparing ------------------------------------------------------------------------------------- */

static sm_status compare(const sm_abi_note *note, sm_error *err) {
  if (note->magic != SM_ABI_MAGIC) {
    sm_fail(err, SM_EFORMAT, "the version note has the magic number 0x%08x, not 0x%08x", note->magic,
            SM_ABI_MAGIC);
    return sm_hint(err, "build the plugin again");
  }
  if (note->major != SM_ABI_MAJOR || note->minor != SM_ABI_MINOR) {
    bool newer = note->major > SM_ABI_MAJOR || (note->major == SM_ABI_MAJOR && note->minor > SM_ABI_MINOR);
    sm_fail(err, SM_EUNSUPPORTED,
            "the plugin is built for plugin interface %u.%u, this smalti (%s) has %d.%d", note->major,
            note->minor, sm_version(), SM_ABI_MAJOR, SM_ABI_MINOR);
    return newer ? sm_hint(err, "this smalti is the older one: update it, or build the plugin against it")
                 : sm_hint(err, "the plugin is the older one: build it again against this smalti");
  }
  if (note->pointer != sizeof(void *))
    return sm_fail(err, SM_EUNSUPPORTED,
                   "the plugin is built with pointers of %u bytes, this smalti with %zu", note->pointer,
                   sizeof(void *));
  return SM_OK;
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
  } else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    status = sm_fail(err, SM_EINVAL, "not a regular file");
    sm_hint(err, "give the .so file of a plugin");
  } else {
    status = sm_note_read(fd, &note, err);
    if (status == SM_OK) status = compare(&note, err);
  }
  if (fd >= 0) close(fd);
  if (status != SM_OK) sm_fail_at(err, file, 0, 0);
  return status;
}
