// A live picture of /status: asks for it every second and shows it. It keeps nothing but the token, for this tab.
const $ = id => document.getElementById(id);
const n = x => Number(x ?? 0).toLocaleString("en");
const size = b => b < 2 ** 20 ? `${(b / 2 ** 10).toFixed(1)} KiB` : b < 2 ** 30 ? `${(b / 2 ** 20).toFixed(1)} MiB` : `${(b / 2 ** 30).toFixed(1)} GiB`;
const many = (x, one, more = one + "s") => `${n(x)} ${x === 1 ? one : more}`;
const clock = at => new Date(at * 1000).toLocaleTimeString();
const span = s => s < 1 ? "now" : s < 60 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
const ago = at => at == null ? "–" : Date.now() / 1000 - at < 1 ? "now" : `${span(Date.now() / 1000 - at)} ago`;
const CHIP = {live: "good", quiet: "good", ended: "good", starting: "warn", paused: "warn", stale: "warn", full: "warn", reconnecting: "warn"};

function element(tag, text, className = "") {
  return Object.assign(document.createElement(tag), {textContent: text, className});
}

// The heads of a table label its cells once they are cards.
function rows(body, lines) {
  const heads = [...body.parentElement.querySelectorAll("th")].map(th => th.textContent);
  body.replaceChildren(...lines.map(cells => {
    const row = document.createElement("tr");
    cells.forEach((cell, i) => { cell.dataset.label = heads[i]; });
    row.append(...cells);
    return row;
  }));
}

// A cell that is not replaced while its text is the same is not read out again.
function put(target, text, className = target.className) {
  if (target.textContent !== text) target.textContent = text;
  target.className = className;
}

// What a person should know of a feed, in sentences; nothing of one that is well.
function* troubles(name, f) {
  const error = f.last_error ? `: ${f.last_error}` : "";
  const again = f.next_poll_at ? `; again at ${clock(f.next_poll_at)}` : "";
  if (f.breaker_open) yield `${name} is parked, since most of its records are refused${error}.`;
  else if (f.state === "parked") yield `${name} is parked, since the provider refuses us${error}. It is tried again every minute.`;
  else if (f.state === "reconnecting") yield `${name} is reconnecting${error}${again}.`;
  else if (f.state === "full") yield `${name} waits, since the buffer is full.`;
  else if (f.state === "paused") yield `${name} is paused by hand.`;
  else if (f.last_error) yield `${name}${error}.`;
  if (f.state === "stale") yield `${name} is stale: no data for ${span(f.silence_s ?? 0)}${f.freshness_s ? `, due every ${span(f.freshness_s)}` : ""}.`;
  if (f.open_gaps) yield `${name} has ${many(f.open_gaps, "open gap")}: something was not heard, and nothing has made up for it yet (headrace.gaps).`;
  if (f.waiting) yield `${name}: ${many(f.waiting, "delta waits for its row", "deltas wait for their rows")} (headrace.waiting).`;
  if (f.ledger?.quarantined) yield `${name}: ${many(f.ledger.quarantined, "record is", "records are")} in quarantine; headrace quarantine list says why.`;
  if (f.absent && f.absent !== "ok") yield `${name}: no absent rows were taken away: ${f.absent}.`;
  if (f.drift?.length) yield `${name}: its records changed: ${f.drift.map(d => `${d.field} (${d.what})`).join(", ")}.`;
}

function feed([name, f]) {
  const first = element("td", name);
  first.append(element("small", [f.kind, f.tables?.length ? `into ${f.tables.join(", ")}` : ""].join(" ")));
  const state = element("td", "", "text");
  state.append(element("span", f.state, `chip ${CHIP[f.state] ?? ""}`));
  const count = (value, alarm) => element("td", n(value), alarm ? "alarm" : "");
  return [first, state, element("td", ago(f.last_message_at)), count(f.rate), element("td", `${(f.lag_s ?? 0).toFixed(2)} s`),
    count(f.ledger?.received), count(f.ledger?.loaded), count(f.ledger?.quarantined, f.ledger?.quarantined),
    f.waiting == null ? element("td", "–") : count(f.waiting, f.waiting),
    count(f.open_gaps, f.open_gaps), count(f.gaps), count(f.reconnects)];
}

function table([name, t]) {
  return [element("td", name), ...["inserted", "updated", "deleted", "unchanged", "stale", "duplicate", "filtered", "absent"].map(k => element("td", n(t[k])))];
}

function show(s) {
  put($("ready"), s.ready ? "ready" : "not ready", `chip ${s.ready ? "good" : ""}`);
  $("about").textContent = `version ${s.version} · up ${span(s.uptime_s)}`;
  const notes = [
    ...Object.entries(s.checks).filter(([, v]) => v !== "ok").map(([k, v]) => `${k}: ${v}`),
    ...Object.entries(s.feeds).flatMap(([name, f]) => [...troubles(name, f)]),
  ];
  $("shown").hidden = false;
  $("attention").hidden = notes.length === 0;
  $("notes").replaceChildren(...notes.map(note => element("li", note)));
  rows($("feeds"), Object.entries(s.feeds).map(feed));
  $("ledger").replaceChildren(...Object.entries(s.ledger).map(([term, value]) => {
    const box = document.createElement("div");
    box.append(element("dt", term.replace("_", " ")), element("dd", n(value)));
    return box;
  }));
  const {received, ...rest} = s.ledger, sum = Object.values(rest).reduce((a, b) => a + b, 0);
  $("balance").textContent = `${n(received)} received ${sum === received ? "=" : "≠"} ${n(sum)} accounted for`;
  $("fill").value = s.buffer.bytes / s.buffer.max_bytes;
  $("buffer").textContent = `${s.buffer.kind}: ${size(s.buffer.bytes)} of ${size(s.buffer.max_bytes)}, ${many(s.buffer.messages, "message")}${s.buffer.full ? ", full" : ""}`;
  rows($("tables"), Object.entries(s.tables).map(table));
}

async function look() {
  try {
    const token = sessionStorage.getItem("token");
    const answer = await fetch("status", token ? {headers: {Authorization: `Bearer ${token}`}} : {});
    $("ask").hidden = answer.status !== 401;
    if (answer.status === 401) put($("ready"), token ? "wrong token" : "token needed", "chip warn");
    else show(await answer.json());
  } catch {
    put($("ready"), "no answer", "chip");
  } finally {
    setTimeout(look, 1000);
  }
}

$("ask").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
});
look();
