// Takes pictures of the head of a page, in light and in dark: PAGE DIRECTORY.
const fs = require('fs');
const path = require('path');

const modules = path.join(__dirname, '../../target/servers/node_modules');
const puppeteer = require(path.join(modules, 'puppeteer-core'));
const browsers = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

(async () => {
  const [page, directory] = process.argv.slice(2);
  const browser = await puppeteer.launch({
    executablePath: browsers.find((one) => fs.existsSync(one)),
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
  for (const scheme of ['light', 'dark']) {
    const tab = await browser.newPage();
    await tab.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await tab.setViewport({ width: 1200, height: 1122 });
    await tab.goto(`file://${path.resolve(page)}`, { waitUntil: 'load' });
    await tab.screenshot({ path: path.join(directory, `report-${scheme}.png`) });
    await tab.close();
  }
  await browser.close();
})();
