tar -xf parcel.tar
gzip -dc parcel/box.tgz | tar -xf -
tar -xf box/inner.tar
gzip -dc inner/core.tar.gz | tar -xf -
cp core/token found.txt
