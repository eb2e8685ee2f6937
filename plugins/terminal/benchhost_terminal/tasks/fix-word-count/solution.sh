cat > wordcount.sh <<'END'
# Prints how often each word of the text on the standard input occurs.
tr 'A-Z' 'a-z' | tr -c 'a-z' '\n' | grep . | LC_ALL=C sort | uniq -c | LC_ALL=C sort -k 1,1nr -k 2,2 | awk '{ print $1, $2 }'
END
