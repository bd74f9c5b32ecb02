(() => {
  // Commands are copied by a button that only this script can serve.
  for (const box of document.querySelectorAll('.cmd')) {
    const b = Object.assign(document.createElement('button'), { type: 'button', className: 'copy', textContent: 'Copy' });
    b.setAttribute('aria-label', 'Copy the command');
    b.addEventListener('click', async () => {
      const text = box.querySelector('pre').textContent.trim();
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        getSelection().selectAllChildren(box.querySelector('pre')); // where the clipboard is forbidden
        document.execCommand('copy');
      }
      b.textContent = 'Copied';
      setTimeout(() => b.textContent = 'Copy', 1500);
    });
    box.append(b);
  }
  // A link to something that is folded opens it.
  const open = () => {
    const at = location.hash && document.getElementById(location.hash.slice(1));
    if (!at) return;
    const folded = at.closest('details');
    if (folded && !folded.open) { folded.open = true; at.scrollIntoView({ block: 'center' }); }
  };
  addEventListener('hashchange', open);
  open();
  addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(d => d.open = true));

  // The values of one moment, at the pointer or by the keys.
  const tl = document.getElementById('tl'), raw = document.getElementById('tl-data');
  if (!tl || !raw) return;
  const data = JSON.parse(raw.textContent), body = tl.querySelector('.tl-body'), cur = tl.querySelector('.tl-cursor');
  const tip = cur.querySelector('.tip'), outs = [...tl.querySelectorAll('[data-s]')], head = tl.querySelector('.at');
  for (const o of [...outs, head]) o.dataset.rest = o.textContent;
  const clock = t => Math.floor(t / 60) + ':' + (t % 60).toFixed(1).padStart(4, '0');
  const value = (o, t) => {
    const v = (data.series[o.dataset.s] || [])[Math.floor(t / data.step + 1e-6)];
    return v == null ? 'no data' : v.toLocaleString('en') + (o.dataset.u ? '\u00a0' + o.dataset.u : '');
  };
  const view = () => { const css = getComputedStyle(tl); return [+css.getPropertyValue('--t0'), +css.getPropertyValue('--span')]; };
  let t = data.start;
  const show = (to, row, y) => {
    t = Math.max(0, Math.min(data.end, Math.round(to / data.step) * data.step));
    const [t0, span] = view(), phase = data.phases.filter(p => p.t <= t).pop();
    for (const o of outs) o.textContent = value(o, t);
    head.textContent = 'at ' + clock(t);
    const near = row ? [...row.querySelectorAll('[data-s]')] : outs.slice(0, 4);
    tip.textContent = [clock(t) + (phase ? ', ' + phase.name : ''), ...near.map(o => o.dataset.n + ': ' + o.textContent)].join('\n');
    cur.style.setProperty('--t', t);
    if (y != null) cur.style.setProperty('--py', y + 'px');
    cur.classList.toggle('flip', (t - t0) / span > .6);
    tl.classList.add('on');
    cur.setAttribute('aria-valuenow', t);
    cur.setAttribute('aria-valuetext', tip.textContent);
  };
  const rest = () => { tl.classList.remove('on'); for (const o of [...outs, head]) o.textContent = o.dataset.rest; };
  const point = e => {
    if (e.target.closest('.mk')) return rest();
    const box = cur.getBoundingClientRect(), x = (e.clientX - box.left) / box.width, [t0, span] = view();
    if (x < 0 || x > 1) return rest();
    show(t0 + x * span, e.target.closest('.row'), e.clientY - box.top + 16);
  };
  body.addEventListener('pointermove', point);
  body.addEventListener('pointerdown', point);
  body.addEventListener('pointerleave', rest);
  const attributes = { role: 'slider', tabindex: 0, 'aria-label': 'Moment in the drill', 'aria-valuemin': 0, 'aria-valuemax': data.end, 'aria-valuenow': t, 'aria-valuetext': clock(t) };
  for (const [k, v] of Object.entries(attributes)) cur.setAttribute(k, v);
  cur.hidden = false;
  tl.querySelector('.tl-how').hidden = false;
  cur.addEventListener('focus', () => show(t));
  cur.addEventListener('blur', rest);
  cur.addEventListener('keydown', e => {
    const by = { ArrowRight: data.step, ArrowLeft: -data.step, ArrowUp: data.step, ArrowDown: -data.step, PageUp: 20 * data.step, PageDown: -20 * data.step, Home: -1e6, End: 1e6 }[e.key];
    if (e.key === 'Escape') rest();
    else if (by) { e.preventDefault(); show(t + by * (e.shiftKey ? 10 : 1)); }
  });
})();
