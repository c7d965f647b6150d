/* signature.h — what a file is that is not what it was taken for. Private to the tree. */
#ifndef SM_BASE_SIGNATURE_H
#define SM_BASE_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>

/* By its first bytes: "a Git LFS pointer", "an HTML page", "a PyTorch file" …; "of no known format". Never
 * NULL. The more bytes the better: 512 are enough. */
const char *sm_signature(const void *data, size_t bytes);
/* Neither unknown nor plain text, which may be meant for anything. */
bool sm_signature_known(const void *data, size_t bytes);
/* A file that torch.save wrote, now or before PyTorch 1.6. */
bool sm_signature_torch(const void *data, size_t bytes);
/* A text file of three lines that Git puts in the place of a large file. */
bool sm_signature_lfs(const void *data, size_t bytes);

#endif
