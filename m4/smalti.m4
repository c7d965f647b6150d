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
