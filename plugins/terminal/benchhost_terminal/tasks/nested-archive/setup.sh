mkdir -p parcel/letters parcel/box/inner/core
echo 'nothing in here' > parcel/letters/one
echo 'token is not what this file is called' > parcel/letters/two
echo heliotrope-5521 > parcel/box/inner/core/token
echo padding > parcel/box/inner/padding
( cd parcel/box/inner && tar -cf - core | gzip > core.tar.gz && rm -r core )
( cd parcel/box && tar -cf inner.tar inner && rm -r inner )
( cd parcel && tar -cf - box | gzip > box.tgz && rm -r box )
tar -cf parcel.tar parcel && rm -r parcel
