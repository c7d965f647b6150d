/* imports.c — which functions a module takes from libsmalti, before anything of it is bound.
 *
 * libsmalti exports two versions (framework/exports.awk): the functions that public headers declare, and the
 * rest, which the program needs and which changes without notice. A module that asks for a function of the
 * rest is refused by name; the few public tables of data are in it too, and are let pass. The tables here are
 * those that the dynamic linker reads; each offset is checked before it is read, and a file without section
 * headers has nothing to look at. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "note.h"

#define PRIVATE "SMALTI_PRIVATE"

typedef struct image {
  const char *at;
  uint64_t size;
} image;

static bool imports_get(const image *f, uint64_t offset, void *to, size_t n) {
  if (offset > f->size || n > f->size - offset) return false;
  memcpy(to, f->at + offset, n);
  return true;
}

/* The first section of a type, and the one that it links to. */
static bool imports_section(const image *f, uint32_t type, ElfW(Shdr) * found, ElfW(Shdr) * linked) {
  ElfW(Ehdr) h;
  if (!imports_get(f, 0, &h, sizeof h) || !h.e_shoff || h.e_shentsize != sizeof *found) return false;
  for (unsigned k = 0; k < h.e_shnum; k++) {
    if (!imports_get(f, h.e_shoff + (uint64_t)k * sizeof *found, found, sizeof *found)) return false;
    if (found->sh_type != type) continue;
    return imports_get(f, h.e_shoff + (uint64_t)found->sh_link * sizeof *linked, linked, sizeof *linked);
  }
  return false;
}

/* A text of a string table, NULL if it does not end inside. */
static const char *imports_text(const image *f, const ElfW(Shdr) * table, uint64_t at) {
  if (at >= table->sh_size || table->sh_offset > f->size || table->sh_size > f->size - table->sh_offset)
    return NULL;
  const char *text = f->at + table->sh_offset + at;
  return memchr(text, 0, table->sh_size - at) ? text : NULL;
}

/* The number under which symbols of the private version stand; 0: there are none. */
static unsigned imports_private_number(const image *f) {
  ElfW(Shdr) needs, names;
  ElfW(Verneed) need;
  ElfW(Vernaux) version;
  if (!imports_section(f, SHT_GNU_verneed, &needs, &names)) return 0;
  uint64_t at = needs.sh_offset;
  for (uint32_t k = 0; k < needs.sh_info && imports_get(f, at, &need, sizeof need); k++) {
    uint64_t aux = at + need.vn_aux;
    for (unsigned j = 0; j < need.vn_cnt && imports_get(f, aux, &version, sizeof version); j++) {
      const char *name = imports_text(f, &names, version.vna_name);
      if (name && !strcmp(name, PRIVATE)) return version.vna_other & 0x7fff;
      if (!version.vna_next) break;
      aux += version.vna_next;
    }
    if (!need.vn_next) break;
    at += need.vn_next;
  }
  return 0;
}

static const char *imports_private_name(const image *f) {
  ElfW(Shdr) versions, of, symbols, names;
  const unsigned number = imports_private_number(f);
  if (!number || !imports_section(f, SHT_GNU_versym, &versions, &of) ||
      !imports_section(f, SHT_DYNSYM, &symbols, &names))
    return NULL;
  for (uint64_t k = 0; k < versions.sh_size / sizeof(ElfW(Versym)); k++) {
    ElfW(Versym) version;
    ElfW(Sym) symbol;
    if (!imports_get(f, versions.sh_offset + k * sizeof version, &version, sizeof version) ||
        !imports_get(f, symbols.sh_offset + k * sizeof symbol, &symbol, sizeof symbol))
      return NULL;
    if ((version & 0x7fff) == number && (symbol.st_info & 0xf) != STT_OBJECT)
      return imports_text(f, &names, symbol.st_name);
  }
  return NULL;
}

sm_status sm_imports_check(const char *file, sm_error *err) {
  struct stat st;
  sm_status status = SM_OK;
  const int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= 0) {
    if (fd >= 0) close(fd);
    return SM_OK; /* the dynamic linker says why */
  }
  const image f = {mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0), (uint64_t)st.st_size};
  close(fd);
  if (f.at == MAP_FAILED) return SM_OK;
  const char *name = imports_private_name(&f);
  if (name) {
    sm_fail(err, SM_EUNSUPPORTED,
            "the plugin uses '%.80s', which is private to smalti and changes without notice", name);
    sm_hint(err, "use functions that the headers smalti/*.h declare");
    status = sm_fail_at(err, file, 0, 0);
  }
  munmap((void *)f.at, (size_t)f.size);
  return status;
}
