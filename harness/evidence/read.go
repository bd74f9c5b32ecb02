package evidence

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// CutError says that the log ends before its end: the run was killed, or the file was cut short. The events before
// the cut were read and are whole.
type CutError struct {
	Path    string
	Segment int   // the last whole segment
	Last    int64 // the last event that was read
	Why     string
}

func (e *CutError) Error() string {
	return fmt.Sprintf("%s: the log is cut off after event %d (segment %d): %s", e.Path, e.Last, e.Segment, e.Why)
}

// EditedError says that the log is not what was written: bytes were changed, or a segment was dropped or moved. The
// events before the place were read and are unchanged.
type EditedError struct {
	Path    string
	Segment int   // the segment that is not as it was
	Offset  int64 // where it begins in the file, in bytes
	Last    int64 // the last event that was read
	Why     string
}

func (e *EditedError) Error() string {
	return fmt.Sprintf("%s: the log was edited after event %d (segment %d, byte %d): %s", e.Path, e.Last, e.Segment, e.Offset, e.Why)
}

// Read reads a log in order, in bounded memory, and verifies its chain on the way: a segment is handed out only when
// the next one does not contradict it. It ends with a *CutError or an *EditedError when the log is not whole.
// What several events have in common may be shared between them: do not change an event.
func Read(path string) iter.Seq2[Event, error] {
	return (&Reader{Path: path}).Events()
}

// Head verifies the whole chain and returns its head, also with a *CutError: then it is that of the last whole segment.
func Head(path string) (string, error) {
	var r Reader
	err := r.read(path, countEvents, func(*segment) bool { return true })
	return r.head, err
}

// Reader reads a log and knows the head of its chain afterwards, so that both take one pass.
type Reader struct {
	Path string
	head string
}

// Events reads as Read does.
func (r *Reader) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := r.read(r.Path, decodeEvents, func(s *segment) bool {
			for i := range s.events {
				if !yield(s.events[i], nil) {
					return false
				}
			}
			return true
		}); err != nil {
			yield(Event{}, err)
		}
	}
}

// Head is the hash of the last segment that was read.
func (r *Reader) Head() string { return r.head }

// segment is one segment on its way from the file to the reader.
type segment struct {
	offset int64
	packed []byte
	header header
	hash   string
	lines  []byte // without the header
	events []Event
	first  int64 // number of its first event; 0 when it has none
	count  int64
	err    error // why it cannot be what was written
	done   chan struct{}
}

// What is done with a segment's lines, on any core, before it is its turn.
type unpack func(s *segment, d *decoder)

func decodeEvents(s *segment, d *decoder) {
	s.events = make([]Event, 0, bytes.Count(s.lines, []byte("\n")))
	for line := range bytes.Lines(s.lines) {
		e, err := decodeLine(bytes.TrimSuffix(line, []byte("\n")), d)
		if err != nil {
			s.err = fmt.Errorf("line %d is not an event: %w", len(s.events)+2, err)
			return
		}
		s.events = append(s.events, e)
	}
	s.lines = nil
	s.count = int64(len(s.events))
	for i := range s.events {
		if i == 0 {
			s.first = s.events[0].N
		} else if s.events[i].N != s.first+int64(i) {
			s.err = fmt.Errorf("event %d follows event %d", s.events[i].N, s.events[i-1].N)
			return
		}
	}
}

// countEvents keeps the lines and reads only where they begin.
func countEvents(s *segment, _ *decoder) {
	s.count = int64(bytes.Count(s.lines, []byte("\n")))
	if s.count > 0 {
		n := scan{b: s.lines}
		n.lit(`{"n":`)
		s.first = n.integer()
		if n.bad {
			s.err = errors.New("line 2 is not an event")
		}
	}
}

