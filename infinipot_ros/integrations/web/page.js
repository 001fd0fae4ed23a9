// SPDX-FileCopyrightText: 2026 The infinipot_ros authors
// SPDX-License-Identifier: Apache-2.0
'use strict';

// What comes from the memory or a model is only ever text here, never markup.

const POLL_MS = 700, HIDDEN_MS = 5000, SILENT_MS = 5000, WATCH_MS = 3000, FILM = 12, SPARK = 120;
const at = id => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

function make(name, className = '', text = '') {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function draw(parent, name, attributes, text = '') {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'share') element.style.setProperty('--share', value);
    else element.setAttribute(key, value);
  }
  if (text) element.textContent = text;
  parent.append(element);
  return element;
}

function put(id, text) {
  // Only what differs: a live region speaks whenever it is written to.
  if (at(id).textContent !== text) at(id).textContent = text;
}

const count = number => number.toLocaleString('en');
const percent = share => `${Math.round(100 * share)} %`;
const milliseconds = ms => ms ? (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`) : '–';

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let place = 0;
  for (; bytes >= 1024 && place < 3; place++) bytes /= 1024;
  return `${Number(bytes.toPrecision(3))} ${units[place]}`;
}

function coded(element, text) {
  text.split('`').forEach((part, index) => element.append(index % 2 ? make('code', '', part) : part));
}

async function call(path, settings = {}) {
  // A connection that broke may keep silent for minutes.
  const response = await fetch(path, {signal: AbortSignal.timeout(SILENT_MS), ...settings});
  if (response.ok) return response.json();
  throw new Error(await refusal(response));
}

async function refusal(response) {
  const text = await response.text();
  try { return JSON.parse(text).error; } catch { return text.trim(); }
}

const unreachable = error => error instanceof TypeError || error.name === 'TimeoutError';

const post = data => ({
  method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(data)});

// -- what is shown all the time ----------------------------------------------------------------

const shown = {picture: '', moments: null, drops: '', tokens: []};
let moments = [], evidence = [], plan = {};

async function poll() {
  try {
    show(await call('api/status'));
  } catch (error) {
    state('away', unreachable(error) ? 'infinipot serve does not answer: it ended, or the connection broke. ' +
      'This page goes on by itself when it is back.' : error.message);
  }
  setTimeout(poll, document.hidden ? HIDDEN_MS : POLL_MS);
}

function state(word, note) {
  put('state', word);
  at('state').className = `pill ${word}`;
  put('note', note);
}

function show(status) {
  state(status.state, status.note);
  put('caveat', status.caveat && `Note: ${status.caveat}.`);
  put('name', status.name);
  document.title = `${status.name} – infinipot`;
  if (status.picture && status.picture !== shown.picture) {
    shown.picture = status.picture;
    picture('live', `api/pictures/latest.jpg?${status.picture}`, 'What the camera saw last');
    at('no-live').hidden = true;
    at('live').classList.toggle('wide', status.strip);
    if (status.strip) picture('strip', `api/pictures/strip.jpg?${status.picture}`);
  }
  put('newest', status.newest ? `the newest frame, at ${status.newest}` : '');
  put('tokens', count(status.tokens));
  put('tokens-of', `of ${count(status.budget_tokens)} tokens remembered`);
  at('budget').value = status.budget_tokens ? status.tokens / status.budget_tokens : 0;
  put('bytes', `${size(status.bytes)} of ${size(status.budget_bytes)}, never more; ` +
    `compressed ${count(status.compressions)} ${status.compressions === 1 ? 'time' : 'times'}`);
  spark(status);
  put('fps', status.fps.toFixed(1));
  put('kept-fps', status.kept_fps.toFixed(1));
  put('ingest', milliseconds(status.ingest_ms));
  put('query', milliseconds(status.query_ms));
  put('sessions', status.sessions ? `${status.sessions} open now.` : '');
  put('oldest', status.oldest && `oldest ${status.oldest}`);
  put('latest', status.newest && `newest ${status.newest}`);
  put('model', status.model && `model ${status.model}, policy ${status.policy}`);
  showDrops(status);
  if (status.moments !== shown.moments) showMoments(status);
}

