/* hash.c — a stable 64-bit hash for keys, and CRC-32C for files.
 *
 * Neither is meant to withstand an attacker. The CRC uses the processor's own instruction where there is one;
 * the table (eight bytes at a time) gives the same values elsewhere. */
#include <smalti/base.h>

#include <pthread.h>
#include <string.h>

#include "hash.h"

uint64_t sm_hash64(const void *data, size_t n, uint64_t seed) {
  const unsigned char *byte = data;
  uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;
  for (size_t i = 0; i < n; i++) h = (h ^ byte[i]) * UINT64_C(0x100000001b3);
  /* FNV's high bits lag behind: mix them as MurmurHash3's 64-bit finaliser does */
  h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
  h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
  return h ^ h >> 33;
}

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void hash_fill_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? UINT32_C(0x82f63b78) : 0);
    table[0][i] = c;
  }
  for (int t = 1; t < 8; t++)
    for (int i = 0; i < 256; i++) table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
}

uint32_t sm_crc32c_by_table(uint32_t crc, const void *data, size_t n) {
  const unsigned char *byte = data;
  uint32_t c = ~crc;
  pthread_once(&table_once, hash_fill_table);
  for (; n >= 8; n -= 8, byte += 8) {
    uint32_t low =
        c ^ ((uint32_t)byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 | (uint32_t)byte[3] << 24);
    c = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
        table[3][byte[4]] ^ table[2][byte[5]] ^ table[1][byte[6]] ^ table[0][byte[7]];
  }
  for (; n; n--, byte++) c = c >> 8 ^ table[0][(c ^ *byte) & 255];
  return ~c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_by_cpu(uint32_t c, const unsigned char *byte,
                                                             size_t n) {
  uint64_t wide = c;
  for (; n >= 8; n -= 8, byte += 8) {
    uint64_t word;
    memcpy(&word, byte, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  c = (uint32_t)wide;
  for (; n; n--, byte++) c = __builtin_ia32_crc32qi(c, *byte);
  return c;
}
#endif

uint32_t sm_crc32c(uint32_t crc, const void *data, size_t n) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~crc_by_cpu(~crc, data, n);
#endif
  return sm_crc32c_by_table(crc, data, n);
}
