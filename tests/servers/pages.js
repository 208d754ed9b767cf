// Opens pages of throng in headless Chromium and checks them against the records that they are
// about, by arithmetic of its own: FILE is a JSON list of
// { page, records, allowed?, period?, hostile?, exact?, shot? }.
// Prints each fault, and ends with 1 if there is one.
const fs = require('fs');
const path = require('path');

const modules = path.join(__dirname, '../../target/servers/node_modules');
const puppeteer = require(path.join(modules, 'puppeteer-core'));
const axe = fs.readFileSync(path.join(modules, 'axe-core/axe.min.js'), 'utf8');
const browsers = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

let faults = 0;
const fault = (page, text) => {
  faults += 1;
  console.log(`${page}: ${text}`);
};

const read = (file) => fs.readFileSync(file, 'utf8').trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
const micros = (seconds) => Math.round(seconds * 1e6);

// What must be on the page, from the records alone.
function expected(records, width, period) {
  const buckets = new Map();
  const at = (time) => {
    const number = Math.floor(time / width);
    if (!buckets.has(number)) buckets.set(number, { requests: 0, failed: 0, latencies: [] });
    return buckets.get(number);
  };
  const arrivals = [];
  let busy = 0;
  for (const record of records) {
    const sent = record._arrived.filter((entry) => entry.length > 0);
    sent.forEach(([from, to]) => {
      at(micros(from)).requests += 1;
      arrivals.push([micros(from), micros(to)]);
    });
    const last = sent[sent.length - 1];
    if (last === undefined || record._ms === null) continue;
    busy += record._ms / 1e3;
    const end = at(micros(last[0]) + Math.floor(record._ms * 1e3 + 0.5));
    end.latencies.push(record._ms);
    end.failed += record._ok ? 0 : 1;
  }
  // The largest number of requests that can have arrived in a window: as each begins, those that
  // have begun and whose last moment lies in the window before it.
  const begun = arrivals.map(([from]) => from).sort((a, b) => a - b);
  const ended = arrivals.map(([, to]) => to).sort((a, b) => a - b);
  let [most, over] = [0, 0];
  begun.forEach((from, index) => {
    while (ended[over] + period <= from) over += 1;
    most = Math.max(most, index + 1 - over);
  });
  return { buckets, most, busy, requests: arrivals.length };
}

function median(numbers) {
  const sorted = numbers.slice().sort((a, b) => a - b);
  const place = (sorted.length - 1) / 2;
  return (sorted[Math.floor(place)] + sorted[Math.ceil(place)]) / 2;
}

const number = (text) => {
  const value = parseFloat(text.replace(/,/g, ''));
  return / s$/.test(text) ? value * 1000 : value;
};

// Everything that a reader sees, with all tables opened.
function seen() {
  const texts = (all) => [...all].map((one) => one.textContent.trim());
  const rows = (table) => [...table.tBodies[0].rows].map((row) => texts(row.cells));
  const result = { plots: {}, histograms: {}, bars: {}, cards: {}, values: {} };
  for (const section of document.querySelectorAll('[data-plot]')) {
    const table = section.querySelector('table');
    const canvas = section.querySelector('canvas');
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let drawn = 0;
    for (let at = 3; at < pixels.length; at += 4) drawn += pixels[at] > 0 ? 1 : 0;
    result.plots[section.dataset.plot] = {
      heads: texts(table.tHead.rows[0].cells),
      numbers: [...table.tBodies[0].rows].map((row) =>
        [...row.cells].slice(1).map((cell) => (cell.dataset.number === '' ? null : Number(cell.dataset.number)))),
      drawn: drawn / (canvas.width * canvas.height),
    };
  }
  for (const figure of document.querySelectorAll('[data-histogram]')) {
    result.histograms[figure.dataset.histogram] = {
      rows: rows(figure.querySelector('table')),
      counts: [...figure.querySelectorAll('td[data-count]')].map((cell) => Number(cell.dataset.count)),
      heights: [...figure.querySelectorAll('rect')].map((bar) => Number(bar.getAttribute('height'))),
    };
  }
  for (const table of document.querySelectorAll('[data-bars]')) result.bars[table.dataset.bars] = rows(table);
  for (const card of document.querySelectorAll('[data-card]')) result.cards[card.dataset.card] = texts(card.querySelectorAll('dd'));
  return result;
}

