"use strict";
(() => {
  const data = JSON.parse(document.getElementById("series").textContent);
  const style = () => getComputedStyle(document.documentElement);
  const color = (name) => style().getPropertyValue("--" + name).trim();
  const plots = [];

  // Numbers for people.
  const count = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });
  const decimal = (number) => number.toLocaleString("en-US", {
    maximumFractionDigits: Math.abs(number) < 10 ? 2 : Math.abs(number) < 100 ? 1 : 0,
  });
  const milliseconds = (number) =>
    number >= 10000 ? decimal(number / 1000) + " s" : decimal(number) + " ms";
  const duration = (seconds) => {
    const whole = Math.round(seconds * 1000) / 1000;
    if (whole < 120) return decimal(whole) + " s";
    const parts = [];
    let rest = Math.round(seconds);
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]]) {
      const number = Math.floor(rest / size);
      rest -= number * size;
      if (number > 0 && parts.length < 2) parts.push(number + " " + unit);
    }
    return parts.join(" ") || "0 s";
  };

  // The time of a point since the beginning, with the pauses that the plots leave out.
  const elapsed = (run, at) => {
    let sum = at;
    for (const pause of run.pauses) if (at > pause.at) sum += pause.seconds - run.width;
    return sum;
  };

  const sums = (numbers) => {
    let sum = 0;
    return numbers.map((number) => (sum += number));
  };
  const rates = (numbers, run) => numbers.map((number) => number / run.width);
  const total = (run) => {
    const all = run.ok.slice();
    for (const kind of run.failed) kind.counts.forEach((number, at) => (all[at] += number));
    return all;
  };
  const isPause = (run, at) => run.pauses.some((pause) => Math.abs(pause.at - at) < run.width / 2);

  // The requests that the limits allow until the end of each point, if they are sent as early
  // as they may.
  const allowed = (run) => {
    const cycles = run.limits.map((limit) => limit.cycle).filter(Boolean);
    if (cycles.length === 0) return null;
    return run.at.map((at) => Math.min(...cycles.map(([units, period]) =>
      units * (Math.floor((at + run.width) / period) + 1))));
  };

  // What each plot shows: series with a label, numbers, a colour and a form.
  const shown = {
    requests: (run) => ({
      unit: " /s", form: decimal,
      series: [
        { label: "requests per second", numbers: rates(run.requests, run), color: "c1", bars: true, of: run.requests, ofLabel: "requests" },
        ...(run.retries.some((number) => number > 0)
          ? [{ label: "of these, retries", numbers: rates(run.retries, run), color: "c3", bars: true, of: run.retries, ofLabel: "retries" }] : []),
        ...run.limits.filter((limit) => limit.per_second).map((limit) => ({
          label: limit.name + " on average", numbers: run.at.map(() => limit.per_second), color: "c2", dashed: true, aside: true,
        })),
      ],
    }),
    progress: (run) => {
      const most = allowed(run);
      const sent = sums(run.requests);
      const last = sent[sent.length - 1];
      return {
        unit: "", form: count,
        series: [
          { label: "requests sent", numbers: sent, color: "c1", filled: true },
          { label: "rows done", numbers: sums(total(run)), color: "c5" },
          ...(most ? [{ label: "allowed by the limit", numbers: most.map((number) => Math.min(number, last)), color: "c2", dashed: true }] : []),
        ],
      };
    },
    latency: (run) => ({
      unit: "", form: milliseconds, gaps: true,
      series: [
        { label: "p50", numbers: run.p50, color: "c1" },
        { label: "p90", numbers: run.p90, color: "c3" },
        { label: "p99", numbers: run.p99, color: "c2" },
      ],
    }),
    in_flight: (run) => ({
      unit: "", form: decimal,
      series: [{ label: "requests in flight", numbers: run.in_flight, color: "c1", filled: true }],
    }),
    outcome: (run) => ({
      unit: " /s", form: decimal,
      series: [
        ...run.failed.map((kind, at) => ({
          label: kind.kind, numbers: rates(kind.counts, run), color: "c" + (2 + at % 5), bars: true, of: kind.counts, ofLabel: kind.kind,
        })),
      ],
      stacked: true,
    }),
  };
  shown.causes = () => ({
    unit: " %", form: decimal, stacked: true,
    series: data.causes.causes.map((cause, at) => ({
      label: cause.name, numbers: cause.shares, color: "c" + (1 + at % 6), bars: true,
    })),
  });
  (data.runs ? [] : data.limits || []).forEach((limit, index) => {
    shown["limit_" + index] = () => ({
      unit: "", form: count, gaps: true,
      series: [
        { label: limit.counted, numbers: limit.counts, color: "c1", stepped: true, filled: true },
        { label: "allowed", numbers: data.at.map(() => limit.allowed), color: "c2", dashed: true },
      ],
    });
  });

  const element = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const swatch = (name, dashed) => {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 14 10");
    svg.setAttribute("aria-hidden", "true");
    const rect = document.createElementNS(space, "rect");
    const size = dashed ? [0, 4, 14, 2] : [0, 0, 14, 10];
    ["x", "y", "width", "height"].forEach((key, at) => rect.setAttribute(key, size[at]));
    rect.style.fill = "var(--" + name + ")";
    svg.append(rect);
    return svg;
  };

  const table = (place, plot, run) => {
    const columns = plot.series.filter((series) => !series.aside);
    const head = element("tr", {}, element("th", { scope: "col", class: "number" }, "Time"),
      ...columns.map((series) => element("th", { scope: "col", class: "number" }, series.ofLabel || series.label)));
    const body = run.at.filter((at) => !isPause(run, at)).map((at) => {
      const place = run.at.indexOf(at);
      return element("tr", {}, element("th", { scope: "row", class: "number" }, duration(elapsed(run, at))),
        ...columns.map((series) => {
          const number = (series.of || series.numbers)[place];
          const text = number == null ? "–" : series.of ? count(number) : plot.form(number);
          return element("td", { class: "number", "data-number": number == null ? "" : number }, text);
        }));
    });
    place.replaceChildren(element("table", { class: "plain" }, element("thead", {}, head), element("tbody", {}, ...body)));
  };

  const stack = (series) => {
    const sums = [];
    series.forEach((one, at) => {
      sums.push(one.numbers.map((number, place) => number + (at > 0 ? sums[at - 1][place] : 0)));
    });
    return sums;
  };

  const draw = (section, plot, run) => {
    const holder = section.querySelector(".canvas");
    const legend = section.querySelector(".legend");
    const time = element("span", { class: "time" }, "");
    const keys = plot.series.map((series) => {
      const value = element("span", {}, "");
      legend.append(element("span", { class: "key" }, swatch(series.color, series.dashed), series.label, value));
      return value;
    });
    legend.append(time);
    const told = (u) => {
      const at = u.cursor.idx;
      const is = at != null && at < run.at.length && !isPause(run, run.at[at]);
      time.textContent = is ? "at " + duration(elapsed(run, run.at[at])) : "";
      keys.forEach((key, index) => {
        const number = is ? plot.series[index].numbers[at] : null;
        key.textContent = number == null ? "" : ": " + plot.form(number) + plot.unit;
      });
    };
    const columns = plot.stacked ? stack(plot.series) : plot.series.map((series) => series.numbers);
    const hasBars = plot.series.some((series) => series.bars);
    // Bars and steps begin where their point does; other lines have it in the middle.
    const x = [...run.at, run.at.length * run.width];
    const end = (numbers) => [...numbers, numbers[numbers.length - 1]];
    const cut = (numbers) => numbers.map((number, at) => (isPause(run, run.at[at]) ? null : number));
    // What lies on top of a stack is drawn first.
    const order = plot.series.map((_, at) => at);
    if (plot.stacked) order.reverse();
    const series = order.map((at) => {
      const one = plot.series[at];
      const base = { label: one.label, points: { show: Boolean(plot.gaps && !one.stepped && !one.dashed), size: 4, space: 0, width: 0, fill: () => color(one.color) }, spanGaps: false };
      if (one.bars) {
        return { ...base, fill: () => color(one.color), width: 0, paths: uPlot.paths.bars({ size: [0.92, Infinity, 1], align: 1 }) };
      }
      return {
        ...base, stroke: () => color(one.color), width: one.dashed ? 1.5 : 1.75, dash: one.dashed ? [6, 4] : undefined,
        fill: one.filled ? () => color("fill") : undefined,
        paths: one.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
      };
    });
    const axis = {
      stroke: () => color("quiet"), font: "12px system-ui, sans-serif",
      grid: { stroke: () => color("line"), width: 1 }, ticks: { stroke: () => color("line"), width: 1, size: 4 },
    };
    const width = () => Math.max(240, Math.floor(holder.clientWidth));
    const widest = (u, values) => Math.max(0, ...(values || []).map((text) => text.length)) * 6.6 + 16;
    const u = new uPlot({
      width: width(), height: 210, legend: { show: false }, pxAlign: 0,
      cursor: { y: false, drag: { x: false, y: false }, points: { show: !hasBars, size: 6 } },
      scales: {
        x: { time: false, range: [0, run.at.length * run.width] },
        y: { range: (u, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { ...axis, values: (u, splits) => splits.map((at) => duration(elapsed(run, at))), space: 80, size: 30 },
        { ...axis, values: (u, splits) => splits.map((number) => plot.form(number) + plot.unit), size: widest, space: 34 },
      ],
      series: [{}, ...series],
      hooks: {
        setCursor: [told],
        drawClear: [(u) => {
          const { left, top, width, height } = u.bbox;
          for (const pause of run.pauses) {
            const from = u.valToPos(pause.at, "x", true);
            const to = u.valToPos(pause.at + run.width, "x", true);
            u.ctx.fillStyle = color("line");
            u.ctx.fillRect(Math.max(from, left), top, Math.max(3, Math.min(to, left + width) - from), height);
          }
        }],
      },
    }, [x, ...order.map((at) => end(cut(columns[at])))], holder);
    holder.querySelectorAll("canvas").forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
    plots.push({ u, width });
    const details = section.querySelector("details");
    details.addEventListener("toggle", () => {
      const place = details.querySelector(".scroll");
      if (details.open && !place.firstChild) table(place, plot, run);
    });
  };

  // Two runs in one plot, each from its own beginning.
  const together = {
    progress: { form: count, unit: "", of: (run) => sums(total(run)), word: "rows done" },
    latency: { form: milliseconds, unit: "", of: (run) => run.p90, word: "p90" },
  };
  const both = (name) => {
    const { form, unit, of, word } = together[name];
    const [a, b] = data.runs;
    const length = Math.max(...data.runs.map((run) => run.at.length * run.width));
    const width = Math.max(a.width, b.width);
    const at = Array.from({ length: Math.max(1, Math.ceil(length / width - 1e-9)) }, (_, place) => place * width);
    const numbers = (run) => {
      const own = of(run);
      return at.map((time) => {
        const place = Math.floor((time + width) / run.width + 1e-9) - 1;
        return time >= run.at.length * run.width ? null : own[Math.min(place, own.length - 1)];
      });
    };
    const run = { at, width, pauses: [] };
    const series = data.runs.map((one, index) => ({
      label: "AB"[index] + ": " + word, numbers: numbers(one), color: ["c1", "c3"][index],
    }));
    return [{ form, unit, series }, run];
  };

  for (const section of document.querySelectorAll("[data-plot]")) {
    const name = section.dataset.plot;
    const run = name === "causes" ? { ...data.causes, pauses: [] } : data;
    const [plot, line] = data.runs ? both(name) : [shown[name](run), run];
    draw(section, plot, line);
  }

  // Plots follow the width and the colours of the page, and of the paper.
  const fit = () => plots.forEach(({ u, width }) => u.setSize({ width: width(), height: 210 }));
  let waits = false;
  addEventListener("resize", () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      fit();
    });
  });
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", fit);
  }

  // Tables that are sorted by their heads and filtered by a text.
  for (const place of document.querySelectorAll("[data-sortable]")) {
    const body = place.querySelector("tbody");
    const rows = [...body.rows];
    const heads = [...place.querySelectorAll("thead th")];
    const key = (row, column) => {
      const cell = row.cells[column];
      return cell.dataset.order === undefined ? cell.textContent : Number(cell.dataset.order);
    };
    const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      rows.sort((a, b) => sign * compare(key(a, column), key(b, column)));
      body.append(...rows);
    }));
    const input = place.querySelector("input");
    const status = place.querySelector("[role=status]");
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const row of rows) {
        row.hidden = !words.every((word) => texts.get(row).includes(word));
        left += row.hidden ? 0 : 1;
      }
      status.textContent = left === rows.length ? count(left) + " shown" : count(left) + " of " + count(rows.length) + " shown";
    });
  }
})();
