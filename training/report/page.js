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
      else if (name === "onclick") element.onclick = value;
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const spellings = { log_loss: "log-loss", rmse: "RMSE", mae: "MAE", r2: "R²", f1: "F1", roc_auc: "ROC AUC", brier: "Brier", ece: "ECE" };
  const spoken = (metric) => spellings[metric] || metric.replaceAll("_", " ");
  const shown = (value, digits = 4) => {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en");
    return Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4 ? value.toExponential(digits - 1) : String(+value.toPrecision(digits));
  };
  const count = (value) => (value === null ? "under 10" : value.toLocaleString("en"));
  const percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1) + "%");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const colourOf = { train: "train", validation: "validation", test: "test" };
  const tint = (part) => colourOf[part] || "table";
  const wordOf = { train: "training", validation: "validation", test: "test" };
  const word = (part) => wordOf[part] || part;

  const section = (title, note, ...children) => {
    const made = make("section", {}, make("h2", {}, title), note ? make("p", { class: "soft" }, note) : null, ...children);
    main.append(made);
    return made;
  };
  const panel = (title, note, ...children) =>
    make("div", { class: "panel" }, make("h3", {}, title), note ? make("p", { class: "soft" }, note) : null, ...children);
  const table = (head, rows, classes = []) => {
    const cell = (tag) => (value, i) => make(tag, classes[i] ? { class: classes[i] } : {}, value);
    return make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...head.map(cell("th")))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell("td")))))));
  };
  const key = (parts) => make("div", { class: "key" }, ...parts.map((part) =>
    make("span", {}, make("i", { style: { background: `var(--${tint(part)})` } }), word(part))));

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
  const drawAll = () => plots.forEach((draw) => draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  const axis = (label, more = {}) => ({
    label, stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 },
    font: "11px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 18, size: more.size || 36,
    values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : shown(tick))), ...more,
  });
  const line = (label, name, more = {}) => ({ label, stroke: colour(name), width: 2, points: { show: false }, ...more });
  const dots = (label, name) => ({ label, stroke: colour(name), width: 1.5, points: { show: true, size: 6, fill: colour(name) } });
  const dashed = { dash: [5, 4], width: 1 };
  const unit = { x: { time: false, range: [0, 1] }, y: { range: [0, 1] } };

  // ── how values are spread ──────────────────────────────────────────────────────────────────────────────────────────

  const edge = (value, kind) => kind === "timestamp" ? new Date(value / 1000).toISOString().slice(0, 10) :
    kind === "duration" ? `${shown(value)} s` : shown(value);
  const bars = (spread) => {
    const names = Object.keys(spread.counts);
    const totals = Object.fromEntries(names.map((part) => [part, spread.counts[part].reduce((sum, n) => sum + (n || 0), 0) || 1]));
    const n = spread.counts[names[0]].length;
    const share = (part, i) => (spread.counts[part][i] || 0) / totals[part];
    const whole = (value, round) => (spread.kind === "integer" ? round(value) : value);
    const most = Math.max(...names.flatMap((part) => spread.counts[part].map((_, i) => share(part, i))), 1e-9);
    return make("div", {}, make("div", { class: n > 8 ? "spread dense" : "spread" }, ...Array.from({ length: n }, (_, i) =>
      make("div", { style: { flexGrow: 1 }, title: `${edge(spread.edges[i], spread.kind)} to ${edge(spread.edges[i + 1], spread.kind)}: ` +
        names.map((part) => `${word(part)} ${percent(share(part, i))}`).join(", ") },
        ...names.map((part) => make("i", { style: { height: `${100 * share(part, i) / most}%`, background: `var(--${tint(part)})` } }))))),
      make("div", { class: "ends" }, make("span", {}, edge(whole(spread.edges[0], Math.ceil), spread.kind)), make("span", {}, edge(whole(spread.edges[n], Math.floor), spread.kind))));
  };
  const levels = (spread) => {
    const names = Object.keys(spread.counts);
    const totals = Object.fromEntries(names.map((part) => [part, spread.counts[part].reduce((sum, n) => sum + (n || 0), 0) || 1]));
    const share = (part, i) => (spread.counts[part][i] === null ? null : spread.counts[part][i] / totals[part]);
    const most = Math.max(...names.flatMap((part) => spread.labels.map((_, i) => share(part, i) || 0)), 1e-9);
    const drawn = spread.labels.map((label, i) => [label, i]).filter(([, i]) => names.some((part) => spread.counts[part][i] !== 0));
    return make("div", { class: "levels" }, ...drawn.map(([label, i]) => make("div", { class: "bar" },
      make("span", label === null ? { class: "soft" } : { title: label }, label === null ? "all others" : label),
      make("span", { class: "track" }, ...names.map((part, k) => make("i", { title: `${word(part)} ${percent(share(part, i))}`,
        style: { top: `${5 * k}px`, width: `${100 * (share(part, i) || 0) / most}%`, background: `var(--${tint(part)})` } }))),
      make("span", {}, share(names[0], i) === null ? "under 10" : percent(share(names[0], i))))));
  };

  // ── the head ────────────────────────────────────────────────────────────────────────────────────────────────────

  const about = facts.about;
  const path = /([a-z0-9_-]{1,64})\/([1-9][0-9]{0,8})\/report\.html$/.exec(decodeURIComponent(location.pathname));
  const name = about.name ? `${about.name}:${about.version}` : path ? `${path[1]}:${path[2]}` : "A model";
  const words = { regression: "predicts the number", binary: "tells the two classes of", multiclass: "tells the classes of" };
  document.title = `${name} – ${about.target}`;
  main.append(make("header", {},
    make("h1", {}, `${name} ${words[about.task] || "predicts"} ${about.target}`),
    make("p", { class: "soft" }, [about.created ? `Published ${about.created}` : null, about.sha256 ? `graph ${about.sha256.slice(0, 12)}` : null,
      ...Object.entries(facts.rows || {}).map(([part, rows]) => `${rows.toLocaleString("en")} ${word(part)} rows`)].filter(Boolean).join(" · "))));

  const tellThreshold = () => {
    if (!facts.threshold) return;
    const rule = facts.threshold;
    const told = rule.value !== undefined ? `The label is ${rule.class} from a probability of ${shown(rule.value)} on` :
      rule.weights ? "The label is the class of the highest product of probability and factor" : "The label is the class of the least expected cost";
    main.append(make("p", {}, `${told} (${String(rule.by).replaceAll("_", " ")}).`));
  };

  const measured = Object.entries(facts.metrics || {}).filter(([part, values]) => part !== "interval_coverage" && values && typeof values === "object");
  if (measured.length) {
    const [part, best] = measured[measured.length - 1];
    main.append(make("div", { class: "cards" }, ...Object.entries(best).filter(([, value]) => typeof value === "number").slice(0, 6)
      .map(([metric, value]) => make("div", { class: "card" }, make("b", {}, shown(value)), make("span", { class: "soft" }, spoken(metric))))));
    const metrics = [...new Set(measured.flatMap(([, values]) => Object.keys(values)))];
    const held = facts.metrics.interval_coverage;
    main.append(make("p", { class: "soft", style: { marginTop: "8px" } }, `Measured on ${word(part)} rows ` + (facts.refit && wordOf[part] ? "by the fit before the one on all rows, which had not seen them." : "with the published graph.") +
      (held ? ` Intervals are asked to hold ${percent(held.level)} of rows.` : "")));
    tellThreshold();
    section("Metrics", null, make("div", { class: "panel" }, table(["", ...measured.map(([one]) => word(one))], [
      ...metrics.map((metric) => [spoken(metric), ...measured.map(([, values]) => shown(values[metric]))]),
      ...(held ? [["inside the interval", ...measured.map(([one]) => percent(held[one]))]] : [])])));
  }
  // ── learning curves ─────────────────────────────────────────────────────────────────────────────────────────────

  const history = facts.history;
  if (history && history.epoch.length > 1) {
    const looks = history.epoch.map((_, i) => i + 1);
    const perEpoch = history.epoch.every((epoch, i) => epoch === i + 1);
    const best = history.best.lastIndexOf(true);
    const marked = looks.map((_, i) => (i === best ? history.validation_loss[i] : null));
    section("Learning curves", `One point for each look at the validation rows${facts.stopped ? `; training ended by ${facts.stopped}` : ""}.`,
      make("div", { class: "grid" },
        panel("Loss", best >= 0 ? `Best on validation rows at ${perEpoch ? "epoch" : "look"} ${best + 1}: ${shown(history.validation_loss[best])}.` : null,
          plot(230, () => [{
            scales: { x: { time: false } }, axes: [axis(perEpoch ? "epoch" : "look"), axis("loss", { size: 52 })],
            series: [{}, line("training", "train"), line("validation", "validation"), { ...dots("best", "test"), paths: () => null }],
          }, [looks, history.train_loss, history.validation_loss, marked]])),
        panel("Learning rate", null, plot(230, () => [{
          scales: { x: { time: false } }, axes: [axis(perEpoch ? "epoch" : "look"), axis("rate", { size: 60 })],
          series: [{}, line("learning rate", "validation")],
        }, [looks, history.learning_rate]]))));
  } else {
    section("Learning curves", "This version keeps no history of its training, or had one look at the validation rows only.");
  }

  // ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  const confusion = (found) => {
    const labels = [...found.shown, ...(found.pooled ? [`${found.pooled} more`] : [])];
    const sums = found.confusion.map((row) => row.reduce((sum, cell) => sum + (cell || 0), 0) || 1);
    return make("div", { class: "scroll" }, make("table", { class: "confusion" },
      make("thead", {}, make("tr", {}, make("th", {}, "actual ↓ said →"), ...labels.map((label) => make("th", { title: label }, label)))),
      make("tbody", {}, ...found.confusion.map((row, i) => make("tr", {}, make("th", { title: labels[i] }, labels[i]),
        ...row.map((cell) => make("td", { style: { background: `rgb(${colour("heat")} / ${(0.75 * (cell || 0) / sums[i]).toFixed(3)})` } }, count(cell))))))));
  };
  const classPanels = (found) => {
    const many = found.curves.length > 1;
    const names = ["validation", "test", "good", "bad", "train", "ink"];
    const parts = [
      make("div", { class: found.confusion.length > 4 ? "panel wide" : "panel" }, make("h3", {}, "Confusion matrix"),
        make("p", { class: "soft" }, "Rows by actual class and by the label that is said."), confusion(found)),
      panel("Per class", null, table(["class", "rows", "precision", "recall", "F1"],
        found.per_class.map((one) => [one.class, count(one.rows), percent(one.precision), percent(one.recall), percent(one.f1)]), ["word"])),
    ];
    if (found.curves.length) {
      const joined = (pairs, more) => uPlot.join([...pairs.map(([x, y]) => monotone(x, y)), ...more]);
      parts.push(panel("ROC curve", found.curves.map((c) => `${many ? c.class + ": " : ""}area ${shown(c.auc, 3)}`).join(" · "),
        plot(270, () => [{ scales: unit, axes: [axis("false positive rate"), axis("true positive rate", { size: 40 })],
          series: [{}, ...found.curves.map((c, i) => line(c.class, names[i], { spanGaps: true })), line("chance", "train", { ...dashed, spanGaps: true })] },
          joined(found.curves.map((c) => c.roc), [[[0, 1], [0, 1]]])])));
      parts.push(panel("Precision and recall", found.curves.map((c) => `${many ? c.class + ": " : ""}average precision ${shown(c.average_precision, 3)}`).join(" · "),
        plot(270, () => [{ scales: unit, axes: [axis("recall"), axis("precision", { size: 40 })],
          series: [{}, ...found.curves.map((c, i) => line(c.class, names[i], { spanGaps: true }))] },
          joined(found.curves.map((c) => c.pr), [])])));
    } else parts.push(panel("ROC, precision and recall", "Fewer than 10 rows of a class: there are no curves."));
    const r = found.reliability;
    parts.push(r.said.length > 1
      ? panel("Reliability", `${r.of === null ? "Of the most probable class" : `Of ${r.of}`}: what the probability said, and how often it came true, in bins of ${shown(r.rows[0])} rows or so.`,
        plot(270, () => [{ scales: unit, axes: [axis("said"), axis("came true", { size: 40 })],
          series: [{}, { ...dots("bins", "validation"), spanGaps: true }, line("perfect", "train", { ...dashed, spanGaps: true })] },
          uPlot.join([monotone(r.said, r.was), [[0, 1], [0, 1]]])]))
      : panel("Reliability", "Too few rows to tell."));
    return parts;
  };
  // uPlot wants x to rise; of points with the same x the last is kept.
  const monotone = (x, y) => {
    const xs = [], ys = [];
    x.forEach((value, i) => { if (xs.length && value <= xs[xs.length - 1]) ys[ys.length - 1] = y[i]; else { xs.push(value); ys.push(y[i]); } });
    return [xs, ys];
  };
  const numberPanels = (found) => {
    const parts = [];
    const bins = found.bins;
    if (bins.length > 1) {
      const of = (field) => bins.map((bin) => bin[field]);
      const banded = bins[0].lower !== undefined;
      const rising = (...columns) => { // bins of equal predictions stand at one place
        const keep = of("prediction").map((value, i, all) => i === all.length - 1 || all[i + 1] > value);
        return columns.map((column) => column.filter((_, i) => keep[i]));
      };
      parts.push(make("div", { class: "panel wide" }, make("h3", {}, "Predictions and what was true"),
        make("p", { class: "soft" }, `Rows in ${bins.length} bins by their prediction: the mean of what was true with its quartiles${banded ? ", and the mean interval" : ""}.` +
          (found.held !== undefined ? ` ${percent(found.held)} of the rows lie inside their interval.` : "")),
        plot(320, () => [{
          scales: { x: { time: false } }, axes: [axis("prediction"), axis("actual", { size: 64 })],
          series: [{}, line("perfect", "train", dashed), dots("actual", "test"), line("first quartile", "test", { ...dashed, spanGaps: true }),
            line("third quartile", "test", { ...dashed, spanGaps: true }),
            ...(banded ? [line("lower", "validation"), line("upper", "validation")] : [])],
          bands: banded ? [{ series: [6, 5], fill: `rgb(${colour("heat")} / 0.14)` }] : [],
        }, rising(of("prediction"), of("prediction"), of("actual"), of("low"), of("high"), ...(banded ? [of("lower"), of("upper")] : []))])));
    }
    if (found.residuals) parts.push(panel("Residuals", "Actual less predicted, between the 1st and the 99th percentile.", bars({ ...found.residuals, counts: { validation: found.residuals.counts.rows } })));
    if (!parts.length) parts.push(panel("Predictions and residuals", "Too few rows to show without showing single ones."));
    return parts;
  };
  const parts = Object.keys(facts.answers || {});
  if (parts.length) {
    const holder = make("div", { class: "grid" });
    const tabs = make("div", { class: "tabs", role: "group" });
    const choose = (part) => {
      for (const button of tabs.children) button.setAttribute("aria-pressed", String(button.dataset.part === part));
      const found = facts.answers[part];
      holder.replaceChildren(...(found.classes ? classPanels(found.classes) : numberPanels(found.numbers)));
      drawAll();
    };
    for (const part of parts) tabs.append(make("button", { "data-part": part, type: "button", onclick: () => choose(part) }, `${word(part)} rows (${count(facts.answers[part].rows)})`));
    section("Answers", facts.answers_note || null, tabs, holder);
    choose(parts[parts.length - 1]);
  }

  // ── importance and slices ───────────────────────────────────────────────────────────────────────────────────────

  if (facts.importance) {
    const most = Math.max(...facts.importance.columns.map((one) => one.importance + (one.deviation || 0)), 1e-300);
    const rows = facts.importance.columns.map((one) => {
      const width = Math.max(0, one.importance) / most, error = (one.deviation || 0) / most;
      const left = Math.max(0, width - error);
      return make("div", { class: "bar" }, make("span", { title: one.column }, one.column),
        make("span", { class: "track" }, make("i", { style: { left: 0, width: `${100 * width}%` } }),
          error ? make("u", { style: { left: `${100 * left}%`, width: `${100 * Math.min(1 - left, width - left + error)}%` } }) : null),
        make("span", {}, shown(one.importance, 3)));
    });
    section("Importance", facts.importance.note, rows.length ? make("div", { class: "panel" }, ...rows) : null);
  }
  if (facts.slices) {
    const s = facts.slices;
    const note = `Of ${s.looked_at} slices of ${s.rows.toLocaleString("en")} rows, those whose ${spoken(s.metric)} is most clearly above ${shown(s.overall)}, that of all rows. ` +
      "Of so many slices some look bad by chance: above says by how many standard errors.";
    section("Slices that do worst", s.worst.length ? note : `None of ${s.looked_at} slices of ${s.rows.toLocaleString("en")} rows is clearly worse than all rows.`,
      s.worst.length ? make("div", { class: "panel" }, table(["column", "slice", "rows", spoken(s.metric), "above"],
        s.worst.map((one) => [one.column, one.slice, shown(one.rows), shown(one.loss), shown(one.above)]), ["text", "text"])) : null);
  }

  // ── columns ─────────────────────────────────────────────────────────────────────────────────────────────────────

  const columnPanel = (one) => make("div", { class: "panel" }, ...(() => {
    const missing = Object.entries(one.missing || {});
    const some = missing.filter(([, n]) => n !== 0);
    const about = some.length ? "missing: " + some.map(([part, n]) => `${word(part)} ${n === null ? "under 10 rows" : percent(n / facts.sampled[part])}`).join(", ") : missing.length ? "none missing" : "";
    return [make("h3", {}, one.name, make("span", { class: "badge" }, one.kind), one.target ? make("span", { class: "badge" }, "target") : null),
      make("p", { class: "soft" }, about),
      one.spread ? (one.spread.edges ? bars(one.spread) : levels(one.spread)) : make("p", { class: "soft" }, "Too few rows, or too few different values, to show how they are spread."),
      one.decisions && one.decisions.length ? make("ul", { class: "plain" }, ...one.decisions.map((text) => make("li", {}, text))) : null];
  })());
  if (facts.columns && facts.columns.length) {
    const shownParts = Object.keys(facts.sampled || {});
    const holder = section("Columns", facts.columns_note || null, key(shownParts));
    const grid = make("div", { class: "masonry" });
    holder.append(grid);
    const step = 24;
    const more = (start) => {
      grid.append(...facts.columns.slice(start, start + step).map(columnPanel));
      if (start + step < facts.columns.length) {
        const button = make("div", { class: "tabs", style: { marginTop: "12px" } }, make("button", { type: "button", onclick: () => { button.remove(); more(start + step); } },
          `Show ${Math.min(step, facts.columns.length - start - step)} of ${facts.columns.length - start - step} more columns`));
        holder.append(button);
      }
    };
    more(0);
  }

  // ── how it was made ─────────────────────────────────────────────────────────────────────────────────────────────

  if (facts.split) section("Split", null, make("div", { class: "panel" }, make("p", {}, facts.split.words),
    facts.split.spread ? make("div", {}, key(Object.keys(facts.split.spread.counts)), bars(facts.split.spread)) : null));
  if (facts.decisions && facts.decisions.length) section("Decisions", facts.decisions_note || "What training chose for this table, in its own words.",
    make("div", { class: "panel" }, make("ul", { class: "plain" }, ...facts.decisions.map((text) => make("li", {}, text)))));
  const rowsOf = (object) => Object.entries(object || {}).map(([field, value]) => [field.replaceAll("_", " "), typeof value === "object" && value !== null ? JSON.stringify(value) : shown(value)]);
  section("How it was made", null, make("div", { class: "grid" },
    facts.network ? make("div", { class: "panel wide" }, make("h3", {}, "Network"), facts.network.note ? make("p", { class: "soft" }, facts.network.note) : null,
      facts.network.rows ? table(facts.network.head, facts.network.rows.map((row) => row.map((cell) => shown(cell))), ["word", "word"]) : null) : null,
    panel("Parity", "What the export gate saw: the largest differences between PyTorch and ONNX Runtime.", table(["", ""], rowsOf(facts.parity), ["text", ""])),
    panel("Provenance", null, table(["", ""], rowsOf(facts.provenance), ["text", "text"])),
    facts.config ? make("div", { class: "panel wide" }, make("details", {}, make("summary", {}, "Config"), make("pre", {}, facts.config))) : null));
  drawAll();
})();
