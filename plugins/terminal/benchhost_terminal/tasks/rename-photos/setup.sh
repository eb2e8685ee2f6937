mkdir photos
echo crocus > 'photos/7-3-2030 (12).jpg'
echo tulip > 'photos/7-3-2030 (120).jpg'
echo fireworks > 'photos/31-12-2029 (1).jpg'
echo snow > 'photos/2-1-2030 (4).jpg'
echo fog > 'photos/30-11-2030 (9).jpg'
echo 'the camera is two minutes slow' > photos/notes.txt
