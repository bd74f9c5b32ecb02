package rollback

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Bounds of a step's output in evidence, in bytes.
const (
	headBytes = 1<<20 - 2*tailBytes // from its beginning
	tailBytes = 64 << 10            // and from the end of each stream, where the reason of a failure stands
	lineBytes = 32 << 10            // of a line
	overlap   = 4 << 10             // of what is cut off a longer line: a secret that begins before it is found whole
)

// newOutput is ready to read a command's streams.
func newOutput(clean func(string) string, match *matcher, put func(stream, text string)) *output {
	return &output{clean: clean, match: match, put: put, tails: map[string]*tail{}, last: map[string]string{}}
}

// output turns what a command writes into evidence by whole lines, because a secret may come in two writes. It is safe
// for two streams at a time.
type output struct {
	clean func(string) string
	put   func(stream, text string) // writes evidence
	match *matcher

	mu    sync.Mutex
	taken int // bytes in evidence
	full  bool
	tails map[string]*tail // by stream: one may be read long after the other wrote
	lines int              // cut
	cut   int              // bytes cut
	last  map[string]string
}

// tail is the end of a stream.
type tail struct {
	lines []string
	size  int
}

// read reads one stream to its end. cut says afterwards whether its last line may be a piece of one.
func (o *output) read(stream string, from io.Reader, cut func() bool) error {
	buffer := make([]byte, 32<<10)
	var rest []byte // what has come of a line that has not ended
	long := false   // the beginning of that line is in evidence already, the rest of it is left out
	for {
		n, err := from.Read(buffer)
		rest = append(rest, buffer[:n]...)
		if end := bytes.LastIndexByte(rest, '\n'); end >= 0 {
			o.match.write(rest[:end+1])
			whole, more := string(rest[:end]), true
			if long {
				_, whole, more = strings.Cut(whole, "\n")
			}
			if more {
				o.add(stream, whole)
			}
			rest, long = append(rest[:0], rest[end+1:]...), false
		}
		if len(rest) > lineBytes+overlap {
			o.match.write(rest)
			if !long {
				text := o.clean(string(rest))
				o.add(stream, text[:max(0, len(text)-overlap)]+" [the rest of this line is left out]")
			}
			rest, long = rest[:0], true
		}
		if err == nil {
			continue
		}
		o.match.write(rest)
		if len(rest) > 0 && !long {
			if cut() {
				o.add("", fmt.Sprintf("[an unfinished line of %d bytes is left out]", len(rest)))
			} else {
				o.add(stream, string(rest))
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}
}

// add takes whole lines.
func (o *output) add(stream, text string) {
	text = o.clean(strings.ToValidUTF8(text, "\uFFFD"))
	o.mu.Lock()
	defer o.mu.Unlock()
	if line := strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:]); line != "" && stream != "" {
		o.last[stream] = line
	}
	if o.full = o.full || o.taken+len(text) > headBytes; !o.full {
		o.taken += len(text) + 1
		o.put(stream, text)
		return
	}
	t := o.tails[stream]
	if t == nil {
		t = &tail{}
		o.tails[stream] = t
	}
	for line := range strings.SplitSeq(text, "\n") {
		t.lines = append(t.lines, line)
		for t.size += len(line) + 1; t.size > tailBytes && len(t.lines) > 1; t.lines = t.lines[1:] {
			first := len(t.lines[0]) + 1
			t.size -= first
			o.cut += first
			o.lines++
		}
	}
}

// finish writes what was cut, the end of each stream, and what the harness has to say.
func (o *output) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cut > 0 {
		o.put("", fmt.Sprintf("[%d lines (%d bytes) are left out here: a step's output is kept up to 1 MB]", o.lines, o.cut))
	}
	for _, stream := range []string{"stdout", "stderr", ""} {
		if t := o.tails[stream]; t != nil {
			o.put(stream, strings.Join(t.lines, "\n"))
		}
	}
}

// lastLine is the one that tells most of why a command ended: the last on stderr, else on stdout.
func (o *output) lastLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	line := cmp.Or(o.last["stderr"], o.last["stdout"])
	if r := []rune(line); len(r) > 300 {
		line = string(r[:300]) + "..."
	}
	return cmp.Or(line, "nothing")
}

// matcher looks for an expression in all of the output, however long, without keeping it.
type matcher struct {
	mu     sync.Mutex
	to     *io.PipeWriter
	result chan bool
}

// newMatcher is nil without an expression.
func newMatcher(expression string) (*matcher, error) {
	if expression == "" {
		return nil, nil
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, err
	}
	from, to := io.Pipe()
	m := &matcher{to: to, result: make(chan bool, 1)}
	go func() {
		found := re.MatchReader(bufio.NewReader(from))
		from.CloseWithError(io.ErrClosedPipe) // later writes need not wait for a reader
		m.result <- found
	}()
	return m, nil
}

func (m *matcher) write(b []byte) {
	if m == nil || len(b) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.to.Write(b) // an error says that it has been found already
}

// found ends the text; it may be called again. Without an expression everything is as expected.
func (m *matcher) found() bool {
	if m == nil {
		return true
	}
	m.to.Close()
	found := <-m.result
	m.result <- found
	return found
}

// pipes are the command's two streams.
type pipes struct {
	out, err     *os.File // read here
	toOut, toErr *os.File // written by the command
}

func newPipes() (*pipes, error) {
	var p pipes
	var err error
	if p.out, p.toOut, err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.err, p.toErr, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, p.out.Close(), p.toOut.Close())
	}
	return &p, nil
}

// started closes the command's ends, so that reading ends with the last of its processes.
func (p *pipes) started() { p.toOut.Close(); p.toErr.Close() }

// stop makes reading end at the given time, whoever still holds the other ends.
func (p *pipes) stop(at time.Time) {
	p.out.SetReadDeadline(at)
	p.err.SetReadDeadline(at)
}

func (p *pipes) close() { p.out.Close(); p.err.Close() }
