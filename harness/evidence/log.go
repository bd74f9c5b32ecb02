package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// File is the name of the log in a run's directory.
const File = "evidence.ndjson.zst"

// The format of the file: segments, each one zstd frame (RFC 8878) of lines of JSON followed by a skippable frame of
// trailerSize bytes that holds the segment's number, the length of its frame and a CRC-32C of all that. zstdcat prints the lines and skips
// the rest. The first line of a segment is {"segment":K,"prev":"sha256:..."}, where prev is the hash of all bytes of
// the segment before, uncompressed and with its first line. The last segment, written by Close, has "closed":true and
// no events. The head of the chain is the hash of the last segment.
//
// The trailer tells a log that was cut short from one that was edited: a whole file ends with one.
const (
	segmentTime  = 5 * time.Second // a segment spans at most so long: what a kill -9 loses
	segmentSize  = 1 << 20         // or when it has so many bytes
	trailerMagic = 0x184D2A5B      // of a skippable frame
	trailerSize  = 8 + 12
	maxEvent     = 16 << 20 // an event with more bytes is not written, which is an error
)

// header is the first line of a segment.
type header struct {
	Segment int    `json:"segment"`
	Prev    string `json:"prev"`
	Closed  bool   `json:"closed,omitempty"`
}

// Log writes the evidence of one run. Its methods are safe for concurrent use.
type Log struct {
	start time.Time
	span  time.Duration // of a segment

	mu     sync.Mutex
	n      int64
	buf    []byte    // lines of the segment that is being filled
	first  time.Time // when its first line was put
	from   Offset    // the offset of its first line
	queue  [][]byte  // full segments that wait for the writer
	taps   []func(Event)
	hidden *hidden
	err    error
	closed bool

	wake chan struct{} // the queue has something, or the log is closed
	done chan struct{} // the writer has ended
	head string        // set by the writer, read after done
}

// Create begins the log of a run that started at the given time, in a new file. It does not overwrite evidence.
func Create(path string, start time.Time) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("begin the evidence log: %w", err)
	}
	return begin(f, start, segmentTime)
}

func begin(f *os.File, start time.Time, span time.Duration) (*Log, error) {
	// One frame at a time: the writer is one goroutine, and a drill should not take the machine's cores for its log.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(true))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("begin the evidence log %s: %w", f.Name(), err)
	}
	l := &Log{start: start, span: span, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.write(f, z)
	return l, nil
}

// Now is the offset of this instant.
func (l *Log) Now() Offset { return l.At(time.Now()) }

// At is the offset of an instant. Times from time.Now are compared on the monotonic clock.
func (l *Log) At(t time.Time) Offset { return Seconds(t.Sub(l.start)) }

// Put writes an event that is observed now and returns its number, 0 when the log is closed or the event could not be
// encoded (Err says so). It never waits for the disk. Numbers follow the order of the file.
func (l *Log) Put(k Kind) int64 { return l.put(0, true, k) }

// PutAt writes an event that was observed at t.
func (l *Log) PutAt(t Offset, k Kind) int64 { return l.put(t, false, k) }

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}}

type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

func (l *Log) put(t Offset, now bool, k Kind) int64 {
	// Encoding happens outside the lock; under it the number is given and the bytes are copied.
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.buf.Reset()
	var event Event
	k = short(k)
	k.Put(&event)
	key := event.Key()
	err := e.json.Encode(k)
	body := bytes.TrimSuffix(e.buf.Bytes(), []byte("\n"))

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0
	}
	if err != nil {
		l.keep(fmt.Errorf("write a %s event: %w", key, err))
		return 0
	}
	if len(body) > maxEvent {
		l.keep(fmt.Errorf("write a %s event: it has %d bytes, the most is %d", key, len(body), maxEvent))
		return 0
	}
	if l.hidden != nil {
		body = l.hidden.json(body)
	}
	if now {
		t = l.Now()
	}
	l.n++
	if len(l.buf) > 0 && t-l.from >= Seconds(l.span) {
		l.cut()
	}
	if len(l.buf) == 0 {
		l.first, l.from = time.Now(), t
	}
	from := len(l.buf)
	l.buf = append(l.buf, `{"n":`...)
	l.buf = strconv.AppendInt(l.buf, l.n, 10)
	l.buf = append(l.buf, `,"t":`...)
	l.buf = appendOffset(l.buf, t)
	l.buf = append(l.buf, `,"`...)
	l.buf = append(l.buf, key...)
	l.buf = append(l.buf, `":`...)
	l.buf = append(l.buf, body...)
	l.buf = append(l.buf, '}')
	if len(l.taps) > 0 {
		// What a tap sees is what a reader of the file will see: rounded, redacted, and the caller's struct no more.
		if seen, err := decodeLine(l.buf[from:], &decoder{}); err == nil {
			for _, tap := range l.taps {
				tap(seen)
			}
		} else {
			l.keep(fmt.Errorf("read event %d back: %w", l.n, err))
		}
	}
	l.buf = append(l.buf, '\n')
	if len(l.buf) >= segmentSize {
		l.cut()
	}
	return l.n
}

