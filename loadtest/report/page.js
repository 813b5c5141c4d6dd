"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const main = document.getElementById("report");
  const plots = [];

  // ── words and elements ──────────────────────────────────────────────────────────────────────────────────────────

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "style") Object.assign(element.style, value);
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const known = (value) => typeof value === "number";
  const whole = (value) => (known(value) ? Math.round(value).toLocaleString("en") : "–");
  const ms = (value) => (!known(value) ? "–" : value >= 100 ? whole(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
  const percent = (value) => (known(value) ? (100 * value).toFixed(value < 0.01 && value > 0 ? 2 : 0) + "%" : "–");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const section = (title, note, ...children) => main.append(make("section", {}, make("h2", {}, title),
    note ? make("p", { class: "soft" }, note) : null, ...children));
  const panel = (title, note, ...children) =>
    make("div", { class: "panel" }, make("h3", {}, title), note ? make("p", { class: "soft" }, note) : null, ...children);
  const table = (head, rows) => make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((cell) => make("th", {}, cell)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell)))))));

  // ── plots ───────────────────────────────────────────────────────────────────────────────────────────────────────

  // Drawn once the element stands in the page, and again when its width or the colours of the page change.
  const plot = (height, build) => {
    const holder = make("div", {});
    const draw = () => {
      const width = holder.clientWidth;
      if (!width) return;
      holder.replaceChildren();
      const [options, data] = build();
      new uPlot({ width, height, legend: { show: true, live: false }, cursor: { y: false }, ...options }, data, holder);
      holder.dataset.width = width;
    };
    plots.push(draw);
    new ResizeObserver(() => { if (String(holder.clientWidth) !== holder.dataset.width) requestAnimationFrame(draw); }).observe(holder);
    return holder;
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((draw) => draw()));
  const axis = (label, values, more = {}) => ({
    label, stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 },
    font: "11px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 18, size: 36,
    values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : values(tick))), ...more,
  });
  const line = (label, name, more = {}) => ({ label, stroke: colour(name), width: 2, points: { show: false }, spanGaps: true, ...more });
  const dotted = (label, name, more = {}) => line(label, name, { points: { show: true, size: 5, fill: colour(name) }, ...more });
  const dashed = { dash: [5, 4], width: 1 };
  const logarithmic = { distr: 3, log: 10 };
  const short = (value) => (value >= 1000 ? `${+(value / 1000).toPrecision(3)}k` : String(+value.toPrecision(3)));
  // 1 in 100 requests is slower than p99: uPlot's axis counts by tens, and its ticks read as percentiles.
  const nines = (one) => {
    const digits = Math.round(Math.log10(one));
    if (Math.abs(Math.log10(one) - digits) > 1e-6) return "";
    return digits === 0 ? "0" : digits === 1 ? "p90" : `p99${digits > 2 ? "." + "9".repeat(digits - 2) : ""}`;
  };

  // ── the head ────────────────────────────────────────────────────────────────────────────────────────────────────

  const about = facts.about, promise = facts.promise, run = facts.whole;
  main.append(make("header", {}, make("h1", {}, `Load test of ${about.name}:${about.version}`),
    make("p", { class: "soft" }, [`Measured ${about.measured}`, `graph ${about.sha256.slice(0, 12)}`, `Rowcast ${about.rowcast}`, about.url,
      `open loop, seed ${about.seed}, ${about.connections} connections`].join(" · "))));
  if (promise) {
    const tint = { kept: "good", broken: "bad", void: "test" }[promise.outcome];
    main.append(make("p", {}, make("b", { style: { color: `var(--${tint})` } }, promise.outcome.toUpperCase()),
      ` p99 of ${ms(promise.p99_ms)} ms at ${whole(promise.rate)} requests/s: ${promise.reason}.`));
  }
  const held = facts.sweep.filter((point) => !point.failed && point.achieved_rate >= 0.99 * point.rate);
  main.append(make("div", { class: "cards" }, ...[
    [`${ms(run.p50_ms)} ms`, "p50"], [`${ms(run.p99_ms)} ms`, "p99"], [`${ms(run.p999_ms)} ms`, "p99.9"], [`${ms(run.max_ms)} ms`, "longest"],
    [whole(run.achieved_rate), "good answers/s"], [held.length ? whole(Math.max(...held.map((point) => point.rate))) : "–", "requests/s answered in the sweep"],
  ].map(([value, name]) => make("div", { class: "card" }, make("b", {}, value), make("span", { class: "soft" }, name)))),
    make("p", { class: "soft", style: { marginTop: "8px" } }, `The first five are of ${whole(run.requests)} requests, ${whole(run.rate)} a second for ${run.duration_s} s. ` +
      "Latencies count from when a request was due to the end of its answer, whether or not earlier ones had been answered."));

  // ── latencies ───────────────────────────────────────────────────────────────────────────────────────────────────

  const limit = (xs) => xs.map(() => promise.p99_ms);
  section("Latency", null, make("div", { class: "grid" },
    make("div", { class: "panel wide" }, make("h3", {}, "By percentile"),
      make("p", { class: "soft" }, `At ${whole(run.rate)} requests/s. Both axes are logarithmic: each step to the right is one more nine.`),
      plot(320, () => [{
        scales: { x: { time: false, ...logarithmic }, y: logarithmic },
        axes: [axis("percentile", nines), axis("latency, ms", short, { size: 56 })],
        series: [{}, line("latency", "validation"), ...(promise ? [line("promised p99", "test", dashed)] : [])],
      }, [run.curve.one_in, run.curve.ms, ...(promise ? [limit(run.curve.one_in)] : [])]])),
    make("div", { class: "panel wide" }, make("h3", {}, "How often"),
      make("p", { class: "soft" }, "Requests by how long they took; the latency axis is logarithmic."),
      plot(220, () => [{
        scales: { x: { time: false, ...logarithmic } },
        axes: [axis("latency, ms", short), axis("requests", short, { size: 56 })],
        series: [{}, line("requests", "validation", { fill: `rgb(${colour("heat")} / 0.2)`, paths: uPlot.paths.stepped({ align: 1 }) })],
      }, [run.spread.edges, [...run.spread.counts, 0]]]))));

  // ── rates ───────────────────────────────────────────────────────────────────────────────────────────────────────

  const sweep = facts.sweep, of = (field) => sweep.map((point) => (known(point[field]) ? point[field] : null));
  const above = (values) => values.map((value) => (value > 0 ? value : null)); // a logarithm has no zero
  section("Throughput against latency", "Each rate was offered for some seconds, in an open loop. Where the service is full, fewer answers come than are asked for, and latencies grow with the length of the run.",
    make("div", { class: "grid" },
      make("div", { class: "panel wide" }, make("h3", {}, "Latency by rate"), plot(320, () => [{
        scales: { x: { time: false }, y: logarithmic },
        axes: [axis("requests/s", short), axis("latency, ms", short, { size: 56 })],
        series: [{}, dotted("p50", "train"), dotted("p99", "validation"), dotted("p99.9", "table"), ...(promise ? [line("promised p99", "test", dashed)] : [])],
      }, [of("rate"), above(of("p50_ms")), above(of("p99_ms")), above(of("p999_ms")), ...(promise ? [limit(of("rate"))] : [])]])),
      panel("Answers by rate", null, plot(240, () => [{
        scales: { x: { time: false } }, axes: [axis("requests/s", short), axis("good answers/s", short, { size: 56 })],
        series: [{}, dotted("good answers", "validation"), line("asked for", "train", dashed)],
      }, [of("rate"), of("achieved_rate"), of("rate")]])),
      panel("Saturation", "The share of its core that a worker uses, and the client.", plot(240, () => [{
        scales: { x: { time: false }, y: { range: [0, 1.1] } }, axes: [axis("requests/s", short), axis("of a core", percent, { size: 48 })],
        series: [{}, dotted("worker", "validation"), dotted("client", "train")],
      }, [of("rate"), of("saturation"), of("client_cpu")]])),
      panel("Rows of a run", "Requests that wait share a run.", plot(240, () => [{
        scales: { x: { time: false } }, axes: [axis("requests/s", short), axis("rows", short, { size: 48 })],
        series: [{}, dotted("rows", "validation")],
      }, [of("rate"), of("batch_rows")]]))));

  // ── where the time goes ─────────────────────────────────────────────────────────────────────────────────────────

  const parts = [["queue", "queue_ms", "test"], ["compute", "compute_ms", "validation"], ["reading and writing", "rest_ms", "table"], ["network, client, waiting for a connection", "outside_ms", "train"]];
  const split = sweep.filter((point) => known(point.queue_ms));
  if (split.length) {
    const total = (point) => parts.reduce((sum, [, field]) => sum + point[field], 0) || 1;
    section("Where the time goes", "The mean request of each rate: how long it was queued, how long the run took that it was in, what else the service did, and the rest.",
      make("div", { class: "panel" },
        make("div", { class: "key" }, ...parts.map(([name, , tint]) => make("span", {}, make("i", { style: { background: `var(--${tint})` } }), name))),
        ...split.map((point) => {
          let left = 0;
          return make("div", { class: "bar" }, make("span", {}, `${whole(point.rate)}/s`),
            make("span", { class: "track" }, ...parts.map(([name, field, tint]) => {
              const share = point[field] / total(point), at = left;
              left += share;
              return make("i", { title: `${name}: ${ms(point[field])} ms`, style: { left: `${100 * at}%`, width: `${100 * share}%`, background: `var(--${tint})` } });
            })), make("span", {}, `${ms(total(point))} ms`));
        })));
  }
  section("Figures", null, make("div", { class: "panel" }, table(
    ["requests/s", "good/s", "failed", "p50, ms", "p90", "p99", "p99.9", "longest", "queue, ms", "compute, ms", "rows of a run", "worker", "client"],
    sweep.map((point) => [whole(point.rate), whole(point.achieved_rate), whole(point.failed), ms(point.p50_ms), ms(point.p90_ms), ms(point.p99_ms), ms(point.p999_ms),
      ms(point.max_ms), ms(point.queue_ms), ms(point.compute_ms), known(point.batch_rows) ? point.batch_rows.toFixed(1) : "–", percent(point.saturation), percent(point.client_cpu)]))));

  // ── where it was ────────────────────────────────────────────────────────────────────────────────────────────────

  const machine = about.machine;
  section("Machine and model", "Of the client. Figures hold for this machine, this graph and this code.", make("div", { class: "panel" }, table(["", ""], [
    ["processor", machine.processor], ["cores", String(machine.cores)], ["memory", `${machine.memory_gib} GiB`], ["system", machine.system],
    ["workers of the service", run.workers ? String(run.workers) : "–"], ["model", `${about.name}:${about.version}`], ["SHA-256 of its graph", about.sha256], ["Rowcast", about.rowcast]])));
  if (facts.kept.length) section("Promises that were kept", null, make("div", { class: "panel" }, table(
    ["when", "version", "graph", "Rowcast", "promise", "p99, ms", "processor"],
    facts.kept.map((entry) => [entry.time, String(entry.version), String(entry.sha256).slice(0, 12), entry.rowcast || "–",
      entry.promise ? `p99 ${ms(entry.promise.p99_ms)} ms at ${whole(entry.promise.rate)}/s` : "–", entry.measured ? ms(entry.measured.p99_ms) : "–", entry.machine ? entry.machine.processor : "–"]))));
})();