function compare(name, told, records, series, shown) {
  const { page, allowed, period } = told;
  const say = (text) => fault(`${name} ${path.basename(page)}`, text);
  const same = (what, actual, wanted, slack = 0) => {
    const isSame = typeof actual === 'number' ? Math.abs(actual - wanted) <= slack * Math.abs(wanted) + 1e-9 : actual === wanted;
    if (!isSame) say(`${what}: ${actual} on the page, ${wanted} by the records`);
  };
  const inWords = (count) => count.toLocaleString('en-US');
  const wanted = expected(records, micros(series.width), micros(period));
  same('rows', shown.cards.rows[0], inWords(records.length));
  const failed = records.filter((record) => !record._ok);
  same('failed', shown.cards.rows.find((line) => line.endsWith('failed')), `${inWords(failed.length)} failed`);
  same('greatest count', shown.cards.limit[0], `${inWords(wanted.most)} of ${inWords(allowed)}`);
  for (const [plot, { drawn, numbers }] of Object.entries(shown.plots)) {
    if (drawn < 0.002) say(`the plot ${plot} is empty`);
    if (numbers.length < 2) say(`the table of ${plot} is empty`);
  }
  // The points without the pauses, each with the number of its bucket.
  const first = Math.round(series.start / series.width);
  let gone = 0;
  const points = [];
  series.at.forEach((at, place) => {
    const pause = series.pauses.find((one) => Math.abs(one.at - at) < series.width / 2);
    if (pause) gone += Math.round(pause.seconds / series.width) - 1;
    else points.push(first + place + gone);
  });
  const column = (plot, index) => shown.plots[plot].numbers.map((row) => row[index]);
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  same('requests in all', sum(column('requests', 0)), wanted.requests);
  points.forEach((bucket, place) => {
    const real = wanted.buckets.get(bucket) || { requests: 0, failed: 0, latencies: [] };
    same(`requests at ${place}`, column('requests', 0)[place], real.requests);
    const p50 = column('latency', 0)[place];
    if (real.latencies.length === 0) same(`median at ${place}`, p50, null);
    else same(`median at ${place}`, p50, median(real.latencies), real.latencies.length > 900 ? 0.02 : 0.001);
    if (shown.plots.outcome) same(`failed at ${place}`, sum(shown.plots.outcome.numbers[place]), real.failed);
  });
  same('last progress', column('progress', 0).pop(), wanted.requests);
  same('greatest count over time', Math.max(...column('limit_0', 0)), wanted.most);
  if (records.every((record) => record._attempts === 1 && record._ms !== null)) {
    same('in flight', sum(column('in_flight', 0)) * series.width, wanted.busy, 0.01);
  }
  // Histograms: what lies between the edges, and bars as high as their numbers.
  const histogram = (title, values) => {
    const { rows, counts, heights } = shown.histograms[title];
    const top = Math.max(...counts);
    rows.forEach(([from, to], bar) => {
      const inside = values.filter((value) => value >= number(from) && value < number(to)).length;
      if (Math.abs(counts[bar] - inside) > (told.exact ? 0 : 0.004 * values.length)) {
        say(`${title} from ${from} to ${to}: ${counts[bar]} on the page, ${inside} by the records`);
      }
      same(`height of ${from}`, heights[bar], counts[bar] / top * 100, 0.01);
    });
    if (sum(counts) < 0.98 * values.length) say(`${title}: ${sum(counts)} of ${values.length}`);
  };
  const latencies = records.map((record) => record._ms).filter((ms) => ms !== null);
  if (latencies.length > 0) histogram('latency', latencies);
  const prices = records.filter((record) => record._ok && typeof record.price === 'number').map((record) => record.price);
  if (prices.length > 0) histogram('value price', prices);
  // Bars: kinds of failure, the largest first.
  const kinds = new Map();
  failed.forEach((record) => kinds.set(record._error, (kinds.get(record._error) || 0) + 1));
  const bars = (shown.bars.failures || []).map(([kind, count]) => [kind, parseInt(count.replace(/,/g, ''), 10)]);
  same('kinds of failure', bars.length, kinds.size);
  if (!told.hostile) bars.forEach(([kind, count]) => same(`failures of ${kind}`, count, kinds.get(kind)));
}

