// The live page: puts the parts that the server sends into their places, and sends orders. What is in a part was escaped there.
const at = id => document.getElementById(id);
const { token, at: since } = document.body.dataset;
const link = at('link'), ask = at('ask'), said = at('said');
let nonce = ''; // of the question that waits

// What a person has chosen stays while the parts around it are made anew.
function put({ id, html }) {
  const place = at(id);
  if (!place) return;
  const chosen = [...place.querySelectorAll('input:checked')].map(x => x.id);
  const focused = place.contains(document.activeElement) ? document.activeElement.id : '';
  const left = [...place.querySelectorAll('[tabindex]')].map(x => x.scrollLeft), top = place.scrollTop;
  place.innerHTML = html;
  for (const x of chosen) if (x && at(x)) at(x).checked = true;
  [...place.querySelectorAll('[tabindex]')].forEach((x, i) => { x.scrollLeft = left[i] || 0; });
  place.scrollTop = top;
  if (focused && at(focused)) at(focused).focus({ preventScroll: true });
}

function able(cannot) {
  for (const button of document.querySelectorAll('[data-order]')) {
    const why = (cannot || {})[button.dataset.order], hint = at('hint-' + button.dataset.order);
    if (why) button.setAttribute('aria-disabled', 'true'); else button.removeAttribute('aria-disabled');
    const text = why || hint.dataset.hint;
    if (hint.textContent !== text) hint.textContent = text;
  }
}

const source = new EventSource('events?since=' + encodeURIComponent(since || 0));
source.onmessage = message => {
  const frame = JSON.parse(message.data);
  link.textContent = '';
  for (const part of frame.parts || []) put(part);
  if (frame.cannot) able(frame.cannot);
  nonce = frame.nonce || '';
  const word = document.querySelector('#headline .word');
  if (word) document.title = word.textContent.replace(' done.', '') + ': ' + at('about').textContent;
  if (frame.end) {
    source.close();
    location.replace(frame.end);
  }
};
source.onerror = () => { link.textContent = 'No word from the drill: what is shown is old.'; };

const texts = {
  resume: ['Continue the drill?', 'It goes on with what it is held before.', 'Continue'],
  pause: ['Pause the drill?', 'What runs now runs to its end; the drill waits before the next step or phase. Traffic and the clocks go on, and the report says how long people took.', 'Pause'],
  abort: ['Abort the drill?', 'What runs is stopped, and everything that was started is removed. The drill is inconclusive, and its report names you and the reason.', 'Abort now'],
  approve: ['Approve the step?', 'The step that waits runs at once.', 'Approve'],
  accept: ['Accept the incident?', 'It is yours from then on, and resolved. Your token proves that you are its receiver; with a key, use backout accept in a terminal.', 'Accept'],
  refuse: ['Refuse the incident?', 'It is not resolved then, and whoever handed it over is told why. Your token proves that you are its receiver; with a key, use backout refuse in a terminal.', 'Refuse'],
};
const reasons = { abort: 'which the verdict will name', refuse: 'which whoever handed it over will read' };
const proves = { accept: 'which proves that you are the receiver', refuse: 'which proves that you are the receiver' };

if (ask) {
  const form = ask.querySelector('form'), error = at('ask-error');
  for (const button of document.querySelectorAll('[data-order]')) {
    button.addEventListener('click', () => {
      if (button.getAttribute('aria-disabled')) return;
      const order = button.dataset.order;
      [at('ask-h').textContent, at('ask-p').textContent, at('ask-do').textContent] = texts[order];
      form.order.value = order;
      form.nonce.value = ['approve', 'accept', 'refuse'].includes(order) ? nonce : '';
      form.why.value = form.proof.value = '';
      form.why.required = order in reasons;
      at('ask-must').textContent = reasons[order] || 'if there is one';
      at('ask-proof').textContent = proves[order] || 'where a second person must approve';
      error.textContent = '';
      try { form.by.value ||= sessionStorage.getItem('by') || ''; } catch { /* it is asked for */ }
      ask.showModal();
      (form.by.value ? form.why : form.by).focus();
    });
  }
  ask.querySelector('[data-close]').addEventListener('click', () => ask.close());
  form.addEventListener('submit', async event => {
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form));
    body.set('token', token);
    at('ask-do').disabled = true;
    try {
      const response = await fetch('act', { method: 'POST', body });
      const text = await response.text();
      const answer = response.headers.get('Content-Type') === 'application/json' ? JSON.parse(text) : { error: text };
      if (answer.cannot) able(answer.cannot);
      if (answer.error) { error.textContent = answer.error; return; }
      said.textContent = answer.said;
      form.proof.value = '';
      try { sessionStorage.setItem('by', form.by.value); } catch { /* it will be asked for again */ }
      ask.close();
    } catch (problem) {
      error.textContent = 'The drill was not reached: ' + problem.message;
    } finally {
      at('ask-do').disabled = false;
    }
  });
}
