chmod 755 site
find site -type d -exec chmod 755 {} +
find site -type f -exec chmod 644 {} +
find site -type f -name '*.sh' -exec chmod 755 {} +
find site -type f -name '*.key' -exec chmod 600 {} +
