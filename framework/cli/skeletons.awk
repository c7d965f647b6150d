# skeletons.awk — the templates of `smalti plugins new` as C: one table row a file, its text as a string.
function quoted(s) {
  gsub(/\\/, "\\\\", s)
  gsub(/"/, "\\\"", s)
  return s
}
FNR == 1 {
  name = FILENAME
  sub(/.*\//, "", name)
  sub(/\..*/, "", name)
  printf "%s{\"%s\",", (NR > 1 ? "},\n" : ""), name
}
{ printf "\n \"%s\\n\"", quoted($0) }
END { print "}," }
