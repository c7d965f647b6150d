/* heap.h — the failure injector, from inside the process. For tests: let allocation 1, 2, 3, … fail until the
 * code under test succeeds. Private to the tree. */
#ifndef SM_BASE_HEAP_H
#define SM_BASE_HEAP_H

#include <stdint.h>

/* Let the k-th allocation from now on fail (once); 0 turns the injector off. */
void sm_heap_fail_at(int64_t k);
/* Allocations seen since the last sm_heap_fail_at; counted only while the injector is on. */
int64_t sm_heap_calls(void);

#endif
