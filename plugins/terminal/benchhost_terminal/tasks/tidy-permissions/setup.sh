mkdir -p 'site/bin/my tools' site/pages
echo 'echo deployed' > site/bin/deploy.sh
echo 'echo checked' > 'site/bin/my tools/check.sh'
echo '<h1>Hello</h1>' > site/pages/index.html
echo 'not much of a secret' > site/private.key
chmod 777 site/bin site/pages/index.html
chmod 700 site site/pages 'site/bin/my tools'
chmod 666 site/private.key
chmod 600 site/bin/deploy.sh 'site/bin/my tools/check.sh'
