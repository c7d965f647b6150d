/* hash.h — CRC-32C without the processor's instruction, for the test that holds the two against each other.
 * Private. */
#ifndef SM_BASE_HASH_H
#define SM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint32_t sm_crc32c_by_table(uint32_t crc, const void *data, size_t n);

#endif