async function tables(page, say) {
  const rows = () => page.$$eval('#failures tbody tr', (all) => all.filter((row) => !row.hidden).map((row) => [...row.cells].map((cell) => cell.textContent)));
  if (!(await page.$('#failures'))) return;
  const before = await rows();
  const numbers = (all) => all.map((row) => parseInt(row[0].replace(/,/g, ''), 10));
  const isSorted = (all, sign) => all.every((one, at) => at === 0 || sign * (one - all[at - 1]) >= 0);
  if (!isSorted(numbers(before), 1)) say('the failures are not in the order of rows');
  await page.click('#failures th:nth-child(1) button');
  if (!isSorted(numbers(await rows()), -1)) say('a click does not turn the order of rows');
  // By the keyboard, too.
  await page.focus('#failures th:nth-child(3) button');
  await page.keyboard.press('Enter');
  const kinds = (await rows()).map((row) => row[2]);
  const order = new Intl.Collator('en', { numeric: true });
  if (!kinds.every((kind, at) => at === 0 || order.compare(kinds[at - 1], kind) <= 0)) say('a key does not sort by kind');
  const heads = await page.$$eval('#failures th', (all) => all.map((head) => head.getAttribute('aria-sort')));
  if (heads[2] !== 'ascending' || heads.filter(Boolean).length !== 1) say(`aria-sort: ${heads}`);
  const word = before[before.length - 1][1];
  await page.type('#filter', word);
  const left = await rows();
  const wanted = before.filter((row) => row.join('').toLowerCase().includes(word.toLowerCase()));
  if (left.length !== wanted.length || left.length === 0) say(`the filter ${word} leaves ${left.length} of ${wanted.length}`);
  const status = await page.$eval('[role=status]', (one) => one.textContent);
  if (!status.startsWith(String(left.length))) say(`the filter's status is ${status}`);
}

async function open(browser, name, told, scheme) {
  const page = await browser.newPage();
  const say = (text) => fault(`${name} ${scheme} ${path.basename(told.page)}`, text);
  const url = `file://${told.page}`;
  page.on('console', (message) => say(`console: ${message.text()}`));
  page.on('pageerror', (error) => say(`error: ${error.message}`));
  page.on('dialog', (dialog) => { say(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    if (request.url() !== url) say(`request: ${request.url()}`);
    request.continue();
  });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await page.setViewport({ width: 1400, height: 900 });
  const begun = Date.now();
  await page.goto(url, { waitUntil: 'load' });
  console.log(`${name} ${scheme}: ${Date.now() - begun} ms, ${fs.statSync(told.page).size} bytes`);
  await page.$$eval('details', (all) => all.forEach((one) => { one.open = true; }));
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30))));
  if (told.records && scheme === 'light') {
    const series = JSON.parse(await page.$eval('#series', (one) => one.textContent));
    compare(name, told, read(told.records), series, await page.evaluate(seen));
    await tables(page, say);
  }
  for (const text of told.shows || []) {
    if (!(await page.evaluate((text) => document.body.innerText.includes(text), text))) say(`${text} is not shown`);
  }
  if (await page.evaluate(() => window.pwned !== undefined || document.querySelector('main img, main iframe, main script') !== null)) say('hostile text was run');
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  for (const { id, nodes } of violations) say(`axe: ${id}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
  for (const width of [360, 800]) {
    await page.setViewport({ width, height: 900 });
    await page.evaluate(() => new Promise((done) => setTimeout(done, 60)));
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 0) say(`at ${width} pixels it is ${over} too wide`);
  }
  await page.close();
}

(async () => {
  const list = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  const browser = await puppeteer.launch({
    executablePath: browsers.find((one) => fs.existsSync(one)),
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--font-render-hinting=none'],
  });
  try {
    for (const [name, told] of Object.entries(list)) {
      for (const scheme of ['light', 'dark']) await open(browser, name, told, scheme);
    }
  } finally {
    await browser.close();
  }
  process.exitCode = faults > 0 ? 1 : 0;
})();
