cd photos
for photo in *.jpg; do
  new=$(echo "$photo" | sed 's/[^0-9]/ /g' | awk '{ printf "%04d-%02d-%02d_%03d.jpg", $3, $2, $1, $4 }')
  mv "$photo" "$new"
done
