awk '
  /^#/ || !/=/ { next }
  {
    at = index($0, "="); name = substr($0, 1, at - 1); value = substr($0, at + 1)
    gsub(/^[ \t]+|[ \t]+$/, "", name); gsub(/^[ \t]+|[ \t]+$/, "", value)
    settings[name] = value
  }
  END { for (name in settings) if (settings[name] != "") print name " = " settings[name] }
' base.conf site.conf | LC_ALL=C sort > merged.conf