function picture(id, address, alt) {
  const image = at(id);
  image.hidden = false;
  image.src = address;
  if (alt) image.alt = alt;
}

function spark(status) {
  shown.tokens.push(status.budget_tokens ? status.tokens / status.budget_tokens : 0);
  if (shown.tokens.length > SPARK) shown.tokens.shift();
  const first = SPARK - shown.tokens.length;
  at('spark').firstElementChild.setAttribute('points', shown.tokens.map(
    (share, index) => `${first + index + 0.5},${(27 - 26 * share).toFixed(1)}`).join(' '));
}

function showDrops(status) {
  put('frames', `${count(status.frames_seen)} came, ${count(status.frames_kept)} went in`);
  const text = JSON.stringify(status.drops);
  if (text === shown.drops) return;
  shown.drops = text;
  at('no-drops').hidden = status.drops.length > 0;
  at('drops').replaceChildren(...status.drops.flatMap(([reason, number, meaning]) => {
    const what = make('dd');
    coded(what, meaning);
    return [make('dt', '', `${count(number)} ${reason.replaceAll('_', ' ')}`), what];
  }));
}

// -- moments and places ------------------------------------------------------------------------

async function showMoments(status) {
  shown.moments = status.moments;
  if (status.strip) return;
  try {
    moments = await call('api/moments');
  } catch {
    shown.moments = null;
    return;
  }
  put('count', moments.length ? count(moments.length) : '');
  at('pick').hidden = !moments.length;
  const range = at('moment'), follows = range.value === range.max;
  range.max = Math.max(0, moments.length - 1);
  if (follows) range.value = range.max;
  film();
  timeline();
  choose();
  map();
}

function scale() {
  const starts = [...moments, ...evidence].map(each => each.start_s);
  const first = Math.min(...starts), span = Math.max(1, Math.max(...starts) - first);
  return each => (each.start_s - first) / span;
}

function film() {
  const pictured = moments.filter(each => each.key >= 0);
  const wanted = Math.min(innerWidth < 600 ? FILM / 3 : FILM, pictured.length);
  const keys = Array.from({length: wanted}, (_, index) =>
    pictured[Math.round(index * (pictured.length - 1) / Math.max(1, wanted - 1))].key);
  const images = at('film').children;
  if (images.length !== keys.length) {
    at('film').replaceChildren(...keys.map(() => Object.assign(make('img'), {alt: ''})));
  }
  keys.forEach((key, index) => {
    const address = `api/moments/${key}.jpg`;
    if (images[index].getAttribute('src') !== address) images[index].src = address;
  });
}

function timeline() {
  at('heat').toggleAttribute('hidden', !moments.length);
  if (!moments.length) return;
  const place = scale(), heat = at('heat');
  heat.replaceChildren();
  const width = 1000 / Math.max(40, moments.length);
  for (const each of moments) {
    const height = 6 + 34 * Math.sqrt(each.share);
    draw(heat, 'rect', {x: (1000 - width) * place(each), y: 40 - height, width, height,
      share: Math.sqrt(each.share)});
  }
  const chosen = moments[at('moment').value];
  if (chosen) {
    draw(heat, 'rect', {class: 'at', x: (1000 - width) * place(chosen), y: 1, width, height: 38});
  }
  at('pins').replaceChildren(...evidence.map((each, index) => {
    const pin = make('i', '', String(index + 1));
    pin.style.left = `${2 + 96 * place(each)}%`;
    return pin;
  }));
}

