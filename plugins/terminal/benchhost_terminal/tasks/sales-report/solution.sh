{
  echo region,revenue
  awk -F , 'NR > 1 && $4 > 0 { sum[$2] += $4 * $5 } END { for (region in sum) printf "%s,%.2f\n", region, sum[region] }' \
    sales.csv | sort -t , -k 2,2nr
} > report.csv
