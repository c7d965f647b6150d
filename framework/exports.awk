# exports.awk — the linker's version script of libsmalti, made from the public headers.
#
# What a public header declares as a function (sm_NAME followed by a bracket) is SMALTI_0.1: plugins and programs may use
# it. Every other sm_ name is SMALTI_PRIVATE: the program and the tests use it, nobody else should, and a plugin that does
# shows it (objdump -T). Names in comments do no harm: a name that is not defined gets no version.
/static inline/ { next }
{
  line = $0
  while (match(line, /(^|[^A-Za-z0-9_])sm_[a-z0-9_]+\(/)) {
    name = substr(line, RSTART, RLENGTH)
    line = substr(line, RSTART + RLENGTH)
    gsub(/[^a-z0-9_]/, "", name)
    if (!(name in seen)) {
      seen[name] = 1
      names[++n] = name
    }
  }
}
END {
  print "SMALTI_" version " {"
  print "  global:"
  for (i = 1; i <= n; i++) print "    " names[i] ";"
  print "  local:"
  print "    *;"
  print "};"
  print "SMALTI_PRIVATE {"
  print "  global:"
  print "    sm_*;"
  print "};"
}