function choose() {
  const chosen = moments[at('moment').value];
  if (!chosen) return;
  const several = moments.some(each => each.camera !== chosen.camera);
  const text = `${chosen.when}${several ? `, camera ${chosen.camera}` : ''}` +
    `${room(chosen)}: ${percent(chosen.share)} of its tokens are left`;
  at('moment').setAttribute('aria-valuetext', text);
  put('moment-text', text);
  at('moment-picture').hidden = chosen.key < 0;
  const address = `api/moments/${chosen.key}.jpg`;
  if (chosen.key >= 0 && at('moment-picture').getAttribute('src') !== address) {
    at('moment-picture').src = address;
  }
}

function room(moment) {
  if (!moment.place) return '';
  const [x, y] = moment.place;
  const found = moment.frame_id === plan.frame_id && plan.rooms.find(each =>
    each.x[0] <= x && x <= each.x[1] && each.y[0] <= y && y <= each.y[1]);
  return found ? `, in the ${found.name}` : `, at (${x.toFixed(1)}, ${y.toFixed(1)})`;
}

function map() {
  const places = moments.filter(each => each.place), pins = evidence.filter(each => each.place);
  const svg = at('map'), all = [...places, ...pins];
  svg.toggleAttribute('hidden', !all.length);
  at('no-map').hidden = all.length > 0;
  if (!all.length) return;
  const rooms = all.every(each => each.frame_id === plan.frame_id) ? plan.rooms : [];
  const xs = [...all.map(each => each.place[0]), ...rooms.flatMap(each => each.x)];
  const ys = [...all.map(each => each.place[1]), ...rooms.flatMap(each => each.y)];
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const unit = Math.max(right - left, high - low, 1) / 40;
  svg.setAttribute('viewBox', [left - 2 * unit, -high - 2 * unit, right - left + 4 * unit,
    high - low + 4 * unit].join(' '));
  [...svg.children].slice(1).forEach(each => each.remove());
  for (const each of rooms) {
    draw(svg, 'rect', {x: each.x[0], y: -each.y[1], width: each.x[1] - each.x[0], height: each.y[1] - each.y[0]});
  }
  for (const [[x1, y1], [x2, y2]] of rooms.length ? plan.doors : []) {
    draw(svg, 'line', {x1, y1: -y1, x2, y2: -y2});
  }
  for (const each of places) {
    draw(svg, 'circle', {class: 'seen', cx: each.place[0], cy: -each.place[1], r: 0.45 * unit,
      share: Math.sqrt(each.share)});
  }
  for (const each of rooms) {
    draw(svg, 'text', {class: 'room', x: (each.x[0] + each.x[1]) / 2, y: -each.y[0] - 0.9 * unit,
      'font-size': 1.7 * unit, 'stroke-width': 0.5 * unit}, each.name);
  }
  pins.slice().reverse().forEach(each => {
    const [x, y] = each.place;
    draw(svg, 'circle', {class: 'pin', cx: x, cy: -y, r: 1.15 * unit, 'stroke-width': 0.15 * unit});
    draw(svg, 'text', {x, y: -y + 0.55 * unit, 'font-size': 1.6 * unit}, String(evidence.indexOf(each) + 1));
  });
  put('map-title', pins.length
    ? `Places of remembered moments; of the last answer's: ${pins.map(each => room(each).slice(2)).join('; ')}`
    : 'Places of remembered moments');
}

// -- questions ---------------------------------------------------------------------------------

