#!/bin/bash
# hardening.sh — the program, the library and the plugins are linked as configure says: addresses drawn anew at each start, tables
# of the linker read-only, no stack that runs code, guards on the stack, checked string functions.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
command -v readelf >/dev/null || { echo "no readelf"; exit 77; }

# flag TEXT: configure chose it
flag() { grep -q "^SM_\(HARDEN_C\|HARDEN_LD\|PIE_LD\)FLAGS = .*$1" "$build/Makefile"; }
flag -fstack-protector-strong || flag -Wl,-z,now || { echo "this compiler and linker have none of the flags"; exit 77; }

program=$build/.libs/smalti
[ -f "$program" ] || program=$build/smalti
linked=("$program" "$build"/.libs/libsmalti.so "$build"/plugins/.libs/*.so)
[ "${#linked[@]}" -gt 20 ] || fail "the plugins of the build are not found"
for file in "${linked[@]}"; do
  readelf -W -l "$file" >segments
  readelf -W -d "$file" >dynamic
  ! flag -Wl,-z,relro || grep -q GNU_RELRO segments || fail "$file has no read-only tables of the linker"
  ! flag -Wl,-z,now || grep -qE 'BIND_NOW|FLAGS_1.* NOW' dynamic || fail "$file is not bound at once"
  ! grep -E 'GNU_STACK.* RWE ' segments || fail "$file has a stack that runs code"
  ! grep -q TEXTREL dynamic || fail "$file changes its own code when it is loaded"
done
! flag -pie || readelf -W -h "$program" | grep -qE 'Type: +DYN' || fail "$program lies at a fixed address"

readelf -W --dyn-syms "$build/.libs/libsmalti.so" >symbols
! flag -fstack-protector-strong || grep -q ' UND __stack_chk_fail' symbols || fail "no function of the library guards its stack"
! flag _FORTIFY_SOURCE || grep -qE ' UND __[a-z]+_chk(@|$)' symbols || fail "no string function of the library is checked"
# the decoders, of all, are built with the flags
! flag -fstack-protector-strong || nm "$build"/framework/image/.libs/*jpeg.o |
  grep -q __stack_chk_fail || fail "the decoders have no guards"

finish