// keep keeps the first error. The caller holds the lock.
func (l *Log) keep(err error) {
	if l.err == nil {
		l.err = err
	}
}

// cut hands the segment that is being filled to the writer. The caller holds the lock.
func (l *Log) cut() {
	if len(l.buf) == 0 {
		return
	}
	l.queue = append(l.queue, l.buf)
	l.buf = make([]byte, 0, segmentSize/4)
	l.nudge()
}

func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write is the log's one writer: it ends segments that are old enough, compresses them and appends them to the file.
func (l *Log) write(f *os.File, z *zstd.Encoder) {
	defer close(l.done)
	tick := time.NewTicker(l.span / 10)
	defer tick.Stop()
	var plain, packed []byte
	number := 0
	put := func(lines []byte, closed bool) error {
		number++
		first, err := json.Marshal(header{Segment: number, Prev: l.head, Closed: closed})
		if err != nil {
			return err
		}
		plain = append(append(append(plain[:0], first...), '\n'), lines...)
		sum := sha256.Sum256(plain)
		l.head = "sha256:" + hex.EncodeToString(sum[:])
		packed = z.EncodeAll(plain, packed[:0])
		packed = appendTrailer(packed, number)
		_, err = f.Write(packed)
		return err
	}
	var broke error // after one failed write the file is as it is: nothing more is appended to a broken chain
	for {
		select {
		case <-l.wake:
		case <-tick.C:
		}
		l.mu.Lock()
		if len(l.buf) > 0 && (l.closed || time.Since(l.first) >= l.span) {
			l.cut()
		}
		queue, closed := l.queue, l.closed
		l.queue = nil
		l.mu.Unlock()
		for _, lines := range queue {
			if broke == nil {
				broke = put(lines, false)
			}
		}
		if closed && broke == nil {
			broke = put(nil, true)
		}
		if closed {
			broke = errors.Join(broke, f.Sync(), f.Close())
		}
		if broke != nil {
			l.mu.Lock()
			l.keep(fmt.Errorf("write the evidence log: %w", broke))
			l.mu.Unlock()
		}
		if closed {
			return
		}
	}
}

// Tap lets f see every later event in order, one at a time, as a reader of the file will see it. f must be quick and
// must not call Put.
func (l *Log) Tap(f func(Event)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taps = append(l.taps, f)
}

// Err is the first error of the log: an event that could not be encoded, or a write that did not reach the file.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close writes what is left, closes the chain and returns its head. It may be called again.
func (l *Log) Close() (head string, err error) {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.nudge()
	<-l.done
	return l.head, l.Err()
}

// Hide replaces these strings by [secret] in every later line, also where they are escaped for JSON or for a URL, and
// each long line of one that has several.
func (l *Log) Hide(secrets ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hidden = l.hidden.with(secrets)
}

// Clean is a text without what is hidden.
func (l *Log) Clean(s string) string {
	l.mu.Lock()
	h := l.hidden
	l.mu.Unlock()
	if h == nil {
		return s
	}
	return h.text(s)
}

func appendOffset(b []byte, o Offset) []byte {
	return strconv.AppendFloat(b, math.Round(float64(o)*1e4)/1e4, 'f', -1, 64)
}

// appendTrailer ends the frame of a segment. The checksum is for the bytes that the compressed form has to spare: they
// can be changed without changing a line.
func appendTrailer(frame []byte, segment int) []byte {
	length := len(frame)
	b := binary.LittleEndian.AppendUint32(frame, trailerMagic)
	b = binary.LittleEndian.AppendUint32(b, trailerSize-8)
	b = binary.LittleEndian.AppendUint32(b, uint32(segment))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// short is the event with its measurements rounded to what they are worth: a float in full takes 17 digits, and an
// hour of them more room than everything else.
func short(k Kind) Kind {
	round := func(v, to float64) float64 { return math.Round(v*to) / to }
	switch k := k.(type) {
	case *Journey:
		c := *k
		c.MS, c.Visible = round(c.MS, 1e2), round(c.Visible, 1e2)
		return &c
	case *Instance:
		c := *k
		c.CPU = round(c.CPU, 1e3)
		return &c
	case *Node:
		c := *k
		c.CPU, c.Lag = round(c.CPU, 1e3), round(c.Lag, 1e4)
		return &c
	case *Step:
		c := *k
		c.Seconds = round(c.Seconds, 1e4)
		return &c
	case *Lock:
		c := *k
		c.Longest = round(c.Longest, 1e4)
		return &c
	}
	return k
}