async function ask(event) {
  event.preventDefault();
  const [question, since, until, session] = ['question', 'since', 'until', 'session'].map(id => at(id).value);
  const card = make('article', 'waiting'), text = make('p', 'text');
  card.append(make('h3', '', question), text);
  at('first').hidden = true;
  at('answers').prepend(card);
  at('answers').scrollTop = 0;
  const refuse = why => {
    card.className = 'refused';
    text.textContent = why;
    put('said', `No answer: ${why}`);
  };
  try {
    const response = await fetch('api/ask', post({question, since, until, session}));
    if (!response.ok) return refuse(await refusal(response));
    let ended = false;
    for await (const [name, data] of events(response.body)) {
      ended = name !== 'text';
      if (name === 'text') text.textContent += data;
      else if (name === 'answer') finish(card, text, data);
      else refuse(data.error);
    }
    if (!ended) refuse('the connection broke before the answer was complete; ask again');
  } catch {
    refuse('infinipot serve does not answer: it ended, or the connection broke; ask again');
  }
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const parts = (waiting + value).split('\n\n');
    waiting = parts.pop();
    for (const part of parts) {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(part);
      yield [name, JSON.parse(data)];
    }
  }
}

function finish(card, text, answer) {
  card.className = '';
  text.textContent = answer.text.trim() || '(nothing)';
  const facts = [`from ${answer.span}`, milliseconds(1000 * answer.latency_s),
    answer.truncated && 'cut off at its token limit', answer.note].filter(Boolean);
  card.append(make('p', 'hint', facts.join(' · ')));
  if (answer.evidence.length) {
    const list = make('ol', 'evidence');
    list.append(...answer.evidence.map((each, index) => moment(each, index + 1)));
    card.append(list);
  }
  put('said', `Answer: ${text.textContent}`);
  evidence = answer.evidence;
  timeline();
  map();
}

function moment(each, number) {
  const item = make('li');
  const about = `${each.when}${room(each)}`;
  if (each.picture) {
    item.append(Object.assign(make('img'), {src: each.picture, alt: `Moment ${number}: the camera at ${about}`}));
  } else {
    item.append(make('span', 'none', 'picture no longer held'));
  }
  item.append(make('span', 'number', String(number)), `${about}, ${percent(each.share)} of its attention`);
  return item;
}

// -- standing questions ------------------------------------------------------------------------

async function watches() {
  try {
    const found = await call('api/watches');
    put('watch-note', found.note || (found.watches.length ? '' : 'There are none yet.'));
    at('watch').hidden = Boolean(found.note);
    listWatches(found.watches);
    if (found.note) return;
  } catch (error) {
    if (!unreachable(error)) put('watch-note', error.message);
  }
  setTimeout(watches, document.hidden ? HIDDEN_MS : WATCH_MS);
}

function listWatches(found) {
  // Where nothing differs the buttons stay, and with them the focus.
  const text = JSON.stringify(found);
  if (text === shown.watches) return;
  shown.watches = text;
  at('watches').replaceChildren(...found.map(each => {
    const item = make('li'), what = make('span', '', each.question), end = make('button', 'quiet', 'End');
    what.append(make('small', '', `${each.answer || 'no answer yet'} · asked ${count(each.asked)} ` +
      `times, every ${each.period_s} s${each.value ? `, for ${each.value}` : ''}`));
    end.type = 'button';
    end.setAttribute('aria-label', `End: ${each.question}`);
    end.addEventListener('click', () => change(`api/watches/${each.id}`, {method: 'DELETE'}));
    item.append(what, end);
    return item;
  }));
}

async function change(path, settings) {
  put('watch-error', '');
  try {
    await call(path, settings);
    listWatches((await call('api/watches')).watches);
    return true;
  } catch (error) {
    put('watch-error', error.message);
    return false;
  }
}

async function begin(event) {
  event.preventDefault();
  const done = await change('api/watches', post({question: at('watch-question').value,
    period_s: Number(at('watch-period').value), value: at('watch-value').value}));
  if (done) at('watch-question').value = '';
}

async function main() {
  if (location.search) history.replaceState(null, '', location.pathname);
  at('ask').addEventListener('submit', ask);
  at('watch').addEventListener('submit', begin);
  at('moment').addEventListener('input', () => { timeline(); choose(); });
  poll();
  watches();
  try { plan = await call('api/plan'); } catch { /* places are then shown as coordinates */ }
}

main();