// read hands the segments out in order, each when it is verified, until use returns false.
func (r *Reader) read(path string, f unpack, use func(*segment) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the evidence log: %w", err)
	}
	defer file.Close()
	split, err := newSplitter(file)
	if err != nil {
		return fmt.Errorf("read the evidence log %s: %w", path, err)
	}

	// One goroutine finds the segments, as many as there are cores unpack them, this one takes them in order. The
	// queue bounds how many are in memory.
	workers := runtime.GOMAXPROCS(0)
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(workers), zstd.WithDecoderMaxMemory(maxSegment))
	if err != nil {
		return fmt.Errorf("read the evidence log %s: %w", path, err)
	}
	defer z.Close()
	order := make(chan *segment, workers)
	work := make(chan *segment)
	stop := make(chan struct{})
	var running sync.WaitGroup
	defer running.Wait()
	defer close(stop)
	var ended error // of the splitter; read after order is closed
	running.Go(func() {
		defer close(order)
		defer close(work)
		for {
			s, err := split.next()
			if err != nil {
				ended = err
				return
			}
			for _, to := range []chan *segment{order, work} {
				select {
				case to <- s:
				case <-stop:
					return
				}
			}
		}
	})
	for range workers {
		running.Go(func() {
			var d decoder
			var plain []byte
			for s := range work {
				plain = s.unpack(z, plain, &d, f)
				close(s.done)
			}
		})
	}

	var last int64 // the last event that was handed out
	var endSeen, closed bool
	var held *segment // waits for the next one to confirm it
	var number int    // of held
	edited := func(s *segment, number int, why string) error {
		return &EditedError{Path: path, Segment: number, Offset: s.offset, Last: last, Why: why}
	}
	// release hands out the segment that is held.
	release := func() (bool, error) {
		if held.count > 0 && held.first != last+1 {
			return false, edited(held, number, fmt.Sprintf("it begins with event %d, not %d", held.first, last+1))
		}
		if !use(held) {
			return false, nil
		}
		if held.count > 0 {
			last += held.count
			endSeen = held.endsLog()
		}
		closed = held.header.Closed
		r.head = held.hash
		held.events, held.lines = nil, nil
		return true, nil
	}
	for s := range order {
		<-s.done
		if s.err == nil {
			prev := ""
			if held != nil {
				prev = held.hash
			}
			switch {
			case s.header.Segment != number+1:
				s.err = fmt.Errorf("segment %d is in the place of %d", s.header.Segment, number+1)
			case held != nil && held.header.Closed:
				s.err = errors.New("it stands after the end of the log")
			case s.header.Prev != prev:
				// The one before does not match what this one says of it: that one, or this line, was changed.
				if held != nil {
					return edited(held, number, fmt.Sprintf("its hash is %s, but segment %d was written after %s", held.hash, number+1, s.header.Prev))
				}
				s.err = fmt.Errorf("it names %s before it, and there is nothing", s.header.Prev)
			}
		}
		if held != nil {
			if more, err := release(); !more {
				return err
			}
		}
		if s.err != nil {
			return edited(s, number+1, s.err.Error())
		}
		held, number = s, number+1
	}
	if held != nil {
		if more, err := release(); !more {
			return err
		}
	}
	cut := func(why string) error { return &CutError{Path: path, Segment: number, Last: last, Why: why} }
	switch broken := (*frameError)(nil); {
	case errors.As(ended, &broken) && split.whole:
		return &EditedError{Path: path, Segment: number + 1, Offset: broken.offset, Last: last, Why: broken.why}
	case errors.As(ended, &broken):
		return cut(broken.why)
	case ended != io.EOF:
		return fmt.Errorf("read the evidence log %s: %w", path, ended)
	case number == 0:
		return cut("it is empty")
	case !closed:
		return cut("its last segment is missing")
	case !endSeen:
		return cut("it was closed without an end")
	}
	return nil
}

// endsLog says whether the last event of the segment is the end of the log.
func (s *segment) endsLog() bool {
	if n := len(s.events); n > 0 {
		return s.events[n-1].End != nil
	}
	lines := bytes.TrimSuffix(s.lines, []byte("\n"))
	e, err := decodeLine(lines[bytes.LastIndexByte(lines, '\n')+1:], &decoder{})
	return err == nil && e.End != nil
}

// A segment that says it is larger than this is garbage: the log begins a new one at segmentSize, and takes no event
// beyond maxEvent.
const maxSegment = 64 << 20

