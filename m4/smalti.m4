dnl m4/smalti.m4 — compiler checks used by configure.ac.

dnl SM_TRY_CFLAGS(FLAGS, THEN, ELSE): does the compiler take FLAGS without a complaint?
AC_DEFUN([SM_TRY_CFLAGS], [
  sm_saved_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS -Werror $1"
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[]], [[]])], [sm_ok=yes], [sm_ok=no])
  CFLAGS=$sm_saved_CFLAGS
  AS_IF([test $sm_ok = yes], [$2], [$3])
])

dnl SM_APPEND_CFLAGS(VARIABLE, FLAG): append FLAG to VARIABLE if the compiler takes it.
AC_DEFUN([SM_APPEND_CFLAGS], [
  AC_MSG_CHECKING([whether $CC accepts $2])
  SM_TRY_CFLAGS([$2], [AS_VAR_APPEND([$1], [" $2"]); AC_MSG_RESULT([yes])], [AC_MSG_RESULT([no])])
])

dnl SM_APPEND_LDFLAGS(VARIABLE, FLAG): append FLAG to VARIABLE if a program can be linked with it.
AC_DEFUN([SM_APPEND_LDFLAGS], [
  AC_MSG_CHECKING([whether the linker accepts $2])
  sm_saved_LDFLAGS=$LDFLAGS
  LDFLAGS="$LDFLAGS -Werror $2"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[]], [[]])], [AS_VAR_APPEND([$1], [" $2"]); AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])])
  LDFLAGS=$sm_saved_LDFLAGS
])

dnl SM_HARDEN(SANITIZED): flags for a program that decodes foreign files. Sets SM_HARDEN_CFLAGS, SM_HARDEN_LDFLAGS (for
dnl all that is linked) and SM_PIE_LDFLAGS (for programs). Sanitizers check more than _FORTIFY_SOURCE does, and differently;
dnl and it does nothing without optimisation. -fPIE stands before libtool's -fPIC, which overrides it for libraries.
AC_DEFUN([SM_HARDEN], [
  SM_HARDEN_CFLAGS=
  SM_HARDEN_LDFLAGS=
  SM_PIE_LDFLAGS=
  SM_APPEND_CFLAGS([SM_HARDEN_CFLAGS], [-fstack-protector-strong])
  SM_APPEND_CFLAGS([SM_HARDEN_CFLAGS], [-fPIE])
  SM_APPEND_LDFLAGS([SM_HARDEN_LDFLAGS], [-Wl,-z,relro])
  SM_APPEND_LDFLAGS([SM_HARDEN_LDFLAGS], [-Wl,-z,now])
  SM_APPEND_LDFLAGS([SM_HARDEN_LDFLAGS], [-Wl,-z,noexecstack])
  sm_saved_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS -fPIE"
  SM_APPEND_LDFLAGS([SM_PIE_LDFLAGS], [-pie])
  CFLAGS=$sm_saved_CFLAGS
  AS_CASE([" $CFLAGS "], [*" -O0 "*], [], [*" -O"*], [AS_IF([test "x$1" = xno], [
    for sm_level in 3 2; do
      AC_MSG_CHECKING([whether _FORTIFY_SOURCE=$sm_level works])
      sm_saved_CFLAGS=$CFLAGS
      CFLAGS="$CFLAGS -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$sm_level"
      AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <string.h>]], [[char a[8]; return memset(a, 0, sizeof a) != a;]])],
        [sm_ok=yes], [sm_ok=no])
      CFLAGS=$sm_saved_CFLAGS
      AC_MSG_RESULT([$sm_ok])
      AS_IF([test $sm_ok = yes], [
        AS_VAR_APPEND([SM_HARDEN_CFLAGS], [" -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$sm_level"])
        break])
    done])])
  AC_SUBST([SM_HARDEN_CFLAGS])
  AC_SUBST([SM_HARDEN_LDFLAGS])
  AC_SUBST([SM_PIE_LDFLAGS])
])

dnl SM_CHECK_KERNEL_LEVEL(NAME, FLAGS, FEATURE): can the kernels be built with FLAGS and chosen at run time with
dnl __builtin_cpu_supports(FEATURE)? Sets SM_NAME_CFLAGS, conditional HAVE_NAME_BUILD, config.h's HAVE_NAME_BUILD.
AC_DEFUN([SM_CHECK_KERNEL_LEVEL], [
  AC_MSG_CHECKING([whether kernels can be built with $2])
  sm_saved_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS -Werror $2"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#if !defined(__x86_64__)
#error not x86-64
#endif]], [[return __builtin_cpu_supports("$3") ? 0 : 1;]])], [sm_ok=yes], [sm_ok=no])
  CFLAGS=$sm_saved_CFLAGS
  AC_MSG_RESULT([$sm_ok])
  AS_IF([test $sm_ok = yes], [
    SM_$1_CFLAGS="$2"
    sm_kernel_levels="$sm_kernel_levels $1"
    AC_DEFINE([HAVE_$1_BUILD], [1], [Kernels are also built with $2])], [SM_$1_CFLAGS=])
  AC_SUBST([SM_$1_CFLAGS])
  AM_CONDITIONAL([HAVE_$1_BUILD], [test $sm_ok = yes])
])

dnl SM_CHECK_VERSION_SCRIPT: does the linker give symbols versions? Sets conditional HAVE_VERSION_SCRIPT.
AC_DEFUN([SM_CHECK_VERSION_SCRIPT], [
  AC_MSG_CHECKING([whether the linker takes a version script])
  AS_ECHO(["NODE_1 { global: sm_test; local: *; }; NODE_2 { global: sm_*; };"]) >conftest.map
  sm_saved_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS -fPIC -shared -Wl,--version-script=conftest.map"
  AC_LINK_IFELSE([AC_LANG_SOURCE([[int sm_test(void); int sm_test(void) { return 1; }
int sm_other(void); int sm_other(void) { return 2; }]])], [sm_ok=yes], [sm_ok=no])
  CFLAGS=$sm_saved_CFLAGS
  rm -f conftest.map
  AC_MSG_RESULT([$sm_ok])
  AM_CONDITIONAL([HAVE_VERSION_SCRIPT], [test $sm_ok = yes])
])

dnl SM_PROG_FUZZ_CC: FUZZ_CC, a clang that links libFuzzer and both sanitizers; empty if there is none.
AC_DEFUN([SM_PROG_FUZZ_CC], [
  AC_CHECK_PROGS([FUZZ_CC], [clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14])
  AS_IF([test -n "$FUZZ_CC"], [
    AC_MSG_CHECKING([whether $FUZZ_CC has libFuzzer])
    AS_ECHO(["int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return n > 99 && *d; }"]) >conftest.c
    AS_IF([$FUZZ_CC -fsanitize=fuzzer,address,undefined conftest.c -o conftest.fuzz >&AS_MESSAGE_LOG_FD 2>&1],
      [AC_MSG_RESULT([yes])], [AC_MSG_RESULT([no]); FUZZ_CC=])
    rm -f conftest.c conftest.fuzz
  ])
])
