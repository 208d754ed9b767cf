// A server with a rate limiter for Express: PORT PACKAGE LIMIT MILLISECONDS [HEADERS].
// For example: 8080 express-rate-limit 20 2000 draft-7.
const path = require('path');

const modules = path.join(__dirname, '../../target/servers/node_modules');
const load = (name) => require(path.join(modules, name));

const limiters = {
  'express-rate-limit': (limit, windowMs, headers) =>
    load('express-rate-limit').rateLimit({
      limit, windowMs, standardHeaders: headers, legacyHeaders: false,
    }),
  'rate-limiter-flexible': (limit, windowMs) => {
    const { RateLimiterMemory } = load('rate-limiter-flexible');
    const limiter = new RateLimiterMemory({ points: limit, duration: windowMs / 1000 });
    return (_request, response, next) =>
      limiter.consume('everyone').then(() => next(), () => response.sendStatus(429));
  },
};

const [port, name, limit, windowMs, headers] = process.argv.slice(2);
const app = load('express')();
app.use(limiters[name](Number(limit), Number(windowMs), headers));
app.use((_request, response) => response.sendStatus(200));
app.listen(Number(port), '127.0.0.1').keepAliveTimeout = 60_000;
