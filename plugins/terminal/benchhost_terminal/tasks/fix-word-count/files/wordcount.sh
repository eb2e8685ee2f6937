# Prints how often each word of the text on the standard input occurs.
tr 'A-Z' 'a-z' | tr -c 'a-z' '\n' | sort | uniq -c | sort -n
