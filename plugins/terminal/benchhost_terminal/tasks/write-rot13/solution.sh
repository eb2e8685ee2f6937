cat > rot13 <<'END'
#!/bin/sh
n=${1#-}
n=${n:-13}
awk -v n="$n" 'BEGIN {
  lower = "abcdefghijklmnopqrstuvwxyz"; upper = toupper(lower)
} {
  out = ""
  for (i = 1; i <= length($0); i++) {
    c = substr($0, i, 1)
    if (p = index(lower, c)) c = substr(lower, (p - 1 + n) % 26 + 1, 1)
    else if (p = index(upper, c)) c = substr(upper, (p - 1 + n) % 26 + 1, 1)
    out = out c
  }
  print out
}'
END
chmod +x rot13
