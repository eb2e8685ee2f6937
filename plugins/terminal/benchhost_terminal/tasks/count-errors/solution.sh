for log in logs/*.log; do
  number=$(awk '$2 == "ERROR"' "$log" | wc -l)
  if [ "$number" -gt 0 ]; then echo "$(basename "$log" .log): $((number))"; fi
done | sort > errors.txt