// unpack decompresses a segment into plain, which it returns for the next one unless f kept it.
func (s *segment) unpack(z *zstd.Decoder, plain []byte, d *decoder, f unpack) []byte {
	plain, err := z.DecodeAll(s.packed, plain[:0])
	s.packed = nil
	if err != nil {
		s.err = fmt.Errorf("it cannot be decompressed: %w", err)
		return plain
	}
	sum := sha256.Sum256(plain)
	s.hash = "sha256:" + hex.EncodeToString(sum[:])
	first, lines, found := bytes.Cut(plain, []byte("\n"))
	if err := json.Unmarshal(first, &s.header); err != nil || !found || s.header.Segment == 0 {
		s.err = errors.New("it does not begin with the line of a segment")
		return plain
	}
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		s.err = errors.New("it ends in the middle of a line")
		return plain
	}
	s.lines = lines
	f(s, d)
	if s.lines != nil {
		return nil
	}
	return plain
}

// frameError says that what follows is not a frame, or not a whole one.
type frameError struct {
	offset int64
	why    string
}

func (e *frameError) Error() string { return e.why }

// splitter finds the frames of a file without decompressing them.
type splitter struct {
	in     *bufio.Reader
	offset int64
	size   int64
	number int
	whole  bool // the file ends with a trailer: it was not cut within a segment
}

func newSplitter(f *os.File) (*splitter, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &splitter{in: bufio.NewReaderSize(f, 1<<20), size: info.Size()}
	var end [trailerSize]byte
	if s.size >= trailerSize {
		if _, err := f.ReadAt(end[:], s.size-trailerSize); err != nil {
			return nil, err
		}
		s.whole = binary.LittleEndian.Uint32(end[:]) == trailerMagic && binary.LittleEndian.Uint32(end[4:]) == trailerSize-8
	}
	return s, nil
}

// next is the next segment, io.EOF after the last, or a *frameError.
func (s *splitter) next() (*segment, error) {
	at := s.offset
	if at == s.size {
		return nil, io.EOF
	}
	bad := func(why string) error { return &frameError{offset: at, why: why} }
	short := bad("it ends in the middle of a segment")
	var frame []byte
	take := func(n int) ([]byte, error) {
		if int64(n) > s.size-s.offset {
			return nil, short
		}
		from := len(frame)
		frame = append(frame, make([]byte, n)...)
		if _, err := io.ReadFull(s.in, frame[from:]); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				return nil, short // the file became shorter meanwhile
			}
			return nil, err
		}
		s.offset += int64(n)
		return frame[from:], nil
	}

	// RFC 8878, 3.1.1: a header, blocks that each say their size, four bytes of checksum.
	peek, err := s.in.Peek(zstd.HeaderMaxSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var h zstd.Header
	if err := h.Decode(peek); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, short
		}
		s.whole = s.whole || len(peek) >= 4 // bytes that begin no frame were not left by a cut
		return nil, bad("it does not begin a segment")
	}
	if h.Skippable || !h.HasCheckSum {
		s.whole = true
		return nil, bad("it does not begin a segment")
	}
	if _, err := take(h.HeaderSize); err != nil {
		return nil, err
	}
	for last := false; !last; {
		b, err := take(3)
		if err != nil {
			return nil, err
		}
		bits := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		last = bits&1 != 0
		size := int(bits >> 3)
		switch bits >> 1 & 3 {
		case 1: // one byte, repeated
			size = 1
		case 3:
			s.whole = true
			return nil, bad("it has a block of a kind that does not exist")
		}
		if _, err := take(size); err != nil {
			return nil, err
		}
	}
	if _, err := take(4); err != nil {
		return nil, err
	}
	length := len(frame)
	if _, err := take(trailerSize); err != nil {
		return nil, err
	}
	s.number++
	written := bytes.Clone(frame[length:])
	if !bytes.Equal(written, appendTrailer(frame[:length], s.number)[length:]) {
		s.whole = true
		return nil, bad(fmt.Sprintf("its bytes are not those of segment %d as it was written", s.number))
	}
	return &segment{offset: at, packed: frame[:length], done: make(chan struct{})}, nil
}
