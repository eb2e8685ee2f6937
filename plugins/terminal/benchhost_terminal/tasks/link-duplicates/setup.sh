mkdir -p store/sub
for each in a c sub/e; do echo red > store/$each.txt; done
for each in b sub/f; do echo blue > store/$each.txt; done
echo green > store/d.txt
