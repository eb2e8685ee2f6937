find store -type f | sort | while read -r file; do
  sum=$(cksum < "$file" | tr ' ' _)
  if [ -e ".$sum" ]; then ln -f "$(cat ".$sum")" "$file"; else echo "$file" > ".$sum"; fi
done
rm -f .[0-9]*_*
